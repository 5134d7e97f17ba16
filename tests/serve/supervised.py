"""A service run by the supervisor, with the tiny application, as a process of its own."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.embedded.processes import descendants, is_running, pids_of
from tests.harness.redis_server import until

RUN = """
import sys
from app.serve.supervisor import run
from app.settings import Settings
sys.exit(run(Settings(_env_file=None), application=sys.argv[1]))
"""
SECONDS = 30.0
"""What a machine under load may take for anything here; nothing waits that long when all is well."""


class Supervised:
    """Starts on construction; `wait_until_up` returns once it says where it listens."""

    def __init__(self, directory: Path, application: str = "create_app", **settings: str) -> None:
        self.directory = directory
        self.application = application
        directory.mkdir(exist_ok=True)
        values = {"port": "0", "data_dir": str(directory / "home"), "door": "asgi", **settings}
        self.home = Path(values["data_dir"])
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PAGEPOOL_")},
            **{f"PAGEPOOL_{name.upper()}": value for name, value in values.items()},
        }
        self.start()

    def start(self) -> None:
        with (self.directory / "output").open("w") as output, (self.directory / "errors").open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-c", RUN, f"tests.serve.tiny_application:{self.application}"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                env=self.environment,
                start_new_session=True,  # so that a test can send its group what a terminal would
            )

    @property
    def output(self) -> str:
        return (self.directory / "output").read_text()

    @property
    def errors(self) -> str:
        return (self.directory / "errors").read_text()

    def wait_until_up(self) -> Self:
        until(
            lambda: self.output.endswith("\n") or self.process.poll() is not None, SECONDS, "the service says it is up"
        )
        assert self.process.poll() is None, self.errors
        return self

    @property
    def address(self) -> str:
        return self.output.split()[3].rstrip(",")

    def connect(self) -> http.client.HTTPConnection:
        if self.address.startswith("unix:"):
            connection = http.client.HTTPConnection("localhost", timeout=SECONDS)
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.settimeout(SECONDS)
            connection.sock.connect(self.address.removeprefix("unix:"))
            return connection
        host, _, port = self.address.removeprefix("http://").rpartition(":")
        return http.client.HTTPConnection(host, int(port), timeout=SECONDS)

    def get(self, path: str = "/") -> dict[str, Any]:
        connection = self.connect()
        try:
            connection.request("GET", path)
            answer: dict[str, Any] = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        return answer

    def family(self) -> dict[int, str]:
        """Every process below the supervisor, by pid."""
        return descendants(self.process.pid)

    def pids(self, word: str) -> list[int]:
        """The pids below the supervisor whose command line has this word."""
        return pids_of(self.family(), word)

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        return self.process.wait(SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        family = list(self.family())
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        until(lambda: not any(map(is_running, family)), SECONDS, "all processes of the service have ended")
