"""Judges a history: is there, for every page, an order of the requests that explains every answer?

The rule is linearizability of a register for each page (contract 3.1 and 3.2): every acknowledged request takes effect
at one moment between its invocation and its answer, and a load finds what the last effect left.

The algorithm walks over the invocations and answers in the order of time and keeps the set of all configurations that
explain what was answered so far. A configuration is the page's value, and which of the requests that are in flight have
taken effect in it already. An answer is explained in a configuration if its request has taken effect there, or can do
so now, after some others in flight; configurations that do not explain it are dropped. None left: a violation.
(The "just in time" linearization of Wing and Gong's search; a page has few requests in flight at once, so the set stays
small.)

Requests that failed:

- A change answered with 503 took effect before its answer, or never will: so the service promises, and so it is checked
  (`Rules.settles_by_answer`). Without that rule it may take effect later, as below.
- A change whose connection ended without an answer may take effect at any time, once, until a later change of the page
  (one invoked after that end) is acknowledged: contract 3.2. It stays in flight until then.
- A failed store may also have left nothing: what was there is invalidated before a refusal is answered.
- Loads that failed say nothing.

Crashes of Redis, by persistence mode (contract 3.1): `none` is a LOSS; with `always` nothing that was visible is ever
lost, so no event at all; `everysec` is a ROLLBACK: the page becomes what it was at some moment of the last
`Rules.rollback_seconds`, or stays. A pool that evicts: `Rules.may_miss` lets any page become absent at any moment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from tests.faults.history import CHANGES, UNKNOWN, Address, Event, History, Value, Violation, What

CONTEXT_EVENTS = 14


def _anything(_was: Value, _value: Value) -> bool:
    return True


def _nothing_left(_was: Value, _value: Value) -> tuple[Value, ...]:
    return (None,)


_MEANINGS: dict[What, tuple[Callable[[Value, Value], bool], Callable[[Value, Value], tuple[Value, ...]]]] = {
    What.STORE: (_anything, lambda _, value: (value,)),
    What.LOAD: (lambda was, value: was == value, lambda was, _: (was,)),
    What.TAKE: (lambda was, value: was == value, _nothing_left),
    What.INVALIDATE: (_anything, _nothing_left),
    What.LOSS: (_anything, _nothing_left),
    What.REMOVE: (lambda was, _: was is not None, _nothing_left),
    What.CREATE: (lambda was, _: was is None, lambda _, value: (value,)),
    What.PRESENT: (lambda was, _: was is not None, lambda was, _: (was,)),
    What.UNKNOWN_STORE: (_anything, lambda _, value: (value, None)),
    What.UNKNOWN_REMOVE: (_anything, _nothing_left),
}
"""In which states an event can take effect, and what it may leave: given what the page was, and the event's value."""


@dataclass(frozen=True)
class Rules:
    """What the deployment promises."""

    settles_by_answer: bool = True
    rollback_seconds: float = 3.0
    may_miss: bool = False


STRICT = Rules()

Configuration = tuple[Value, frozenset[int]]
"""The page's value, and the requests in flight that have taken effect."""


def check(
    history: History, rules: Rules = STRICT, start: Mapping[Address, frozenset[Value]] | None = None
) -> tuple[list[Violation], dict[Address, frozenset[Value]]]:
    """Judge a whole history.

    Args:
        history: all events; nothing was in flight when it began.
        rules: what is promised.
        start: what each page may have been when it began; absent where nothing is said.

    Returns:
        At most one violation for each page, and what each page may be in the end.
    """
    violations: list[Violation] = []
    ends: dict[Address, frozenset[Value]] = dict(start or {})
    for address, events in history.events.items():
        page = _Page(address, events, rules, ends.get(address, frozenset([None])))
        violation = page.run()
        if violation is not None:
            violations.append(violation)
        ends[address] = page.values
    return violations, ends


