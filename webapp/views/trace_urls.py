"""Addresses of the trace pages, frozen links and the theme."""

from django.urls import URLPattern, path

from webapp.views import applying, compare, connections, drift, frozen, migrating, theme, trace

urlpatterns: list[URLPattern] = [
    path("trace", trace.start, name="trace-start"),
    path("c/<str:source>/trace", trace.trace, name="trace"),
    path("c/<str:source>/trace.<str:suffix>", trace.trace_export, name="trace-export"),
    path("c/<str:source>/trace/freeze", frozen.freeze, name="trace-freeze"),
    path("c/<str:source>/trace/apply", applying.apply, name="trace-apply"),
    path("c/<str:source>/compare", compare.compare, name="compare"),
    path("c/<str:source>/compare.<str:suffix>", compare.compare_export, name="compare-export"),
    path("c/<str:source>/connections", connections.connections, name="connections"),
    path("c/<str:source>/drift", drift.drift, name="drift"),
    path("c/<str:source>/migrate", migrating.migrate, name="migrate"),
    path("c/<str:source>/migrate.<str:suffix>", migrating.migrate_export, name="migrate-export"),
    path("t/<str:token>", frozen.frozen, name="frozen"),
    path("t/<str:token>/compare.<str:suffix>", compare.frozen_export, name="frozen-compare-export"),
    path("t/<str:token>/trace.<str:suffix>", frozen.frozen_export, name="frozen-export"),
    path("theme", theme.theme, name="theme"),
]
