"""A connection to one API server: list, watch, run a program in a pod, ask what is allowed. It cannot write anything.

Strategy: the official client finds credentials and keeps the pool of connections; the answers are read here, because they must be bounded
in bytes and time, whole or not at all, and free to be closed from another thread. Nothing is tried twice: that is the follower's business.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Iterator
from dataclasses import field
from functools import partial
from typing import Any, Protocol, Self
from urllib.parse import quote, urlencode

import urllib3
from kubernetes.client import Configuration
from kubernetes.client.rest import RESTClientObject
from kubernetes.utils.keepalive import tcp_keepalive_socket_options

from tracer.values import dataclass
from webapp.cluster import credentials, remote_program, responses
from webapp.cluster.errors import BadAnswer, Denied, Gone, Refused, Unreachable, said
from webapp.cluster.kinds import FollowedKind
from webapp.cluster.permissions import Permission, Verdict
from webapp.cluster.remote_program import Output
from webapp.cluster.trimmed import Unfit, called, is_named, without_copies
from webapp.cluster.watch import Watch

_CONNECT_SECONDS = 10
_ANSWER_SECONDS = 60
_SILENT_SECONDS = 20
_MOST_PAGE_BYTES = 128 << 20
_MOST_SMALL_BYTES = 1 << 20
_MOST_OUTPUT_BYTES = 128 << 20
_REVIEW = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of a list. *items* say their kind and are as kept; *continue_* asks for the next page (None: this was the last).

    *remaining* is how many objects follow, None when the server does not say. *size* is the answer's bytes; *raw* is the answer itself.
    """

    items: list[dict[str, object]] = field(repr=False)
    resource_version: str
    continue_: str | None
    remaining: int | None
    size: int
    raw: bytes = field(repr=False)


class _Closable(Protocol):
    """A watch, or a program's connection: what is under way."""

    def close(self) -> None:
        """End it, from whichever thread."""


