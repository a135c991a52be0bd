"""Running a program in a container: ``pods/exec`` over a WebSocket with its channels (stdout, stderr, and how it ended).

Source: k8s.io/apimachinery/pkg/util/remotecommand (v4.channel.k8s.io, v5.channel.k8s.io), KEP-4006.
"""

from __future__ import annotations

import json
import logging
import re
import ssl
import time
from collections.abc import Callable
from dataclasses import field

from kubernetes.client import Configuration
from kubernetes.client.rest import should_bypass_proxies
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, PayloadTooBig, WebSocketException
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tracer.patterns import pattern
from tracer.values import dataclass
from webapp.cluster import responses
from webapp.cluster.errors import BadAnswer, ClusterError, NoSuchProgram, Refused, TimedOut, TooLarge, Unreachable, said

_PROTOCOLS = (Subprotocol("v5.channel.k8s.io"), Subprotocol("v4.channel.k8s.io"))
_STDOUT, _STDERR, _ERROR = 1, 2, 3
_MOST_FRAME_BYTES = 8 << 20
_MOST_STDERR_BYTES = 1 << 16
_CONNECT_SECONDS = 15
_CLOSE_SECONDS = 0.5
# containerd and runc, crun, cri-dockerd: each words it its own way, and some call it exit code 126 or 127.
_MISSING = pattern(
    r'executable file .{0,200}?not found|exec: \\*"[^"]{1,200}": (?:stat \S{1,300}: )?no such file or directory', re.IGNORECASE | re.DOTALL
)
_NOT_STARTED = frozenset({126, 127, 255})

