"""The programs that are an image's clients: where they are, and how they are run."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

SECONDS = 60
_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
# No proxy of this machine, no settings of this user.
_ENVIRONMENT = {"PATH": _PATH, "LANG": "C.UTF-8", "HOME": "/nonexistent"}


def needs(*programs: str) -> pytest.MarkDecorator:
    """Skip where one of the programs is missing."""
    missing = [program for program in programs if shutil.which(program, path=_PATH) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


def _answers(*command: str) -> str:
    try:
        done = subprocess.run(command, env=_ENVIRONMENT, capture_output=True, text=True, timeout=SECONDS, check=False)
    except OSError:
        return ""
    return done.stdout if done.returncode == 0 else ""


def needs_nbdkit_curl() -> pytest.MarkDecorator:
    """Skip without nbdkit and its curl plugin."""
    found = "name=curl" in _answers("nbdkit", "curl", "--dump-plugin")
    return pytest.mark.skipif(not found, reason="not installed: nbdkit with its curl plugin")


def needs_fio_nbd() -> pytest.MarkDecorator:
    """Skip without fio and its nbd engine."""
    found = "nbd" in _answers("fio", "--enghelp").split()
    return pytest.mark.skipif(not found, reason="not installed: fio with its nbd engine")


def needs_qemu_http() -> pytest.MarkDecorator:
    """Skip without qemu-img and QEMU's HTTP driver, which Debian has in qemu-block-extra."""
    found = " http" in _answers("qemu-img", "--help")
    return pytest.mark.skipif(not found, reason="not installed: qemu-img with its http driver")


def run(*command: str | Path, cwd: Path, input_: bytes | None = None, status: int = 0) -> str:
    """Run a program to its end; what it printed. Any other exit status fails."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=_ENVIRONMENT,
        input=input_,
        stdin=subprocess.DEVNULL if input_ is None else None,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=SECONDS,
        check=False,
    )
    printed = done.stdout.decode(errors="replace")
    assert done.returncode == status, f"{shlex.join(map(str, command))}: {done.returncode}\n{printed}"
    return printed


def under_nbdkit(url: str, command: str, cwd: Path, status: int = 0) -> str:
    """Run a shell command while nbdkit serves the URL as a network block device; `$uri` is its address."""
    return run(
        *("nbdkit", "-U", "-", "curl", f"url={url}", "protocols=http", f"timeout={SECONDS}", "--run", command),
        cwd=cwd,
        status=status,
    )
