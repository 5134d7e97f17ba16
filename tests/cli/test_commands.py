from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

from tests.cli.conftest import ROOT, Run
from tests.client.fake_pages import PAGE_SIZE
from tests.client.fake_service import FakeService

NOISE = os.urandom(PAGE_SIZE)


def test_import_and_export(pagepool: Run, tmp_path: Path, mixed_pages: bytes) -> None:
    """A file goes in and comes out the same; both commands end with a summary of kinds, rate and ratio."""
    (tmp_path / "in").write_bytes(mixed_pages)
    imported = pagepool("import", "in", "--type", 3, "--offset", 1000)
    assert (imported.returncode, imported.stderr) == (0, "")
    first, kinds, ratio = imported.stdout.splitlines()
    assert first.startswith("1,500 pages (5.9 MiB) into type 3 at offset 1000, ")
    assert first.endswith(" pages/s")
    assert kinds.startswith("zero ")
    assert "incompressible" in kinds
    assert "the type now holds 5.9 MiB in" in ratio
    exported = pagepool("export", "out", "--type", 3)
    assert (exported.returncode, exported.stderr) == (0, "")
    assert exported.stdout.startswith("1,500 pages (5.9 MiB) from type 3 at offset 1000, ")
    assert (tmp_path / "out").read_bytes() == mixed_pages


def test_pipes(pagepool: Run, mixed_pages: bytes) -> None:
    """A file named - is standard input or output; then the summary does not stand among the pages."""
    data = mixed_pages[: 40 * PAGE_SIZE]
    assert pagepool("import", "-", "--type", 3, stdin=data).returncode == 0
    exported = pagepool("export", "-", "--type", 3, text=False)
    assert exported.stdout == data
    assert "40 pages" in exported.stderr


def test_a_file_that_is_not_whole_pages(pagepool: Run, tmp_path: Path) -> None:
    """A file that ends within a page is refused in words, and taken with --pad."""
    (tmp_path / "in").write_bytes(NOISE + b"tail")
    refused = pagepool("import", "in", "--type", 3)
    assert refused.returncode == 1
    assert refused.stderr == "pagepool: 4100 bytes are not a whole number of pages of 4096: 4 bytes are left over.\n"
    assert pagepool("import", "in", "--type", 3, "--pad", "--quiet").stdout == ""


def test_absent_pages(pagepool: Run, fake: FakeService, tmp_path: Path) -> None:
    """An export of absent pages is refused, names them, and takes them for zeros with --missing zero."""
    fake.pages[3] = {0: NOISE, 2: NOISE}
    refused = pagepool("export", "out", "--type", 3)
    assert refused.returncode == 1
    assert refused.stderr == "pagepool: Page missing: Pages of type 3 are absent: 1. [page_missing]\n"
    assert not (tmp_path / "out").exists()
    assert "absent 1 (33.3 %)" in pagepool("export", "out", "--type", 3, "--missing", "zero").stdout
    assert (tmp_path / "out").read_bytes() == NOISE + bytes(PAGE_SIZE) + NOISE


def test_a_service_that_is_not_there(pagepool: Run, tmp_path: Path) -> None:
    """No service: one line that says where it was looked for, and exit status 2."""
    for command in (("stats",), ("import", "in", "--type", "1"), ("export", "out", "--type", "1"), ("top", "--once")):
        (tmp_path / "in").write_bytes(NOISE)
        ended = pagepool(*command, PAGEPOOL_URL="http://127.0.0.1:1")
        assert ended.returncode == 2
        assert ended.stderr.startswith("pagepool: No Pagepool service answers at http://127.0.0.1:1 (")
        assert ended.stderr.count("\n") == 1