# NB: at DEBUG the library logs the handshake with its Authorization header. This logger never gets there.
_LOGGER = logging.getLogger(__name__)
_LOGGER.setLevel(logging.WARNING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What a program printed and how it ended; *stderr* is cut after 64 KiB. *seconds* is how long it all took."""

    stdout: bytes = field(repr=False)
    stderr: str
    exit_code: int
    seconds: float


@dataclass(slots=True, kw_only=True)
class _Running:
    """What came so far over the channels. *status* is the last word: how the program ended."""

    most_bytes: int
    stdout: list[bytes] = field(default_factory=list)
    stdout_size: int = 0
    stderr: bytearray = field(default_factory=bytearray)
    status: dict[str, object] | None = None

    def take(self, message: object) -> None:
        if not isinstance(message, bytes) or not message:
            raise BadAnswer("The container's output came in a form that the protocol does not have.")
        channel, rest = message[0], message[1:]
        if channel == _STDOUT:
            self.stdout.append(rest)
            self.stdout_size += len(rest)
            if self.stdout_size > self.most_bytes:
                raise TooLarge(f"The program prints more than {self.most_bytes:,} bytes.")
        elif channel == _STDERR:
            self.stderr += rest[: max(0, _MOST_STDERR_BYTES - len(self.stderr))]
        elif channel == _ERROR:
            self.status = _status(rest)


def run(
    configuration: Configuration,
    url: str,
    headers: dict[str, str],
    *,
    timeout: float,
    most_bytes: int,
    hide: tuple[str, ...],
    opened: Callable[[ClientConnection], None],
) -> Output:
    """Return what the program behind *url* printed. *opened* gets the connection, for whoever may want to close it early.

    :raises NoSuchProgram: the container has no such program.
    :raises TooLarge, TimedOut: it prints more than *most_bytes*, or had not ended after *timeout* seconds.
    :raises ClusterError: the server or the runtime refused, or the connection broke before the program's end was told.
    """
    started = time.monotonic()
    running = _Running(most_bytes=most_bytes)
    try:
        with _connect(configuration, url, headers, min(timeout, _CONNECT_SECONDS)) as channel:
            opened(channel)
            while running.status is None:
                running.take(channel.recv(timeout=max(0.0, started + timeout - time.monotonic())))
    except ClusterError:
        raise
    except Exception as error:
        raise _cause(error, hide, timeout) from None
    return _output(running, seconds=time.monotonic() - started, hide=hide)


def _connect(configuration: Configuration, url: str, headers: dict[str, str], seconds: float) -> ClientConnection:
    scheme, _, rest = url.partition("://")
    return connect(
        f"{'wss' if scheme == 'https' else 'ws'}://{rest}",
        ssl=_tls(configuration) if scheme == "https" else None,
        server_hostname=(configuration.tls_server_name or None) if scheme == "https" else None,
        additional_headers=headers,
        user_agent_header="hopline",
        subprotocols=_PROTOCOLS,
        compression=None,
        open_timeout=seconds,
        ping_interval=None,
        close_timeout=_CLOSE_SECONDS,
        max_size=_MOST_FRAME_BYTES,
        max_queue=4,
        proxy=_proxy(configuration),
        logger=_LOGGER,
    )


def _proxy(configuration: Configuration) -> str | None:
    if not configuration.proxy or should_bypass_proxies(configuration.host, configuration.no_proxy or ""):
        return None
    return configuration.proxy


def _tls(configuration: Configuration) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert or None)
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, configuration.key_file)
    return context


def _cause(error: Exception, hide: tuple[str, ...], timeout: float) -> ClusterError:
    if isinstance(error, TimeoutError):
        return TimedOut(f"The program did not end within {timeout:g} s.")
    if isinstance(error, InvalidStatus):
        return responses.of_status(error.response.status_code, _message(error.response.body, hide))
    if isinstance(error, PayloadTooBig):
        return TooLarge(f"A piece of the program's output is larger than {_MOST_FRAME_BYTES:,} bytes.")
    if isinstance(error, InvalidHandshake):
        return BadAnswer("The API server, or a proxy before it, does not speak WebSocket.")
    if isinstance(error, ConnectionClosed | WebSocketException):
        too_big = isinstance(error, ConnectionClosed) and error.sent is not None and error.sent.code == 1009
        if too_big:
            return TooLarge(f"A piece of the program's output is larger than {_MOST_FRAME_BYTES:,} bytes.")
        return Unreachable("The connection broke before the program's end was told.")
    return responses.of_exception(error)


def _message(body: bytes | bytearray | None, hide: tuple[str, ...]) -> str:
    try:
        value = json.loads((body or b"")[:_MOST_STDERR_BYTES])
    except (ValueError, RecursionError):
        return said((body or b"").decode(errors="replace"), hide=hide)
    return said(value.get("message"), hide=hide) if isinstance(value, dict) else ""


def _status(data: bytes) -> dict[str, object]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict) or value.get("status") not in ("Success", "Failure"):
        raise BadAnswer("The API server did not say how the program ended.")
    return value


def _output(running: _Running, *, seconds: float, hide: tuple[str, ...]) -> Output:
    status = running.status or {}
    stderr = running.stderr.decode(errors="replace")
    code = 0 if status.get("status") == "Success" else _exit_code(status)
    message = str(status.get("message") or "")
    printed = stderr + running.stdout[0][:1000].decode(errors="replace") if running.stdout else stderr
    if code is None:
        if _MISSING.search(message):
            raise NoSuchProgram(f"The container has no such program: {said(message, hide=hide)}")
        number = status.get("code")
        raise Refused(f"The program could not be run: {said(message, hide=hide)}", status=number if isinstance(number, int) else 500)
    if code in _NOT_STARTED and _MISSING.search(printed):
        raise NoSuchProgram(f"The container has no such program: {said(printed, hide=hide)}")
    return Output(stdout=b"".join(running.stdout), stderr=stderr, exit_code=code, seconds=seconds)


def _exit_code(status: dict[str, object]) -> int | None:
    """Return the program's exit code, or None when it was not the program that failed."""
    details = status.get("details")
    causes = details.get("causes") if isinstance(details, dict) else None
    for cause in causes if isinstance(causes, list) else ():
        if isinstance(cause, dict) and cause.get("reason") == "ExitCode":
            text = str(cause.get("message"))
            return int(text) if re.fullmatch(r"-?[0-9]{1,9}", text, re.ASCII) else None
    return None
