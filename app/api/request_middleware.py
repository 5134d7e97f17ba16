"""The outermost layer of the ASGI door: request id, guards, tokens, bounds, metrics, access log, the last resort.

Pure ASGI. The protocol door does the same, with the same functions, for the requests that it answers itself.
"""

from __future__ import annotations

import asyncio
import logging
from time import perf_counter

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.authorization import SCOPE_KEY, Authorization
from app.api.error_responses import is_store_request, problem
from app.api.guards import AllowedHosts, RequestIds, check_path, check_request
from app.api.paths import PathTable
from app.api.token_entries import Token
from app.errors import InternalError, Overloaded, PagepoolError, RequestTimeout
from app.settings import Settings
from app.telemetry import Telemetry
from app.telemetry_cells import OVERLOADED, REQUESTS_IN_FLIGHT, Operation
from app.telemetry_logging import REQUEST_ID, log_access

OPERATION_OF = {
    "load_pages": Operation.LOAD,
    "inspect_pages": Operation.HEAD,
    "store_pages": Operation.STORE,
    "invalidate_pages": Operation.INVALIDATE,
    "invalidate_extents": Operation.INVALIDATE,
    "zero_extents": Operation.ZERO,
    "take_page": Operation.TAKE,
    "load_frames": Operation.FRAMES_LOAD,
    "gather_frames": Operation.FRAMES_LOAD,
    "store_frames": Operation.FRAMES_STORE,
    "read_image": Operation.IMAGE_READ,
    "inspect_image": Operation.IMAGE_READ,
    "write_image": Operation.IMAGE_WRITE,
    "list_types": Operation.TYPES,
    "get_type": Operation.TYPES,
    "configure_type": Operation.TYPES,
    "delete_type": Operation.TYPES,
    "get_type_extents": Operation.TYPES,
    "get_type_map": Operation.TYPES,
    "shrink_type": Operation.TYPES,
    "get_pool": Operation.POOL,
    "shrink_pool": Operation.POOL,
    "get_parameters": Operation.PARAMETERS,
    "change_parameters": Operation.PARAMETERS,
    "get_metrics": Operation.METRICS,
    "get_liveness": Operation.HEALTH,
    "get_readiness": Operation.HEALTH,
}
"""The series of `pagepool_request_seconds` for each operationId; `Operation.OTHER` for those not named."""

CLIENT_GONE = 499
"""The status that metrics and the access log show where the client left before an answer began."""

ALWAYS_ANSWERED = frozenset({"/livez", "/readyz", "/metrics"})
"""Paths outside the bound on requests under way: what an operator looks at when there are many."""

_log = logging.getLogger("pagepool.api")


