"""The ASGI application: pages by Django, sockets by Channels, around both a gate and one limit of a request's body.

``application`` does everything in one process. ``manage.py serve`` puts a pool of workers around ``pages`` (webapp/serving/).
"""

import os

from channels.routing import ProtocolTypeRouter, URLRouter
from channels.sessions import SessionMiddlewareStack
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webapp.settings")
_pages = get_asgi_application()

from webapp.http.body_limit import BodyLimit  # noqa: E402 - Django must be set up before the application's own modules are imported
from webapp.http.gate import Gate  # noqa: E402
from webapp.routing import websocket_urlpatterns  # noqa: E402

pages = ProtocolTypeRouter({"http": _pages, "websocket": SessionMiddlewareStack(URLRouter(websocket_urlpatterns))})
application = Gate(BodyLimit(pages))
