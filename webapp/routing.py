"""The WebSocket addresses."""

from django.urls import path

from webapp.consumers import LiveUpdates, UploadProgress

websocket_urlpatterns = [
    path("live/uploads/<str:job>", UploadProgress.as_asgi()),
    path("live/<str:source>", LiveUpdates.as_asgi()),
]
