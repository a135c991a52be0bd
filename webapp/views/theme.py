"""The theme: a cookie set by a small POST, so that the next page is painted right at once. Never part of an address."""

from __future__ import annotations

from django.http import HttpResponse, HttpResponseRedirect
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

from webapp.views.errors import refused
from webapp.views.htmx_request import HtmxHttpRequest

THEMES = ("light", "dark")
_YEAR = 60 * 60 * 24 * 365


@require_POST
def theme(request: HtmxHttpRequest) -> HttpResponse:
    """Remember the theme and go back to the page that asked."""
    chosen = request.POST.get("theme", "")
    if chosen not in THEMES:
        return refused(request, "A theme is light or dark.")
    back = request.POST.get("next", "/")
    if not url_has_allowed_host_and_scheme(back, allowed_hosts={request.get_host()}, require_https=request.is_secure()):
        back = "/"
    response = HttpResponseRedirect(back)
    response.set_cookie("theme", chosen, max_age=_YEAR, samesite="Lax", secure=request.is_secure(), httponly=True)
    return response
