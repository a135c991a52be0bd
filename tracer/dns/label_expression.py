"""Label selectors as text (``environment in (production, qa),application=nginx``), as kubectl and CoreDNS take them.

Source: apimachinery/pkg/labels/selector.go.
"""

from __future__ import annotations

import re

from tracer.errors import Fault, ParseError
from tracer.kube.selector import LabelSelector, Operator, Requirement
from tracer.patterns import pattern

_KEY = r"(?P<key>[A-Za-z0-9][A-Za-z0-9./_-]*)"
_VALUE = r"[A-Za-z0-9._-]*"
_FORMS = (
    (pattern(rf"\s*{_KEY}\s+(?P<op>in|notin)\s*\((?P<values>[^()]*)\)\s*", re.ASCII), None),
    (pattern(rf"\s*{_KEY}\s*(?P<op>==|=|!=)\s*+(?P<values>{_VALUE})\s*", re.ASCII), None),
    (pattern(rf"\s*!\s*{_KEY}\s*", re.ASCII), Operator.DOES_NOT_EXIST),
    (pattern(rf"\s*{_KEY}\s*", re.ASCII), Operator.EXISTS),
)
_OPERATORS = {"in": Operator.IN, "notin": Operator.NOT_IN, "=": Operator.IN, "==": Operator.IN, "!=": Operator.NOT_IN}


def parse_labels(text: str) -> LabelSelector:
    """Return the selector that *text* writes. :raises ParseError: it is no selector."""
    requirements = []
    position = 0
    while True:
        match, operator = _next(text, position)
        if match is None:
            raise ParseError(Fault(file="", line=None, column=position, message=f"{text!r} is not a label selector", text=text))
        requirements.append(_requirement(match, operator))
        position = match.end()
        if position == len(text):
            return LabelSelector(match_expressions=tuple(requirements))
        if text[position] != ",":
            raise ParseError(Fault(file="", line=None, column=position, message="a comma is expected between requirements", text=text))
        position += 1


def _next(text: str, position: int) -> tuple[re.Match[str] | None, Operator | None]:
    for form, operator in _FORMS:
        match = form.match(text, position)
        if match is not None and (match.end() == len(text) or text[match.end()] == ","):
            return match, operator
    return None, None


def _requirement(match: re.Match[str], operator: Operator | None) -> Requirement:
    if operator is not None:
        return Requirement(key=match["key"], operator=operator)
    values = tuple(v.strip() for v in match["values"].split(","))
    return Requirement(key=match["key"], operator=_OPERATORS[match["op"]], values=values)
