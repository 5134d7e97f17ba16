"""A child that dies with its parent, whatever killed the parent.

Linux has it in the kernel: PR_SET_PDEATHSIG, a signal for the child when the thread that forked it ends. Other systems
have nothing like it: there only the watcher's pipe ends Redis, and Redis outlives a watcher that is killed by force
until the service, which notices at once, kills it too.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1


def dying_with_parent() -> Callable[[], None]:
    """What the child has to call between fork and exec (`preexec_fn`); the caller MUST have one thread only.

    Whatever needs the import lock or a lock of malloc's is done here, before the fork.
    """
    parent = os.getpid()
    if sys.platform != "linux":
        return _nothing
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def bind() -> None:
        # SIGKILL: a Redis that hangs in a script would not heed SIGTERM. What it answered is with the kernel by then.
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # the parent died before the line above
            os._exit(1)

    return bind


def _nothing() -> None:
    pass
