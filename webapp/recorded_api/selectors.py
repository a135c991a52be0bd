"""Field and label selectors, as far as clients of this API use them. Source: k8s.io/apimachinery/pkg/{fields,labels}."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tracer.patterns import pattern
from webapp.recorded_api.fields import mapping
from webapp.recorded_api.statuses import RequestError

Selector = Callable[[Mapping[str, object]], bool]
_FIELDS = frozenset({"metadata.name", "metadata.namespace", "spec.nodeName", "status.phase", "spec.type", "spec.clusterIP"})
_EQUAL = pattern(r"(?P<key>[^=!]+)(?P<sign>==|=|!=)(?P<value>[^=!]*)")
_SET = pattern(r"(?P<key>\S+)\s+(?P<sign>in|notin)\s+\((?P<values>[^)]*)\)")


def field_selector(text: str) -> Selector:
    """Return the test that a fieldSelector is. :raises RequestError: 400, not understood, or a field that cannot be selected by."""
    terms = [_term(part) for part in text.split(",") if part]
    for key, _, _ in terms:
        if key not in _FIELDS:
            raise RequestError(400, f'field label not supported: "{key}"')
    return lambda value: all((_field(value, key) == wanted) is is_equal for key, is_equal, wanted in terms)


def field_value(text: str, key: str) -> str:
    """Return what a fieldSelector wants *key* to be, "" if it does not say. An authorizer reads metadata.name from it."""
    return next((wanted for found, is_equal, wanted in (_term(p) for p in text.split(",") if p) if found == key and is_equal), "")


def label_selector(text: str) -> Selector:
    """Return the test that a labelSelector is. :raises RequestError: 400, not understood."""
    tests = [_label_test(part.strip()) for part in _requirements(text) if part.strip()]
    return lambda value: all(test(_labels(value)) for test in tests)


def _requirements(text: str) -> list[str]:
    """The parts of a labelSelector: commas in parentheses part the values of a set."""
    parts: list[list[str]] = []
    open_ = 0
    for piece in text.split(","):
        if open_ > 0:
            parts[-1].append(piece)
        else:
            parts.append([piece])
            open_ = 0
        open_ += piece.count("(") - piece.count(")")
    return [",".join(pieces) for pieces in parts]


def _term(part: str) -> tuple[str, bool, str]:
    match = _EQUAL.fullmatch(part)
    if match is None:
        raise RequestError(400, f"invalid selector: '{part}'; can't understand '{part}'")
    return match["key"].strip(), match["sign"] != "!=", match["value"].strip()


def _label_test(part: str) -> Callable[[Mapping[str, object]], bool]:
    if match := _SET.fullmatch(part):
        # NB: not a set: a recorded label may be anything, and a list in place of one has no hash.
        values = tuple(v.strip() for v in match["values"].split(","))
        name, is_in = match["key"], match["sign"] == "in"
        return lambda labels: (labels.get(name) in values) is is_in
    if "=" in part:
        key, is_equal, wanted = _term(part)
        return lambda labels: (labels.get(key) == wanted) is is_equal
    if part.startswith("!"):
        return lambda labels: part[1:] not in labels
    return lambda labels: part in labels


def _labels(value: Mapping[str, object]) -> Mapping[str, object]:
    return mapping(value, "metadata", "labels")


def _field(value: Mapping[str, object], key: str) -> object:
    *way, last = key.split(".")
    found = mapping(value, *way).get(last)
    return "" if found is None else found
