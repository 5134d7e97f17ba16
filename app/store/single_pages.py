"""Single pages to load or to store, as many as came together: what most requests ask for.

Redis's replies go to the batch that is posted with the commands. What a reply does not settle, the long way does over:
`RedisStore.fetch_page`, `RedisStore.begin_change`.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence
from typing import Any, Final, TypeVar

from app.errors import BackendUnavailable, Overloaded
from app.store.batch import Batch
from app.store.connection import Reply
from app.store.keys import CHUNK_PAGES, CHUNK_SHIFT, INDEX_MASK
from app.store.multiplexer import Multiplexer
from app.store.page_reads import template
from app.store.put_pages import DEADLINE, Put, Puts, sorted_puts
from app.store.redis import RedisStore
from app.store.replies import is_no_script
from app.store.scripts import PUT_PAGES, load_command

_READ_PAGE: Final = tuple(template(index, 1) for index in range(CHUNK_PAGES))
"""By the page's index: what `read_pages` makes a command of, here without the call."""

Ask = tuple[int, int, bytes, Any]
"""What is asked for a page: type, offset, the page to be stored or b"", who asks."""
Item = TypeVar("Item", Ask, Puts)


class SinglePages:
    """The short way to the pages of one store."""

    def __init__(self, store: RedisStore) -> None:
        self._store = store
        self._keys = store.keys
        self._nodes = store.nodes
        self._record = store.record

    def ask(self, asked: Sequence[Ask], batch_of: Callable[[Sequence[Ask]], Batch[Ask]]) -> None:
        """Ask for pages; what becomes of each is its chunk's field "m" and its blob's two fields, or an error."""
        place = self._keys.place
        for node, batch in self._spread(asked, self._stripe_of_ask, self._nodes.loads, batch_of):
            commands = []
            for type_, offset, _, _ in batch.items:
                _, key = place(type_, offset >> CHUNK_SHIFT)
                commands.append(_READ_PAGE[offset & INDEX_MASK] % (len(key), key))
            node.ready().post_many(batch, commands, batch.sent_at, is_write=False)

    def put(self, puts: Sequence[Put], batch_of: Callable[[Sequence[Puts]], Batch[Puts]]) -> None:
        """Put pages; what becomes of those that one script puts is what `left_by` understands, or an error."""
        stripe_keys, pool_id = self._keys.stripe_keys, self._record.pool_id
        scripts = sorted_puts(puts, self._keys)
        for node, batch in self._spread(scripts, _stripe_of_puts, self._nodes.stores, batch_of):
            deadline = DEADLINE.pack(node.deadline(batch.sent_at))
            commands = [puts.command(stripe_keys[puts.stripe], pool_id, deadline) for puts in batch.items]
            node.ready().post_many(batch, commands, batch.sent_at, is_write=True)

    def left_by(self, puts: Puts, reply: Reply) -> Container[int]:
        """The numbers of the pages that were left alone; nothing was changed for them."""
        if type(reply) is list:
            self._store.learn_totals(puts.stripe, reply[0], reply[1])
        elif is_no_script(reply):
            self._nodes.stores(puts.stripe).send(load_command(PUT_PAGES))
        return puts.left_by(reply)

    def _stripe_of_ask(self, ask: Ask) -> int:
        return self._keys.stripe_of(ask[0], ask[1] >> CHUNK_SHIFT)

    def _spread(
        self,
        items: Sequence[Item],
        stripe_of: Callable[[Item], int],
        node_of: Callable[[int], Multiplexer],
        batch_of: Callable[[Sequence[Item]], Batch[Item]],
    ) -> Iterator[tuple[Multiplexer, Batch[Item]]]:
        """A batch for each stripe, or for all of a single Redis; where nothing can be sent now, it fails at once."""
        groups: dict[int, list[Item]] = {}
        if self._nodes.is_cluster:
            for item in items:
                groups.setdefault(stripe_of(item), []).append(item)
        for group in groups.values() or (items,):
            batch = batch_of(group)
            try:
                node = node_of(stripe_of(group[0]))
                node.ready()
            except (BackendUnavailable, Overloaded) as error:
                for _ in group:
                    batch.set_exception(error)
            else:
                yield node, batch


def _stripe_of_puts(puts: Puts) -> int:
    return puts.stripe
