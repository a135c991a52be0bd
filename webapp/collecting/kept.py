"""What of an API object goes into a snapshot that Hopline writes: everything but what no trace needs and what people would rather keep.

Environment variables, commands and arguments of containers often hold passwords, and the annotation of ``kubectl apply`` repeats all of
them. ``collect.sh`` leaves out the same, line by line, from kubectl's own indentation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from webapp.cluster.kept import without_copies

LEFT_OUT = frozenset({"env", "envFrom", "command", "args"})
"""Keys of a Pod that are left out wherever their value is a list: containers' environment, what they run, and what their probes run."""
SENTENCE = (
    "Not taken: Secrets, ConfigMaps other than kube-proxy's and the cluster DNS's, logs, traffic; "
    "and of Pods neither environment variables nor commands and their arguments."
)


def kept(value: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Return the API object *value* of *kind* without what is left out; *value* itself is not changed."""
    result = dict(_without(value) if kind == "Pod" else value)
    return without_copies(result | {"metadata": value.get("metadata") or {}})


def _without(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without(part) for key, part in value.items() if not (key in LEFT_OUT and isinstance(part, list))}
    if isinstance(value, list):
        return [_without(part) for part in value]
    return value