class _Page:
    """The walk over one page's events."""

    def __init__(self, address: Address, events: list[Event], rules: Rules, start: frozenset[Value]) -> None:
        self._address = address
        self._events = events
        self._rules = rules
        self._start = start
        self._configurations: set[Configuration] = {(value, frozenset()) for value in start}
        self._open: set[int] = set()
        self._latest_change = float("-inf")
        """The latest invocation among the changes that were acknowledged by now."""
        self._keeps_past = any(event.what is What.ROLLBACK for event in events)
        self._past: list[tuple[float, frozenset[Value]]] = []

    def run(self) -> Violation | None:
        """The first answer that nothing explains."""
        for time, is_answer, number in self._moments():
            if not is_answer:
                self._open.add(number)
                continue
            explained = self._explain(number)
            if not explained:
                return self._violation(number)
            self._configurations = explained
            if self._keeps_past:
                self._past.append((time, self.values))
        return None

    @property
    def values(self) -> frozenset[Value]:
        """All that the page may be now."""
        return frozenset(value for value, _ in self._closure())

    def _moments(self) -> list[tuple[float, bool, int]]:
        """Invocations and answers by time; at the same time invocations come first. Some effects have no end."""
        moments = [(event.invoked, False, number) for number, event in enumerate(self._events)]
        moments += [(event.answered, True, number) for number, event in enumerate(self._events) if self._ends(event)]
        return sorted(moments)

    def _ends(self, event: Event) -> bool:
        """Whether the event's effect comes by its answer, or never."""
        return event.what not in UNKNOWN or (event.is_answered and self._rules.settles_by_answer)

    def _explain(self, number: int) -> set[Configuration]:
        """The configurations that explain this answer."""
        event = self._events[number]
        explained: set[Configuration] = set()
        for value, applied in self._closure(until=number):
            if number in applied or event.what in UNKNOWN:  # an unknown change need not have taken effect
                explained.add((value, applied))
        self._open.discard(number)
        if event.what in CHANGES and event.invoked > self._latest_change:
            self._latest_change = event.invoked
            # Failed changes that were overtaken have had their chance.
            self._open = {other for other in self._open if not self._is_overtaken(other, frozenset())}
        return {(value, applied & self._open) for value, applied in explained}

    def _closure(self, until: int | None = None) -> set[Configuration]:
        """All configurations that can be reached by effects of requests in flight.

        With `until`, those in which it has taken effect are not led on: what may follow can still follow later.
        """
        seen = set(self._configurations)
        todo = list(seen)
        while todo:
            _, applied = configuration = todo.pop()
            if until is not None and until in applied:
                continue
            reached = set(self._steps(configuration))
            if self._rules.may_miss:
                reached.add((None, applied))
            todo += reached - seen
            seen |= reached
        return seen

    def _steps(self, configuration: Configuration) -> Iterator[Configuration]:
        value, applied = configuration
        for number in self._open - applied:
            if not self._is_overtaken(number, applied):
                for after in self._effects(self._events[number], value):
                    yield after, applied | {number}

    def _is_overtaken(self, number: int, applied: frozenset[int]) -> bool:
        """Whether this is a failed change, and a change that was invoked after its failure has taken effect."""
        event = self._events[number]
        if self._ends(event):
            return False
        return self._latest_change > event.answered or any(
            self._events[other].what in CHANGES and self._events[other].invoked > event.answered for other in applied
        )

    def _effects(self, event: Event, value: Value) -> Iterable[Value]:
        """What the page may be after the event, if it was `value`; nothing where the event cannot happen."""
        if event.what is What.ROLLBACK:
            return {value, *self._recent_values(event.invoked)}
        finds, leaves = _MEANINGS[event.what]
        return leaves(value, event.value) if finds(value, event.value) else ()

    def _recent_values(self, crash: float) -> set[Value]:
        """Everything that the page may have been in the last moments before a crash."""
        recent: set[Value] = set()
        for number in self._open:
            if self._events[number].what is not What.ROLLBACK:
                recent.update(self._effects(self._events[number], self._events[number].value))
        for time, values in reversed(self._past):
            recent |= values
            if time < crash - self._rules.rollback_seconds:
                return recent
        return recent | self._start

    def _violation(self, number: int) -> Violation:
        event = self._events[number]
        before = sorted((other for other in self._events if other.invoked <= event.answered), key=lambda e: e.answered)
        return Violation(self._address, event, self.values, tuple(before[-CONTEXT_EVENTS:]))
