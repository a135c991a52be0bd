"""Keeps capabilities out of the log: share tokens, the access key, passwords in connection strings. And the coming and going of sockets."""

import logging
import re

from django.conf import settings

from tracer.patterns import pattern
from webapp.http.refusals import socket_refused

_PATTERNS = (
    (pattern(r"/t/[0-9A-Za-z_-]{8,}"), "/t/[hidden]"),
    (pattern(r"(?P<scheme>[a-z][a-z0-9+.-]{0,30}://)[^/@\s]+@", re.ASCII), r"\g<scheme>[hidden]@"),
    (pattern(r"(?i)(authorization:?[ \t]*bearer[ \t]+)\S+"), r"\1[hidden]"),
)


def hide_secrets(text: str) -> str:
    """Return *text* with share tokens, credentials in URLs, bearer tokens and the access key replaced by ``[hidden]``."""
    if settings.ACCESS_KEY:
        text = text.replace(settings.ACCESS_KEY, "[hidden]")
    for secret, instead in _PATTERNS:
        text = secret.sub(instead, text)
    return text


class HideSecrets(logging.Filter):
    """A logging filter that rewrites every record's message, its traceback included, with hide_secrets()."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite *record* in place; always lets it pass."""
        record.msg, record.args = hide_secrets(record.getMessage()), ()
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = hide_secrets(record.exc_text)
        return True


class QuietSockets(logging.Filter):
    """A filter for uvicorn's log: requests are not logged, and sockets are not either. What is refused has its line (refusals.py)."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether *record* is more than the coming and going of one socket."""
        text = str(record.msg)
        if record.levelno > logging.INFO:
            return not (socket_refused.get() and "without completing handshake" in text)
        return not text.startswith(("connection open", "connection closed", "connection rejected")) and (
            settings.ACCESS_LOG or '"WebSocket' not in text
        )
