"""Who may do what: the access key, sessions, the bind address, and what stays out of the log."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest
from django.test import Client

from tests.live_server import PROJECT, environment
from webapp.http import access
from webapp.http.log_filter import HideSecrets, hide_secrets

KEY = "correct horse battery staple"
BROWSER = {"accept": "text/html"}
pytestmark = pytest.mark.django_db


@pytest.fixture
def locked(settings) -> None:
    settings.ACCESS_KEY = KEY


@pytest.mark.parametrize("path", ["/", "/snapshots", "/snapshots/new", "/links", "/reasons", "/c/shop-iptables/trace", "/nowhere"])
def test_without_the_key_nothing_is_shown(client: Client, locked: None, path: str) -> None:
    page = client.get(path, headers=BROWSER)
    assert (page.status_code, page["Location"].split("?")[0]) == (302, "/access")
    program = client.get(path)
    assert (program.status_code, program["WWW-Authenticate"]) == (401, 'Bearer realm="hopline"')
    assert client.post(path, headers=BROWSER).status_code == 401


@pytest.mark.parametrize(
    ("path", "status"), [("/t/2222222222222222222222", 404), ("/healthz", 200), ("/static/css/base.css", 200), ("/access", 200)]
)
def test_public_paths_need_no_key(client: Client, locked: None, path: str, status: int) -> None:
    assert client.get(path, headers=BROWSER).status_code == status


def test_the_theme_button_of_a_frozen_page_needs_no_key(client: Client, locked: None) -> None:
    answer = client.post("/theme", {"theme": "dark", "next": "/t/2222222222222222222222"}, headers=BROWSER)
    assert (answer.status_code, answer["Location"], answer.cookies["theme"].value) == (302, "/t/2222222222222222222222", "dark")


@pytest.mark.parametrize("path", ["/t", "/tt/x", "/accessible", "/healthz/", "/theme/", "/staticx", "//t/x", "/%2e/t/"])
def test_what_only_looks_public_is_not(client: Client, locked: None, path: str) -> None:
    assert client.get(path).status_code == 401


def test_the_key_on_the_page_opens_everything_and_leads_back(client: Client, locked: None) -> None:
    asked = client.get("/snapshots?x=1", headers=BROWSER)
    shown = client.get(asked["Location"], headers=BROWSER)
    assert b'name="next" value="/snapshots?x=1"' in shown.content
    let_in = client.post("/access", {"key": KEY, "next": "/snapshots?x=1"})
    assert (let_in.status_code, let_in["Location"]) == (302, "/snapshots?x=1")
    assert client.get("/snapshots").status_code == 200


@pytest.mark.parametrize("key", ["", "wrong", KEY + " ", KEY[:-1], "ключ"])
def test_a_wrong_key_opens_nothing(client: Client, locked: None, key: str) -> None:
    answer = client.post("/access", {"key": key})
    assert answer.status_code == 403
    assert b"That is not the key" in answer.content
    assert client.get("/snapshots").status_code == 401


def test_the_key_is_not_taken_without_a_csrf_token(locked: None) -> None:
    assert Client(enforce_csrf_checks=True).post("/access", {"key": KEY}).status_code == 403


@pytest.mark.parametrize("elsewhere", ["https://evil.example/", "//evil.example", "javascript:alert(1)", "/\\evil.example"])
def test_the_access_page_leads_nowhere_else(client: Client, locked: None, elsewhere: str) -> None:
    assert client.post("/access", {"key": KEY, "next": elsewhere})["Location"] == "/"


@pytest.mark.parametrize(
    ("header", "status"),
    [(f"Bearer {KEY}", 200), (f"bearer {KEY}", 200), ("Bearer wrong", 401), (f"Basic {KEY}", 401), (KEY, 401), ("Bearer", 401)],
)
def test_programs_send_the_key_as_a_bearer_token(client: Client, locked: None, header: str, status: int) -> None:
    assert client.get("/snapshots", headers={"authorization": header}).status_code == status


def test_a_changed_key_ends_every_grant(client: Client, locked: None, settings) -> None:
    client.post("/access", {"key": KEY})
    settings.ACCESS_KEY = "another"
    assert client.get("/snapshots").status_code == 401


def test_a_session_signed_by_somebody_else_is_nothing(client: Client, locked: None, settings) -> None:
    client.post("/access", {"key": KEY})
    cookie = client.cookies[settings.SESSION_COOKIE_NAME].value
    client.cookies[settings.SESSION_COOKIE_NAME] = cookie[:-2] + ("aa" if cookie[-2:] != "aa" else "bb")
    assert client.get("/snapshots").status_code == 401


def test_the_key_itself_is_not_in_the_cookie(client: Client, locked: None, settings) -> None:
    client.post("/access", {"key": KEY})
    cookie = client.cookies[settings.SESSION_COOKIE_NAME]
    assert "horse" not in cookie.value
    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"


def test_an_owner_is_given_once_and_unguessable(rf) -> None:
    request = rf.get("/")
    request.session = {}
    assert access.current_owner(request) == ""
    owner = access.ensure_owner(request)
    assert len(owner) == 32
    assert access.ensure_owner(request) == access.current_owner(request) == owner


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.53", "localhost", "::1", "[::1]"])
def test_a_local_address_needs_no_key(host: str) -> None:
    assert access.bind_refusal(host) is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "hopline.example", ""])
def test_an_address_that_others_reach_needs_the_key_or_force(host: str, settings) -> None:
    assert "HOPLINE_ACCESS_KEY" in str(access.bind_refusal(host))
    settings.INSECURE = True
    assert access.bind_refusal(host) is None
    settings.INSECURE, settings.ACCESS_KEY = False, KEY
    assert access.bind_refusal(host) is None


def test_serve_refuses_with_code_2_and_a_sentence(tmp_path: Path) -> None:
    command = [sys.executable, "manage.py", "serve", "--host", "0.0.0.0", "--port", "1"]
    result = subprocess.run(command, cwd=PROJECT, env=environment(tmp_path), capture_output=True, text=True, timeout=60)
    assert result.returncode == 2
    assert "will not listen on 0.0.0.0 without a key" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("GET /t/9aZ2aZ2aZ2aZ2aZ2aZ2aZ2aZ2 200", "GET /t/[hidden] 200"),
        ("could not reach postgres://hopline:pw@db:5432/x", "could not reach postgres://[hidden]@db:5432/x"),
        ("redis://:pw@redis:6379/0", "redis://[hidden]@redis:6379/0"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer [hidden]"),
        (f"key was {KEY}", "key was [hidden]"),
        ("nothing to hide", "nothing to hide"),
    ],
)
def test_credentials_stay_out_of_the_log(locked: None, text: str, shown: str) -> None:
    assert hide_secrets(text) == shown


def test_credentials_stay_out_of_tracebacks(locked: None, caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise ConnectionError("postgres://hopline:pw@db/x")
    except ConnectionError:
        record = logging.LogRecord("x", logging.ERROR, "f", 1, "failed for %s", (KEY,), sys.exc_info())
    assert HideSecrets().filter(record)
    text = logging.Formatter().format(record)
    assert "pw@" not in text
    assert KEY not in text
    assert "[hidden]@db" in text
