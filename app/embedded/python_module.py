"""How a child process runs a module of this very `app`.

`-P` keeps the working directory off the child's path: a service that is started from a project with its own folder
`app` would run that project's code otherwise. When this `app` was itself found through the working directory (uvicorn
adds it), the child finds it through PYTHONPATH.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path

import app

_ROOT = str(Path(app.__file__).resolve().parent.parent)


def module_command(module: str) -> list[str]:
    """The command line that runs `module`, without its arguments."""
    return [sys.executable, "-P", "-m", module]


def module_environment() -> dict[str, str]:
    """This process's environment, in which `module_command` finds this `app`."""
    environment = dict(os.environ)
    # PYTHONPATH stands before the standard library, where an installed package could shadow one of its modules.
    if _ROOT not in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        inherited = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = _ROOT + (os.pathsep + inherited if inherited else "")
    return environment
