"""What of an API object goes into a snapshot that Hopline writes: what an upload keeps of it, too (``tracer.kube.kept_parts``).

``collect.sh`` leaves out the same, line by line, from kubectl's own indentation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tracer.kube.kept_parts import kept_parts

SENTENCE = (
    "Not taken: Secrets, ConfigMaps other than those of kube-proxy, the cluster's DNS and its network, logs, traffic; of Pods neither "
    "environment variables nor commands and their arguments, but for named ones of the cluster's own programs; "
    "annotations that hold whole objects."
)


def kept(value: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Return the API object *value* of *kind* without what is left out; *value* itself is not changed."""
    return kept_parts(kind, {**value, "metadata": value.get("metadata") or {}})
