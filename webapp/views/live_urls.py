"""Addresses of what pages hear of a followed cluster, and of the clusters themselves."""

from django.urls import URLPattern, path

from webapp.views import clusters, live

urlpatterns: list[URLPattern] = [
    path("live/<str:source>/state", live.state, name="live-state"),
    path("live/<str:source>/events", live.events, name="live-events"),
    path("live/<str:source>/control", live.control, name="live-control"),
    path("clusters", clusters.index, name="clusters"),
    path("clusters/check", clusters.check, name="clusters-check"),
    path("clusters/connect", clusters.connect, name="clusters-connect"),
    path("clusters/<str:source>", clusters.detail, name="cluster"),
    path("clusters/<str:source>/disconnect", clusters.disconnect, name="cluster-disconnect"),
    path("clusters/<str:source>/save", clusters.save, name="cluster-save"),
    path("clusters/<str:source>/record", clusters.record, name="cluster-record"),
    path("clusters/<str:source>/conntrack", clusters.conntrack, name="cluster-conntrack"),
    path("snapshots/<str:slug>/play", clusters.play, name="snapshot-play"),
]
