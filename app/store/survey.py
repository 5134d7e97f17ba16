"""One question put to many stripes: the commands to one node leave as one, and are answered as one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from app.errors import BackendUnavailable
from app.store.multiplexer import Multiplexer, Reply
from app.store.nodes import Nodes
from app.store.replies import ReplyError, checked


async def ask_stripes(
    nodes: Nodes,
    stripes: Sequence[int],
    keys: Sequence[bytes],
    commands: Sequence[bytes],
    *,
    is_load: bool = False,
    is_partial: bool = False,
) -> list[Any]:
    """Ask each stripe its command, and give the replies in the same order.

    Args:
        nodes: connections.
        stripes: whom to ask.
        keys: a key that each command names.
        commands: packed; they change nothing.
        is_load: ask on the connections for loads; else on those for stores, after all that was sent there.
        is_partial: the reply is None for a stripe whose node does not answer, as long as any does.

    Raises:
        BackendUnavailable: a node does not answer, or none does.
    """
    replies: list[Any] = [None] * len(stripes)
    errors: list[BackendUnavailable] = []
    batches: dict[Multiplexer, list[int]] = {}
    connection_of = nodes.loads if is_load else nodes.stores
    for place, stripe in enumerate(stripes):
        try:
            batches.setdefault(connection_of(stripe), []).append(place)
        except BackendUnavailable as error:
            errors.append(error)
    sent = []
    for connection, places in batches.items():
        try:
            sent.append((places, connection.send_many(b"".join([commands[place] for place in places]), len(places))))
        except BackendUnavailable as error:
            errors.append(error)
    for places, pending in sent:
        try:
            for place, reply in zip(places, await pending, strict=True):
                replies[place] = (
                    await _settled(nodes, reply, keys[place], commands[place], is_load=is_load)
                    if isinstance(reply, ReplyError)
                    else reply
                )
        except BackendUnavailable as error:
            errors.append(error)
    if errors and (not is_partial or all(reply is None for reply in replies)):
        raise errors[0]
    return replies


async def _settled(nodes: Nodes, reply: Reply, key: bytes, command: bytes, *, is_load: bool) -> Any:
    return checked(await nodes.settle(reply, key, partial(Multiplexer.send, command=command), is_load=is_load))