class Connection:
    """One API server, as somebody. Safe to use from several threads; ``close()`` ends everything that is under way."""

    def __init__(self, configuration: Configuration, label: str) -> None:
        configuration.connection_pool_maxsize = 32
        # A connection that died without a word is noticed after half a minute, also while a watch has nothing to say.
        configuration.socket_options = tcp_keepalive_socket_options(idle=15, interval=5, count=3)
        self._configuration = configuration
        self._label = label
        self._pool = RESTClientObject(configuration).pool_manager
        self._signing = threading.Lock()
        self._secrets: tuple[str, ...] = ()
        self._open: weakref.WeakSet[_Closable] = weakref.WeakSet()
        self._lock = threading.Lock()
        self._closed = False

    @classmethod
    def from_context(cls, path: str | os.PathLike[str], context: str) -> Self:
        """Return a connection for a kubeconfig's context. Runs its credential plugin, if any; talks to nobody yet.

        :raises BadKubeconfig: the file, the context or the plugin is of no use.
        """
        return cls(credentials.from_context(path, context), f"context {context}")

    @classmethod
    def in_cluster(cls) -> Self:
        """Return a connection as the service account of the pod Hopline runs in. :raises BadKubeconfig: it is not in one."""
        return cls(credentials.in_cluster(), "in-cluster")

    @classmethod
    def to_url(cls, url: str, *, token: str | None = None) -> Connection:
        """Return a connection without TLS to a server on this machine, such as the one that plays a timeline."""
        return cls(credentials.to_url(url, token), "timeline")

    def __repr__(self) -> str:
        return f"<Connection {self._label}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End every watch and program that is under way, and all connections. What is asked for afterwards is Unreachable."""
        with self._lock:
            self._closed = True
            underway = list(self._open)
        for thing in underway:
            thing.close()
        self._pool.clear()

    def version(self) -> dict[str, object]:
        """Return what ``/version`` says, for example ``gitVersion``. :raises ClusterError: no answer, or not this one."""
        return responses.decode(self._get("/version", most_bytes=_MOST_SMALL_BYTES))

    def discovery(self, path: str, accept: str) -> dict[str, object]:
        """Return what discovery says at *path*, in a form that *accept* names. :raises ClusterError: no answer, or not this one."""
        return responses.decode(self._get(path, accept=accept, most_bytes=_MOST_PAGE_BYTES))

    def list_page(self, kind: FollowedKind, *, limit: int = 500, continue_: str | None = None, unfit: Unfit | None = None) -> Page:
        """Return one page of at most *limit* objects; without *continue_* the first.

        :raises Gone: the continue token is too old: start again. :raises TooLarge: the page is larger than 128 MiB: ask for less.
        :raises ClusterError: refused, unreachable, or no list. An object without a usable name makes it none, unless *unfit* is told.
        """
        query = {"limit": str(limit), "fieldSelector": kind.field_selector, "continue": continue_}
        raw = self._get(kind.path, query, most_bytes=_MOST_PAGE_BYTES)
        return _page(kind, raw, unfit)

    def watch(self, kind: FollowedKind, resource_version: str, *, timeout_seconds: int = 300, unfit: Unfit | None = None) -> Watch:
        """Return the watch of what happens after *resource_version*; the server ends it after *timeout_seconds*.

        It is asked for when the iteration begins. Bookmarks are asked for. Iterate in one thread; close() from any.
        """
        query = {
            "watch": "1",
            "resourceVersion": resource_version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(timeout_seconds),
            "fieldSelector": kind.field_selector,
        }
        begin = partial(self._start_watch, kind, query, timeout_seconds)
        watch = Watch(begin, seconds=timeout_seconds, hide=lambda: self._secrets, unfit=unfit)
        self._note(watch)
        return watch

    def exec(
        self,
        namespace: str,
        pod: str,
        container: str | None,
        argv: tuple[str, ...],
        *,
        timeout: float = 30,
        most_bytes: int = _MOST_OUTPUT_BYTES,
    ) -> Output:
        """Run *argv* in a container (None: the pod's only or first one) and return what it printed. No shell, no stdin, no terminal.

        An exit code that is not 0 is an answer, not an error.
        :raises NoSuchProgram: the container has no such program.
        :raises TimedOut, TooLarge: it had not ended after *timeout* seconds; it prints more than *most_bytes*.
        :raises ClusterError: refused (404: no such pod), or the connection broke before the end.
        """
        self._check_open()
        query = [("command", word) for word in argv] + [("stdout", "true"), ("stderr", "true")]
        if container is not None:
            query.append(("container", container))
        path = f"/api/v1/namespaces/{quote(namespace, safe='')}/pods/{quote(pod, safe='')}/exec"
        headers = self._headers()
        return remote_program.run(
            self._configuration,
            f"{self._configuration.host}{path}?{urlencode(query)}",
            headers,
            timeout=timeout,
            most_bytes=most_bytes,
            hide=_secrets(headers),
            opened=self._note,
        )

    def is_allowed(self, permission: Permission) -> Verdict:
        """Return whether these credentials have *permission*, by the server's own word (SelfSubjectAccessReview, which changes nothing).

        :raises Unreachable: no answer.
        """
        attributes = {
            "verb": permission.verb,
            "group": permission.group,
            "resource": permission.resource,
            "subresource": permission.subresource,
            "namespace": permission.namespace,
            "name": permission.name,
        }
        body: dict[str, object] = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {k: v for k, v in attributes.items() if v}},
        }
        try:
            value = responses.decode(self._request("POST", _REVIEW, body=body, most_bytes=_MOST_SMALL_BYTES))
        except (Denied, Refused, Gone, BadAnswer) as error:
            return Verdict(allowed=None, reason=str(error))
        return _verdict(value)

    # -- requests -----------------------------------------------------------------------------------------------------------------

    def _get(self, path: str, query: dict[str, str | None] | None = None, *, most_bytes: int, accept: str = "application/json") -> bytes:
        return self._request("GET", path, query, most_bytes=most_bytes, accept=accept)

    def _request(
        self,
        method: str,
        path: str,
        query: dict[str, str | None] | None = None,
        *,
        body: dict[str, object] | None = None,
        most_bytes: int,
        accept: str = "application/json",
    ) -> bytes:
        deadline = time.monotonic() + _ANSWER_SECONDS
        response = self._send(
            method, path, query, read_seconds=_SILENT_SECONDS, body=body, headers={"Accept": accept, "Accept-Encoding": "gzip"}
        )
        return responses.read_all(response, most_bytes=most_bytes, deadline=deadline)

    def _start_watch(self, kind: FollowedKind, query: dict[str, str | None], seconds: int) -> urllib3.BaseHTTPResponse:
        response = self._send("GET", kind.path, query, read_seconds=_SILENT_SECONDS)
        # From here on silence is normal: nothing may happen, and bookmarks come about once a minute, if at all.
        sock = getattr(response.connection, "sock", None)
        if sock is not None:
            sock.settimeout(seconds + _SILENT_SECONDS)
        return response

    def _send(
        self,
        method: str,
        path: str,
        query: dict[str, str | None] | None,
        *,
        read_seconds: float,
        body: dict[str, object] | None = None,
        headers: dict[str, str] | None = None,
    ) -> urllib3.BaseHTTPResponse:
        """Return the answer, of which only the head has been read. :raises ClusterError: there is none, or it is no success."""
        self._check_open()
        asked = urlencode({k: v for k, v in (query or {}).items() if v is not None})
        signed = self._headers()
        try:
            response = self._pool.request(
                method,
                f"{self._configuration.host}{path}{'?' + asked if asked else ''}",
                json=body,
                headers={"Accept": "application/json", "User-Agent": "hopline", **(headers or {}), **signed},
                timeout=urllib3.Timeout(connect=_CONNECT_SECONDS, read=read_seconds),
                retries=False,
                redirect=False,
                preload_content=False,
            )
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise responses.of_exception(error) from None
        responses.check(response, hide=_secrets(signed))
        return response

    def _check_open(self) -> None:
        if self._closed:
            raise Unreachable("The connection was closed.")

    def _headers(self) -> dict[str, str]:
        # A refresh may run a plugin: once, not in every thread that follows.
        with self._signing:
            headers = credentials.authorization(self._configuration)
        self._secrets = _secrets(headers)
        return headers

    def _note(self, thing: _Closable) -> None:
        with self._lock:
            if not self._closed:
                self._open.add(thing)
                return
        thing.close()


