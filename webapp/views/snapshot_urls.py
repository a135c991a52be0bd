"""Addresses of the home page, snapshots, links and reasons."""

from django.urls import URLPattern, path

from webapp.views import collecting, home, links, placing, reasons, recognising, snapshots

urlpatterns: list[URLPattern] = [
    path("", home.home, name="home"),
    path("snapshots", snapshots.index, name="snapshots"),
    path("snapshots/new", snapshots.new, name="snapshot-new"),
    path("snapshots/recognise", recognising.recognise, name="snapshot-recognise"),
    path("snapshots/uploads/<str:job>", snapshots.upload, name="upload"),
    path("snapshots/<str:slug>", snapshots.detail, name="snapshot"),
    path("snapshots/<str:slug>/add", snapshots.add, name="snapshot-add"),
    path("snapshots/<str:slug>/place", placing.place, name="snapshot-place"),
    path("snapshots/<str:slug>/examples", snapshots.examples, name="snapshot-examples"),
    path("snapshots/<str:slug>/delete", snapshots.delete, name="snapshot-delete"),
    path("snapshots/<str:slug>/download", snapshots.download, name="snapshot-download"),
    path("collect.sh", collecting.script, name="collect-script"),
    path("links", links.index, name="links"),
    path("links/<str:token>/revoke", links.revoke, name="link-revoke"),
    path("reasons", reasons.index, name="reasons"),
    path("reasons/<str:code>", reasons.reason, name="reason"),
]
