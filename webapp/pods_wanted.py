"""How pods are named whose own stacks are read: by collect.sh, ``manage.py collect`` and ``HOPLINE_POD_STACKS`` alike.

``pod:NAMESPACE/NAME``, ``svc:NAMESPACE/NAME`` (the pods behind it) and ``label:NAMESPACE/KEY=VALUE``.
"""

from __future__ import annotations

import re
from enum import StrEnum

from tracer.patterns import pattern
from tracer.values import dataclass

_NAME = pattern(r"[A-Za-z0-9][A-Za-z0-9.-]*", re.ASCII)
_LABEL = pattern(r"[A-Za-z0-9./_][A-Za-z0-9./_-]{0,316}=[A-Za-z0-9./_-]{1,63}", re.ASCII)


class BadPods(ValueError):
    """The text names no pods; it says what would."""


class By(StrEnum):
    """What pods are found by."""

    POD = "pod"
    SERVICE = "svc"
    LABEL = "label"


@dataclass(frozen=True, slots=True, kw_only=True)
class PodsWanted:
    """The pods of *namespace* that *name* finds: a pod's name, a Service's, or ``KEY=VALUE`` of a label."""

    by: By
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.by}:{self.namespace}/{self.name}"


def parse_wanted(text: str) -> PodsWanted:
    """Return what *text* names. :raises BadPods: it is none of the three forms."""
    by, _, rest = text.partition(":")
    namespace, _, name = rest.partition("/")
    form = _LABEL if by == By.LABEL else _NAME
    if by not in list(By) or not _NAME.fullmatch(namespace) or not form.fullmatch(name):
        raise BadPods(f"is pod:NAMESPACE/NAME, svc:NAMESPACE/NAME or label:NAMESPACE/KEY=VALUE, not {text}")
    return PodsWanted(by=By(by), namespace=namespace, name=name)