def test_where_the_service_is_looked_for(pagepool: Run, tmp_path: Path) -> None:
    """Without --url it is where the settings, of the environment or of .env, would make it listen."""
    assert "at http://[::1]:1 (" in pagepool("stats", PAGEPOOL_URL="", PAGEPOOL_HOST="::", PAGEPOOL_PORT="1").stderr
    (tmp_path / ".env").write_text(f"PAGEPOOL_UDS={tmp_path}/x.sock\n")
    assert f"at unix:{tmp_path}/x.sock (" in pagepool("stats", PAGEPOOL_URL="").stderr
    bad = pagepool("stats", "--url", "localhost:1")
    assert (bad.returncode, "is not an address" in bad.stderr) == (2, True)


def test_problems(pagepool: Run, fake: FakeService, tmp_path: Path) -> None:
    """What the service refuses is told as title, detail and code, and how far an import came."""
    fake.max_pages = 600
    fake.parameters["enabled"] = False
    (tmp_path / "in").write_bytes(NOISE * 5)
    refused = pagepool("import", "in", "--type", 3)
    assert refused.returncode == 1
    assert refused.stderr == (
        "pagepool: stores_disabled: stores_disabled [stores_disabled]\n"
        "  The 0 pages from 0 on were stored; of those after them, some may be.\n"
    )


def test_tokens(pagepool: Run, fake: FakeService, tmp_path: Path) -> None:
    """The token comes from the environment or a file, never from the command line."""
    fake.token = "secret"
    assert "[unauthorized]" in pagepool("stats").stderr
    assert pagepool("stats", PAGEPOOL_TOKEN="secret").returncode == 0
    (tmp_path / "token").write_text("secret\n")
    assert pagepool("stats", "--token-file", "token").returncode == 0


def test_stats(pagepool: Run, fake: FakeService) -> None:
    """Numbers for people, or with --json for programs."""
    fake.pages[3] = {0: bytes(PAGE_SIZE), 1: NOISE}
    shown = pagepool("stats").stdout
    assert "2 pages, 8.0 KiB in 4.0 KiB" in shown
    assert "zero 1 (50.0 %)" in shown
    both = json.loads(pagepool("stats", "--json").stdout)
    assert both["pool"]["stored_pages"] == 2
    assert [type_["type"] for type_ in both["types"]] == [3]


def test_map(pagepool: Run, fake: FakeService) -> None:
    """Without colours the map is letters: what most of a cell's pages are."""
    fake.pages[3] = {5: bytes(PAGE_SIZE), 6: b"12345678" * 512, 7: b"text" * 1024, 8: NOISE, 10: NOISE}
    head, cells, legend = pagepool("map", "--type", 3).stdout.splitlines()
    assert head == "type 3, pages 5 to 10; a cell is 1 page"
    assert cells == "0==#.#"
    assert "# raw" in legend
    empty = pagepool("map", "--type", 4)
    assert (empty.returncode, empty.stderr) == (1, "pagepool: type 4 holds no page there.\n")


def test_top_once(pagepool: Run, fake: FakeService) -> None:
    """`top --once` prints one picture and ends."""
    fake.pages[3] = {0: bytes(PAGE_SIZE), 1: NOISE}
    shown = pagepool("top", "--once", "--interval", "0.2").stdout
    assert "2 pages" in shown
    assert "stores" in shown


def test_advise(pagepool: Run, tmp_path: Path, mixed_pages: bytes) -> None:
    """A file is weighed without a service: kinds, compressors, the limit to set, and a drawing."""
    (tmp_path / "in").write_bytes(mixed_pages)
    advice = pagepool("advise", "in", "--plot", "sizes.svg", PAGEPOOL_URL="")
    assert advice.returncode == 0, advice.stderr
    assert advice.stdout.startswith("1,500 pages of 4096 bytes, 5.9 MiB\nzero ")
    assert "PAGEPOOL_MAX_POOL_BYTES=" in advice.stdout
    assert {"lz4", "lz4hc", "zstd"} <= {line.split()[0] for line in advice.stdout.splitlines()}
    assert (tmp_path / "sizes.svg").read_text().startswith("<svg ")


