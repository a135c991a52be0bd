"""YAML text to values: what ``kubectl get -o yaml`` and must-gather write, and nothing that could explode.

Built from the parser's events (libyaml's when PyYAML has it), so that aliases and anchors are refused before anything is expanded,
nesting is bounded, and a key that stands twice is a fault.
Plain scalars are read by YAML 1.2's JSON-like rules: ``yes`` and ``20:30`` are strings.
The only module of the engine that imports PyYAML.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from tracer.errors import Fault, ParseError
from tracer.kube.json_text import fault_at
from tracer.limits import DIGITS, NESTING

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEAN = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER = re.compile(rf"[-+]?[0-9]{{1,{DIGITS}}}", re.ASCII)
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", re.ASCII)
_CORE_TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True, slots=True, kw_only=True)
class YamlDocument:
    """One document's value; *lines* are those on which its mappings near the top start, by ``id`` of the mapping."""

    value: object
    line: int
    lines: dict[int, int] = field(default_factory=dict)


class _Open:
    """A collection that is being read: a list, or a mapping with the key that waits for its value."""

    __slots__ = ("key", "value", "waiting")

    def __init__(self, value: dict[str, object] | list[object]) -> None:
        self.value = value
        self.key = ""
        self.waiting = False


def read_yaml(text: str, file: str) -> Iterator[YamlDocument]:
    """Yield the documents of *text*, empty ones left out.

    :raises ParseError: not YAML, an alias or anchor, a key that stands twice or is no string, or too much nesting.
    Source: yaml.org/spec/1.2.2.
    """
    try:
        yield from _documents(text, file)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise ParseError(_fault(text, file, mark, f"not YAML: {error.problem or error.context}")) from None
    except yaml.YAMLError as error:
        raise ParseError(Fault(file=file, line=None, column=None, message=f"not YAML: {error}")) from None
    except RecursionError:
        raise ParseError(Fault(file=file, line=None, column=None, message="not usable YAML: nested too deeply")) from None


def _fault(text: str, file: str, mark: Any, message: str) -> Fault:
    if mark is None:
        return Fault(file=file, line=None, column=None, message=message)
    # libyaml puts what is missing at the end on a line behind the last.
    position = len(text) if mark.line > text.count("\n") else _position(text, mark)
    return fault_at(text, position, file=file, message=message)


def _position(text: str, mark: Any) -> int:
    begin = 0
    for _ in range(mark.line):
        begin = text.find("\n", begin) + 1
    return int(begin + mark.column)


def _documents(text: str, file: str) -> Iterator[YamlDocument]:
    builder = _Builder(text, file)
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.DocumentStartEvent):
            builder = _Builder(text, file)
        elif isinstance(event, yaml.DocumentEndEvent):
            if builder.value is not None:
                yield YamlDocument(value=builder.value, line=builder.line, lines=builder.lines)
        else:
            builder.take(event)


class _Builder:
    """Puts one document together from its events."""

    def __init__(self, text: str, file: str) -> None:
        self._text = text
        self._file = file
        self._open: list[_Open] = []
        self.value: object = None
        self.line = 1
        self.lines: dict[int, int] = {}

    def take(self, event: Any) -> None:
        if isinstance(event, yaml.ScalarEvent):
            self._refuse_anchor(event)
            self._scalar(event)
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            self._refuse_anchor(event)
            self._start(event)
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            self._open.pop()
        elif isinstance(event, yaml.AliasEvent):
            self._refuse(event, "aliases are refused: they can make a small file huge")

    def _refuse(self, event: Any, message: str) -> None:
        raise ParseError(_fault(self._text, self._file, event.start_mark, f"not usable YAML: {message}"))

    def _refuse_anchor(self, event: Any) -> None:
        if event.anchor is not None:
            self._refuse(event, "anchors are refused, as aliases are")

    def _start(self, event: Any) -> None:
        if len(self._open) >= NESTING:
            self._refuse(event, f"nested more than {NESTING} deep")
        value: dict[str, object] | list[object] = {} if isinstance(event, yaml.MappingStartEvent) else []
        if isinstance(value, dict) and len(self._open) <= 3:
            self.lines[id(value)] = event.start_mark.line + 1
        self._put(value, event)
        self._open.append(_Open(value))

    def _scalar(self, event: Any) -> None:
        top = self._open[-1] if self._open else None
        if top is not None and isinstance(top.value, dict) and not top.waiting:
            if event.value in top.value:
                self._refuse(event, f"the key {event.value!r} stands twice")
            if event.value == "<<" and event.implicit[0]:
                self._refuse(event, "merge keys are refused, as aliases are")
            top.key, top.waiting = event.value, True
            return
        self._put(self._resolved(event), event)

    def _put(self, value: object, event: Any) -> None:
        if not self._open:
            self.value, self.line = value, event.start_mark.line + 1
            return
        top = self._open[-1]
        if isinstance(top.value, list):
            top.value.append(value)
        elif top.waiting:
            top.value[top.key], top.waiting = value, False
        else:
            self._refuse(event, "a key that is not a string")

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
        if event.tag == f"{_CORE_TAG}str":
            return text
        # ``!!binary`` is what kubectl writes for bytes; nobody here reads them, so the text stays as it is.
        if event.tag == f"{_CORE_TAG}binary":
            return text
        self._refuse(event, f"the tag {event.tag} is refused")
        return None
