"""Requests that no browser sends, raw to the server: the right status, the usual page with its policy, one line of log, no traceback."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.live_server import LiveServer, live_server
from webapp.http.gate import LONGEST_ADDRESS

HEADERS = ("content-security-policy", "x-content-type-options", "x-frame-options", "referrer-policy")
FORM = b"application/x-www-form-urlencoded"
PARTS = b"multipart/form-data; boundary=a"
TOKEN = b"t" * 32
HANDSHAKE = {
    b"Upgrade": b"websocket",
    b"Connection": b"Upgrade",
    b"Sec-WebSocket-Key": b"dGhlIHNhbXBsZSBub25jZQ==",
    b"Sec-WebSocket-Version": b"13",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """Return a server without demonstration clusters."""
    with live_server(tmp_path_factory.mktemp("malformed"), "--no-demo") as started:
        yield started


def request(line: bytes, *headers: bytes, body: bytes = b"", host: bytes = b"Host: localhost:PORT") -> bytes:
    given = [line, *([host] if host else []), b"Connection: close", *headers]
    return b"\r\n".join(given) + b"\r\n\r\n" + body


def get(path: bytes, *headers: bytes, **kw: bytes) -> bytes:
    return request(b"GET " + path + b" HTTP/1.1", *headers, **kw)


def post(path: bytes, content_type: bytes, body: bytes) -> bytes:
    """Return a form that passes the check against forged ones, so that it is read."""
    checked = (b"Cookie: csrftoken=" + TOKEN, b"X-CSRFToken: " + TOKEN, b"Content-Type: " + content_type)
    return request(b"POST " + path + b" HTTP/1.1", *checked, b"Content-Length: %d" % len(body), body=body)


def handshake(path: bytes, *headers: bytes, method: bytes = b"GET", origin: bytes = b"http://localhost:PORT", **changes: bytes) -> bytes:
    named = HANDSHAKE | {name.replace("_", "-").encode(): value for name, value in changes.items()}
    lines = [name + b": " + value for name, value in named.items() if value]
    given = [method + b" " + path + b" HTTP/1.1", b"Host: localhost:PORT", *lines, *([b"Origin: " + origin] if origin else []), *headers]
    return b"\r\n".join(given) + b"\r\n\r\n"


def part(disposition: bytes, *headers: bytes) -> bytes:
    return b"\r\n".join([b"--a", b"Content-Disposition: form-data; " + disposition, *headers, b"", b"x", b"--a--", b""])


REFUSED: dict[str, tuple[int, bytes]] = {
    "a charset nobody knows": (400, post(b"/theme", FORM + b"; charset=klingon", b"theme=dark")),
    "a charset that is no text encoding": (400, post(b"/theme", FORM + b"; charset=rot13", b"theme=dark")),
    "a charset that always fails": (400, post(b"/theme", PARTS + b"; charset=undefined", part(b'name="theme"'))),
    "another charset": (400, post(b"/theme", FORM + b"; charset=utf-16", b"theme=dark")),
    "a charset in a parameter nobody can decode": (400, post(b"/theme", FORM + b"; charset*=klingon''x", b"theme=dark")),
    "the same, of a page": (400, get(b"/", b"Content-Type: text/html; charset*=klingon''x")),
    "a form that is no UTF-8": (400, post(b"/theme", FORM, b"theme=\xff\xfe%ff")),
    "parts without a boundary": (400, post(b"/snapshots/new", b"multipart/form-data", b"x")),
    "a boundary that is no ASCII": (400, post(b"/snapshots/new", b"multipart/form-data; boundary=\xff", b"x")),
    "too many fields": (400, post(b"/theme", FORM, b"&".join(b"a%d=1" % i for i in range(3000)))),
    "too many files": (
        400,
        post(b"/snapshots/new", PARTS, b"".join(part(b'name="x%d"; filename="x"' % i)[:-7] + b"\r\n" for i in range(2_100))),
    ),
    "too large a form": (413, post(b"/theme", FORM, b"a=" + b"x" * 3_000_000)),
    "a NUL in the address": (400, get(b"/snapshots/%00")),
    "a NUL in a link": (400, get(b"/t/%00")),
    "another server's name": (400, get(b"/", host=b"Host: evil.example")),
    "a name that is none": (400, get(b"/", host=b"Host: a b\xff")),
    "two names": (400, get(b"/", b"Host: evil.example")),
    "another server's name for a file": (400, get(b"/static/css/base.css", host=b"Host: evil.example")),
    "another server's name, with HEAD": (400, request(b"HEAD / HTTP/1.1", host=b"Host: evil.example")),
    "a method nobody knows": (400, request(b"BREW / HTTP/1.1")),
    "a proxy's method": (400, request(b"CONNECT a:1 HTTP/1.1")),
    "no path": (400, get(b"foo")),
    "a long address": (414, get(b"/?a=" + b"x" * LONGEST_ADDRESS)),
    "an address longer than the server parses": (414, get(b"/?a=" + b"x" * 70_000)),
    "a version nobody knows": (400, request(b"GET / HTTP/9.9")),
    "no HTTP": (400, b"\x16\x03\x01\x00\xa5\x01\r\n\r\n"),
    "a header without a colon": (400, get(b"/", b"nothing")),
    "a length that is none": (400, request(b"POST /theme HTTP/1.1", b"Content-Length: abc")),
    "a negative length": (400, request(b"POST /theme HTTP/1.1", b"Content-Length: -5")),
    "a broken chunk": (400, request(b"POST /theme HTTP/1.1", b"Transfer-Encoding: chunked", body=b"zz\r\n")),
    "a transfer encoding nobody knows": (400, request(b"POST /theme HTTP/1.1", b"Transfer-Encoding: rot13")),
    "a control character in a header": (400, get(b"/live/x/events", b"Last-Event-ID: \x01")),
    "events for another port": (403, get(b"/live/x/events", b"Origin: http://localhost:1")),
    "a form from another port": (403, post(b"/theme", FORM + b"\r\nOrigin: http://localhost:1", b"theme=dark")),
    "a form from nowhere": (403, post(b"/theme", FORM + b"\r\nOrigin: null", b"theme=dark")),
    "a form from no address": (403, post(b"/theme", FORM + b"\r\nOrigin: http://[bad", b"theme=dark")),
    "no such socket": (404, handshake(b"/nothing")),
    "a NUL in a socket's address": (400, handshake(b"/live/%00")),
    "a long socket's address": (414, handshake(b"/live/" + b"x" * LONGEST_ADDRESS)),
    "a socket of another server": (400, handshake(b"/live/x").replace(b"Host: localhost:PORT", b"Host: evil.example")),
    "a socket without an origin": (403, handshake(b"/live/x", origin=b"")),
    "a socket for another port": (403, handshake(b"/live/x", origin=b"http://localhost:1")),
    "a socket for another scheme": (403, handshake(b"/live/x", origin=b"https://localhost:PORT")),
    "a socket for another site": (403, handshake(b"/live/x", origin=b"http://evil.example")),
    "a socket from no address": (403, handshake(b"/live/x", origin=b"http://[bad")),
    "a socket from no port": (403, handshake(b"/live/x", origin=b"http://localhost:99999999")),
    "a socket from nowhere": (403, handshake(b"/live/x", origin=b"null")),
    "a handshake without a key": (400, handshake(b"/live/x", Sec_WebSocket_Key=b"")),
    "a handshake of another version": (400, handshake(b"/live/x", Sec_WebSocket_Version=b"99")),
    "a handshake with POST": (405, handshake(b"/live/x", method=b"POST")),
    "a handshake with a broken protocol": (400, handshake(b"/live/x", b"Sec-WebSocket-Protocol: \xff,,")),
    "a handshake with a broken extension": (400, handshake(b"/live/x", b"Sec-WebSocket-Extensions: ;;;")),
    "a handshake with a broken charset": (400, handshake(b"/live/x", b"Content-Type: a/b; charset*=klingon''x")),
}
"""Each is refused with this status, the page and one line of log."""

PASSED: dict[str, tuple[int, bytes]] = {
    "a page's charset, which says nothing": (200, get(b"/", b"Content-Type: text/html; charset=klingon")),
    "a good form": (302, post(b"/theme", FORM + b"; charset=UTF-8", b"theme=dark")),
    "a good form with its origin": (302, post(b"/theme", FORM + b"\r\nOrigin: http://localhost:PORT", b"theme=dark")),
    "a part whose name nobody can decode": (422, post(b"/snapshots/new", PARTS, part(b"name*=klingon''x"))),
    "a part that is no base64": (422, post(b"/snapshots/new", PARTS, part(b'name="x"', b"Content-Transfer-Encoding: base64"))),
    "cookies that are none": (200, get(b"/", b"Cookie: hopline=\xff\xfe; =; ;;a; csrftoken=\xc3")),
    "bad percent signs": (404, get(b"/snapshots/%zz%ff%fe%ed%a0%80")),
    "a query with a NUL": (404, get(b"/c/x/trace?from=%00&to=%00")),
    "a query that is no UTF-8": (404, get(b"/c/x/trace?from=%ff&to=%ed%a0%80")),
    "a step of 5,000 digits": (404, get(b"/c/x/trace?from=203.0.113.10&to=1.2.3.4:80&step=" + b"9" * 5000)),
    "a path out of the folder": (404, get(b"/static/../../etc/passwd")),
    "the whole server": (404, request(b"OPTIONS * HTTP/1.1")),
    "an address with its server": (200, get(b"http://localhost/")),
    "no name at all, as HTTP/1.0 has it": (200, request(b"GET / HTTP/1.0", host=b"")),
    "a method that the page does not know": (405, request(b"OPTIONS / HTTP/1.1")),
    "a method that would change something": (405, request(b"TRACE / HTTP/1.1")),
    "a long header": (200, get(b"/", b"X-A: " + b"x" * 30_000)),
    "ranges in lines": (200, get(b"/static/css/base.css", b"Range: lines=1-2")),
    "a range beyond the end": (416, get(b"/static/css/base.css", b"Range: bytes=99999999-")),
    "a range that is none": (200, get(b"/static/css/base.css", b"Range: bytes=a-\xff")),
    "a date that is none": (200, get(b"/static/css/base.css", b"If-Modified-Since: garbage")),
    "htmx headers that are none": (404, get(b"/nothing", b"HX-Request: true", b"HX-Target: \xff", b"HX-Current-URL: http://[bad")),
    "what a browser would take": (200, get(b"/", b"Accept: \xff/;;;,,")),
    "a key that is no text": (200, get(b"/", b"Authorization: Bearer \xff")),
    "a proxy's headers": (200, get(b"/", b"X-Forwarded-For: \xff, a", b"X-Forwarded-Proto: \xff")),
    "a good socket": (101, handshake(b"/live/x")),
}
"""Each is answered with this status and no line of log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What came back: the status, headers by small name, body, and the lines that the server wrote meanwhile."""

    status: int
    headers: dict[str, str]
    body: bytes
    logged: tuple[str, ...]


def asked(server: LiveServer, sent: bytes) -> Answered:
    port = server.url.rpartition(":")[2].encode()
    before = server.log.stat().st_size
    with socket.create_connection(("127.0.0.1", int(port)), timeout=10) as wire:
        wire.sendall(sent.replace(b"PORT", port))
        got = _read(wire)
    head, _, body = got.partition(b"\r\n\r\n")
    first, *rest = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
    return Answered(status=int(first.split()[1]), headers=headers, body=body, logged=_logged(server, before))


def _read(wire: socket.socket) -> bytes:
    """Return what comes until the server closes, or a socket is open."""
    got = b""
    while not got.startswith(b"HTTP/1.1 101") or b"\r\n\r\n" not in got:
        try:
            more = wire.recv(65_536)
        except ConnectionResetError:
            break
        if not more:
            break
        got += more
    return got


def _logged(server: LiveServer, before: int) -> tuple[str, ...]:
    """Return the lines of log since *before*, when no more have come for a moment."""
    size = -1
    while size != (size := server.log.stat().st_size):
        time.sleep(0.05)
    return tuple(server.log.read_bytes()[before:].decode().splitlines())


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_with_the_usual_page_and_one_line(server: LiveServer, name: str) -> None:
    status, sent = REFUSED[name]
    got = asked(server, sent)
    assert (got.status, len(got.logged)) == (status, 1), got
    assert re.match(r"[0-9-]+ [0-9:,]+ WARNING ", got.logged[0])
    assert {header: got.headers.get(header) for header in HEADERS} == {
        "content-security-policy": got.headers["content-security-policy"],
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "referrer-policy": "same-origin",
    }
    assert "default-src 'none'" in got.headers["content-security-policy"]
    if not sent.startswith(b"HEAD"):
        assert b"<h1>" in got.body, got
        assert int(got.headers["content-length"]) == len(got.body)


@pytest.mark.parametrize("name", PASSED)
def test_it_is_answered_without_a_word_in_the_log(server: LiveServer, name: str) -> None:
    status, sent = PASSED[name]
    got = asked(server, sent)
    assert (got.status, got.logged) == (status, ()), got
    if status != 101:
        assert "default-src 'none'" in got.headers["content-security-policy"]
        assert got.headers["x-frame-options"] == "DENY"


def test_a_line_of_log_cannot_be_forged(server: LiveServer) -> None:
    got = asked(server, get(b"/live/x%0a2026-01-01 fake/events".replace(b" ", b"%20"), b"Origin: http://localhost:1"))
    assert got.status == 403
    assert len(got.logged) == 1
    assert "\\n2026-01-01 fake" in got.logged[0]


def test_a_link_is_not_in_the_log_of_a_refusal(server: LiveServer) -> None:
    got = asked(server, get(b"/t/9aZ2aZ2aZ2aZ2aZ2aZ2aZ2aZ2", host=b"Host: evil.example"))
    assert (got.status, "9aZ2aZ2" in got.logged[0], "/t/[hidden]" in got.logged[0]) == (400, False, True)
