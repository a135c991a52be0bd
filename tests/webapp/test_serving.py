"""The server as a process: oversized bodies, sockets, a kill in the middle of an upload."""

from __future__ import annotations

import http.client
import io
import json
import re
import socket
import tarfile
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from http.cookiejar import CookieJar
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import connect

from tests.live_server import LiveServer, live_server
from tests.webapp.conftest import write_cluster

_BOUNDARY = "x-x-x-boundary-x-x-x"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """Return a server that takes uploads of 1 MB at most."""
    with live_server(tmp_path_factory.mktemp("serving"), "--no-demo", HOPLINE_UPLOAD_MAX_MB="1") as started:
        yield started


class Browser:
    """Keeps cookies, and sends the form of the upload page as a browser would."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.cookies = CookieJar()
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.cookies))

    def get(self, path: str) -> str:
        with self._opener.open(self.url + path, timeout=30) as answer:
            return answer.read().decode()

    def form(self, filename: str, content: bytes) -> tuple[str, bytes, dict[str, str]]:
        """Return address, body and headers of the posted upload form."""
        page = self.get("/snapshots/new")
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)[1]
        form = re.search(r"<form[^>]*multipart/form-data[^>]*>.*?</form>", page, re.DOTALL)[0]
        action = re.search(r'<form[^>]*\baction="([^"]+)"', form)[1]
        field = re.search(r'<input[^>]*type="file"[^>]*>', form)[0]
        name = re.search(r'name="([^"]+)"', field)[1]
        body = (
            f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="csrfmiddlewaretoken"\r\n\r\n{token}\r\n'
            f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"; filename="{filename}"\r\n'
            f"Content-Type: application/octet-stream\r\n\r\n"
        ).encode() + content + f"\r\n--{_BOUNDARY}--\r\n".encode()  # fmt: skip
        cookie = "; ".join(f"{cookie.name}={cookie.value}" for cookie in self.cookies)
        return action, body, {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}", "Cookie": cookie}

    def upload(self, filename: str, content: bytes, **headers: str) -> tuple[int, str, str]:
        """Post the form; returns status, Location and text."""
        action, body, own = self.form(filename, content)
        with closing(self.connection()) as wire:
            wire.request("POST", action, body, own | headers)
            answer = wire.getresponse()
            for name, value in answer.getheaders():
                if name.lower() == "set-cookie" and value.startswith("hopline="):
                    self.session = value.split(";")[0]
            return answer.status, answer.getheader("Location") or answer.getheader("HX-Redirect") or "", answer.read().decode()

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(urllib.parse.urlsplit(self.url).netloc, timeout=30)


def packed(folder: Path, filler: int = 0) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        archive.add(folder, "cluster")
        info = tarfile.TarInfo("cluster/notes.txt")
        info.size = filler
        archive.addfile(info, io.BytesIO(bytes(filler)))
    return out.getvalue()


def test_an_upload_is_followed_on_the_socket_to_its_page(server: LiveServer, tmp_path: Path) -> None:
    browser = Browser(server.url)
    status, location, text = browser.upload("prod.tar.gz", packed(write_cluster(tmp_path / "c"), filler=5_000_000))
    assert status in (202, 302), text
    job = location.rstrip("/").rpartition("/")[2]
    address = f"ws{server.url[4:]}/live/uploads/{job}"
    seen = []
    with connect(address, additional_headers={"Cookie": browser.session}, origin=server.url, open_timeout=10) as live:
        seen += [json.loads(message) for message in live]
    assert seen[-1]["state"] == "done"
    assert seen[-1]["url"] == f"/snapshots/{seen[-1]['snapshot']}"
    with connect(address, origin=server.url, open_timeout=10) as stranger, pytest.raises(ConnectionClosedError, match="4404"):
        stranger.recv(timeout=10)


def test_an_oversized_upload_gets_413_with_the_limit(server: LiveServer) -> None:
    browser = Browser(server.url)
    status, _, text = browser.upload("big.tar", bytes(2_500_000))
    assert status == 413
    assert "the limit is 1 MB" in text
    assert "<html" in text
    status, _, text = browser.upload("big.tar", bytes(2_500_000), **{"HX-Request": "true"})
    assert (status, "<html" in text, "the limit is 1 MB" in text) == (413, False, True)


def test_a_client_that_asks_first_sends_nothing(server: LiveServer) -> None:
    wire = socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])), timeout=10)
    wire.sendall(b"POST /snapshots/new HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99000000\r\nExpect: 100-continue\r\n\r\n")
    answer = wire.recv(65_536)
    wire.close()
    assert answer.startswith(b"HTTP/1.1 413")


def test_a_body_without_a_length_is_counted(server: LiveServer) -> None:
    browser = Browser(server.url)
    action, body, headers = browser.form("big.tar", bytes(2_500_000))
    with closing(browser.connection()) as wire:
        wire.request("POST", action, iter([body[:1_000], body[1_000:]]), headers, encode_chunked=True)
        answer = wire.getresponse()
        assert (answer.status, "the limit is 1 MB" in answer.read().decode()) == (413, True)


@pytest.mark.parametrize("path", ["/t/2222222222222222222222", "/access", "/theme"])
def test_a_public_page_takes_small_forms_only_from_a_stranger(start_server: Callable[..., LiveServer], path: str) -> None:
    server = start_server("--no-demo", HOPLINE_ACCESS_KEY="a key")
    with closing(Browser(server.url).connection()) as wire:
        wire.request("POST", path, bytes(900_000), {"Content-Type": "application/octet-stream"})
        answer = wire.getresponse()
        assert (answer.status, "only from those who have its access key" in answer.read().decode()) == (413, True)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_stranger_cannot_fill_the_disk(start_server: Callable[..., LiveServer], chunked: bool) -> None:
    server = start_server("--no-demo", HOPLINE_ACCESS_KEY="a key")
    with closing(Browser(server.url).connection()) as wire:
        body = bytes(20_000_000)
        wire.putrequest("POST", "/snapshots/new")
        wire.putheader("Content-Type", f"multipart/form-data; boundary={_BOUNDARY}")
        if chunked:
            wire.putheader("Transfer-Encoding", "chunked")
            wire.endheaders(iter([body[:1_000], body[1_000:]]), encode_chunked=True)
        else:
            wire.putheader("Content-Length", str(len(body)))
            wire.endheaders(body[:10_000_000])
            time.sleep(0.5)
            held = sum(path.stat().st_size for path in (server.data / "incoming").iterdir())
            open_files = Path(f"/proc/{server.process.pid}/fd").iterdir()
            held += sum(file.stat().st_size for file in open_files if file.is_file() and "(deleted)" in str(file.readlink()))
            assert held < 1_000_000
            wire.send(body[10_000_000:])
        assert wire.getresponse().status == 401


def test_the_limit_is_of_bytes_sent_and_a_whole_upload_below_it_is_taken(server: LiveServer, tmp_path: Path) -> None:
    status, _, text = Browser(server.url).upload("x.tar.gz", packed(write_cluster(tmp_path / "c")))
    assert status in (202, 302), text


def test_a_kill_in_mid_upload_loses_nothing(tmp_path: Path, start_server: Callable[..., LiveServer]) -> None:
    first = start_server("--no-demo")
    browser = Browser(first.url)
    _, location, _ = browser.upload("kept.tar.gz", packed(write_cluster(tmp_path / "c")))
    browser_page = wait_for_page(browser, "kept")
    wait_for_file(first.data / "snapshots")  # the page names what is still being read, too
    action, body, headers = browser.form("lost.tar.gz", bytes(3_000_000))
    wire = browser.connection()
    wire.putrequest("POST", action)
    for name, value in (headers | {"Content-Length": str(len(body))}).items():
        wire.putheader(name, value)
    wire.endheaders(body[: len(body) // 2])
    time.sleep(0.5)
    stored = {path.name: path.read_bytes() for path in (first.data / "snapshots").iterdir()}
    first.kill()
    wire.close()

    second = start_server("--no-demo")
    browser.url = second.url
    assert "kept" in browser_page
    assert "kept" in wait_for_page(browser, "kept")
    assert "lost" not in browser.get("/snapshots")
    assert {path.name: path.read_bytes() for path in (second.data / "snapshots").iterdir()} == stored
    assert location


def wait_for_file(folder: Path) -> None:
    """Wait until there is something in *folder*."""
    deadline = time.monotonic() + 20
    while not (folder.exists() and any(folder.iterdir())):
        assert time.monotonic() < deadline, f"nothing in {folder}"
        time.sleep(0.05)


def wait_for_page(browser: Browser, name: str) -> str:
    """Return the list of snapshots once it names *name*."""
    request = urllib.request.Request(browser.url + "/snapshots", headers={"Cookie": browser.session})
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with urllib.request.urlopen(request, timeout=20) as answer:
            page = answer.read().decode()
        if name in page:
            return page
        time.sleep(0.1)
    raise TimeoutError(page)
