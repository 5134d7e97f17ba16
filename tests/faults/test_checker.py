"""The checker itself: it accepts what the contract allows, and finds each kind of breach."""

from __future__ import annotations

import random

import pytest

from tests.faults.checker import Rules, check
from tests.faults.history import Event, History, Value, What

PAGE = (1, 7)
A, B, C = 1, 2, 3


def judged(*events: Event, start: frozenset[Value] = frozenset([None]), **rules: object) -> list[str]:
    """What the checker finds in one page's history."""
    history = History()
    for event in events:
        history.add(PAGE, event)
    violations, _ = check(history, Rules(**rules), {PAGE: start})
    return [violation.event.what.value for violation in violations]


def store(at: float, until: float, value: int) -> Event:
    return Event(at, until, What.STORE, value)


def load(at: float, until: float, value: Value) -> Event:
    return Event(at, until, What.LOAD, value)


def failed(at: float, until: float, value: int, *, is_answered: bool = True) -> Event:
    return Event(at, until, What.UNKNOWN_STORE, value, is_answered=is_answered)


def test_a_load_finds_the_last_store() -> None:
    """The last acknowledged store is found, and an older one is not."""
    assert not judged(store(0, 1, A), store(2, 3, B), load(4, 5, B))
    assert judged(store(0, 1, A), store(2, 3, B), load(4, 5, A)) == ["load"]


def test_an_acknowledged_page_is_never_missed() -> None:
    """A miss after a store is a breach, unless the pool evicts; other bytes are one even then."""
    assert judged(store(0, 1, A), load(2, 3, None)) == ["load"]
    assert not judged(store(0, 1, A), load(2, 3, None), may_miss=True)
    assert judged(store(0, 1, A), load(2, 3, None), load(4, 5, A), may_miss=True) == ["load"]
    assert judged(store(0, 1, A), load(2, 3, B), may_miss=True) == ["load"]


def test_bytes_that_nobody_stored() -> None:
    """Bytes that were never stored there are a breach, whatever else happened."""
    assert judged(load(0, 1, A)) == ["load"]
    assert judged(store(0, 1, A), failed(2, 3, B), load(4, 5, C)) == ["load"]


def test_a_store_in_flight_may_be_seen() -> None:
    """While a store is in flight a load finds the old page or the new, and never the old one after the new."""
    assert not judged(store(0, 1, A), store(2, 9, B), load(3, 4, A), load(5, 6, B))
    assert judged(store(0, 1, A), store(2, 9, B), load(3, 4, B), load(5, 6, A)) == ["load"]


def test_concurrent_stores_come_in_either_order() -> None:
    """Of two stores in flight either may be the last, but all loads agree which."""
    for last in (A, B):
        assert not judged(store(0, 5, A), store(1, 4, B), load(6, 7, last), load(8, 9, last))
    assert judged(store(0, 5, A), store(1, 4, B), load(6, 7, A), load(8, 9, B)) == ["load"]


def test_a_failed_store_took_effect_or_not() -> None:
    """After a 503 there is the old page, the new one or none, and it does not change any more."""
    for found in (A, B, None):
        assert not judged(store(0, 1, A), failed(2, 3, B), load(4, 5, found), load(6, 7, found))
    assert judged(store(0, 1, A), failed(2, 3, B), load(4, 5, A), load(6, 7, B)) == ["load"]
    assert judged(store(0, 1, A), failed(2, 3, B), load(4, 5, B), load(6, 7, A)) == ["load"]


def test_a_failed_store_never_overtakes_a_later_one() -> None:
    """A late write that overtakes a newer acknowledged one is a breach."""
    assert judged(failed(0, 1, A), store(2, 3, B), load(4, 5, A)) == ["load"]
    assert judged(failed(0, 1, A), store(2, 3, B), load(4, 5, A), settles_by_answer=False) == ["load"]
    removed = Event(2, 3, What.INVALIDATE)
    assert judged(failed(0, 1, A), removed, load(4, 5, A), settles_by_answer=False) == ["load"]


def test_a_store_without_an_answer_may_come_late() -> None:
    """A store whose connection ended may take effect once, later, but not after a later change was acknowledged."""
    cut = failed(2, 3, B, is_answered=False)
    assert not judged(store(0, 1, A), cut, load(4, 5, A), load(6, 7, B))
    assert judged(store(0, 1, A), cut, load(4, 5, B), load(6, 7, A)) == ["load"]
    assert judged(store(0, 1, A), cut, store(4, 5, C), load(6, 7, B)) == ["load"]
    assert not judged(store(0, 1, A), cut, store(2.5, 5, C), load(6, 7, B))
    # One that takes effect before the later change does, while that one is in flight, is none.
    assert not judged(store(0, 1, A), cut, store(4, 9, C), load(5, 6, B), load(10, 11, C))


