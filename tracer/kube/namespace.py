"""Namespace: what NetworkPolicies select by its labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime

from tracer.kube.fields import Fields, Origin
from tracer.values import dataclass

NAME_LABEL = "kubernetes.io/metadata.name"


@dataclass(frozen=True, slots=True, kw_only=True)
class Namespace:
    """A Namespace. *labels* always hold ``kubernetes.io/metadata.name``, which the API server sets since 1.21."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    created: datetime | None = None
    origin: Origin = field(default_factory=Origin, compare=False)

    @property
    def key(self) -> tuple[str, str]:
        """Return ("", name): a Namespace is in no namespace."""
        return ("", self.name)

    @classmethod
    def from_dict(cls, value: object, origin: Origin | None = None) -> Namespace:
        """Return the Namespace an API object describes. :raises ParseError: a field has the wrong type."""
        metadata = Fields.of(value, "Namespace", origin).nested("metadata")
        name = metadata.name()
        return cls(
            name=name,
            labels={**metadata.text_map("labels"), NAME_LABEL: name},
            created=metadata.time("creationTimestamp"),
            origin=origin or Origin(),
        )
