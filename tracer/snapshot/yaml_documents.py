"""YAML text to values: what ``kubectl get -o yaml`` and must-gather write, and nothing that could explode.

Built from the parser's events (libyaml's when PyYAML has it), so that nesting is bounded and a key that stands twice is a fault.
What an alias stands for is the very same value once more, never a copy. Each value's weight is known when it ends, so an alias costs no
more than any word, and one that makes a text too heavy is refused before anybody writes it out. Merge keys (``<<``, YAML 1.1) count alike.
Plain scalars are read by YAML 1.2's JSON-like rules: ``yes`` and ``20:30`` are strings.
Of a text that is broken everything before the fault is read. The only module of the engine that imports PyYAML.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import field
from typing import Any, NamedTuple, NoReturn

import yaml

from tracer.errors import Fault, ParseError
from tracer.kube.json_text import fault_at
from tracer.limits import DIGITS, EXPANDED, NESTING
from tracer.patterns import pattern
from tracer.values import dataclass

_PART = 65_536
"""Characters that libyaml is handed at once, where it does not say how many."""
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEAN = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER = pattern(rf"[-+]?[0-9]{{1,{DIGITS}}}", re.ASCII)
_FLOAT = pattern(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", re.ASCII)
_CORE_TAG = "tag:yaml.org,2002:"
_MERGE = "<<"


@dataclass(frozen=True, slots=True, kw_only=True)
class YamlDocument:
    """One document's value; *lines* are those on which its mappings near the top start, by ``id`` of the mapping.

    *has_aliases*: parts of it may stand in several places, and what a merge brought need not be all that is written. *fault*: it could not
    be read to its end, and *value* is a list of what came before, or None.
    """

    value: object
    line: int
    lines: dict[int, int] = field(default_factory=dict)
    has_aliases: bool = False
    fault: Fault | None = None


class _Weighed(NamedTuple):
    """A value that an alias may stand for: *weight* is how many values and characters it is written out, *height* how deep it is."""

    value: object
    weight: int
    height: int


class _Open:
    """A collection that is being read: a list, or a mapping with the key that waits for its value, and what it merges."""

    __slots__ = ("anchor", "height", "key", "merged", "value", "waiting", "weight")

    def __init__(self, value: dict[str, object] | list[object], anchor: str | None) -> None:
        self.value = value
        self.anchor = anchor
        self.key: str | None = ""
        self.waiting = False
        self.weight = self.height = 1
        self.merged: list[object] = []

    def add(self, weight: int, height: int) -> None:
        """Count what was put into it."""
        self.weight += weight
        self.height = max(self.height, height + 1)


def read_yaml(text: str, file: str) -> Iterator[YamlDocument]:
    """Yield the documents of *text*, empty ones left out.

    :raises ParseError: not YAML, an alias of nothing or of too much, a key that stands twice or is no string, or too much nesting.
    Source: yaml.org/spec/1.2.2.
    """
    for document in read_part(text, file, Allowance(text)):
        if document.fault is not None:
            raise ParseError(document.fault)
        yield document


def read_part(text: str, file: str, allowance: Allowance, *, first_line: int = 1, list_kind: str = "") -> Iterator[YamlDocument]:
    """Yield the documents of *text*, which begins on *first_line* of *file*; the last one with the fault that read_yaml raises, if any.

    With a *list_kind* the text is one list of that kind, and each item is yielded when it ends, as a list of its own, and not kept: all of
    them together would take ten times the text.
    """
    builder = _Builder(text, file, allowance, first_line)
    try:
        for event in yaml.parse(_InParts(text), Loader=_LOADER):
            if isinstance(event, yaml.DocumentStartEvent):
                builder = _Builder(text, file, allowance, first_line)
            elif not isinstance(event, yaml.DocumentEndEvent):
                builder.take(event)
                if list_kind and isinstance(event, yaml.MappingEndEvent) and (item := builder.ended_item(list_kind)) is not None:
                    yield item
            elif list_kind and builder.kind != list_kind:
                yield builder.broken(
                    Fault(file=file, line=first_line, column=None, message="not usable YAML: its kind is not said plainly")
                )
            elif builder.value is not None:
                yield builder.document()
                builder = _Builder(text, file, allowance, first_line)
        return
    except yaml.MarkedYAMLError as error:
        fault = builder.fault(error.problem_mark or error.context_mark, f"not YAML: {error.problem or error.context}")
    except yaml.YAMLError as error:
        fault = builder.fault(None, f"not YAML: {error}")
    except RecursionError:
        fault = builder.fault(None, "not usable YAML: nested too deeply")
    except ParseError as error:
        fault = error.faults[0]
    yield builder.broken(fault)


class _InParts:
    """A text as libyaml may read it: what it is handed whole, it copies whole."""

    name = "<unicode string>"

    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0

    def read(self, size: int = _PART, /) -> str:
        """Return the next *size* characters, fewer at the end."""
        begin, self._at = self._at, self._at + size
        return self._text[begin : self._at]


def _position(text: str, mark: Any) -> int:
    begin = 0
    for _ in range(mark.line):
        begin = text.find("\n", begin) + 1
    return int(begin + mark.column)


class Allowance:
    """What the aliases of one text may still add."""

    def __init__(self, text: str) -> None:
        # A dump that shares every label may add as much as it is long: what is read of it is twice the text at most.
        self.most = self.left = max(EXPANDED, len(text))


class _Builder:
    """Puts one document together from its events."""

    def __init__(self, text: str, file: str, allowance: Allowance, first_line: int) -> None:
        self._text = text
        self._file = file
        self._first_line = first_line
        self._allowance = allowance
        self._open: list[_Open] = []
        self._anchors: dict[str, _Weighed | None] = {}
        self._has_aliases = False
        self.value: object = None
        self.line = first_line
        self.lines: dict[int, int] = {}

    def document(self) -> YamlDocument:
        """Return the document, which has ended."""
        return YamlDocument(value=self.value, line=self.line, lines=self.lines, has_aliases=self._has_aliases)

    @property
    def kind(self) -> object:
        """Return what the document says as its kind."""
        return self.value.get("kind") if isinstance(self.value, dict) else None

    def ended_item(self, list_kind: str) -> YamlDocument | None:
        """Return the item of the list that has just ended, which is not kept; None where none has."""
        items = self.value.get("items") if isinstance(self.value, dict) else None
        if not isinstance(items, list) or len(self._open) != 2 or self._open[1].value is not items:
            return None
        value: dict[str, object] = {"kind": list_kind, "items": [items.pop()]}
        lines, self.lines = self.lines, {}
        return YamlDocument(value=value, line=self.line, lines=lines, has_aliases=self._has_aliases)

    def broken(self, fault: Fault) -> YamlDocument:
        """Return what of the document was read before *fault*: of a list the items that had ended."""
        top = self.value
        items = top.get("items") if isinstance(top, dict) else top
        if not isinstance(items, list) or (isinstance(top, dict) and not str(top.get("kind") or "List").endswith("List")):
            return YamlDocument(value=None, line=fault.line or self.line, fault=fault)
        depth = next((n for n, one in enumerate(self._open) if one.value is items), None)
        is_open = depth is not None and len(self._open) > depth + 1
        kind = {"kind": top["kind"]} if isinstance(top, dict) and "kind" in top else {}
        value = kind | {"items": items[:-1] if is_open else items}
        return YamlDocument(value=value, line=self.line, lines=self.lines, has_aliases=True, fault=fault)

    def fault(self, mark: Any, message: str) -> Fault:
        """Return the fault at *mark*, or of the whole text."""
        if mark is None:
            line = self._first_line if self._first_line > 1 else None
            return Fault(file=self._file, line=line, column=None, message=message)
        # libyaml puts what is missing at the end on a line behind the last.
        position = len(self._text) if mark.line > self._text.count("\n") else _position(self._text, mark)
        return fault_at(self._text, position, file=self._file, message=message, first_line=self._first_line)

    def take(self, event: Any) -> None:
        if isinstance(event, yaml.ScalarEvent):
            self._scalar(event)
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            self._start(event)
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            self._end(event)
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event)

    def _refuse(self, event: Any, message: str) -> NoReturn:
        raise ParseError(self.fault(event.start_mark, f"not usable YAML: {message}"))

    def _alias(self, event: Any) -> None:
        if event.anchor not in self._anchors:
            self._refuse(event, f"the alias {event.anchor!r} stands for nothing that comes before it")
        found = self._anchors[event.anchor]
        if found is None:
            self._refuse(event, f"the alias {event.anchor!r} stands for what it is in, which has no end")
        if len(self._open) + found.height > NESTING:
            self._refuse(event, f"nested more than {NESTING} deep")
        self._allowance.left -= found.weight
        if self._allowance.left < 0:
            self._refuse(event, f"its aliases stand for more than {self._allowance.most:,} values and characters")
        self._has_aliases = True
        self._put(found.value, event, found.weight, found.height)

    def _start(self, event: Any) -> None:
        if len(self._open) >= NESTING:
            self._refuse(event, f"nested more than {NESTING} deep")
        value: dict[str, object] | list[object] = {} if isinstance(event, yaml.MappingStartEvent) else []
        if isinstance(value, dict) and len(self._open) <= 3:
            self.lines[id(value)] = event.start_mark.line + self._first_line
        self._put(value, event, 0, 0)
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        self._open.append(_Open(value, event.anchor))

    def _end(self, event: Any) -> None:
        ended = self._open.pop()
        for part in ended.merged:
            self._merge(ended, part, event)
        if ended.anchor is not None:
            self._anchors[ended.anchor] = _Weighed(ended.value, ended.weight, ended.height)
        if self._open:
            self._open[-1].add(ended.weight, ended.height)

    def _merge(self, into: _Open, merged: object, event: Any) -> None:
        """Add the keys of a mapping, or of each of a list of them, that are not there yet. Source: yaml.org/type/merge.html."""
        for part in merged if isinstance(merged, list) else [merged]:
            if not isinstance(part, dict) or not isinstance(into.value, dict):
                self._refuse(event, "a merge key (<<) stands before what is no mapping")
            for key, value in part.items():
                into.value.setdefault(key, value)

    def _scalar(self, event: Any) -> None:
        top = self._open[-1] if self._open else None
        weight = len(event.value) + 1
        if top is not None and isinstance(top.value, dict) and not top.waiting:
            is_merge = event.value == _MERGE and event.implicit[0]
            if event.value in top.value and not is_merge:
                self._refuse(event, f"the key {event.value!r} stands twice")
            top.key, top.waiting = None if is_merge else event.value, True
            top.weight += weight
            value: object = event.value
        else:
            value = self._resolved(event)
            self._put(value, event, weight, 0)
        if event.anchor is not None:
            self._anchors[event.anchor] = _Weighed(value, weight, 0)

    def _put(self, value: object, event: Any, weight: int, height: int) -> None:
        if not self._open:
            self.value, self.line = value, event.start_mark.line + self._first_line
            return
        top = self._open[-1]
        top.add(weight, height)
        if isinstance(top.value, list):
            top.value.append(value)
        elif not top.waiting:
            self._refuse(event, "a key that is not a string")
        elif top.key is None:
            self._has_aliases = True
            top.merged.append(value)
        else:
            top.value[top.key] = value
        top.waiting = False

    def _resolved(self, event: Any) -> object:
        text: str = event.value
        if event.tag is not None and event.tag != "!":
            return self._tagged(event, text)
        if not event.implicit[0] or event.tag == "!":
            return text
        if text in _NULL:
            return None
        if text in _BOOLEAN:
            return _BOOLEAN[text]
        if _INTEGER.fullmatch(text):
            return int(text)
        return float(text) if _FLOAT.fullmatch(text) and len(text) < 400 else text

    def _tagged(self, event: Any, text: str) -> object:
        # ``!!binary`` is what kubectl writes for bytes; nobody here reads them, so the text stays as it is.
        if event.tag not in (f"{_CORE_TAG}str", f"{_CORE_TAG}binary"):
            self._refuse(event, f"the tag {event.tag} is refused")
        return text