def test_a_failed_change_does_not_settle_an_older_one() -> None:
    """Only an acknowledged change ends the time in which an unanswered one may take effect."""
    cut = failed(2, 3, B, is_answered=False)
    assert not judged(store(0, 1, A), cut, failed(4, 5, C), load(6, 7, C), load(8, 9, B))


def test_take_gives_the_page_to_one() -> None:
    """Of two takers one gets the page."""
    taken = Event(2, 3, What.TAKE, A)
    assert not judged(store(0, 1, A), taken, load(4, 5, None))
    assert judged(store(0, 1, A), taken, Event(2, 3, What.TAKE, A)) == ["take"]
    assert judged(store(0, 1, A), taken, load(4, 5, A)) == ["load"]


def test_a_failed_take_removed_it_or_not() -> None:
    """After a failed take the page is there or it is not, and stays so."""
    unknown = Event(2, 3, What.UNKNOWN_REMOVE)
    for found in (A, None):
        assert not judged(store(0, 1, A), unknown, load(4, 5, found), load(6, 7, found))
    assert judged(store(0, 1, A), unknown, load(4, 5, None), load(6, 7, A)) == ["load"]


def test_conditions() -> None:
    """Create, remove and a failed condition say what they found."""
    create = Event(2, 3, What.CREATE, B)
    assert not judged(create, load(4, 5, B))
    assert judged(store(0, 1, A), create) == ["create"]
    assert judged(Event(0, 1, What.PRESENT)) == ["present"]
    assert judged(Event(0, 1, What.REMOVE)) == ["remove"]
    assert not judged(store(0, 1, A), Event(2, 3, What.PRESENT), Event(4, 5, What.REMOVE), load(6, 7, None))


def test_a_refused_store_leaves_no_stale_copy() -> None:
    """A refused store invalidates: the old page after it is a breach."""
    refused = Event(2, 3, What.INVALIDATE)
    assert not judged(store(0, 1, A), refused, load(4, 5, None))
    assert judged(store(0, 1, A), refused, load(4, 5, A)) == ["load"]


def test_a_loss_empties_the_page() -> None:
    """After a flush or a crash without persistence nothing old comes back."""
    loss = Event(2, 3, What.LOSS)
    assert not judged(store(0, 1, A), loss, load(4, 5, None))
    assert not judged(store(0, 1, A), store(1.5, 5, B), loss, load(6, 7, B))
    assert judged(store(0, 1, A), loss, load(4, 5, A)) == ["load"]


def test_a_crash_with_everysec_rolls_back_a_moment() -> None:
    """After a crash with everysec there is what was there in the last moments, and nothing older."""
    crash = Event(10, 11, What.ROLLBACK)
    history = (store(0, 1, A), store(4, 5, B), store(9, 9.5, C), crash)
    for found in (B, C):
        assert not judged(*history, load(12, 13, found), load(14, 15, found), rollback_seconds=2)
    assert judged(*history, load(12, 13, A), rollback_seconds=2) == ["load"]
    assert judged(*history, load(12, 13, B), load(14, 15, C), rollback_seconds=2) == ["load"]


def test_a_crash_does_not_invent_a_miss() -> None:
    """A page that was there for long is there after a crash with everysec."""
    history = (store(0, 1, A), load(8, 8.5, A), Event(10, 11, What.ROLLBACK))
    assert judged(*history, load(12, 13, None), rollback_seconds=2) == ["load"]


def test_a_history_goes_on_from_where_it_ended() -> None:
    """The end of one history is the start of the next."""
    history = History()
    history.add(PAGE, store(0, 1, A))
    history.add(PAGE, failed(2, 3, B))
    violations, ends = check(history)
    assert not violations
    assert ends[PAGE] == {A, B, None}
    assert not judged(load(4, 5, B), start=ends[PAGE])
    assert judged(load(4, 5, C), start=ends[PAGE]) == ["load"]


@pytest.mark.parametrize("seed", range(20))
def test_random_histories(seed: int) -> None:
    """A history made by a real register is accepted; the same with one load's value changed is not."""
    chance = random.Random(seed)
    value: Value = None
    events: list[Event] = []
    for number in range(300):
        effect = number + chance.random() * 0.5
        invoked, answered = effect - chance.random() * 4, effect + chance.random() * 4
        kind = chance.random()
        if kind < 0.4:
            value = number
            events.append(store(invoked, answered, number))
        elif kind < 0.5:
            if chance.random() < 0.5:
                value = number
            events.append(failed(invoked, answered, number, is_answered=chance.random() < 0.5))
        elif kind < 0.6:
            value = None
            events.append(Event(invoked, answered, What.INVALIDATE))
        elif kind < 0.7 and value is not None:
            events.append(Event(invoked, answered, What.TAKE, value))
            value = None
        else:
            events.append(load(invoked, answered, value))
    assert not judged(*events)
    loads = [place for place, event in enumerate(events) if event.what is What.LOAD]
    place = chance.choice(loads)
    events[place] = events[place]._replace(value=100_000)
    assert judged(*events)
