"""The smallest Django page with a picture: what a machine needs to serve and paint anything at all. page.py puts its figures beside it."""

from __future__ import annotations

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path

PICTURE = '<svg id="g" viewBox="0 0 40 40"><a class="n"><rect width="40" height="40"/></a></svg>'
PAGE = f'<!doctype html><meta charset="utf-8"><title>Bare</title>{PICTURE}'


def _bare(request: HttpRequest) -> HttpResponse:
    return HttpResponse(PAGE)


urlpatterns = [path("", _bare)]
if not settings.configured:
    settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["127.0.0.1"], SECRET_KEY="no session is ever signed with it")
application = get_asgi_application()
