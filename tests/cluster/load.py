"""Clients that store, load and invalidate without pause, and know what every answer may be (contract 3.1 and 3.2).

Each address has one client, so what a load may give is known: the last store or invalidate that was acknowledged, or
any since then that was answered with a 503.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Self

import httpx

from tests.harness.area import OCTETS
from tests.harness.service import Service

PAGE = 4096
ADDRESSES = 40
"""Pages that one client works on: few, so that each is overwritten often."""


def page_of(type_: int, offset: int, version: int) -> bytes:
    """What a client stores: its address and version, in each page kind by turns; version 0 is none."""
    if version % 5 == 0:
        return bytes(PAGE)
    head = b"%d/%d/%d;" % (type_, offset, version)
    if version % 5 == 1:
        return random.Random(head).randbytes(PAGE)
    if version % 5 == 2:
        return random.Random(head).randbytes(8) * (PAGE // 8)
    return (head * (PAGE // len(head) + 1))[:PAGE]


@dataclass
class Address:
    """What may be found at an address."""

    version: int = 0
    acknowledged: bytes | None = None
    doubtful: list[bytes | None] = field(default_factory=list)

    def may_hold(self, found: bytes | None) -> bool:
        return found == self.acknowledged or found in self.doubtful


class Load:
    """Clients in threads, each with types of its own; `wrong` says what must not have been answered."""

    def __init__(self, service: Service, clients: int = 4, first_type: int = 1) -> None:
        self.service = service
        self.wrong: list[str] = []
        self.answers: Counter[str] = Counter()
        self.refused_at: list[float] = []
        self.refusals: Counter[str] = Counter()
        self.slowest = 0.0
        self.addresses: dict[tuple[int, int], Address] = {}
        self._is_over = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(first_type + client,), daemon=True) for client in range(clients)
        ]

    def _run(self, seed: int) -> None:
        chance = random.Random(seed)
        # Every eighth run of 4096 pages, so that one client's pages lie in many stripes.
        own = [(seed, place * 8 * 4096 + chance.randrange(64)) for place in range(ADDRESSES)]
        mine = {key: Address() for key in own}
        self.addresses |= mine
        with self.service.new_client() as client:
            while not self._is_over.is_set():
                type_, offset = chance.choice(own)
                try:
                    self._step(client, chance, type_, offset, mine[type_, offset])
                except httpx.TransportError as error:
                    self.wrong.append(f"{type_}/{offset}: {error!r}")
                    return

    def _step(self, client: httpx.Client, chance: random.Random, type_: int, offset: int, address: Address) -> None:
        path, action = f"/v1/pages/{type_}/{offset}", chance.random()
        began = time.monotonic()
        if action < 0.5:
            address.version += 1
            body = page_of(type_, offset, address.version)
            response = client.put(path, content=body, headers=OCTETS)
            self._note("store", response, {204}, address, body, began)
        elif action < 0.6:
            response = client.delete(path)
            self._note("invalidate", response, {204, 404}, address, None, began)
        else:
            self._look(client, type_, offset, address)
        self.slowest = max(self.slowest, time.monotonic() - began)

    def _note(
        self, what: str, response: httpx.Response, done: set[int], address: Address, new: bytes | None, began: float
    ) -> None:
        self.answers[f"{what} {response.status_code}"] += 1
        if response.status_code in done:
            address.acknowledged, address.doubtful = new, []
        elif response.status_code == 503 and "Retry-After" in response.headers:
            address.doubtful.append(new)
            self._refused(response, began)
        else:
            self.wrong.append(f"{what} of {response.url.path}: {response.status_code} {response.text}")

    def _look(self, client: httpx.Client, type_: int, offset: int, address: Address) -> None:
        began = time.monotonic()
        response = client.get(f"/v1/pages/{type_}/{offset}")
        self.answers[f"load {response.status_code}"] += 1
        if response.status_code == 503:
            self._refused(response, began)
            return
        found = response.content if response.status_code == 200 else None
        if response.status_code not in {200, 404} or not address.may_hold(found):
            self.wrong.append(f"load of {response.url.path}: {response.status_code} {response.content[:40]!r}")

    def _refused(self, response: httpx.Response, began: float) -> None:
        self.refused_at.append(began)
        self.refusals[response.json()["detail"]] += 1

    def outage(self, since: float) -> float:
        """Seconds after `since` (time.monotonic) at which the last request was begun that got a 503; 0 for none."""
        return max([moment - since for moment in self.refused_at if moment > since], default=0.0)

    def done(self) -> int:
        """Requests so far that were not refused."""
        return sum(count for what, count in self.answers.items() if " " in what and not what.endswith("503"))

    def look_at_all(self) -> None:
        """Load every address once, and hold it against what it may be; to be called when the clients have ended."""
        with self.service.new_client() as client:
            for (type_, offset), address in self.addresses.items():
                self._look(client, type_, offset, address)

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join(30)
        assert not any(thread.is_alive() for thread in self._threads)
