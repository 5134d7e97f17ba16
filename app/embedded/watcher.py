"""The process between the service and redis-server: `python -m app.embedded.watcher`, its orders on standard input.

    service ──── service_fd ───▶ watcher ──── PR_SET_PDEATHSIG ───▶ redis-server
            ◀─── report_fd ─────
            ◀─── life_fd ────────────────────────────── life_fd ───
                 lock_fd ───────────────────────────────lock_fd ───

`service_fd` is the read end of a pipe that only the service can write to: its end of file says that the service has
ended, in whatever way. The watcher then ends Redis and removes the socket's directory. When Redis ends by itself, so
does the watcher: the service starts both again. `report_fd` (the watcher's alone) tells the service Redis's pid and,
closing, that the watcher has ended; `life_fd` closes when the watcher and every process of Redis's have ended.

It imports the standard library only, as it stays for as long as the service does.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

from app.embedded.parent_death import dying_with_parent
from app.embedded.socket_directory import remove_socket_directory
from app.embedded.watcher_orders import WatcherOrders


def main(orders: WatcherOrders) -> int:
    """Run redis-server until it ends, or the service does, or someone sends SIGTERM."""
    is_told_to_end = False

    def on_signal(number: int, _frame: FrameType | None) -> None:
        nonlocal is_told_to_end
        is_told_to_end |= number == signal.SIGTERM

    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_read, False)
    os.set_blocking(wake_write, False)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    for ignored in (signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    for heeded in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(heeded, on_signal)

    redis = _start(orders)
    with contextlib.suppress(OSError):  # the service may have ended meanwhile; the loop will see that
        os.write(orders.report_fd, f"{redis.pid}\n".encode())

    with selectors.DefaultSelector() as selector:
        selector.register(orders.service_fd, selectors.EVENT_READ)
        selector.register(wake_read, selectors.EVENT_READ)
        while True:
            ready = {key.fd for key, _ in selector.select()}
            if wake_read in ready:
                os.read(wake_read, 512)
            if orders.service_fd in ready:
                _end(redis, orders.terminate_seconds)
                remove_socket_directory(Path(orders.socket_directory))
                return 0
            if is_told_to_end or redis.poll() is not None:
                _end(redis, orders.terminate_seconds)
                return 0 if is_told_to_end else 1


def _start(orders: WatcherOrders) -> subprocess.Popen[bytes]:
    os.umask(0o077)
    log_fd = os.open(orders.log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        return subprocess.Popen(  # noqa: S603 - the service chose the binary
            orders.command,
            stdin=subprocess.DEVNULL,
            stdout=log_fd,
            stderr=log_fd,
            # Redis 7 does not start when the environment names a locale that is not installed.
            env=os.environ | {"LC_ALL": "C"},
            pass_fds=(orders.lock_fd, orders.life_fd),
            start_new_session=True,  # a group of its own, by which a rewrite of the append-only file ends as well
            preexec_fn=dying_with_parent(),  # noqa: PLW1509 - this process has one thread
        )
    finally:
        os.close(log_fd)


def _end(redis: subprocess.Popen[bytes], terminate_seconds: float) -> None:
    """SIGTERM, so that what was acknowledged is written out; then SIGKILL for all that is left of it."""
    if redis.poll() is None:
        redis.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            redis.wait(terminate_seconds)
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: EPERM for a group of zombies
        os.killpg(redis.pid, signal.SIGKILL)
    redis.wait()


if __name__ == "__main__":
    text = sys.stdin.read()
    sys.exit(main(WatcherOrders.decode(text)) if text else 0)  # no orders: the service ended before it gave any
