"""Restore a snapshot lazily: a process runs at once, and its pages come from Pagepool as it touches them.

    pagepool import snapshot.bin --type 1
    python examples/lazy_restore.py --type 1      # cold: every first touch is a fault; the touched pages are recorded
    python examples/lazy_restore.py --type 1      # again: what was recorded comes first, in one load call

The guest, a process of its own as a virtual machine would be, maps a region and registers it with userfaultfd. The
handler serves its faults: a page of data is loaded and put in place with UFFDIO_COPY; a zero page, or one that the
snapshot lacks, with UFFDIO_ZEROPAGE, for which nothing is asked of the service: the allocation map told at the start.
Linux on x86-64 or arm64; exit status 77 where userfaultfd is not permitted.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import hashlib
import json
import mmap
import os
import random
import select
import signal
import socket
import struct
import sys
import time
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Final

from pagepool_client import Client
from pagepool_client.answers import Run

NOT_PERMITTED: Final = 77
SYSCALL: Final = {"x86_64": 323, "aarch64": 282}
USER_MODE_ONLY: Final = 1  # faults of user code alone, which needs no privilege
FLAGS: Final = os.O_CLOEXEC | os.O_NONBLOCK  # one that blocks cannot be polled
UFFD_API: Final = 0xAA
PARENT_DEATH_SIGNAL: Final = 1
REGISTER_MISSING: Final = 1
EVENT_PAGEFAULT: Final = 0x12


def _iowr(number: int, length: int) -> int:
    return 3 << 30 | length << 16 | UFFD_API << 8 | number


class UserFaultFd:
    """The three things that Linux does for us: wait for a fault, put a page there, put a zero page there.

    struct uffd_msg        u8 event · 15 bytes · u64 address · …                       32 bytes
    struct uffdio_copy     u64 to · u64 from · u64 length · u64 mode · s64 copied
    struct uffdio_zeropage u64 start · u64 length · u64 mode · s64 zeroed
    """

    API: Final = _iowr(0x3F, 24)
    REGISTER: Final = _iowr(0x00, 32)
    COPY: Final = _iowr(0x03, 40)
    ZEROPAGE: Final = _iowr(0x04, 32)
    NEW: Final = UFFD_API << 8  # on /dev/userfaultfd, where the system call is not permitted

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    @classmethod
    def open(cls) -> UserFaultFd:
        """A new one.

        Raises:
            PermissionError: the kernel, or its policy, does not let us.
        """
        if sys.platform != "linux" or os.uname().machine not in SYSCALL:
            raise PermissionError("userfaultfd is Linux's; this example knows x86-64 and arm64")
        descriptor: int = ctypes.CDLL(None, use_errno=True).syscall(SYSCALL[os.uname().machine], FLAGS | USER_MODE_ONLY)
        if descriptor < 0:
            reason = os.strerror(ctypes.get_errno())
            try:
                with Path("/dev/userfaultfd").open("rb") as device:
                    descriptor = fcntl.ioctl(device, cls.NEW, FLAGS)
            except OSError as error:
                raise PermissionError(f"userfaultfd is not permitted: {reason}; {error}") from None
        fcntl.ioctl(descriptor, cls.API, struct.pack("QQQ", UFFD_API, 0, 0))
        return cls(descriptor)

    def register(self, address: int, length: int) -> None:
        """Have faults of absent pages in this range told here."""
        fcntl.ioctl(self.descriptor, self.REGISTER, struct.pack("QQQQ", address, length, REGISTER_MISSING, 0))

    def next_fault(self) -> int:
        """The address that somebody waits for."""
        message = os.read(self.descriptor, 32)
        event, address = struct.unpack_from("=B15xQ", message)
        assert event == EVENT_PAGEFAULT  # noqa: S101 - no other event was asked for
        return int(address)

    def copy(self, address: int, data: bytes) -> None:
        """Put bytes in place, and wake who waits for them."""
        source = ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value
        assert source is not None  # noqa: S101 - a pointer to bytes is not null
        self._place(self.COPY, struct.pack("QQQQq", address, source, len(data), 0, 0))

    def zero(self, address: int, length: int) -> None:
        """The same with zeros."""
        self._place(self.ZEROPAGE, struct.pack("QQQq", address, length, 0, 0))

    def _place(self, request: int, argument: bytes) -> None:
        try:
            fcntl.ioctl(self.descriptor, request, argument)
        except FileExistsError:
            return  # two threads of the guest may wait for one page


@dataclass
class Restore:
    """The handler: where the guest's region lies, what the snapshot holds, and what happened."""

    client: Client
    type: int
    faults: UserFaultFd
    address: int
    data_starts: list[int]
    data_ends: list[int]
    touched: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    zero_faults: int = 0

    def is_data(self, page: int) -> bool:
        """Whether the snapshot has more than zeros here."""
        run = bisect_right(self.data_starts, page) - 1
        return run >= 0 and page < self.data_ends[run]

    def put(self, page: int, data: bytes | None) -> None:
        """A page in place; None: zeros."""
        size = self.client.page_size
        if data is None:
            self.faults.zero(self.address + page * size, size)
        else:
            self.faults.copy(self.address + page * size, data)

    def replay(self, working_set: list[int]) -> int:
        """Put recorded pages in place before anyone asks; how many load calls it took: one for max_extent_pages."""
        most = self.client.max_extent_pages
        zeros = bytes(self.client.page_size)
        starts = range(0, len(working_set), most)
        for start in starts:
            loaded = self.client.load_many(self.type, extents(working_set[start : start + most]))
            for page, data in loaded.pages():
                self.put(page, None if data == zeros else data)
            for page in (page for first, count in loaded.missing for page in range(first, first + count)):
                self.put(page, None)
        return len(starts)

    def serve(self, guest: socket.socket) -> dict[str, str]:
        """Serve faults until the guest says that it is done; what it says."""
        poll = select.poll()
        poll.register(self.faults.descriptor, select.POLLIN)
        poll.register(guest, select.POLLIN)
        while True:
            ready = [descriptor for descriptor, _ in poll.poll()]
            if self.faults.descriptor not in ready:
                line = guest.makefile().readline()
                if not line:
                    raise RuntimeError("The guest died.")
                answer: dict[str, str] = json.loads(line)
                return answer
            address = self.faults.next_fault()
            began = time.perf_counter()
            page = (address - self.address) // self.client.page_size
            if self.is_data(page):
                self.put(page, self.client.load(self.type, page))
            else:
                self.put(page, None)
                self.zero_faults += 1
            self.seconds.append(time.perf_counter() - began)
            self.touched.append(page)


