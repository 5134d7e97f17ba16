"""SDKs as a user has them: generated, compiled, beside a service that asks for tokens."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from openapi import tools
from openapi.generate import generate
from openapi.tools import HOME, NotHere
from tests.harness.service import Service

TOKEN = "an-admin-token-of-many-letters"
SECONDS = 120

Program = Callable[..., str]
"""Runs a program that was prepared, with these arguments; answers what it printed."""


def run(*command: str | Path, cwd: Path, environment: dict[str, str] | None = None) -> str:
    """What a program prints; it must succeed."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def prepare_python(source: Path, folder: Path) -> Program:
    """A program that imports `pagepool_sdk`."""
    sdk, interpreter = generate("python"), tools.python()
    path = {"PYTHONPATH": str(sdk)}
    return lambda *arguments: run(interpreter, "-W", "error", source, *arguments, cwd=folder, environment=path)


def prepare_typescript(source: Path, folder: Path) -> Program:
    """A program that imports `pagepool-sdk`, type-checked."""
    sdk = generate("typescript")
    modules = folder / "node_modules"
    modules.mkdir()
    (modules / "pagepool-sdk").symlink_to(sdk)
    (modules / "@types").symlink_to(HOME / "node" / "node_modules" / "@types")
    (folder / "package.json").write_text('{"type": "module"}')
    shutil.copy(source, folder)
    flags = ["--module", "nodenext", "--target", "es2022", "--strict", "--skipLibCheck", "--noEmitOnError"]
    run(*tools.node_program("tsc"), *flags, "--types", "node", source.name, cwd=folder)
    return lambda *arguments: run("node", source.with_suffix(".js").name, *arguments, cwd=folder)


def prepare_java(source: Path, folder: Path) -> Program:
    """A program that imports `dev.pagepool.sdk`."""
    sdk = generate("java")
    libraries = tools.java_class_path()
    classes = sdk / "classes"
    with tools.alone():
        if not classes.exists():  # compiled once; generating anew removes it
            files = [str(file) for file in (sdk / "src" / "main" / "java").rglob("*.java")]
            javac(folder / "sdk", libraries, *files)
            # The generator's jar carries Jackson, and a logger that tells every byte on the wire unless it is set up.
            (folder / "sdk" / "logback-test.xml").write_text('<configuration><root level="OFF"/></configuration>')
            shutil.copytree(folder / "sdk", classes.with_name("new"))
            classes.with_name("new").rename(classes)
    path = os.pathsep.join([str(classes), libraries])
    javac(folder, path, source)
    return lambda *arguments: run("java", "-cp", f".{os.pathsep}{path}", source.stem, *arguments, cwd=folder)


def javac(target: Path, libraries: str, *sources: str | Path) -> None:
    target.mkdir(exist_ok=True)
    run(tools.java_program("javac"), "-nowarn", "-d", target, "-cp", libraries, *sources, cwd=target)


PREPARE = {"python": prepare_python, "typescript": prepare_typescript, "java": prepare_java}


@pytest.fixture
def prepare(tmp_path: Path) -> Callable[[str, Path], Program]:
    """Makes a program of a language ready to run; skips the test where this machine cannot."""

    def make(language: str, source: Path) -> Program:
        folder = tmp_path / language
        folder.mkdir()
        try:
            return PREPARE[language](source, folder)
        except NotHere as reason:
            pytest.skip(f"{language}: {reason}")

    return make


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that asks for tokens; TOKEN is an administrator's."""
    file = tmp_path_factory.mktemp("tokens") / "tokens.json"
    entry = {"name": "sdk", "sha256": hashlib.sha256(TOKEN.encode()).hexdigest(), "role": "admin"}
    file.write_text(json.dumps({"tokens": [entry]}))
    with Service(tokens_file=str(file), max_pool_bytes="0") as service:
        yield service
