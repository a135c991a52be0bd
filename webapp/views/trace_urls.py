"""Addresses of the trace pages."""

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
