"""The recorded API as an ASGI application: who may, what is asked, the answer. Nothing can be written."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Any
from urllib.parse import parse_qs

from webapp.cluster.permissions import Permission
from webapp.recorded_api import discovery, exec_channel
from webapp.recorded_api.api_request import ApiRequest, parse_path
from webapp.recorded_api.broken_streams import BrokenOffError, broken
from webapp.recorded_api.faults import Fault, Faults, What
from webapp.recorded_api.listing import list_page
from webapp.recorded_api.recorded_api import RecordedApi
from webapp.recorded_api.statuses import RequestError, status
from webapp.recorded_api.watching import WatchStream

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]
May = Callable[[Permission], bool]
_MOST_BODY_BYTES = 1 << 16
_USER = "hopline"
_PUBLIC = frozenset({"/version", "/healthz", "/livez", "/readyz"})


class Application:
    """The server's behaviour. *root*: how all paths begin. *token*: what clients must present, or None. *may*: what they may do."""

    def __init__(self, api: RecordedApi, faults: Faults, *, root: str, token: str | None, may: May, bookmark_seconds: float) -> None:
        self._api = api
        self._faults = faults
        self._root = root
        self._token = token
        self._may = may
        self._bookmark_seconds = bookmark_seconds
        self.stopping = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request or one exec."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)

    # -- HTTP ---------------------------------------------------------------------------------------------------------------------

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self._authenticate(scope)
            await self._answer(scope, receive, send)
        except RequestError as error:
            await _send_json(send, status(error.code, error.message), code=error.code)
        except BrokenOffError:
            # Returning without an end makes the server close the connection.
            return

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, method = self._path(scope), scope["method"]
        if method == "POST" and path == f"/apis/{discovery.AUTHORIZATION}/v1/selfsubjectaccessreviews":
            await self._review(scope, receive, send)
        elif path.endswith("/exec"):
            self._refuse_plain_exec(parse_path(path), _query(scope))
        elif method in ("POST", "DELETE") and self._api.takes_pods:
            await self._pod(parse_path(path), method, receive, send)
        elif method != "GET":
            raise RequestError(405, "the server does not allow this method on the requested resource")
        elif path == "/version":
            self._maybe_refuse("get", "version")
            await _send_json(send, dict(self._api.timeline.version))
        elif path in _PUBLIC:
            await _send(send, b"ok", content_type=b"text/plain")
        elif (found := discovery.document(path, self._api.served)) is not None:
            await _send_json(send, found)
        else:
            await self._resource(parse_path(path), _query(scope), receive, send)

    async def _resource(self, request: ApiRequest, query: Mapping[str, str], receive: Receive, send: Send) -> None:
        if request.subresource:
            raise RequestError(404, "the server could not find the requested resource")
        is_watch = query.get("watch") in ("1", "true")
        verb = request.verb(is_watch=is_watch)
        self._authorize(request.permission(verb, query.get("fieldSelector", "")))
        fault = self._maybe_refuse(verb, request.resource.plural)
        if verb == "get":
            await _send_json(send, dict(self._object(request)))
        elif verb == "watch":
            await self._watch(request, query, fault, receive, send)
        else:
            await self._list(request, query, fault, send)

    async def _list(self, request: ApiRequest, query: Mapping[str, str], fault: Fault | None, send: Send) -> None:
        page = list_page(self._api, request, query)
        if fault is not None and fault.what is What.NOT_AN_EVENT:
            page = {"kind": "Pod"}
        body = json.dumps(page, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        await _start(send)
        await _pump(send, _faulty(_once(body), fault))

    async def _watch(self, request: ApiRequest, query: Mapping[str, str], fault: Fault | None, receive: Receive, send: Send) -> None:
        if query.get("sendInitialEvents"):
            raise RequestError(422, "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled")
        stream = WatchStream(self._api, request, query, bookmark_seconds=self._bookmark_seconds)
        await _start(send)
        pumping = asyncio.ensure_future(_pump(send, _faulty(stream.lines(self.stopping), fault)))
        leaving = asyncio.ensure_future(_left(receive))
        try:
            await asyncio.wait((pumping, leaving), return_when=asyncio.FIRST_COMPLETED)
            if pumping.done():
                pumping.result()
        finally:
            for task in (pumping, leaving):
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError, BrokenOffError):
                await pumping

    async def _review(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a SelfSubjectAccessReview. Source: authorization.k8s.io/v1."""
        if _header(scope, b"content-type").split(b";")[0] != b"application/json":
            # kubectl auth can-i sends protobuf, which is more than this server understands.
            raise RequestError(415, "the body of the request was in an unknown format - accepted media types include: application/json")
        self._maybe_refuse("review", "selfsubjectaccessreviews")
        try:
            value = json.loads(await _body(receive))
            asked = value["spec"]["resourceAttributes"]
            names = ("verb", "resource", "group", "subresource", "namespace", "name")
            permission = Permission(**{name: str(asked.get(name, "")) for name in names})
        except (ValueError, KeyError, TypeError, AttributeError):
            raise RequestError(400, "the body is no SelfSubjectAccessReview") from None
        allowed = self._may(permission)
        answer = {"allowed": True, "reason": "RBAC: allowed by the recorded API"} if allowed else {"allowed": False}
        await _send_json(send, {**value, "status": answer}, code=201)

    async def _pod(self, request: ApiRequest, method: str, receive: Receive, send: Send) -> None:
        """Make a pod for debugging, which runs at once, or remove one."""
        if request.resource.plural != "pods" or request.subresource:
            raise RequestError(405, "the server does not allow this method on the requested resource")
        verb = "create" if method == "POST" else "delete"
        self._authorize(request.permission(verb))
        self._maybe_refuse(verb, "pods")
        if method == "DELETE":
            value = self._object(request)
            self._api.change("DELETED", "pods", value)
            await _send_json(send, dict(value))
            return
        try:
            made = json.loads(await _body(receive))
            made["metadata"]["namespace"] = request.namespace
            made["status"] = {"phase": "Running"}
            self._api.change("ADDED", "pods", made)
        except (ValueError, KeyError, TypeError):
            raise RequestError(400, "the body is no Pod that can be made") from None
        await _send_json(send, made, code=201)

    # -- exec ---------------------------------------------------------------------------------------------------------------------

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        try:
            self._authenticate(scope)
            request, query = parse_path(self._path(scope)), parse_qs(scope["query_string"].decode())
            pod = self._pod_to_exec(request)
            fault = self._maybe_refuse("exec", "pods")
            container = exec_channel.container_of(pod, query.get("container", [""])[0])
            protocol = next((p for p in exec_channel.PROTOCOLS if p in scope["subprotocols"]), None)
            if protocol is None:
                raise RequestError(400, "unable to negotiate protocol: client supports none that the server does")
        except RequestError as error:
            await _refuse_websocket(send, error)
            return
        argv = tuple(query.get("command", ()))
        await send({"type": "websocket.accept", "subprotocol": protocol})
        wants = frozenset(name for name in ("stdout", "stderr") if query.get(name) in (["true"], ["1"]))
        printed = self._api.run_in(pod, container, argv)
        await exec_channel.send_output(send, printed, argv[0] if argv else "", fault, wants=wants)

    def _refuse_plain_exec(self, request: ApiRequest, query: Mapping[str, str]) -> None:
        """Say what is wrong to a client that tries SPDY after its WebSocket was refused (kubectl does)."""
        exec_channel.container_of(self._pod_to_exec(request), query.get("container", ""))
        raise RequestError(400, "Upgrade request required: this server execs over WebSocket only")

    def _pod_to_exec(self, request: ApiRequest) -> Mapping[str, object]:
        if request.resource.plural != "pods" or request.subresource != "exec":
            raise RequestError(404, "the server could not find the requested resource")
        for verb in ("get", "create"):
            self._authorize(request.permission(verb))
        return self._object(request)

    # -- common -------------------------------------------------------------------------------------------------------------------

    def _object(self, request: ApiRequest) -> Mapping[str, object]:
        found = self._api.get(request.resource.plural, request.namespace, request.name)
        if found is None:
            group = f".{request.resource.group}" if request.resource.group else ""
            raise RequestError(404, f'{request.resource.plural}{group} "{request.name}" not found')
        return found

    def _path(self, scope: Scope) -> str:
        """Return the path below the root. :raises RequestError: 404, it is not below it.

        What every cluster tells everybody needs no root: ``kubectl get --raw`` leaves out the path of its server's URL.
        """
        whole: str = scope["raw_path"].decode("ascii").partition("?")[0]
        if whole in _PUBLIC:
            return whole
        root, _, path = whole[1:].partition("/")
        if not hmac.compare_digest(f"/{root}", self._root):
            raise RequestError(404, "the server could not find the requested resource")
        return f"/{path.rstrip('/')}"

    def _authenticate(self, scope: Scope) -> None:
        if self._token is None:
            return
        if not hmac.compare_digest(_header(scope, b"authorization"), f"Bearer {self._token}".encode()):
            raise RequestError(401, "Unauthorized")

    def _authorize(self, permission: Permission) -> None:
        if self._may(permission):
            return
        what = f"{permission.resource}/{permission.subresource}" if permission.subresource else permission.resource
        named = f'{what} "{permission.name}"' if permission.name else what
        where = f'in the namespace "{permission.namespace}"' if permission.namespace else "at the cluster scope"
        asked = f'{permission.verb} resource "{what}" in API group "{permission.group}"'
        raise RequestError(403, f'{named} is forbidden: User "{_USER}" cannot {asked} {where}')

    def _maybe_refuse(self, verb: str, plural: str) -> Fault | None:
        """Return the fault that is due for this request; one that is a status is raised."""
        fault = self._faults.take(verb, plural)
        if fault is not None and fault.what is What.STATUS:
            raise RequestError(fault.status, f"status {fault.status} on purpose")
        return fault


async def _once(body: bytes) -> AsyncIterator[bytes]:
    yield body


def _faulty(lines: AsyncIterator[bytes], fault: Fault | None) -> AsyncIterator[bytes]:
    return lines if fault is None else broken(lines, fault)


async def _pump(send: Send, pieces: AsyncIterator[bytes]) -> None:
    async for piece in pieces:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _left(receive: Receive) -> None:
    """Return when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _body(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        piece: bytes = message.get("body", b"")
        body += piece
        if len(body) > _MOST_BODY_BYTES:
            raise RequestError(413, "request entity too large")
        if not message.get("more_body"):
            return body


async def _start(send: Send, code: int = 200, content_type: bytes = b"application/json") -> None:
    await send({"type": "http.response.start", "status": code, "headers": [(b"content-type", content_type)]})


async def _send(send: Send, body: bytes, *, code: int = 200, content_type: bytes = b"application/json") -> None:
    await _start(send, code, content_type)
    await send({"type": "http.response.body", "body": body})


async def _send_json(send: Send, value: dict[str, object], *, code: int = 200) -> None:
    await _send(send, json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(), code=code)


async def _refuse_websocket(send: Send, error: RequestError) -> None:
    headers = [(b"content-type", b"application/json")]
    await send({"type": "websocket.http.response.start", "status": error.code, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": json.dumps(status(error.code, error.message)).encode()})


def _header(scope: Scope, wanted: bytes) -> bytes:
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    return next((value for name, value in headers if name == wanted), b"")


def _query(scope: Scope) -> dict[str, str]:
    return {key: values[0] for key, values in parse_qs(scope["query_string"].decode()).items()}
