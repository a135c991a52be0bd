"""Who may do what, without accounts.

* One key (``HOPLINE_ACCESS_KEY``), when set, stands in front of everything but frozen links, what they are drawn with
  (static files and the theme button, which only sets a cookie) and the health check.
  It is given once on a small page and remembered in the signed session, or sent as ``Authorization: Bearer KEY``. Guesses are slowed down
  (failed_keys.py): each request is one try, however many look at its key.
* A browser session owns the snapshots and links it makes, by a random id in its signed cookie.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, MutableMapping
from ipaddress import ip_address
from typing import Any, NamedTuple
from urllib.parse import urlencode

from django.conf import settings
from django.contrib.sessions.backends.signed_cookies import SessionStore
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse, parse_cookie
from django.shortcuts import render
from django.urls import reverse
from django.utils.crypto import constant_time_compare, salted_hmac
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from webapp.http.failed_keys import failed_keys

_OWNER, _GRANT, _TRIED = "owner", "access", "hopline.tried_key"


def current_owner(request: HttpRequest) -> str:
    """Return the owner id of this browser session, or "" when it has not made anything yet."""
    return str(request.session.get(_OWNER, ""))


def ensure_owner(request: HttpRequest) -> str:
    """Return the owner id of this browser session, giving it one (128 random bits) first when it has none."""
    if not request.session.get(_OWNER):
        request.session[_OWNER] = secrets.token_hex(16)
    return current_owner(request)


def is_public_path(path: str) -> bool:
    """Return whether *path* is open without the access key: a frozen link, a static file, the health check, the access page, the theme."""
    return path.startswith(("/t/", settings.STATIC_URL)) or path in ("/healthz", "/access", "/theme")


def request_is_granted(request: HttpRequest) -> bool:
    """Return whether this request may pass the access key."""
    return _remembers(request.session.get(_GRANT)) or _bearer(request).is_right


def scope_is_granted(scope: Mapping[str, Any]) -> bool:
    """Return whether this WebSocket may pass the access key; *scope* has the session of Channels. Asked once a socket."""
    return _remembers(scope["session"].get(_GRANT)) or _bearer_of(dict(scope)).is_right


def raw_request_is_granted(scope: MutableMapping[str, Any]) -> bool:
    """Return whether a request that no middleware has seen yet proves the access key (or none is set), whatever its path."""
    return _remembers(SessionStore(_cookie(scope)).get(_GRANT)) or _bearer_of(scope).is_right


def raw_session(scope: Mapping[str, Any]) -> str:
    """Return what tells the session of a request that no middleware has seen yet from others, "" where it has none that we signed."""
    cookie = _cookie(scope)
    return hashlib.sha256(cookie.encode()).hexdigest()[:16] if cookie and SessionStore(cookie).load() else ""


def _cookie(scope: Mapping[str, Any]) -> str | None:
    cookies = parse_cookie(dict(scope["headers"]).get(b"cookie", b"").decode("latin-1"))
    found: str | None = cookies.get(settings.SESSION_COOKIE_NAME)
    return found


def _remembers(session_grant: object) -> bool:
    """Return whether the session remembers the access key (or none is set)."""
    return not settings.ACCESS_KEY or (isinstance(session_grant, str) and constant_time_compare(session_grant, _grant()))


class _Tried(NamedTuple):
    """What became of a key: *wait* is after how many seconds one is looked at again. The scope brings it to a worker as JSON."""

    is_right: bool
    wait: int = 0


def _tried(key: str, address: str) -> _Tried:
    """Look at *key*, unless too many wrong ones came from *address*, or from all."""
    if wait := failed_keys.take(address):
        return _Tried(is_right=False, wait=wait)
    is_right = constant_time_compare(key, settings.ACCESS_KEY)
    if is_right:
        failed_keys.proved(address)
    return _Tried(is_right=is_right)


def _bearer(request: HttpRequest) -> _Tried:
    """Return what became of the key in the request's Authorization header."""
    return _once(getattr(request, "scope", request.META), request.headers.get("Authorization", ""), request.META.get("REMOTE_ADDR") or "")


def _bearer_of(scope: MutableMapping[str, Any]) -> _Tried:
    authorization = dict(scope.get("headers", ())).get(b"authorization", b"").decode("latin-1")
    return _once(scope, authorization, (scope.get("client") or ("",))[0])


def _once(connection: MutableMapping[str, Any], authorization: str, address: str) -> _Tried:
    """Return what became of the key in *authorization*; noted in *connection*, so that those who ask after us do not try again."""
    if _TRIED not in connection:
        scheme, _, key = authorization.partition(" ")
        is_key = scheme.lower() == "bearer" and key.strip()
        connection[_TRIED] = _tried(key.strip(), address) if is_key else _Tried(is_right=False)
    return _Tried(*connection[_TRIED])


def scope_owner(scope: Mapping[str, Any]) -> str:
    """Return the owner id of a WebSocket's session, or ""."""
    return str(scope["session"].get(_OWNER, ""))


def ask_for_key(request: HttpRequest) -> HttpResponse:
    """Return what a request without the key gets: the access page for a browser, 401 for a program."""
    if request.method in ("GET", "HEAD") and "text/html" in request.headers.get("Accept", ""):
        return HttpResponseRedirect(f"{reverse('access')}?{urlencode({'next': request.get_full_path()})}")
    if wait := _bearer(request).wait:
        said = {"code": "ACCESS_KEY", "message": f"Too many wrong keys: no key is looked at before {wait} s have passed."}
        return JsonResponse({"error": said}, status=429, headers={"Retry-After": str(wait)})
    message = "This server asks for its access key: Authorization: Bearer KEY"
    answer = JsonResponse({"error": {"code": "ACCESS_KEY", "message": message}}, status=401)
    answer["WWW-Authenticate"] = 'Bearer realm="hopline"'
    return answer


@never_cache
@sensitive_post_parameters("key")
@require_http_methods(["GET", "POST"])
def access_page(request: HttpRequest) -> HttpResponse:
    """Ask for the access key; with the right one remember it in the session and go on to where the visitor wanted to go."""
    wanted = request.POST.get("next") or request.GET.get("next") or "/"
    if not url_has_allowed_host_and_scheme(wanted, allowed_hosts={request.get_host()}, require_https=request.is_secure()):
        wanted = "/"
    if request_is_granted(request):
        return HttpResponseRedirect(wanted)
    if request.method != "POST":
        return render(request, "access.html", {"next": wanted})
    tried = _tried(request.POST.get("key", ""), request.META.get("REMOTE_ADDR") or "")
    if tried.is_right:
        request.session.cycle_key()
        request.session[_GRANT] = _grant()
        return HttpResponseRedirect(wanted)
    response = render(
        request, "access.html", {"next": wanted, "wrong": not tried.wait, "wait": tried.wait}, status=429 if tried.wait else 403
    )
    if tried.wait:
        response["Retry-After"] = str(tried.wait)
    return response


def bind_refusal(host: str) -> str | None:
    """Return why serving on *host* is refused, or None: others can reach it and neither a key nor HOPLINE_INSECURE=1 is set."""
    if _is_loopback(host) or settings.ACCESS_KEY or settings.INSECURE:
        return None
    return (
        f"Hopline will not listen on {host} without a key: anybody who reaches it could read and add snapshots. "
        "Set HOPLINE_ACCESS_KEY to a long random text, or HOPLINE_INSECURE=1 if something else keeps strangers out."
    )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _grant() -> str:
    # Depends on the key, so a changed key ends every session's grant.
    return salted_hmac("hopline.access", settings.ACCESS_KEY, algorithm="sha256").hexdigest()
