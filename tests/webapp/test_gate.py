"""Whose pages may open a socket: scheme, host and port of an Origin, with what the operator trusts beside the server's own."""

from __future__ import annotations

import pytest

from webapp.http.gate import is_own_origin, refusal_of


@pytest.mark.parametrize(
    ("origin", "scheme", "host", "is_own"),
    [
        ("http://localhost:8000", "http", "localhost:8000", True),
        ("http://LOCALHOST:8000", "http", "localhost:8000", True),
        ("http://localhost", "http", "localhost:80", True),
        ("https://hopline.example", "https", "hopline.example:443", True),
        ("http://[::1]:8000", "http", "[::1]:8000", True),
        ("http://localhost:9999", "http", "localhost:8000", False),
        ("http://localhost", "http", "localhost:8000", False),
        ("https://localhost:8000", "http", "localhost:8000", False),
        ("http://127.0.0.1:8000", "http", "localhost:8000", False),
        ("http://localhost:8000.evil.example", "http", "localhost:8000", False),
        ("http://evil.localhost:8000", "http", "localhost:8000", False),
        ("ftp://localhost:8000", "http", "localhost:8000", False),
        ("null", "http", "localhost:8000", False),
        ("", "http", "localhost:8000", False),
        ("http://[bad", "http", "localhost:8000", False),
        ("http://localhost:99999999", "http", "localhost:8000", False),
    ],
)
def test_an_origin_is_ours_in_scheme_host_and_port(origin: str, scheme: str, host: str, is_own: bool) -> None:
    assert is_own_origin(origin, scheme=scheme, host=host) is is_own


@pytest.mark.parametrize(
    ("origin", "is_own"),
    [
        ("https://hopline.example", True),
        ("https://a.hopline.test", True),
        ("https://a.hopline.test:8443", False),
        ("https://hopline.example:8443", False),
        ("http://hopline.example", False),
        ("https://sockets.example", True),
        ("https://other.example", False),
    ],
)
def test_the_operator_may_trust_others(settings, origin: str, is_own: bool) -> None:
    settings.CSRF_TRUSTED_ORIGINS = ["https://hopline.example", "https://*.hopline.test"]
    settings.WEBSOCKET_ORIGINS = ["wss://sockets.example"]
    assert is_own_origin(origin, scheme="http", host="web:8000") is is_own


@pytest.mark.parametrize("forwarded", [True, False])
def test_behind_a_proxy_the_scheme_is_the_proxys(settings, forwarded: bool) -> None:
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    headers = [(b"host", b"localhost"), (b"origin", b"https://localhost"), *([(b"x-forwarded-proto", b"https")] if forwarded else [])]
    refusal = refusal_of({"type": "websocket", "path": "/live/x", "headers": headers})
    assert (refusal.status if refusal else None) == (None if forwarded else 403)
