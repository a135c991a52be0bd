"""The addresses: pages of each area in a module of its own, the access page here."""

from django.urls import include, path

from webapp.http import access

handler400 = "webapp.views.errors.bad_request"
handler500 = "webapp.views.errors.server_error"
urlpatterns = [
    path("access", access.access_page, name="access"),
    path("", include("webapp.views.trace_urls")),
    path("", include("webapp.views.dns_urls")),
    path("", include("webapp.views.snapshot_urls")),
    path("", include("webapp.views.live_urls")),
]
