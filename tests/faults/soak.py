"""The long form: `python -m tests.faults.soak --minutes N [--seed S]`.

Rounds, each on one of several deployments that take turns: clients work, a fault or two at random come and go, and then
every page, counter and index is judged. Ends with the totals; its exit status is 1 if anything was violated.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Callable

from tests.faults import injections
from tests.faults.world import Fault, World

ALWAYS = {"appendonly": "yes", "appendfsync": "always"}
EVERYSEC = {"appendonly": "yes", "appendfsync": "everysec"}
NOBODY_ANSWERS_SECONDS = 12.0
DEPLOYMENT_SECONDS = 60.0
"""How long one deployment is under fire before the next has its turn."""

DEPLOYMENTS: dict[str, tuple[Callable[[int], World], tuple[tuple[Fault, ...], ...]]] = {
    "door, 1 worker, proxy, Redis always": (
        lambda seed: World(proxied=True, redis_options=ALWAYS, seed=seed),
        (injections.BACKEND, injections.SETTINGS, injections.LINE, injections.POOL, injections.PROCESSES),
    ),
    "door, 2 workers, proxy, Redis everysec": (
        lambda seed: World(proxied=True, redis_options=EVERYSEC, seed=seed, workers="2", clients=8),
        (injections.BACKEND, injections.SETTINGS, injections.LINE, injections.POOL, injections.PROCESSES),
    ),
    "asgi, 2 workers, proxy, Redis none": (
        lambda seed: World(proxied=True, seed=seed, workers="2", door="asgi"),
        (injections.BACKEND, injections.SETTINGS, injections.LINE, injections.POOL, injections.PROCESSES),
    ),
    "door, 2 workers, embedded everysec": (
        lambda seed: World(embedded="everysec", seed=seed, workers="2", max_pool_bytes=str(1 << 30)),
        (injections.BACKEND, injections.SETTINGS, injections.POOL, injections.PROCESSES),
    ),
    "door, 2 workers, embedded always": (
        lambda seed: World(embedded="always", seed=seed, workers="2"),
        (injections.BACKEND, injections.SETTINGS, injections.POOL, injections.PROCESSES),
    ),
}


def soak(minutes: float, seed: int) -> int:
    """Run for so long; how many violations were found."""
    chance = random.Random(seed)
    deadline = time.monotonic() + minutes * 60
    faults: Counter[str] = Counter()
    answers: Counter[str] = Counter()
    violations = events = 0
    names = list(DEPLOYMENTS)
    turn = 0
    while time.monotonic() < deadline:
        name = names[turn % len(names)]
        turn += 1
        make, groups = DEPLOYMENTS[name]
        choices = [fault for group in groups for fault in group]
        turn_ends = min(deadline, time.monotonic() + DEPLOYMENT_SECONDS)
        with make(seed + turn) as world:
            while time.monotonic() < turn_ends:
                chosen = chance.sample(choices, chance.choice([1, 1, 2]))
                found = round_of(world, chosen)
                faults.update(fault.__name__ for fault in chosen)
                violations += len(found)
                for text in found:
                    print(f"VIOLATION on {name} after {[fault.__name__ for fault in chosen]}: {text}", flush=True)
                if found:
                    keep_log(world)
                if has_ended(world):
                    break
            answers.update(world.clients.tally.answers)
            events += world.events
        print(
            f"{time.strftime('%H:%M:%S')} {name}: {world.clients.tally.total} requests; so far "
            f"{sum(faults.values())} faults, {events} page events, {violations} violations",
            flush=True,
        )
    print(f"requests: {sum(answers.values())}  {dict(answers.most_common())}")
    print(f"page events judged: {events}")
    print(f"faults injected: {sum(faults.values())}  {dict(faults.most_common())}")
    print(f"violations: {violations}")
    return violations


def has_ended(world: World) -> bool:
    """Whether there is no service any more; nothing that follows would tell anything."""
    return world.service.process is None or world.service.process.poll() is not None


def keep_log(world: World) -> None:
    """Print the end of the service's log beside a violation."""
    print("\n".join(world.service.log_text().splitlines()[-40:]), flush=True)


def round_of(world: World, chosen: list[Fault]) -> list[str]:
    """One round; what was violated, as text."""
    kills = any(fault in injections.PROCESSES for fault in chosen)
    before = len(world.violations)
    try:
        with world.under_fire(answer_seconds=NOBODY_ANSWERS_SECONDS if kills else None):
            for fault in chosen:
                fault(world)
    except AssertionError as error:
        return world.violations[before:] or [str(error)]
    except Exception as error:  # noqa: BLE001  reported with the round that it happened in
        return [f"{type(error).__name__}: {error}"]
    return []


def main() -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    return 1 if soak(arguments.minutes, arguments.seed) else 0


if __name__ == "__main__":
    sys.exit(main())
