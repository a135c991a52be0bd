"""Reads ``HOPLINE_*`` environment variables into typed values; settings.py is the only user.

Refuses a value it cannot read, naming the variable, instead of falling back to a default in silence.
"""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from webapp.pods_wanted import PodsWanted

_YES, _NO = {"1", "true", "yes", "on"}, {"", "0", "false", "no", "off"}


def _improper(message: str) -> Exception:
    """Return Django's error for a setting that cannot be used; a program that has none of them does without Django."""
    from django.core.exceptions import ImproperlyConfigured

    return ImproperlyConfigured(message)


def flag(name: str, default: bool = False) -> bool:
    """Return the variable as a yes or no. :raises ImproperlyConfigured: it is neither."""
    text = os.environ.get(name, "1" if default else "0").strip().lower()
    if text not in _YES | _NO:
        raise _improper(f"{name}={text!r} is not a yes or a no: use 1 or 0")
    return text in _YES


def words(name: str, default: tuple[str, ...] = ()) -> list[str]:
    """Return the comma-separated variable as a list, without empty parts."""
    text = os.environ.get(name)
    return list(default) if text is None else [part.strip() for part in text.split(",") if part.strip()]


def number(name: str, default: int, *, least: int = 1) -> int:
    """Return the variable as a whole number, at least *least*. :raises ImproperlyConfigured: it is not one."""
    text = os.environ.get(name, "").strip()
    if not text:
        return default
    if not (text.isascii() and text.isdigit()) or int(text) < least:
        raise _improper(f"{name}={text!r} is not a whole number of at least {least}")
    return int(text)


def pods(name: str) -> tuple[PodsWanted, ...]:
    """Return the comma-separated variable as pods that are wanted. :raises ImproperlyConfigured: a part names none."""
    from webapp.pods_wanted import BadPods, parse_wanted

    try:
        return tuple(parse_wanted(text) for text in words(name))
    except BadPods as error:
        raise _improper(f"each part of {name} {error}") from error


def megabytes(name: str, default: int) -> int:
    """Return the variable, given in MB (1,000,000 bytes), as bytes."""
    return number(name, default) * 1_000_000


def storage(name: str, default: dict[str, Any]) -> dict[str, Any]:
    """Return the variable, a Django storage as JSON (``{"BACKEND": …, "OPTIONS": {…}}``). :raises ImproperlyConfigured: it is not one."""
    text = os.environ.get(name, "").strip()
    if not text:
        return default
    try:
        value = json.loads(text)
    except ValueError as error:
        raise _improper(f"{name} is not JSON: {error}") from error
    if not isinstance(value, dict) or not isinstance(value.get("BACKEND"), str):
        raise _improper(f'{name} is not a storage: use {{"BACKEND": "...", "OPTIONS": {{...}}}}')
    return value


def folder(path: Path) -> Path | None:
    """Return *path* after making it a folder for its owner only, or None where that cannot be (a read-only file system)."""
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError:
        return None
    return path


def secret_key(folder: Path) -> str:
    """Return the signing key: ``HOPLINE_SECRET_KEY``, or the one kept in *folder*, made on first use (readable by the owner only).

    Where the folder cannot be written, the key lasts as long as the process.
    """
    if given := os.environ.get("HOPLINE_SECRET_KEY"):
        return given
    path = folder / "secret-key"
    made = secrets.token_urlsafe(48)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Written aside and linked into place: two processes that start together agree on one key, and none reads half of it.
        aside = folder / f".secret-key.{os.getpid()}"
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(made)
        try:
            path.hardlink_to(aside)
        except FileExistsError:
            pass
        finally:
            aside.unlink()
        return path.read_text().strip()
    except OSError:
        return made
