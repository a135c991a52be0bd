"""The WebSocket addresses."""

from django.urls import path

from webapp.consumers import UploadProgress

websocket_urlpatterns = [
    path("live/uploads/<str:job>", UploadProgress.as_asgi()),
]