def extents(pages: Iterable[int]) -> list[tuple[int, int]]:
    """Pages as `(offset, count)`, neighbours together."""
    runs = [
        [page for _, page in run] for _, run in groupby(enumerate(sorted(set(pages))), lambda each: each[1] - each[0])
    ]
    return [(run[0], len(run)) for run in runs]


def workload(pages: int, touches: int, seed: int) -> list[int]:
    """Pages that the guest touches, in order: runs here and there, as programs do."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    touched: list[int] = []
    while len(touched) < touches:
        start = chance.randrange(pages)
        touched += range(start, min(start + chance.randint(1, 8), pages))
    return touched[:touches]


def guest(handler: socket.socket, pages: int, page_size: int, touches: list[int], copy_to: Path | None) -> None:
    """The process that is restored: maps its memory, hands the faults to the handler, and goes to work."""
    ctypes.CDLL(None).prctl(PARENT_DEATH_SIGNAL, signal.SIGKILL)  # a fault that nobody serves waits for ever
    region = mmap.mmap(-1, pages * page_size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    address = ctypes.addressof(ctypes.c_char.from_buffer(region))
    try:
        faults = UserFaultFd.open()
        faults.register(address, len(region))
    except PermissionError as error:
        handler.sendall(json.dumps({"refused": str(error)}).encode() + b"\n")
        return
    socket.send_fds(handler, [json.dumps({"address": address}).encode()], [faults.descriptor])
    handler.recv(1)  # the replay, if there is one, is done
    began = time.perf_counter()
    digest = hashlib.sha256()
    for page in touches:
        digest.update(region[page * page_size : (page + 1) * page_size])
    seconds = time.perf_counter() - began
    if copy_to is not None:
        copy_to.write_bytes(region[:])  # a copy made in user mode, page by page, as the faults are
    handler.sendall(json.dumps({"seconds": str(seconds), "sha256": digest.hexdigest()}).encode() + b"\n")


def percentile(values: list[float], share: float) -> float:
    """In milliseconds."""
    return sorted(values)[min(int(len(values) * share), len(values) - 1)] * 1000 if values else 0.0


def main() -> int:
    """Run a guest, serve it, and say what it cost."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--token", default=os.environ.get("PAGEPOOL_TOKEN"))
    parser.add_argument("--type", type=int, required=True, help="where the snapshot is")
    parser.add_argument("--touches", type=int, default=512, help="pages that the guest touches")
    parser.add_argument("--seed", type=int, default=1, help="which ones")
    parser.add_argument("--working-set", type=Path, default=Path("working-set.json"), help="recorded and replayed")
    parser.add_argument("--copy-to", type=Path, help="have the guest write all its memory here at the end")
    options = parser.parse_args()
    with Client(options.url, token=options.token) as client:
        runs = list(client.allocation_runs(options.type))
        data = [run for run in runs if run.state == "data"]
        pages = max((run.offset + run.count for run in runs if run.state != "hole"), default=0)
        if not pages:
            print(f"Type {options.type} holds no page: pagepool import FILE --type {options.type}")
            return 1
        here, there = socket.socketpair()
        touches = workload(pages, options.touches, options.seed)
        child = os.fork()
        if child == 0:
            here.close()
            guest(there, pages, client.page_size, touches, options.copy_to)
            os._exit(0)
        there.close()
        try:
            return restore(client, options, data, here)
        finally:
            os.kill(child, signal.SIGKILL)  # without a handler it would wait for ever
            os.waitpid(child, 0)
            here.close()


