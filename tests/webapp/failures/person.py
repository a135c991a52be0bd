"""A browser session as the tests of failures need it: it follows no redirect, and says of every request what became of it."""

from __future__ import annotations

import http.client
import re
from dataclasses import dataclass
from http.cookies import SimpleCookie
from urllib.parse import urlencode, urlsplit

_TAG = re.compile(r"<[^>]+>")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back: *status* 0 where the connection broke before there was an answer."""

    status: int
    where: str = ""
    body: bytes = b""

    @property
    def words(self) -> str:
        """Return the text of the page, without its tags."""
        return " ".join(
            _TAG.sub(" ", self.body.decode(errors="replace").partition("<main")[2] or self.body.decode(errors="replace")).split()
        )


class Person:
    """One session of the server at *url*; *key* is its access key."""

    def __init__(self, url: str, key: str = "") -> None:
        self._url, self._key = url, key
        self._cookies: dict[str, str] = {}

    def get(self, path: str) -> Answer:
        """Return what the address says."""
        return self._ask("GET", path, None, {})

    def post(self, path: str, **fields: str) -> Answer:
        """Send a form."""
        return self._form(path, urlencode(fields).encode(), "application/x-www-form-urlencoded")

    def upload(self, archive: bytes, name: str) -> Answer:
        """Hand in a snapshot."""
        parts = [
            b'--x\r\nContent-Disposition: form-data; name="name"\r\n\r\n' + name.encode() + b"\r\n",
            b'--x\r\nContent-Disposition: form-data; name="snapshot"; filename="made.tar"\r\n\r\n' + archive + b"\r\n--x--\r\n",
        ]
        return self._form("/snapshots/new", b"".join(parts), "multipart/form-data; boundary=x")

    def _form(self, path: str, body: bytes, kind: str) -> Answer:
        if "csrftoken" not in self._cookies:
            self.get("/snapshots/new")
        return self._ask("POST", path, body, {"Content-Type": kind, "X-CSRFToken": self._cookies.get("csrftoken", "")})

    def _ask(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Answer:
        about = {"Cookie": "; ".join(f"{k}={v}" for k, v in self._cookies.items()), "Accept": "text/html"} | headers
        if self._key:
            about["Authorization"] = f"Bearer {self._key}"
        connection = http.client.HTTPConnection(urlsplit(self._url).netloc, timeout=90)
        try:
            connection.request(method, path, body, about)
            found = connection.getresponse()
            content = found.read()
        except (OSError, http.client.HTTPException):
            return Answer(status=0)
        finally:
            connection.close()
        for header in found.headers.get_all("Set-Cookie", []):
            self._cookies |= {name: morsel.value for name, morsel in SimpleCookie(header).items()}
        return Answer(status=found.status, where=found.headers.get("Location", ""), body=content)
