"""A type's policy, as stores and loads of its pages go by it, and the field "g" in which its chunks keep times.

    byte 0                8        12        16        20
         +----------------+---------+---------+---------+-- …
         | referenced u64 | stored0 | touched0| stored1 |
         +----------------+---------+---------+---------+-- …

All little-endian; bit i and the i-th pair stand for page 64 × chunk + i, both times are seconds (u32) of Redis's clock.
The field ends behind the last page that was ever put. A plain type has no such field; a page that was stored while its
type was plain counts as stored, and touched, when the type got its policy (`since`).
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import Final

_TIMES: Final = Struct("<II")
_TIMES_AT: Final = 8


@dataclass(frozen=True, slots=True)
class Policy:
    """What a governed type asks for; a type that asks for nothing of it is plain, and has none."""

    type: int
    version: int
    """Grows with each change; a stripe refuses what goes by an older one than it has seen."""
    since: int
    """Second from which the type has had a policy without a break."""
    max_pool_bytes: int = 0
    """0: no limit of its own."""
    evicts: bool = False
    ttl_seconds: int = 0
    """0: pages do not expire."""
    priority: int = 0

    @property
    def gives_way(self) -> bool:
        """Whether some of its pages may go to make room."""
        return self.evicts or self.ttl_seconds > 0

    def cutoff(self, server_time: float) -> int:
        """Pages that were stored at this second or before are expired now; 0 where none ever is."""
        return max(int(server_time) - self.ttl_seconds, 0) if self.ttl_seconds else 0

    def is_expired(self, times: bytes | None, index: int, cutoff: int) -> bool:
        """Whether a page that is present is expired, by its chunk's field "g"."""
        if not cutoff or self.since > cutoff:
            return False
        at = _TIMES_AT + _TIMES.size * index
        if times is None or len(times) < at + _TIMES.size:
            return True
        stored, _ = _TIMES.unpack_from(times, at)
        return bool(stored <= cutoff)

    def expired_map(self, times: bytes | None, present: int, cutoff: int) -> int:
        """As `is_expired`, for all pages of a map."""
        if not cutoff or self.since > cutoff:
            return 0
        expired = 0
        while present:
            low = present & -present
            if self.is_expired(times, low.bit_length() - 1, cutoff):
                expired |= low
            present ^= low
        return expired
