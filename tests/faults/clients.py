"""Clients that do random things to a few pages and take down what they were answered."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.faults.history import ZERO, Address, Event, History, Value, What, value_of
from tests.harness import pages

PAGE_SIZE = 4096
ADDRESSES: tuple[Address, ...] = (
    *((1, offset) for offset in range(61, 68)),  # over the edge of a chunk
    *((2, 64 * 64 * 3 + offset) for offset in range(-2, 3)),  # over the edge of a run, so of a stripe
    *((3, offset) for offset in range(3)),
    (2**31 - 1, (1 << 63) // PAGE_SIZE - 1),  # the last address of all
)
EXTENTS: tuple[tuple[Address, int], ...] = (((1, 61), 7), ((1, 62), 3), ((2, 64 * 64 * 3 - 2), 5), ((3, 0), 3))

NOBODY_LISTENS_SECONDS = 40.0
"""Without a connection for so long the service is taken for gone: more than a restart takes on a busy machine."""

Answer = tuple[int, dict[str, str], bytes]


class NobodyListens(Exception):
    """The service takes no connection any more."""


@dataclass
class Tally:
    """What came of all requests."""

    answers: Counter[str] = field(default_factory=Counter)
    """By status and code; `none`: the connection ended without one."""
    wrong: list[str] = field(default_factory=list)
    """Answers that must never be."""
    late: list[str] = field(default_factory=list)
    """Answers that took too long, or did not come at all."""

    @property
    def total(self) -> int:
        """Requests in all."""
        return sum(self.answers.values())

    @property
    def done(self) -> int:
        """Requests that succeeded, or found nothing."""
        return sum(count for name, count in self.answers.items() if name[0] == "2" or name.startswith("404"))


class Clients:
    """Some clients, each with a connection of its own, on one event loop in a thread of its own.

    `start` and `stop` are for the thread of a test; `stop` returns once nothing is in flight.
    """

    def __init__(self, host: str, port: Callable[[], int], *, count: int = 6, answer_seconds: float, seed: int) -> None:
        """`port` is asked at every connection; `answer_seconds` bounds every answer."""
        self.history = History()
        self.tally = Tally()
        self._host = host
        self._port = port
        self._count = count
        self._answer_seconds = answer_seconds
        self._chance = random.Random(seed)
        self._serial = itertools.count(seed * 1_000_000 + 1)
        self._is_ending = False
        self._thread: threading.Thread | None = None
        self.crashed: list[BaseException] = []

    def start(self) -> None:
        """Let them begin."""
        self._is_ending = False
        self._thread = threading.Thread(target=self._run, name="clients", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Let all end what they are doing."""
        assert self._thread is not None
        self._is_ending = True
        self._thread.join(60)
        assert not self._thread.is_alive(), "a client hangs"
        if self.crashed:
            raise self.crashed[0]

    def read_all(self) -> None:
        """Load every page, one after another; each must be answered."""
        asyncio.run(self._read_all())

    def _run(self) -> None:
        async def all_clients() -> None:
            await asyncio.gather(*(self._client(random.Random(self._chance.random())) for _ in range(self._count)))

        try:
            asyncio.run(all_clients())
        except BaseException as error:  # noqa: BLE001  told to the test's thread
            self.crashed.append(error)

    async def _client(self, chance: random.Random) -> None:
        async with contextlib.AsyncExitStack() as stack:
            client = _Client(self, chance)
            stack.push_async_callback(client.close)
            while not self._is_ending:
                await client.act()

    async def _read_all(self) -> None:
        client = _Client(self, self._chance)
        try:
            for address in ADDRESSES:
                await client.load(address)
        finally:
            await client.close()

    def new_page(self) -> bytes:
        """A page that no other store has, of any kind but zero; now and then the zero page."""
        serial = next(self._serial)
        kind = serial % 9
        if kind == 0:
            return bytes(PAGE_SIZE)
        if kind < 3:
            return pages.same(serial.to_bytes(8, "little"))
        if kind < 6:
            return random.Random(serial).randbytes(PAGE_SIZE)
        return (b"page number %d, in words; " % serial * 200)[:PAGE_SIZE]

    @property
    def answer_seconds(self) -> float:
        """The bound on every answer."""
        return self._answer_seconds

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to the service, wherever it listens now."""
        return await asyncio.open_connection(self._host, self._port())


class _Client:
    """One client: one request at a time."""

    def __init__(self, clients: Clients, chance: random.Random) -> None:
        self._clients = clients
        self._chance = chance
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._actions: tuple[tuple[Callable[[], Coroutine[Any, Any, None]], int], ...] = (
            (self._store, 24),
            (lambda: self.load(self._any()), 30),
            (self._store_extent, 8),
            (self._load_extent, 10),
            (self._take, 8),
            (self._invalidate, 6),
            (self._create, 6),
            (self._invalidate_extent, 3),
            (self._zero, 3),
            (self._delete_type, 1),
            (self._write_image, 4),
        )

    async def act(self) -> None:
        """Do something."""
        [(action, _)] = self._chance.choices(self._actions, [weight for _, weight in self._actions])
        await action()

    def _any(self) -> Address:
        return self._chance.choice(ADDRESSES)

    async def close(self) -> None:
        """End the connection."""
        if self._streams is not None:
            self._streams[1].close()
            with contextlib.suppress(OSError):
                await self._streams[1].wait_closed()

    # What it does

    async def _store(self) -> None:
        await self._put([self._any()], [self._clients.new_page()])

    async def _store_extent(self) -> None:
        (type_, offset), count = self._chance.choice(EXTENTS)
        await self._put([(type_, offset + n) for n in range(count)], [self._clients.new_page() for _ in range(count)])

    async def _put(self, addresses: Sequence[Address], bodies: Sequence[bytes]) -> None:
        began, ended, answer = await self._ask("PUT", _path(addresses[0]), b"".join(bodies))
        values = [value_of(body) for body in bodies]
        if answer is None:
            self._unknown(began, ended, addresses, values, answer)
            return
        status, _, body = answer
        problem = {} if status == 204 else json.loads(body)
        previous = problem.get("previous")
        if status == 204 or previous == "invalidated":
            gone = set()
            if previous == "invalidated":
                first, count = addresses[0][1], len(addresses)
                runs = problem.get("rejected", [[first, count]])
                gone = {offset for start, length in runs for offset in range(start, start + length)}
            for address, value in zip(addresses, values, strict=True):
                if address[1] in gone:
                    self._add(address, Event(began, ended, What.INVALIDATE, note=problem["code"]))
                else:
                    self._add(address, Event(began, ended, What.STORE, value))
        elif previous == "unknown":
            self._unknown(began, ended, addresses, values, answer)
        elif previous != "kept" or status != 503:
            self._wrong("PUT", answer)

    async def _create(self) -> None:
        address, page = self._any(), self._clients.new_page()
        began, ended, answer = await self._ask("PUT", _path(address), page, "If-None-Match: *")
        status, code, previous = _outcome(answer)
        if status == 204:
            self._add(address, Event(began, ended, What.CREATE, value_of(page)))
        elif status == 412:
            self._add(address, Event(began, ended, What.PRESENT))
        elif previous == "invalidated":
            # The condition held, and the page was refused: nothing is there.
            self._add(address, Event(began, ended, What.INVALIDATE, note=code))
        elif answer is None or previous == "unknown":
            self._unknown(began, ended, [address], [value_of(page)], answer)
        elif previous != "kept" or status != 503:
            self._wrong("PUT if none", answer)

    async def load(self, address: Address) -> None:
        """Load a page."""
        began, ended, answer = await self._ask("GET", _path(address))
        status, _, _ = _outcome(answer)
        if answer is not None and status == 200:
            self._add(address, Event(began, ended, What.LOAD, value_of(answer[2])))
        elif status == 404:
            self._add(address, Event(began, ended, What.LOAD, None))
        elif answer is not None and status != 503:
            self._wrong("GET", answer)

    async def _load_extent(self) -> None:
        (type_, first), count = self._chance.choice(EXTENTS)
        began, ended, answer = await self._ask("GET", f"{_path((type_, first))}?count={count}&missing=zero")
        if answer is None or answer[0] == 503:
            return
        status, headers, body = answer
        if status != 200 or len(body) != count * PAGE_SIZE:
            self._wrong("GET extent", answer)
            return
        missing = _span_offsets(headers.get("page-missing", ""))
        for place in range(count):
            page = body[place * PAGE_SIZE : (place + 1) * PAGE_SIZE]
            found = None if first + place in missing else value_of(page)
            if found is None and page.strip(b"\0"):
                self._wrong("GET extent, a missing page that is not zeros", answer)
            self._add((type_, first + place), Event(began, ended, What.LOAD, found))

    async def _take(self) -> None:
        address = self._any()
        began, ended, answer = await self._ask("POST", _path(address) + "/take", b"")
        status, code, _ = _outcome(answer)
        if answer is not None and status == 200:
            self._add(address, Event(began, ended, What.TAKE, value_of(answer[2])))
        else:
            self._removed(address, began, ended, answer, "take", code)

    async def _invalidate(self) -> None:
        address = self._any()
        began, ended, answer = await self._ask("DELETE", _path(address))
        status, code, _ = _outcome(answer)
        if status == 204:
            self._add(address, Event(began, ended, What.REMOVE))
        else:
            self._removed(address, began, ended, answer, "DELETE", code)

    def _removed(
        self, address: Address, began: float, ended: float, answer: Answer | None, call: str, code: str
    ) -> None:
        if answer is None or (answer[0] == 503 and code != "overloaded"):
            is_answered = answer is not None
            self._add(address, Event(began, ended, What.UNKNOWN_REMOVE, is_answered=is_answered, note=call))
        elif answer[0] == 404:
            self._add(address, Event(began, ended, What.LOAD, None, note=call))
        elif answer[0] != 503:
            self._wrong(call, answer)

    async def _invalidate_extent(self) -> None:
        (type_, first), count = self._chance.choice(EXTENTS)
        asked = await self._ask("DELETE", f"{_path((type_, first))}?count={count}")
        self._removed_all([(type_, first + place) for place in range(count)], *asked, "DELETE extent", 200)

    async def _delete_type(self) -> None:
        type_ = self._chance.choice([1, 2, 3])
        asked = await self._ask("DELETE", f"/v1/types/{type_}")
        self._removed_all([address for address in ADDRESSES if address[0] == type_], *asked, "DELETE type", 204)

    def _removed_all(
        self, addresses: list[Address], began: float, ended: float, answer: Answer | None, call: str, success: int
    ) -> None:
        if answer is not None and answer[0] not in {success, 503}:
            self._wrong(call, answer)
            return
        for address in addresses:
            if answer is not None and answer[0] == success:
                self._add(address, Event(began, ended, What.INVALIDATE, note=call))
            else:
                # Some pages may be gone and others not, so `overloaded` is no more than any other failure here.
                is_answered = answer is not None
                self._add(address, Event(began, ended, What.UNKNOWN_REMOVE, is_answered=is_answered, note=call))

    async def _zero(self) -> None:
        (type_, first), count = self._chance.choice(EXTENTS)
        addresses = [(type_, first + place) for place in range(count)]
        body = json.dumps({"extents": [[first, count]]}).encode()
        asked = await self._ask("POST", f"/v1/pages/{type_}/zero", body, media_type="application/json")
        began, ended, answer = asked
        status, code, previous = _outcome(answer)
        if answer is not None and (status == 200 or previous == "invalidated"):
            what, value = (What.STORE, ZERO) if status == 200 else (What.INVALIDATE, None)
            for address in addresses:
                self._add(address, Event(began, ended, what, value, note="zero"))
        elif answer is None or status == 503:
            if code != "overloaded":
                self._unknown(began, ended, addresses, [ZERO] * count, answer)
        else:
            self._wrong("zero", answer)

    async def _write_image(self) -> None:
        """Write one whole page of type 3 as an image; what fails leaves it old or new."""
        offset = self._chance.randrange(3)
        address, page = (3, offset), self._clients.new_page()
        if not any(page):
            return  # zeros over a hole leave a hole, so they may be stored or not
        span = f"Content-Range: bytes {offset * PAGE_SIZE}-{(offset + 1) * PAGE_SIZE - 1}/*"
        began, ended, answer = await self._ask("PUT", "/v1/types/3/image", page, span)
        status, code, previous = _outcome(answer)
        if status == 204:
            self._add(address, Event(began, ended, What.STORE, value_of(page), note="image"))
        elif code == "no_image":
            body = b'{"image_bytes": 12288}'
            await self._ask("PUT", "/v1/types/3", body, media_type="application/json")
        elif answer is None or previous == "unknown":
            self._unknown(began, ended, [address], [value_of(page)], answer)
        elif previous != "kept" or status not in {503, 507}:
            self._wrong("PUT image", answer)

    # Taking down

    def _add(self, address: Address, event: Event) -> None:
        self._clients.history.add(address, event)

    def _unknown(
        self, began: float, ended: float, addresses: Sequence[Address], values: Sequence[Value], answer: Answer | None
    ) -> None:
        for address, value in zip(addresses, values, strict=True):
            self._add(address, Event(began, ended, What.UNKNOWN_STORE, value, is_answered=answer is not None))

    def _wrong(self, call: str, answer: Answer) -> None:
        status, headers, body = answer
        shown = body[:400] if headers.get("content-type", "").endswith("json") else b"%d bytes" % len(body)
        self._clients.tally.wrong.append(f"{call}: {status} {shown!r}")

    # HTTP

    async def _ask(
        self, method: str, path: str, body: bytes | None = None, *headers: str, media_type: str | None = None
    ) -> tuple[float, float, Answer | None]:
        """One request: when it began and ended, and its answer; None where the connection ended without one."""
        lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *headers]
        if body is not None:
            lines += [f"Content-Type: {media_type or 'application/octet-stream'}", f"Content-Length: {len(body)}"]
        data = "\r\n".join(lines).encode() + b"\r\n\r\n" + (body or b"")
        reader, writer = await self._connected()
        clients = self._clients
        began = time.monotonic()
        answer: Answer | None = None
        name = "none"
        try:
            async with asyncio.timeout(clients.answer_seconds):
                writer.write(data)
                await writer.drain()
                answer = await _read_answer(reader)
        except TimeoutError:
            clients.tally.late.append(f"{method} {path}: no answer within {clients.answer_seconds} s")
        except (OSError, EOFError, asyncio.IncompleteReadError):
            pass
        ended = time.monotonic()
        if answer is None:
            self._streams = None
            writer.transport.abort()
        else:
            status, code, _ = _outcome(answer)
            name = f"{status} {code}".rstrip()
            if answer[1].get("connection") == "close":
                self._streams = None
                writer.close()
        clients.tally.answers[name] += 1
        if answer is None or answer[0] == 503:
            await asyncio.sleep(0.01 + self._chance.random() * 0.03)  # a client backs off
        return began, ended, answer

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        deadline = time.monotonic() + NOBODY_LISTENS_SECONDS
        while self._streams is None:
            try:
                self._streams = await self._clients.connect()
            except OSError as error:
                if time.monotonic() > deadline:
                    raise NobodyListens(f"no connection for {NOBODY_LISTENS_SECONDS} s: {error}") from error
                await asyncio.sleep(0.02)
        return self._streams


def _path(address: Address) -> str:
    return f"/v1/pages/{address[0]}/{address[1]}"


async def _read_answer(reader: asyncio.StreamReader) -> Answer:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    status = int(head[0].split()[1])
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:]) if name}
    body = await reader.readexactly(int(headers.get("content-length", 0))) if status not in {204, 304} else b""
    return status, headers, body


def _outcome(answer: Answer | None) -> tuple[int, str, str | None]:
    """Status, and code and `previous` of a problem."""
    if answer is None:
        return 0, "", None
    status, headers, body = answer
    if not headers.get("content-type", "").startswith("application/problem+json"):
        return status, "", None
    problem = json.loads(body)
    return status, problem["code"], problem.get("previous")


def _span_offsets(text: str) -> set[int]:
    """The offsets that `Page-Missing` lists."""
    found: set[int] = set()
    for span in filter(None, text.split(", ")):
        first, _, last = span.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return found