def test_token_new(pagepool: Run) -> None:
    """A token is shown once, and its entry holds only its digest; what is printed is valid TOML as a whole."""
    shown = pagepool("token", "new", "--name", 'the "CI"', "--role", "write", "--types", "1,5-9").stdout
    (entry,) = tomllib.loads(shown)["tokens"]
    secret = shown.splitlines()[1].removeprefix("# ")
    assert entry == {
        "name": 'the "CI"',
        "sha256": hashlib.sha256(secret.encode()).hexdigest(),
        "role": "write",
        "types": [1, "5-9"],
    }
    for types in ("1..5", "5-1"):
        assert pagepool("token", "new", "--name", "x", "--role", "write", "--types", types).returncode == 2


def test_bad_settings(pagepool: Run) -> None:
    """Settings that are wrong are named as the operator wrote them, one line each; secrets are not repeated."""
    refused = pagepool("serve", PAGEPOOL_PORT="many", PAGEPOOL_PAGE_SIZE="5000", PAGEPOOL_REDIS_TIMEOUT="0")
    assert refused.returncode == 2
    first, second, third = refused.stderr.splitlines()
    assert first.startswith("pagepool: PAGEPOOL_PORT: ")
    assert first.endswith("(it is 'many')")
    assert second.strip().startswith("PAGEPOOL_REDIS_TIMEOUT: ")
    assert third.strip() == "PAGEPOOL_PAGE_SIZE: must be a power of two (it is '5000')"


def test_openapi(pagepool: Run, tmp_path: Path) -> None:
    """The API's description is written without a service or a Redis, and --check says when a file is out of date."""
    assert pagepool("openapi", "--check").returncode == 1
    assert pagepool("openapi").returncode == 0
    assert json.loads((tmp_path / "openapi/openapi.json").read_text())["openapi"].startswith("3.1")
    assert pagepool("openapi", "--check").returncode == 0


def test_repair_wants_a_word(pagepool: Run) -> None:
    """Nothing is given up without --accept-loss."""
    assert pagepool("repair").returncode == 2


