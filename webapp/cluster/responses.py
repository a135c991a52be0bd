"""An API server's answers over HTTP: what their statuses mean, read within a limit of bytes and time."""

from __future__ import annotations

import json
import socket
import ssl
import time
from collections.abc import Iterator

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
    ProxyError,
    ReadTimeoutError,
    SSLError,
)

from tracer.patterns import pattern
from webapp.cluster.errors import BadAnswer, Busy, ClusterError, Denied, Gone, Refused, TimedOut, TooLarge, Unreachable, said

_CHUNK = 1 << 16
_MOST_ERROR_BYTES = 1 << 16
_SURROGATE = pattern(rb"\\u[dD][89a-fA-F]")
_BUSY = frozenset({408, 429, 500, 502, 503, 504})


def of_status(status: int, text: str, *, retry_after: float | None = None) -> ClusterError:
    """Return the error that an HTTP *status* (or the ``code`` of a Status object) stands for; *text* is what the server said."""
    tail = f": {text}" if text else ""
    if status in (401, 403):
        return Denied(f"The API server {'does not know these credentials' if status == 401 else 'does not allow it'}{tail}", status=status)
    if status == 410:
        return Gone(f"The API server no longer has what happened since{tail}")
    if status in _BUSY:
        return Busy(f"The API server answered {status}{tail}", status=status, retry_after=retry_after)
    return Refused(f"The API server answered {status}{tail}", status=status)


def of_status_object(value: object, *, hide: tuple[str, ...] = ()) -> ClusterError:
    """Return the error for a ``Status`` object, as an ERROR event of a watch carries it."""
    if not isinstance(value, dict) or not isinstance(code := value.get("code"), int):
        return BadAnswer("The API server reported an error without saying which.")
    details = value.get("details")
    seconds = details.get("retryAfterSeconds") if isinstance(details, dict) else None
    return of_status(code, said(value.get("message"), hide=hide), retry_after=seconds if isinstance(seconds, int) else None)


def of_exception(error: Exception) -> ClusterError:
    """Return what kept a request from being answered, in words of our own: exceptions quote URLs, and those may hold passwords."""
    # NB: to urllib3, a refused connection is a ConnectTimeoutError too.
    if not isinstance(error, NewConnectionError) and isinstance(error, ConnectTimeoutError | ReadTimeoutError | TimeoutError):
        return TimedOut("The API server did not answer in time.")
    if isinstance(error, NameResolutionError):
        return Unreachable("The API server's name does not resolve.")
    if isinstance(error, ProxyError):
        return Unreachable("The proxy to the API server does not let us through.")
    if reason := _tls_reason(error):
        return Unreachable(f"TLS to the API server failed: {reason}.")
    if isinstance(error, NewConnectionError):
        return Unreachable(f"The API server cannot be reached{_system_words(error)}.")
    if isinstance(error, ProtocolError | OSError):
        return Unreachable(f"The connection to the API server broke{_system_words(error)}.")
    return Unreachable("The API server cannot be reached.")


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    queue: list[object] = [error]
    while queue:
        found = queue.pop(0)
        if isinstance(found, BaseException) and id(found) not in seen:
            seen.add(id(found))
            yield found
            queue.extend((found.__cause__, found.__context__, getattr(found, "reason", None), *found.args))


def _tls_reason(error: Exception) -> str | None:
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return said(cause.verify_message)
        if isinstance(cause, ssl.SSLError):
            return said(cause.reason) or "no common ground"
    return "no common ground" if isinstance(error, SSLError) else None


def _system_words(error: Exception) -> str:
    words = (cause.strerror for cause in _causes(error) if isinstance(cause, OSError) and not isinstance(cause, socket.gaierror))
    return next((f": {word}" for word in words if isinstance(word, str)), "")


def check(response: urllib3.BaseHTTPResponse, *, hide: tuple[str, ...]) -> None:
    """Do nothing for a 200 or 201; read what the server says otherwise and raise it.

    :raises ClusterError: the answer is no success.
    """
    if response.status in (200, 201):
        return
    try:
        body = read_all(response, most_bytes=_MOST_ERROR_BYTES, deadline=time.monotonic() + 10)
    except ClusterError:
        body = b""
    raise of_status(response.status, _message(body, hide), retry_after=_seconds(response.headers.get("Retry-After")))


def _message(body: bytes, hide: tuple[str, ...]) -> str:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    return said(value.get("message"), hide=hide) if isinstance(value, dict) else ""


def _seconds(text: str | None) -> float | None:
    return float(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 6 else None


def chunks(response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    """Yield the body as it arrives, at most 64 KiB at a time; each wait is bounded by the socket's timeout.

    :raises Unreachable: the connection broke before the end.
    """
    while True:
        try:
            data = response.read1(_CHUNK)
        except (HTTPError, OSError, ValueError, AttributeError) as error:
            # ValueError, AttributeError: the socket was closed under the reader by another thread.
            raise of_exception(error) from None
        if not data:
            return
        yield data


def read_all(response: urllib3.BaseHTTPResponse, *, most_bytes: int, deadline: float) -> bytes:
    """Return the whole body, and give the connection back.

    :raises TooLarge: it is longer than *most_bytes*. :raises TimedOut: it had not ended by *deadline* (monotonic seconds).
    :raises Unreachable: the connection broke.
    """
    parts: list[bytes] = []
    size = 0
    try:
        for data in chunks(response):
            parts.append(data)
            size += len(data)
            if size > most_bytes:
                raise TooLarge(f"The API server's answer is larger than {most_bytes:,} bytes.")
            if time.monotonic() > deadline:
                raise TimedOut("The API server's answer did not end in time.")
    except ClusterError:
        response.close()
        raise
    response.release_conn()
    return b"".join(parts)


def decode(data: bytes) -> dict[str, object]:
    """Return the JSON object *data* is. :raises BadAnswer: it is not one."""
    try:
        value = json.loads(data)
        if _SURROGATE.search(data):
            # Half a character, which nothing could be stored with; Go never writes one.
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise BadAnswer("The API server's answer is not a JSON object.")
    return value
