"""`python -m openapi.generate [python] [typescript] [java]`: SDKs from openapi.json, in sdk/ (`make sdk`).

Nothing is patched in what comes out: where a generator makes something wrong of the description, the description gets
better. All three read OpenAPI 3.1, so there is no copy in an older version.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from openapi import tools
from openapi.tools import DOCUMENT, HERE, HOME, ROOT, NotHere

SDK: Final = ROOT / "sdk"


def _python(folder: Path) -> None:
    run_python = tools.python()
    tools.run(
        *(run_python.with_name("openapi-python-client"), "generate", "--fail-on-warning", "--overwrite"),
        *("--path", DOCUMENT, "--config", HERE / "python.yaml", "--output-path", folder),
    )


def _typescript(folder: Path) -> None:
    tools.run(
        *(*tools.node_program("openapi-ts"), "--file", HERE / "typescript" / "config.mjs", "--no-log-file", "--silent"),
        cwd=HOME / "node",
    )
    for name in ("package.json", "tsconfig.json"):
        shutil.copy(HERE / "typescript" / name, folder)
    tools.run(*tools.node_program("tsc"), "--project", folder)


def _java(folder: Path) -> None:
    tools.python()
    tools.run(
        *(tools.java_program("java"), "-jar", tools.java_generator(), "generate"),
        *("-c", HERE / "java.yaml", "-i", DOCUMENT, "-o", folder),
    )


GENERATORS: Final[dict[str, tuple[Callable[[Path], None], tuple[str, ...]]]] = {
    "python": (_python, ("python.yaml", "requirements.lock")),
    "typescript": (_typescript, ("package-lock.json", "typescript")),
    "java": (_java, ("java.yaml", "requirements.lock")),
}
"""For each language, what generates, and the files beside the description that decide what comes out."""


def generate(language: str) -> Path:
    """The folder of an SDK, made anew if the description or the generator changed since.

    Raises:
        NotHere: this machine cannot run the generator.
        RuntimeError: the generator failed, or warned.
    """
    make, inputs = GENERATORS[language]
    folder = SDK / language
    mark = tools.digest(DOCUMENT, Path(__file__), *(HERE / name for name in inputs))
    with tools.alone():
        if not tools.is_made_from(folder, mark):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            make(folder)
            tools.set_mark(folder, mark)
    return folder


def main(languages: list[str]) -> int:
    """Make the SDKs that are named, or all; skip those that this machine cannot make, and say why."""
    for language in languages or list(GENERATORS):
        try:
            print(f"{language}: {generate(language).relative_to(ROOT)}")  # noqa: T201 - a command's answer
        except NotHere as reason:
            print(f"{language}: skipped: {reason}")  # noqa: T201 - as above
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
