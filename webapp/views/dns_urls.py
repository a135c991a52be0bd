"""Addresses of the DNS page and of the names it completes."""

from django.urls import URLPattern, path

from webapp.views import dns

urlpatterns: list[URLPattern] = [
    path("c/<str:source>/dns", dns.dns, name="dns"),
    path("c/<str:source>/names", dns.names, name="names"),
]
