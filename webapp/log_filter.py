"""Keeps capabilities out of the log: share tokens, the access key, passwords in connection strings."""

import logging
import re

from django.conf import settings

_PATTERNS = (
    (re.compile(r"/t/[0-9A-Za-z_-]{8,}"), "/t/[hidden]"),
    (re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*://)[^/@\s]+@", re.ASCII), r"\g<scheme>[hidden]@"),
    (re.compile(r"(?i)(authorization:?\s*bearer\s+)\S+"), r"\1[hidden]"),
)


def hide_secrets(text: str) -> str:
    """Return *text* with share tokens, credentials in URLs, bearer tokens and the access key replaced by ``[hidden]``."""
    if settings.ACCESS_KEY:
        text = text.replace(settings.ACCESS_KEY, "[hidden]")
    for pattern, instead in _PATTERNS:
        text = pattern.sub(instead, text)
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
