"""Which role each call needs, in one table, and whether a request has it.

Without PAGEPOOL_TOKENS_FILE nobody is asked for anything. With it every request needs a token but those that the table
leaves open; a path or method that the service does not have needs any token, so that a stranger learns nothing.

A token that is restricted to types reaches calls on those types; of calls on the whole pool, only those that the table
marks: it sees its own types in the list, and the pool's sums, from which clients learn the page size.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from re import Pattern
from typing import Final

from fastapi import APIRouter
from starlette._utils import get_route_path
from starlette.routing import Route
from starlette.types import Scope

from app.api.dependencies import PoolCalls
from app.api.lean_route import ATTRIBUTE
from app.api.page_calls import PageOperation
from app.api.token_entries import Role, Token, TypeRanges
from app.api.tokens import Tokens
from app.errors import BadHeader, Forbidden, Overloaded, Unauthorized
from app.page.address import check_type, parse_number
from app.pool.numbers import TypeNumbers
from app.settings import Settings

REALM: Final = 'Bearer realm="pagepool"'
SCOPE_KEY: Final = "pagepool.token"
"""Where an ASGI scope holds the token that the request bears."""


@dataclass(frozen=True, slots=True)
class Need:
    """What a call needs: a role (None: it is open), and whether a token restricted to types may make it."""

    role: Role | None
    takes_restricted: bool = True


NEEDS: Final[dict[str, Need]] = {
    "load_pages": Need(Role.READ),
    "inspect_pages": Need(Role.READ),
    "load_frames": Need(Role.READ),
    "gather_frames": Need(Role.READ),
    "read_image": Need(Role.READ),
    "inspect_image": Need(Role.READ),
    "list_types": Need(Role.READ),
    "get_type": Need(Role.READ),
    "get_type_extents": Need(Role.READ),
    "get_type_map": Need(Role.READ),
    "get_pool": Need(Role.READ),
    "get_openapi": Need(Role.READ),
    "get_parameters": Need(Role.READ, takes_restricted=False),
    "get_metrics": Need(Role.READ, takes_restricted=False),
    "store_pages": Need(Role.WRITE),
    "store_frames": Need(Role.WRITE),
    "invalidate_pages": Need(Role.WRITE),
    "take_page": Need(Role.WRITE),
    "invalidate_extents": Need(Role.WRITE),
    "zero_extents": Need(Role.WRITE),
    "write_image": Need(Role.WRITE),
    "configure_type": Need(Role.ADMIN),
    "delete_type": Need(Role.ADMIN),
    "shrink_type": Need(Role.ADMIN),
    "shrink_pool": Need(Role.ADMIN, takes_restricted=False),
    "change_parameters": Need(Role.ADMIN, takes_restricted=False),
    "get_activity": Need(Role.READ, takes_restricted=False),
    "get_liveness": Need(None),
    "get_readiness": Need(None),
    "get_dashboard": Need(None),
    "get_dashboard_asset": Need(None),
}
"""By operationId. `get_metrics` is open unless PAGEPOOL_METRICS_PUBLIC is false."""

_OPEN: Final = Need(None)
_ANY_TOKEN: Final = Need(Role.READ)


class Authorization:
    """Judges requests, for both doors."""

    def __init__(self, settings: Settings, routers: Iterable[APIRouter]) -> None:
        """Look up what each route needs.

        Raises:
            KeyError: a route whose operation is not in the table.
        """
        self.tokens = Tokens(settings.tokens_file)
        self._most_requests = settings.max_requests_per_token
        needs = {**NEEDS, "get_metrics": _OPEN} if settings.metrics_public else NEEDS
        self._routes: list[tuple[Pattern[str], set[str], Need]] = []
        self._role_of: dict[PageOperation, Role] = {}
        for router in routers:
            for route in router.routes:
                if isinstance(route, Route):
                    need = needs[getattr(route, "operation_id", None) or route.name]
                    self._routes.append((route.path_regex, route.methods or set(), need))
                    operation: PageOperation | None = getattr(route.endpoint, ATTRIBUTE, None)
                    if operation is not None and need.role is not None:
                        self._role_of[operation] = need.role

    def __repr__(self) -> str:
        return f"Authorization({self.tokens!r})"

    def admit_page_call(self, authorization: bytes | None, operation: PageOperation, type_: int) -> Token | None:
        """The token of a page call that may pass; None: `check` says why not.

        For the protocol door; it is asked only where tokens are required.
        """
        token = self.tokens.recognise(authorization) if authorization is not None else None
        if (
            token is None
            or token.role < self._role_of[operation]
            or token.use.requests >= self._most_requests
            or (token.types is not None and type_ not in token.types)
        ):
            return None
        return token

    def check(self, scope: Scope) -> Token | None:
        """The token that a request is let in with, noted in its scope; None where it needs none.

        Raises:
            Unauthorized: it has no token, or one that is not known.
            Forbidden: its token lacks the role, or is not for this type.
            BadHeader: more than one Authorization.
            BadAddress: a type that is none, by a token that is restricted to types.
            Overloaded: the token has as many requests under way as it may.
        """
        if not self.tokens.are_required:
            return None
        need, type_text = self._need(scope)
        if need.role is None:
            return None
        token = self._recognise([value for name, value in scope["headers"] if name == b"authorization"])
        scope[SCOPE_KEY] = token  # of a request that is refused as well: the access log names it
        if token.role < need.role:
            raise _forbidden(
                f"This call needs the role {need.role.word}; the token's is {token.role.word}.",
                scope=need.role.word,
                required_role=need.role.word,
            )
        if token.types is not None:
            if not need.takes_restricted:
                raise _forbidden("This call is on the whole pool; the token is restricted to types.")
            if type_text is not None and (type_ := check_type(parse_number(type_text, "type"))) not in token.types:
                raise _forbidden(f"The token is not for type {type_}.", required_type=type_)
        if token.use.requests >= self._most_requests:
            raise Overloaded("This token has as many requests under way as it may.")
        return token

    def _recognise(self, authorizations: Sequence[bytes]) -> Token:
        if not authorizations:
            raise _unauthorized(REALM, "This call needs a token: Authorization: Bearer TOKEN.")
        if len(authorizations) > 1:
            raise BadHeader("A request must bear one Authorization header.")
        token = self.tokens.recognise(authorizations[0])
        if token is None:
            raise _unauthorized(
                f'{REALM}, error="invalid_token"', "The Authorization header bears no token known here."
            )
        return token

    def _need(self, scope: Scope) -> tuple[Need, str | None]:
        # As Starlette routes: the first route whose path and method match.
        path, method = get_route_path(scope), scope["method"]
        for pattern, methods, need in self._routes:
            if method in methods and (match := pattern.match(path)):
                return need, match.groupdict().get("type")
        return _ANY_TOKEN, None


def _unauthorized(challenge: str, detail: str) -> Unauthorized:
    error = Unauthorized(detail)
    error.headers["WWW-Authenticate"] = challenge
    return error


def _forbidden(detail: str, *, scope: str | None = None, **members: str | int) -> Forbidden:
    error = Forbidden(detail, **members)
    error.headers["WWW-Authenticate"] = f'{REALM}, error="insufficient_scope"' + (f', scope="{scope}"' if scope else "")
    return error


def token_of(scope: Scope) -> Token | None:
    """The token that a request was let in with, if it needed one."""
    token: Token | None = scope.get(SCOPE_KEY)
    return token


async def visible_types(pool: PoolCalls, token: Token | None, after: int | None, limit: int) -> list[TypeNumbers]:
    """`pool.types`, less the types that the token is not for."""
    if token is None or token.types is None:
        return await pool.types(after, limit)
    return await _types_within(pool, token.types, after, limit)


async def _types_within(pool: PoolCalls, ranges: TypeRanges, after: int | None, limit: int) -> list[TypeNumbers]:
    found: list[TypeNumbers] = []
    at = -1 if after is None else after
    for first, last in ranges:
        at = max(at, first - 1)
        while at < last and len(found) < limit:
            wanted = limit - len(found)
            batch = await pool.types(at if at >= 0 else None, wanted)
            found += (numbers for numbers in batch if numbers.type <= last)
            if len(batch) < wanted and (not batch or batch[-1].type <= last):
                return found  # there is none above, either
            at = min(batch[-1].type, last)
    return found
