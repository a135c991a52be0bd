"""Addresses of the snapshot pages."""

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
