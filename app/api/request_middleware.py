"""The outermost layer of the ASGI door: request id, guards, metrics, access log, and the last resort for errors.

Pure ASGI. The protocol door does the same, with the same functions, for the requests that it answers itself.
"""

from __future__ import annotations

import logging
from time import perf_counter

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.error_responses import is_store_request, problem
from app.api.guards import AllowedHosts, RequestIds, check_path, check_request
from app.api.paths import PathTable
from app.errors import InternalError, PagepoolError
from app.telemetry import Telemetry
from app.telemetry_cells import REQUESTS_IN_FLIGHT, Operation
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
    "get_pool": Operation.POOL,
    "get_parameters": Operation.PARAMETERS,
    "change_parameters": Operation.PARAMETERS,
    "get_metrics": Operation.METRICS,
    "get_liveness": Operation.HEALTH,
    "get_readiness": Operation.HEALTH,
}
"""The series of `pagepool_request_seconds` for each operationId; `Operation.OTHER` for those not named."""

CLIENT_GONE = 499
"""The status that metrics and the access log show where the client left before an answer began."""

_log = logging.getLogger("pagepool.api")


class RequestMiddleware:
    """Wraps the whole application."""

    def __init__(self, app: ASGIApp, *, allowed_hosts: AllowedHosts, paths: PathTable, access_log: bool) -> None:
        self._app = app
        self._allowed_hosts = allowed_hosts
        self._paths = paths
        self._access_log = access_log
        self._request_ids = RequestIds()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = perf_counter()
        request_id = self._request_ids.choose(_header(scope, b"x-request-id"))
        sender = _Sender(send, request_id)
        method: str = scope["method"]
        if method == "HEAD" and self._paths.lacks_head(scope["path"]):
            # The server below keeps its own scope, with HEAD in it.
            scope = {**scope, "method": "GET"}
            sender.drops_body = True
        telemetry = _telemetry(scope)
        token = REQUEST_ID.set(request_id.decode())
        telemetry.cells[REQUESTS_IN_FLIGHT] += 1
        try:
            await self._run(scope, receive, sender)
        finally:
            seconds = perf_counter() - started
            telemetry.cells[REQUESTS_IN_FLIGHT] -= 1
            telemetry.observe_request(_operation(scope, sender.status), sender.status, seconds)
            if self._access_log:
                log_access(request_id.decode(), method, scope["path"], sender.status, seconds)
            REQUEST_ID.reset(token)

    async def _run(self, scope: Scope, receive: Receive, sender: _Sender) -> None:
        try:
            check_path(scope.get("raw_path") or b"")
            check_request(scope["method"], scope["headers"], scope["http_version"], self._allowed_hosts)
            await self._app(scope, receive, sender)
        except ClientDisconnect:
            pass
        except PagepoolError as error:
            await self._give_up(error, scope, sender)
        except Exception:  # noqa: BLE001 - the last resort: logged with its traceback, answered 500
            _log.exception("Unforeseen failure")
            await self._give_up(InternalError(), scope, sender)

    async def _give_up(self, error: PagepoolError, scope: Scope, sender: _Sender) -> None:
        if sender.has_started:
            # Half an answer is out. To return now makes the server cut the connection: nothing is ever padded.
            _log.warning("Answer cut short: %s", error.code)
            return
        is_store = is_store_request(scope["method"], scope["path"])
        status, headers, body = problem(error, is_store=is_store)
        await sender({"type": "http.response.start", "status": status, "headers": headers})
        await sender({"type": "http.response.body", "body": body})


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
