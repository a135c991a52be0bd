"""Label selectors, as the API machinery evaluates them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum
from typing import assert_never

from tracer.kube.fields import Fields
from tracer.values import dataclass


class Operator(StrEnum):
    """The operators of a label selector's expressions."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """One expression of a selector."""

    key: str
    operator: Operator
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Return whether *labels* meet the expression. NotIn is met by a label that is absent.

        Source: apimachinery/pkg/labels/selector.go.
        """
        match self.operator:
            case Operator.IN:
                return self.key in labels and labels[self.key] in self.values
            case Operator.NOT_IN:
                return self.key not in labels or labels[self.key] not in self.values
            case Operator.EXISTS:
                return self.key in labels
            case Operator.DOES_NOT_EXIST:
                return self.key not in labels
            case _:
                assert_never(self.operator)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSelector:
    """A selector; an empty one selects everything."""

    match_labels: Mapping[str, str] = field(default_factory=dict)
    match_expressions: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Return whether *labels* meet every part of the selector."""
        return all(labels.get(k) == v for k, v in self.match_labels.items()) and all(r.matches(labels) for r in self.match_expressions)

    def __str__(self) -> str:
        parts = [f"{k}={v}" for k, v in self.match_labels.items()]
        parts += [f"{r.key} {r.operator}{' (' + ', '.join(r.values) + ')' if r.values else ''}" for r in self.match_expressions]
        return ", ".join(parts) or "everything"

    @classmethod
    def from_fields(cls, fields: Fields) -> LabelSelector:
        """Return the selector that *fields* describe. :raises ParseError: a field has the wrong type or an operator is unknown."""
        expressions = tuple(_requirement(e) for e in fields.each("matchExpressions"))
        return cls(match_labels=fields.text_map("matchLabels"), match_expressions=expressions)


def _requirement(entry: Fields) -> Requirement:
    text = entry.name("operator")
    if text not in tuple(Operator):
        entry.refuse("operator", f"{text!r} is not In, NotIn, Exists or DoesNotExist")
    return Requirement(key=entry.name("key"), operator=Operator(text), values=entry.texts("values"))