def _secrets(headers: dict[str, str]) -> tuple[str, ...]:
    """Return what must not be repeated: the header's value, and the token in it."""
    return tuple(part for value in headers.values() for part in (value, value.partition(" ")[2]) if part)


def _page(kind: FollowedKind, raw: bytes, unfit: Unfit | None) -> Page:
    value = responses.decode(raw)
    metadata, items = value.get("metadata"), value.get("items") or []
    version = metadata.get("resourceVersion") if isinstance(metadata, dict) else None
    if not isinstance(metadata, dict) or not isinstance(items, list) or not isinstance(version, str) or not version:
        raise BadAnswer(f"The API server's answer is no list of {kind.plural}.")
    remaining = metadata.get("remainingItemCount")
    return Page(
        items=list(_items(kind, items, unfit)),
        resource_version=version,
        continue_=metadata.get("continue") or None,
        remaining=remaining if isinstance(remaining, int) else None,
        size=len(raw),
        raw=raw,
    )


def _items(kind: FollowedKind, items: list[Any], unfit: Unfit | None) -> Iterator[dict[str, object]]:
    """Yield a list's items as they are kept; items do not say what they are, the list does."""
    for item in items:
        if is_named(item):
            yield {"apiVersion": kind.api_version, "kind": kind.kind, **without_copies(item)}
        elif unfit is not None:
            unfit(called(item), True)
        else:
            raise BadAnswer(f"The API server's list of {kind.plural} holds something without a usable name.")


def _verdict(value: dict[str, object]) -> Verdict:
    status = value.get("status")
    if not isinstance(status, dict) or not isinstance(status.get("allowed"), bool):
        return Verdict(allowed=None, reason="The API server did not say.")
    failed = said(status.get("evaluationError"))
    reason = said(status.get("reason")) or failed
    unsure = failed and not status["allowed"] and not status.get("denied")
    return Verdict(allowed=None if unsure else status["allowed"], reason=reason)