def restore(client: Client, options: argparse.Namespace, data: list[Run], guest: socket.socket) -> int:
    """The handler's side of a start."""
    message, descriptors, _, _ = socket.recv_fds(guest, 4096, 1)
    start = json.loads(message)
    if "refused" in start:
        print(f"skipped: {start['refused']}")
        return NOT_PERMITTED
    ends = [run.offset + run.count for run in data]
    restore = Restore(
        client, options.type, UserFaultFd(descriptors[0]), start["address"], [run.offset for run in data], ends
    )
    known = json.loads(options.working_set.read_text()) if options.working_set.exists() else None
    began = time.perf_counter()
    calls = restore.replay(known["pages"]) if known is not None else 0
    replayed = time.perf_counter() - began
    guest.sendall(b"!")
    done = restore.serve(guest)
    os.close(descriptors[0])
    seconds = float(done["seconds"])
    slow, slowest = percentile(restore.seconds, 0.5), percentile(restore.seconds, 0.99)
    print(f"faults        {len(restore.seconds)}, {restore.zero_faults} of them zero pages, which were not transferred")
    print(f"latency       p50 {slow:.2f} ms, p99 {slowest:.2f} ms a fault")
    print(f"guest's work  {seconds * 1000:.1f} ms, touched pages {done['sha256'][:16]}")
    if known is None:
        options.working_set.write_text(json.dumps({"seconds": seconds, "pages": restore.touched}))
        print(f"recorded      {len(restore.touched)} pages in {options.working_set}")
    else:
        cold = known["seconds"]
        whole = replayed + seconds
        print(f"replayed      {len(known['pages'])} pages in {replayed * 1000:.1f} ms, load calls: {calls}")
        print(f"gain          {cold * 1000:.1f} ms cold, {whole * 1000:.1f} ms with the replay: {cold / whole:.1f} ×")
    return 0


if __name__ == "__main__":
    sys.exit(main())
