"""Kubeconfigs for tests, and the token that must never be seen again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TOKEN = "s3cret-token-that-nobody-may-see"


def kubeconfig(folder: Path, server: str, user: Any, **more: Any) -> Path:
    """Return a kubeconfig in *folder* with the contexts here and there; *more* goes to the cluster's entry."""
    path = folder / "config"
    value = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "clusters": [{"name": "c", "cluster": {"server": server, **more}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": name, "context": {"cluster": "c", "user": "u"}} for name in ("here", "there")],
    }
    path.write_text(json.dumps(value))
    return path
