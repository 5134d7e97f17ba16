"""The sockets that a service listens on: bound by the supervisor, inherited by every worker."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from pathlib import Path

from app.serve.startup_refused import StartupRefused
from app.settings import Settings

BACKLOG = 2048
"""Connections that wait for a worker to accept them; the kernel may hold it lower (net.core.somaxconn)."""

_ABSENT_HERE = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})


class Listening:
    """Bound sockets; a Unix socket's path goes when they are closed."""

    def __init__(self, sockets: list[socket.socket], address: str, path: Path | None = None) -> None:
        self.sockets = sockets
        self.address = address
        """For people: http://127.0.0.1:8000, or unix:/run/pagepool.sock."""
        self._path = path
        self._inode = path.stat().st_ino if path is not None else None

    @classmethod
    def bind(cls, settings: Settings) -> Listening:
        """Bind; a TCP socket does not listen before `listen`, so that clients are refused rather than left to wait.

        Raises:
            StartupRefused: the address is in use, not this machine's, or not allowed.
        """
        if settings.uds is not None:
            return _bind_unix(settings.uds)
        scheme = "https" if settings.tls_certificate is not None else "http"
        sockets = _bind_tcp(settings.host, settings.port)
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        return cls(sockets, f"{scheme}://{host}:{sockets[0].getsockname()[1]}")

    def listen(self) -> None:
        """Let clients connect.

        Raises:
            StartupRefused: another service bound the same address (SO_REUSEADDR lets it) and listened first.
        """
        try:
            for listener in self.sockets:
                listener.listen(BACKLOG)
        except OSError as error:
            raise _refused(self.address, "PAGEPOOL_PORT", error) from error

    def close(self) -> None:
        """Close this process's sockets; the address is free when the workers have closed theirs. May be repeated."""
        for listener in self.sockets:
            listener.close()
        if self._path is not None:
            with contextlib.suppress(OSError):
                if self._path.stat().st_ino == self._inode:  # not that of a service that came after us
                    self._path.unlink()
            self._path = None


def _bind_tcp(host: str, port: int) -> list[socket.socket]:
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise StartupRefused(f"PAGEPOOL_HOST: {host!r} is no address of this machine ({error.strerror})") from error
    addresses = list(dict.fromkeys((family, address) for family, _, _, _, address in found))
    bound: list[socket.socket] = []
    last_error: OSError | None = None
    for family, address in addresses:
        chosen = bound[0].getsockname()[1] if bound else port  # port 0: all of a host's addresses get the same port
        listener: socket.socket | None = None
        try:
            listener = socket.socket(family, socket.SOCK_STREAM)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6 and len(addresses) > 1:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind((address[0], chosen, *address[2:]))
        except OSError as error:
            if listener is not None:
                listener.close()
            if error.errno not in _ABSENT_HERE:
                for other in bound:
                    other.close()
                raise _refused(f"{host}:{port}", "PAGEPOOL_PORT", error) from error
            last_error = error
        else:
            bound.append(listener)
    if last_error is not None and not bound:
        raise _refused(f"{host}:{port}", "PAGEPOOL_HOST", last_error) from last_error
    return bound


def _bind_unix(path: Path) -> Listening:
    listener = socket.socket(socket.AF_UNIX)
    # For the owner and the group (a proxy's, say); by the mask and not by chmod, so that it is never wider.
    mask = os.umask(0o117)
    try:
        _remove_stale(path)
        listener.bind(str(path))
        listener.listen(BACKLOG)  # at once: bound but not listening, it would look stale to a second service
    except OSError as error:
        listener.close()
        raise _refused(str(path), "PAGEPOOL_UDS", error) from error
    except StartupRefused:
        listener.close()
        raise
    finally:
        os.umask(mask)
    return Listening([listener], f"unix:{path}", path.absolute())


def _remove_stale(path: Path) -> None:
    """Remove the socket of a service that is no more; leave one that is listened on, and whatever is no socket."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise StartupRefused(f"PAGEPOOL_UDS: {path} exists and is no socket")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()


def _refused(address: str, setting: str, error: OSError) -> StartupRefused:
    if error.errno == errno.EADDRINUSE:
        return StartupRefused(f"{address} is in use by another process: stop it, or set {setting}")
    return StartupRefused(f"cannot listen on {address} ({error.strerror or error}): set {setting}")