def test_a_reader_that_stops(pagepool: Run) -> None:
    """`pagepool stats --json | head` ends without a traceback, however early the reader stops."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    ended = pagepool("stats", "--json", stdout=write_end)
    os.close(write_end)
    assert "Traceback" not in ended.stderr


def test_ctrl_c(fake: FakeService) -> None:
    """It ends a command at once, without a word, and not with the status of a failure."""
    # pytest's workers ignore the signal, and so would what they start.
    heeding = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); import app.cli; app.cli.main()"
    command = [sys.executable, "-c", heeding, "import", "-", "--type", "1", "--url", fake.url]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(bytes(1 << 20))  # more than a pipe holds: when it is taken, the import has begun
        process.stdin.flush()
        process.send_signal(signal.SIGINT)
        process.stdin.close()  # a signal that comes just before a read is seen when that ends
        assert process.stderr.read() == b""
        assert process.wait(60) == 130


def test_sigterm(fake: FakeService, tmp_path: Path) -> None:
    """An export that is ended leaves neither its file nor half of it, and does not wait for a service that hangs."""
    fake.pages[3] = {0: NOISE}
    fake.is_stalled = True
    command = [sys.executable, "-m", "app.cli", "export", str(tmp_path / "out"), "--type", "3", "--url", fake.url]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE) as process:
        while not any("/v1/frames" in request for request in fake.requests):
            assert process.poll() is None
            time.sleep(0.005)
        assert len(list(tmp_path.iterdir())) == 1
        process.terminate()
        assert process.wait(25) == 128 + signal.SIGTERM  # less than one attempt has
        assert process.stderr is not None
        assert process.stderr.read() == b""
    fake.is_stalled = False
    assert list(tmp_path.iterdir()) == []


def test_standard_output_goes_on(pagepool: Run, tmp_path: Path, mixed_pages: bytes) -> None:
    """`{ pagepool export -; …; } > file` and `>> file` write one after the other, by any of its names."""
    data = mixed_pages[: 40 * PAGE_SIZE]
    pagepool("import", "-", "--type", 3, stdin=data)
    path = tmp_path / "out"
    for mode in ("wb", "ab"):
        with path.open(mode, buffering=0) as file:
            for name in ("-", "/dev/stdout"):
                pagepool("export", name, "--type", 3, stdout=file.fileno())
            os.write(file.fileno(), b"end")
    assert path.read_bytes() == (data + data + b"end") * 2


def test_nowhere_to_write(pagepool: Run, mixed_pages: bytes) -> None:
    """A full disk is one line and a status, of every command, also where it shows only at the last moment."""
    pagepool("import", "-", "--type", 3, stdin=mixed_pages)
    for command in (
        "stats",
        "stats --json",
        "export - --type 3",
        "map --type 3",
        "--help",
        "token new --name x --role read",
    ):
        with Path("/dev/full").open("wb") as full:
            ended = pagepool(*command.split(), stdout=full.fileno())
        assert (command, ended.returncode, ended.stderr.splitlines()[-1:]) == (
            command,
            1,
            ["pagepool: No space left on device"],
        )


@pytest.mark.parametrize(("command", "closed"), [("export", 1), ("import", 0)])
def test_closed_streams(fake: FakeService, command: str, closed: int) -> None:
    """A stream that is closed is said to be."""
    shell = f'exec "{sys.executable}" -m app.cli {command} - --type 1 --url {fake.url} {closed}>&-'
    ended = subprocess.run(["sh", "-c", shell], cwd=ROOT, stderr=subprocess.PIPE, timeout=60, check=False)
    assert ended.returncode == 2
    assert ended.stderr.endswith(b"put is closed.\n")


def test_without_standard_error(fake: FakeService) -> None:
    """What would be said there is said nowhere, least of all among the pages."""
    fake.pages[3] = {0: NOISE}
    for type_, status, written in ((3, 0, NOISE), (99, 1, b"")):
        shell = f'exec "{sys.executable}" -m app.cli export - --type {type_} --url {fake.url} 2>&-'
        ended = subprocess.run(["sh", "-c", shell], cwd=ROOT, stdout=subprocess.PIPE, timeout=60, check=False)
        assert (ended.returncode, ended.stdout) == (status, written)


def test_settings_that_are_wrong(pagepool: Run) -> None:
    """They are told by name, also where they only say where the service listens."""
    ended = pagepool("stats", PAGEPOOL_URL="", PAGEPOOL_PORT="abc")
    assert (ended.returncode, ended.stderr.splitlines()[0][:24]) == (2, "pagepool: PAGEPOOL_PORT:")


def test_values_that_are_none(pagepool: Run, tmp_path: Path) -> None:
    """Numbers, addresses and tokens that cannot be meant are refused before anything is asked."""
    (tmp_path / "token").write_bytes(b"\xff\xfe")
    for arguments in (
        ["import", "-", "--type", "1", "--offset", str(1 << 64)],
        ["export", "-", "--type", "1", "--offset", str(1 << 64)],
        ["map", "--type", "1", "--from", str(1 << 64)],
        ["stats", "--url", "http://[::1"],
        ["stats", "--url", "http://a..b:1"],
        ["stats", "--url", "http://user:word@localhost:1"],
        ["stats", "--token-file", "token"],
    ):
        ended = pagepool(*arguments)
        assert (arguments, ended.returncode, "Traceback" in ended.stderr) == (arguments, 2, False)


def test_no_number_of_seconds(pagepool: Run) -> None:
    """NaN and infinity are refused like any wrong value."""
    for interval in ("nan", "inf"):
        run = pagepool("top", "--once", "--interval", interval)
        assert (run.returncode, "--interval" in run.stderr, "Traceback" in run.stderr) == (2, True, False)


def test_help(pagepool: Run) -> None:
    """Help names every command."""
    shown = pagepool("--help").stdout
    for command in ("serve", "import", "export", "stats", "top", "map", "advise", "audit", "openapi", "token"):
        assert f" {command} " in shown
