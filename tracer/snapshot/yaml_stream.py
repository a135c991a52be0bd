"""The documents of a text of API objects, each read by itself: one that is broken takes none of its neighbours with it.

Strategy: ``---`` at the beginning of a line begins a document wherever it stands (no string that goes over lines may hold it), so the text
is cut there, and no fault gets over the cut. It is cut, too, where what people's terminals and ``kubectl cluster-info dump`` put between
stands (``tracer.kube.between``), and where the next list of ``cat a.yaml b.yaml`` begins without a mark: a second ``apiVersion``.
Source: yaml.org/spec/1.2.2, 9.1.4 and [206] c-forbidden.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from tracer.errors import Fault
from tracer.kube.between import between
from tracer.kube.item_spans import Spans, find_spans
from tracer.kube.json_text import fault_at
from tracer.patterns import pattern
from tracer.values import dataclass

# PyYAML is imported where something is read as YAML: most snapshots are JSON.
if TYPE_CHECKING:
    from tracer.snapshot.yaml_documents import Allowance, YamlDocument

_AT_EDGE = pattern(r"^(?:---(?![^ \t\r\n])|[^ \t\r\n#-])", re.MULTILINE)
_ENDS = pattern(r"\.\.\.(?![^ \t\r\n])[^\n]*")
_FIRST_KEY = "apiVersion:"
_CONTENT = pattern(r"^(?!---[ \t]*(?:#[^\n]*)?\r?$)[ \t]*[^ \t\r\n#%]", re.MULTILINE)
_YAML_NAMES = (".yaml", ".yml")
_YAML = pattern(rb"^(?:apiVersion|kind|items)[ \t]*:", re.MULTILINE)
_HEAD = 65_536
_KIND_KEY, _ITEMS_KEY = "\nkind:", "\nitems:"
_LIST_KIND = pattern(r"kind:[ \t]{1,8}[\"']?(?P<kind>[A-Za-z]{0,60}List)[\"']?[ \t\r]{0,8}(?:\n|\Z)", re.ASCII)
_NEAR = 3
"""In so many lines before a fault a template's mark may have caused it."""
TEMPLATE_SAID = (
    "a template (of Helm's, or another's), which is no object before it is rendered. "
    "What the cluster has of a release: helm get manifest RELEASE | kubectl get -o json -f -"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """A part of the text from *start* to *end*, on *line*: a document, or what is *wrong* there."""

    start: int
    end: int
    line: int
    wrong: str = ""


def json_spans(data: bytes, path: str) -> Spans | None:
    """Return where the objects of *data* are, None where it is to be read as YAML. The file's name says what it is read as first.

    :raises ParseError: the text is not UTF-8.
    """
    begins = data.lstrip()[:1] in (b"{", b"[")
    is_named = path.lower().endswith(_YAML_NAMES)
    if is_named and not begins:
        return None
    # JSON under a YAML name is common, and read much faster as JSON.
    spans = find_spans(data, path)
    if spans.fault is None or (len(spans) and not (is_named and b"\n---" in data)):
        return spans
    return None if is_named or (not begins and _YAML.search(data, 0, _HEAD)) else spans


def read_stream(text: str, file: str) -> Iterator[YamlDocument]:
    """Yield the documents of *text*, empty ones left out, each with its fault where it could not be read to its end."""
    from tracer.snapshot.yaml_documents import Allowance, YamlDocument

    allowance = Allowance(text)
    for part in _Cut(text).parts():
        if part.wrong:
            fault = fault_at(text, part.start, file=file, message=part.wrong)
            yield YamlDocument(value=None, line=part.line, fault=fault)
            continue
        piece = text if part.end - part.start == len(text) else text[part.start : part.end]
        yield from _read(piece, file, part.line, allowance)


def has_more(text: str) -> bool:
    """Return whether something else than documents stands in *text*."""
    return any(between(text, edge.start()) is not None for edge in _AT_EDGE.finditer(text))


def _read(piece: str, file: str, line: int, allowance: Allowance) -> Iterator[YamlDocument]:
    from tracer.snapshot.yaml_documents import read_part

    for document in read_part(piece, file, allowance, first_line=line, list_kind=_list_kind(piece)):
        items = _items_without_kind(document.value)
        if document.fault is None and items is not None:
            # NB: kubectl writes the list's kind behind its items: where it is gone, so may be a part of the last one.
            last = line + piece.count("\n", 0, len(piece.rstrip()))
            wrong = Fault(file=file, line=last, column=None, message="the list is cut short: nothing follows its items")
            yield replace(document, value={"items": items[:-1]}, fault=wrong)
        elif document.fault is not None and _is_near_template(piece, (document.fault.line or line) - line):
            yield replace(document, fault=replace(document.fault, message=TEMPLATE_SAID))
        elif _has_template_name(document.value):
            wrong = Fault(file=file, line=document.line, column=None, message=TEMPLATE_SAID)
            yield replace(document, value=None, fault=wrong)
        else:
            yield document


def is_template(text: str) -> bool:
    """Return whether every document of *text* is a template that nobody rendered."""
    if "{{" not in text and "${" not in text:
        return False
    said = [None if one.fault is None else one.fault.message for one in read_stream(text, "")]
    return set(said) == {TEMPLATE_SAID}


def _is_near_template(piece: str, line: int) -> bool:
    return any("{{" in one for one in piece.split("\n", line + 1)[max(0, line - _NEAR) : line + 1])


def _has_template_name(value: object) -> bool:
    """Return whether an object's name is none before a template is rendered: no name of the API's holds a brace."""
    metadata = value.get("metadata") if isinstance(value, dict) else None
    named = [metadata.get(key) for key in ("name", "namespace")] if isinstance(metadata, dict) else []
    return any(isinstance(one, str) and "{" in one for one in named)


def _list_kind(piece: str) -> str:
    """Return the kind of the list that a document plainly is, as kubectl prints it behind the items; "" for any other."""
    found = _LIST_KIND.match(piece, piece.rfind(_KIND_KEY) + 1)
    return found["kind"] if found and piece.count(_KIND_KEY) == 1 and _ITEMS_KEY in piece else ""


def _items_without_kind(value: object) -> list[object] | None:
    items = value["items"] if isinstance(value, dict) and set(value) == {"apiVersion", "items"} else None
    return items if isinstance(items, list) else None


class _Cut:
    """Where a text is cut, going forward: what is behind *start* is not given yet."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._start, self._line, self._counted = 0, 1, 0
        self._first = _CONTENT.search(text)

    def parts(self) -> Iterator[_Part]:
        edge = 0
        while found := _AT_EDGE.search(self._text, edge):
            at, edge = found.start(), found.end()
            resume, wrong = self._cut_at(at)
            if resume is None:
                continue
            if self._has_content(at):
                yield self._part(self._start, at)
            elif resume == at:
                # Directives and comments belong to the document that follows.
                continue
            if wrong:
                yield self._part(at, resume, wrong)
            self._start, edge = resume, max(edge, resume)
            self._first = _CONTENT.search(self._text, resume)
        if self._first is not None:
            yield self._part(self._start, len(self._text))

    def _has_content(self, before: int) -> bool:
        return self._first is not None and self._first.start() < before

    def _cut_at(self, at: int) -> tuple[int | None, str]:
        """Return where the text goes on after a cut at *at*, None for no cut, and what is wrong with what is passed over."""
        if self._text.startswith("---", at):
            return at, ""
        if ends := _ENDS.match(self._text, at):
            return ends.end(), ""
        if found := between(self._text, at):
            return found.end, found.wrong
        first = self._first.start() if self._first is not None else at
        if first < at and self._text.startswith(_FIRST_KEY, at) and self._text.startswith(_FIRST_KEY, first):
            return at, ""
        return None, ""

    def _part(self, start: int, end: int, wrong: str = "") -> _Part:
        self._line, self._counted = self._line + self._text.count("\n", self._counted, start), start
        return _Part(start=start, end=end, line=self._line, wrong=wrong)
