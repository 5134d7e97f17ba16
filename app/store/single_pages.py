"""Single pages to load or to store, as many as came together: what most requests ask for.

Redis's replies go to the batch that is posted with the commands. What a reply does not settle, the long way does over:
`RedisStore.fetch_page`, `RedisStore.begin_change`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from struct import Struct
from typing import Any, Final, TypeVar

from app.errors import BackendUnavailable, Overloaded
from app.store.batch import Batch
from app.store.connection import Reply
from app.store.keys import CHUNK_PAGES, CHUNK_SHIFT, INDEX_MASK
from app.store.multiplexer import Multiplexer
from app.store.redis import RedisStore
from app.store.scripts import PUT_PAGE

HEADER: Final = Struct("<dQB")
"""The header of put_page.lua."""
_pack_header: Final = HEADER.pack
_BITS: Final = tuple(1 << index for index in range(CHUNK_PAGES))

# The commands as they go out (RESP's arrays of bulk strings), written by hand: hiredis takes three times as long.
_BULK_INDEX: Final = tuple(b"$%d\r\n%d" % (len(str(index)), index) for index in range(CHUNK_PAGES))
_HMGET: Final = b"*4\r\n$5\r\nHMGET\r\n$%d\r\n%b\r\n$1\r\nm\r\n%b\r\n"
_PUT_PAGE: Final = (
    b"*10\r\n$7\r\nEVALSHA\r\n$40\r\n" + PUT_PAGE.sha + b"\r\n$1\r\n2\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n"
    b"$" + b"%d" % HEADER.size + b"\r\n%b\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n%b\r\n$%d\r\n%b\r\n"
)

Ask = tuple[int, int, bytes, Any]
"""What is asked for a page: type, offset, the page to be stored or b"", who asks."""
Put = tuple[int, int, int, bytes, Any]
"""A page to be put: type, offset, kind, blob (b"" for a zero page), who puts it."""
Item = TypeVar("Item", Ask, Put)


class SinglePages:
    """The short way to the pages of one store."""

    def __init__(self, store: RedisStore) -> None:
        self._store = store
        self._keys = store.keys
        self._nodes = store.nodes
        self._record = store.record

    def ask(self, asked: Sequence[Ask], batch_of: Callable[[Sequence[Ask]], Batch[Ask]]) -> None:
        """Ask for pages; what becomes of each is its chunk's field "m" and its blob, or an error."""
        place = self._keys.place
        for node, batch in self._spread(asked, batch_of, self._nodes.loads):
            commands = []
            for type_, offset, _, _ in batch.items:
                _, key = place(type_, offset >> CHUNK_SHIFT)
                commands.append(_HMGET % (len(key), key, _BULK_INDEX[offset & INDEX_MASK]))
            node.ready().post_many(batch, commands, batch.sent_at, is_write=False)

    def put(self, puts: Sequence[Put], batch_of: Callable[[Sequence[Put]], Batch[Put]]) -> None:
        """Put pages; what becomes of each is what `is_done` understands, or an error."""
        place, stripe_keys, pool_id = self._keys.place, self._keys.stripe_keys, self._record.pool_id
        for node, batch in self._spread(puts, batch_of, self._nodes.stores):
            deadline = node.deadline(batch.sent_at)
            commands = []
            for type_, offset, kind, blob, _ in batch.items:
                stripe, key = place(type_, offset >> CHUNK_SHIFT)
                index = offset & INDEX_MASK
                stripe_key, type_field = stripe_keys[stripe], b"t%d" % type_
                command = _PUT_PAGE % (
                    len(key),
                    key,
                    len(stripe_key),
                    stripe_key,
                    _pack_header(deadline, _BITS[index], kind),
                    len(pool_id),
                    pool_id,
                    len(type_field),
                    type_field,
                    _BULK_INDEX[index],
                    len(blob),
                    blob,
                )
                commands.append(command)
            node.ready().post_many(batch, commands, batch.sent_at, is_write=True)

    def _spread(
        self,
        items: Sequence[Item],
        batch_of: Callable[[Sequence[Item]], Batch[Item]],
        node_of: Callable[[int], Multiplexer],
    ) -> Iterator[tuple[Multiplexer, Batch[Item]]]:
        """A batch for each node that commands can be sent to now; where none can, they fail at once."""
        for group in self._groups(items) if self._nodes.is_cluster else (items,):
            batch = batch_of(group)
            try:
                node = node_of(self._keys.stripe_of(group[0][0], group[0][1] >> CHUNK_SHIFT))
                node.ready()
            except (BackendUnavailable, Overloaded) as error:
                for _ in group:
                    batch.set_exception(error)
            else:
                yield node, batch

    def _groups(self, items: Sequence[Item]) -> Sequence[Sequence[Item]]:
        """Those of one stripe together: on a cluster, stripes lie on different nodes."""
        groups: dict[int, list[Item]] = {}
        for item in items:
            groups.setdefault(self._keys.stripe_of(item[0], item[1] >> CHUNK_SHIFT), []).append(item)
        return list(groups.values())

    def is_done(self, put: Put, reply: Reply) -> bool:
        """Whether the page was put; if not, nothing was changed, and the long way says what is to be done."""
        if type(reply) is list:
            self._store.learn_totals(self._keys.stripe_of(put[0], put[1] >> CHUNK_SHIFT), *reply)
            return True
        return type(reply) is int and reply == 0
