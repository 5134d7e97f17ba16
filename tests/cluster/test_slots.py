"""Keys, slots and stripes: the same slot as Redis reckons, and stripes that lie evenly."""

from __future__ import annotations

from collections import Counter

import pytest

from app.store.keys import CLUSTER_SLOTS, RUN_SHIFT, KeySchema, slot_of, slot_of_key, stripe_tags
from tests.cluster.topology import STRIPES, TestedCluster

KEYS = [b"NS:pool", b"NS:s:{1f}", b"a{}b", b"a{b", b"a}b{c}d", b"{a}{b}", b"{", b"}{", b"", b"x{y}z{", b"\xff{\x00}"]


def test_slots_are_those_of_redis(cluster: TestedCluster) -> None:
    """The slot of any key, with or without a hash tag, is the one that CLUSTER KEYSLOT tells."""
    with cluster.nodes[0].client() as client:
        for key in KEYS:
            assert slot_of_key(key) == client.execute_command("CLUSTER", "KEYSLOT", key), key


@pytest.mark.parametrize("stripes", [16, 1000, 1024])
def test_stripes_lie_evenly(stripes: int) -> None:
    """Stripe i lies in the i-th of equal parts of the slots."""
    assert [slot_of(tag) * stripes // CLUSTER_SLOTS for tag in stripe_tags(stripes)] == list(range(stripes))


def test_all_of_a_run_lies_on_one_slot() -> None:
    """Whatever one store touches bears one hash tag."""
    keys = KeySchema("NS", STRIPES)
    for chunk in range(5 << RUN_SHIFT, 6 << RUN_SHIFT):
        stripe = keys.stripe_of(7, chunk)
        touched = [keys.chunk(stripe, 7, chunk), keys.stripe_keys[stripe], keys.types_keys[stripe]]
        touched += [keys.runs(stripe, 7), keys.maps(stripe, 7)]
        assert {slot_of_key(key) for key in touched} == {slot_of(keys.tags[keys.stripe_of(7, 5 << RUN_SHIFT)])}


@pytest.mark.parametrize("factor", [1, 1000, 1024, 1 << 20])
def test_small_areas_lie_evenly(factor: int) -> None:
    """First runs of many types spread over the stripes, also where all types are multiples of one number."""
    keys = KeySchema("NS", STRIPES)
    types = min(1 << 16, (1 << 31) // factor)
    held = Counter(keys.stripe_of(number * factor, 0) for number in range(types))
    assert max(held.values()) <= max(4, 2 * types / STRIPES)