class RequestMiddleware:
    """Wraps the whole application."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        settings: Settings,
        allowed_hosts: AllowedHosts,
        authorization: Authorization,
        paths: PathTable,
    ) -> None:
        self._app = app
        self._allowed_hosts = allowed_hosts
        self._authorization = authorization
        self._paths = paths
        self._access_log = settings.access_log
        self._progress_seconds = settings.progress_timeout
        self._most_requests = settings.max_requests_in_flight
        self._requests = 0
        self._request_ids = RequestIds()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = perf_counter()
        # httptools leaves the blanks behind a value, which are not part of it (RFC 9112, 5).
        scope["headers"] = [(name, value.strip(b" \t")) for name, value in scope["headers"]]
        request_id = self._request_ids.choose(_header(scope, b"x-request-id"))
        sender = _Sender(send, request_id)
        method: str = scope["method"]
        if method == "HEAD" and self._paths.lacks_head(scope["path"]):
            # The server below keeps its own scope, with HEAD in it.
            scope = {**scope, "method": "GET"}
            sender.drops_body = True
        telemetry = _telemetry(scope)
        restore = REQUEST_ID.set(request_id.decode())
        telemetry.cells[REQUESTS_IN_FLIGHT] += 1
        is_bounded = scope["path"] not in ALWAYS_ANSWERED
        self._requests += is_bounded
        try:
            await self._run(scope, receive, sender)
        finally:
            seconds = perf_counter() - started
            self._requests -= is_bounded
            telemetry.cells[REQUESTS_IN_FLIGHT] -= 1
            telemetry.observe_request(_operation(scope, sender.status), sender.status, seconds)
            if self._access_log:
                token: Token | None = scope.get(SCOPE_KEY)
                name = token.name if token is not None else None
                log_access(request_id.decode(), method, scope["path"], sender.status, seconds, token=name)
            REQUEST_ID.reset(restore)

    async def _run(self, scope: Scope, receive: Receive, sender: _Sender) -> None:
        try:
            check_path(scope.get("raw_path") or b"")
            check_request(scope["method"], scope["headers"], scope["http_version"], self._allowed_hosts)
            token = self._admit(scope)
            if token is None:
                await self._app(scope, _Receiver(receive, self._progress_seconds), sender)
                return
            token.use.requests += 1
            try:
                await self._app(scope, _Receiver(receive, self._progress_seconds), sender)
            finally:
                token.use.requests -= 1
        except ClientDisconnect:
            pass
        except PagepoolError as error:
            await self._give_up(error, scope, sender)
        except Exception:  # noqa: BLE001 - the last resort: logged with its traceback, answered 500
            _log.exception("Unforeseen failure")
            await self._give_up(InternalError(), scope, sender)

    def _admit(self, scope: Scope) -> Token | None:
        try:
            token = self._authorization.check(scope)
            if self._requests > self._most_requests and scope["path"] not in ALWAYS_ANSWERED:
                raise Overloaded("The service works on as much as it may at once.")  # noqa: TRY301 - counted below
        except Overloaded:
            _telemetry(scope).cells[OVERLOADED] += 1
            raise
        return token

    async def _give_up(self, error: PagepoolError, scope: Scope, sender: _Sender) -> None:
        if sender.has_started:
            # Half an answer is out. To return now makes the server cut the connection: nothing is ever padded.
            _log.warning("Answer cut short: %s", error.code)
            return
        is_store = is_store_request(scope["method"], scope["path"])
        status, headers, body = problem(error, is_store=is_store)
        await sender({"type": "http.response.start", "status": status, "headers": headers})
        await sender({"type": "http.response.body", "body": body})


class _Receiver:
    """Gives up a body that makes no progress; behind its end one waits for the client to leave, without a limit."""

    __slots__ = ("_is_whole", "_receive", "_seconds")

    def __init__(self, receive: Receive, seconds: float) -> None:
        self._receive = receive
        self._seconds = seconds
        self._is_whole = False

    async def __call__(self) -> Message:
        if self._is_whole:
            return await self._receive()
        try:
            async with asyncio.timeout(self._seconds):
                message = await self._receive()
        except TimeoutError:
            raise RequestTimeout("The body made no progress.") from None
        self._is_whole = not message.get("more_body", False)
        return message


class _Sender:
    """Adds the request id to an answer, and remembers its status."""

    __slots__ = ("_request_id", "_send", "drops_body", "has_started", "status")

    def __init__(self, send: Send, request_id: bytes) -> None:
        self._send = send
        self._request_id = request_id
        self.drops_body = False
        self.has_started = False
        self.status = CLIENT_GONE

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.has_started = True
            self.status = message["status"]
            message = {**message, "headers": [*message.get("headers", ()), (b"x-request-id", self._request_id)]}
        elif self.drops_body and message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await self._send(message)


def _header(scope: Scope, name: bytes) -> bytes | None:
    return next((value for key, value in scope["headers"] if key == name), None)


def _telemetry(scope: Scope) -> Telemetry:
    telemetry: Telemetry = scope["app"].state.context.telemetry
    return telemetry


def _operation(scope: Scope, status: int) -> Operation:
    if status == 405:  # noqa: PLR2004 - the route is then merely one with the same path
        return Operation.OTHER
    return OPERATION_OF.get(getattr(scope.get("route"), "operation_id", None) or "", Operation.OTHER)
