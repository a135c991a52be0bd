"""Registers the application with Django."""

from django.apps import AppConfig


class WebappConfig(AppConfig):
    """Hopline's only Django application."""

    name = "webapp"
    verbose_name = "Hopline"
    default_auto_field = "django.db.models.BigAutoField"
