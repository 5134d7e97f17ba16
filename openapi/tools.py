"""The programs that lint the description and generate SDKs: pinned, installed below .venv when first asked for."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parent
HOME: Final = ROOT / ".venv" / "sdk-tools"
DOCUMENT: Final = HERE / "openapi.json"
RELEASED: Final = HERE / "released.json"

_OLDEST_NODE: Final = 20
_DEBIAN_JARS: Final = ("httpclient5", "httpcore5", "httpcore5-h2", "jakarta-annotation-api")
_JARS: Final = Path(os.environ.get("PAGEPOOL_SDK_JARS", "/usr/share/java"))
"""Where the Java SDK's libraries lie; Debian's place by default."""


class NotHere(Exception):
    """This machine lacks something that is no package of PyPI or npm; the message says what."""


def run(*command: str | Path, cwd: Path = ROOT, **environment: str) -> None:
    """Run a command that must succeed; its output is shown only if it does not.

    Raises:
        RuntimeError: it failed; the message is what it printed.
    """
    done = subprocess.run(  # noqa: S603 - only what this module names is run
        command,
        cwd=cwd,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{Path(command[0]).name} ended with {done.returncode}:\n{done.stdout[-6000:]}")


@contextmanager
def alone() -> Iterator[None]:
    """Keep other processes from installing and generating meanwhile."""
    HOME.mkdir(parents=True, exist_ok=True)
    with (HOME / ".lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def digest(*paths: Path) -> str:
    """What these files, and all files in these folders, hold."""
    files = [file for path in paths for file in (sorted(path.rglob("*")) if path.is_dir() else [path])]
    return sha256(b"".join(file.read_bytes() for file in files if file.is_file())).hexdigest()


def is_made_from(folder: Path, mark: str) -> bool:
    """Whether `folder` was finished by `set_mark` with the same mark."""
    stamp = folder / ".made-from"
    return stamp.exists() and stamp.read_text(encoding="ascii") == mark


def set_mark(folder: Path, mark: str) -> None:
    """Say that `folder` is whole, and of what it was made."""
    (folder / ".made-from").write_text(mark, encoding="ascii")


def python() -> Path:
    """The interpreter of an environment that has the Python and Java generators, and what the Python SDK imports."""
    folder, lock = HOME / "python", HERE / "requirements.lock"
    interpreter = folder / "bin" / "python"
    if not is_made_from(folder, digest(lock)):
        shutil.rmtree(folder, ignore_errors=True)
        run(sys.executable, "-m", "uv", "venv", "--quiet", folder)
        run(sys.executable, "-m", "uv", "pip", "install", "--require-hashes", "--python", interpreter, "-r", lock)
        set_mark(folder, digest(lock))
    return interpreter


def node_program(name: str) -> list[str | Path]:
    """The command that runs one of the npm packages' programs.

    Raises:
        NotHere: there is no Node, or it is too old.
        RuntimeError: npm could not install it.
    """
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise NotHere("there is no node and npm on PATH")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout  # noqa: S603
    if int(version.removeprefix("v").partition(".")[0]) < _OLDEST_NODE:
        raise NotHere(f"Node {_OLDEST_NODE} or newer is needed, not {version.strip()}")
    folder, files = HOME / "node", (HERE / "package.json", HERE / "package-lock.json")
    mark = digest(*files)
    if not is_made_from(folder, mark):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for file in files:
            shutil.copy(file, folder)
        run(npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", cwd=folder)
        set_mark(folder, mark)
    return [node, folder / "node_modules" / ".bin" / name]


def java_program(name: str) -> str:
    """`java` or `javac`.

    Raises:
        NotHere: there is no JDK.
    """
    program = shutil.which(name)
    if program is None:
        raise NotHere(f"there is no {name} on PATH (Debian: openjdk-17-jdk-headless)")
    return program


def java_generator() -> Path:
    """The jar of openapi-generator, which its wheel carries."""
    [jar] = (HOME / "python").glob("lib/python*/site-packages/openapi_generator_cli/openapi-generator.jar")
    return jar


def java_class_path() -> str:
    """The libraries that the Java SDK is compiled against. Jackson is the copy within the generator's own jar.

    Raises:
        NotHere: one of them is not where Debian puts it.
    """
    jars = [_JARS / f"{name}.jar" for name in _DEBIAN_JARS]
    if missing := [jar.name for jar in jars if not jar.exists()]:
        packages = "libhttpclient5-java libjakarta-annotation-api-java"
        raise NotHere(f"Java libraries are missing: {', '.join(missing)} (Debian: {packages})")
    return os.pathsep.join(map(str, [*jars, java_generator()]))
