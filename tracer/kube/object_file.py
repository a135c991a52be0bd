"""One file of API objects, as text: where its objects are, which of them may say a thing, and one object when it is asked for.

Strategy: an object is decoded when a look-up first reaches it. What leads a look-up there is an index of one *aspect* of the text
(quoted addresses, values of ``name``, …), made by one regular expression over the whole file. An index names candidates, never answers:
it holds every object that has the value as well as some that merely look like it, and the caller decodes and compares.
Text in which a character may be written as an escape is not trusted: objects with ``\\u`` or ``\\/`` in them are decoded and walked.
"""

from __future__ import annotations

import io
import json
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple

from tracer.errors import Fault, ParseError
from tracer.kube.between import REFUSALS
from tracer.kube.item_spans import Spans, find_spans, is_list, item_kind
from tracer.kube.json_text import decode_json, decode_text
from tracer.patterns import pattern
from tracer.query import parse_address
from tracer.values import dataclass


class Aspect(StrEnum):
    """What an index is about."""

    ADDRESS = "address"
    NAME = "name"
    SERVICE_NAME = "kubernetes.io/service-name"
    NODE_PORT = "nodePort"
    HOST_NETWORK = "hostNetwork"
    KIND = "kind"


_WS = rb"[ \t\n\r]*"
_STRING = rb'"([^"\\]*(?:\\.[^"\\]*)*)"'
_PATTERNS = {
    Aspect.ADDRESS: pattern(rb'"([0-9a-fA-F]{0,4}+[:.][0-9a-fA-F:.]++)"'),
    Aspect.NAME: pattern(rb'"name"' + _WS + rb":" + _WS + _STRING),
    Aspect.SERVICE_NAME: pattern(rb'"kubernetes.io/service-name"' + _WS + rb":" + _WS + _STRING),
    Aspect.NODE_PORT: pattern(rb'"nodePort"' + _WS + rb":" + _WS + rb"(-?[0-9]+)"),
    Aspect.HOST_NETWORK: pattern(rb'"hostNetwork"' + _WS + rb":" + _WS + rb"(true)"),
    Aspect.KIND: pattern(rb'"kind"' + _WS + rb":" + _WS + _STRING),
}
_RECORDED = pattern(rb'"(?:uid|resourceVersion|podIP|hostIP|nodeName)"|"clusterIP"' + _WS + b":" + _WS + rb'"[0-9a-f]')
_RUNNING = frozenset({b"Service", b"ServiceList", b"Pod", b"PodList"})
"""The kinds into whose specs the cluster writes (tracer.snapshot.form)."""
_ESCAPE = pattern(rb"\\[u/]")
# How many keys are searched for one by one before an index is made, which costs as much as that many searches.
_SEARCHES = {Aspect.ADDRESS: 8, Aspect.NAME: 2, Aspect.SERVICE_NAME: 4}
_MOST_FOUND = 32
_FEW = 64
"""So many objects are decoded rather than looked up."""
UNREAD = b'{"kind": null}'
"""What is stored in the place of something that could not be read: no reader takes it for an object."""
_BROKEN = (UNREAD, *(words.encode() for words in REFUSALS))
_NO_KIND = "an API object has no kind"
_TAIL = 256
_SPELLED_OTHERWISE = pattern(rb'[^ -~]|["\\:]')
Found = int | list[int]


class RawObject(NamedTuple):
    """One API object as decoded, with its kind."""

    kind: str
    value: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One API object or list that was read from something else than JSON (YAML), and the line it starts on.

    *fault*: it could not be read, and there is no value.
    """

    value: object
    line: int
    kind: str | None = None
    fault: Fault | None = None


class FoundText(NamedTuple):
    """JSON text (UTF-8) of which it is known already where its objects are."""

    data: bytes
    spans: Spans


def _address_key(raw: bytes) -> bytes | None:
    """Return the canonical text of an IPv6 address, None for what is none. IPv4 has one spelling only and needs no such care."""
    address = parse_address(raw.decode("ascii"))
    return None if address is None else str(address).encode()


def _text_key(raw: bytes) -> bytes | None:
    """Return a string's text, escapes undone."""
    try:
        return str(json.loads(b'"' + raw + b'"')).encode(errors="surrogatepass")
    except ValueError:
        return None


def _scalars(value: object, key: str = "") -> Iterator[tuple[str, object]]:
    """Yield every scalar in *value* with the key it stands under."""
    pending: list[tuple[str, object]] = [(key, value)]
    while pending:
        key, value = pending.pop()
        if isinstance(value, Mapping):
            pending.extend(value.items())
        elif isinstance(value, list):
            pending.extend((key, v) for v in value)
        else:
            yield key, value


def _key_of(aspect: Aspect, name: str, value: object) -> bytes | None:
    """Return the index key that the scalar *value* under the key *name* gives, or None."""
    if aspect is Aspect.ADDRESS:
        address = parse_address(value) if isinstance(value, str) else None
        return None if address is None else str(address).encode()
    if name != aspect.value:
        return None
    if isinstance(value, bool):
        return b"true" if value else None
    return str(value).encode(errors="surrogatepass") if isinstance(value, str | int) else None


class ObjectFile:
    """The API objects of one file, in order; *read* is called once, when something is first asked.

    It returns JSON (UTF-8), with where its objects are if that was looked for, or the documents of a format that is read otherwise.
    *kind* is what the place says of objects that do not.
    """

    def __init__(self, path: str, read: Callable[[], bytes | FoundText | Iterable[Document]], *, kind: str | None = None) -> None:
        self.path = path
        self._read = read
        self._kind = kind
        self._lines: Sequence[int] | None = None
        self._spans: Spans | None = None
        self._found: Spans | None = None
        self._indexes: dict[Aspect, dict[bytes, Found]] = {}
        self._escaped: tuple[int, ...] | None = None
        self._few: dict[str, Sequence[int] | None] = {}
        self._searches: dict[Aspect, dict[bytes, tuple[int, ...]]] = {}

    @cached_property
    def _data(self) -> bytes:
        content = self._read()
        if isinstance(content, bytes):
            return content
        if isinstance(content, FoundText):
            self._found = content.spans
            return content.data
        # NB: each is written before the next one is read: all of them as values take ten times the file.
        data, starts, ends, lines = io.BytesIO(), array("Q"), array("Q"), array("Q")
        kinds: list[str | None] = []
        unread: list[Fault] = []
        for document in content:
            if document.fault is not None:
                unread.append(document.fault)
                continue
            starts.append(data.tell())
            data.write(json.dumps(document.value, ensure_ascii=False).encode(errors="surrogatepass"))
            ends.append(data.tell())
            data.write(b"\n")
            kinds.append(document.kind)
            lines.append(document.line)
        self._spans = Spans(starts=starts, ends=ends, kinds=tuple(kinds), unread=tuple(unread))
        self._lines = lines
        return data.getvalue()

    def __len__(self) -> int:
        return len(self.spans)

    @property
    def spans(self) -> Spans:
        """Return where the objects are, up to the first fault. :raises ParseError: the file cannot be read at all."""
        data = self._data
        if self._spans is None:
            spans = self._spans = find_spans(data, self.path) if self._found is None else self._found
            if left_out := tuple(self._left_out(spans)):
                self._spans = replace(spans, unread=(*spans.unread, *left_out))
        return self._spans

    def _left_out(self, spans: Spans) -> Iterator[Fault]:
        """Yield the fault of each place where something stood that could not be stored."""
        for item, (start, end) in enumerate(zip(spans.starts, spans.ends, strict=True)):
            if end - start == len(UNREAD) and self._data.startswith(UNREAD, start):
                yield Fault(file=self.path, line=self.line_of(item), column=None, message=_NO_KIND)

    @cached_property
    def _is_broken(self) -> bool:
        """Return whether a part of the file may be unreadable: cheap, and true of some that are whole."""
        if self._lines is not None and self._spans is not None:
            return bool(self._spans.unread)
        return any(mark in self._data for mark in _BROKEN) or self._data[-_TAIL:].rstrip()[-1:] not in (b"}", b"]")

    @cached_property
    def _has_escapes(self) -> bool:
        """Return whether a character may be written as an escape anywhere in the file."""
        return b"\\" in self._data and _ESCAPE.search(self._data) is not None

    @cached_property
    def _kinds(self) -> frozenset[bytes]:
        """Return every kind that is written anywhere in the file; lists that were no JSON are taken apart and say theirs apart."""
        written = frozenset(_PATTERNS[Aspect.KIND].findall(self._data))
        apart = () if self._lines is None else self.spans.kinds
        return written | {kind.encode() for kind in apart if kind is not None}

    @property
    def may_be_manifests(self) -> bool:
        """Return whether no Service or Pod in the file was recorded, as far as a look tells; false where its place says what it holds.

        :raises ParseError: the file cannot be read at all.
        """
        return self._kind is None and bool(self._kinds & _RUNNING) and _RECORDED.search(self._data) is None

    def may_hold(self, kind: str) -> bool:
        """Return false only if no object of this *kind* can be in the file. :raises ParseError: the file cannot be read at all."""
        word = kind.encode()
        if kind == self._kind or word in self._kinds or word + b"List" in self._kinds or self._has_escapes:
            return True
        # What cannot be read may have been of any kind, where the place does not say one.
        return self._kind is None and self._is_broken

    def items_of(self, kind: str) -> Sequence[int]:
        """Return the places, ascending, of all objects that may be of this *kind*."""
        word = kind.encode()
        if kind == self._kind or {k.removesuffix(b"List") for k in self._kinds} <= {word, b""}:
            return range(len(self))
        typed = (i for i, k in enumerate(self.spans.kinds) if k == kind)
        return sorted({*self.candidates(Aspect.KIND, word), *self.candidates(Aspect.KIND, word + b"List"), *typed})

    def candidates_of(self, kind: str, aspect: Aspect, key: bytes) -> Sequence[int]:
        """Return the places, ascending, of all objects of this *kind* that may have *key*; of few in a file of another kind all.

        What refers to a Pod or a Service names its kind, so that such a file may hold some: an index of megabytes would be made for none.
        """
        if self._kind not in (None, kind):
            if kind not in self._few:
                found = self.items_of(kind)
                self._few[kind] = found if len(found) <= _FEW else None
            if (few := self._few[kind]) is not None:
                return few
        return self.candidates(aspect, key)

    def line_of(self, item: int) -> int:
        """Return the line of the file on which object *item* starts, from 1."""
        if self._lines is None:
            lines, line, counted = array("Q"), 1, 0
            for start in self.spans.starts:
                line += self._data.count(b"\n", counted, start)
                counted = start
                lines.append(line)
            self._lines = lines
        return self._lines[item]

    def objects(self, item: int) -> tuple[RawObject, ...]:
        """Return what stands at place *item*: one object, or those of a list inside the list.

        :raises ParseError: not JSON, or not an API object.
        """
        spans = self.spans
        text = decode_text(self._data[spans.starts[item] : spans.ends[item]], self.path)
        try:
            return tuple(self._flattened(decode_json(text, self.path), spans.kinds[item], 0))
        except ParseError as error:
            raise self.located(error, item) from None

    def located(self, error: ParseError, item: int) -> ParseError:
        """Return *error*, whose lines count from the start of object *item*, with the file's lines."""
        first = self.line_of(item)
        return ParseError(*(replace(f, file=self.path, line=first + (f.line or 1) - 1) for f in error.faults))

    def _flattened(self, value: object, kind: str | None, depth: int) -> Iterator[RawObject]:
        if not isinstance(value, dict):
            raise ParseError(Fault(file="", line=1, column=None, message=f"an API object is expected, not {type(value).__name__}"))
        if is_list(value) and depth < 10:
            for nested in value["items"]:
                yield from self._flattened(nested, item_kind(value.get("kind")), depth + 1)
            return
        said = value.get("kind", kind or self._kind)
        if not isinstance(said, str):
            raise ParseError(Fault(file="", line=1, column=None, message=_NO_KIND))
        yield RawObject(kind=said, value=value)

    def candidates(self, aspect: Aspect, key: bytes) -> tuple[int, ...]:
        """Return the places, ascending, of all objects that may have *key* for this *aspect* (addresses in canonical text)."""
        index = self._indexes.get(aspect)
        if index is None:
            if (places := self._searched(aspect, key)) is not None:
                return places
            index = self._indexes[aspect] = self._index(aspect)
        found = index.get(key, ())
        return (found,) if isinstance(found, int) else tuple(found)

    def _searched(self, aspect: Aspect, key: bytes) -> tuple[int, ...] | None:
        """Return the places that a search for the quoted *key* finds; None when an index is due: after a few keys, or many finds.

        Finds more than an index would (the key under any name), never less: what can be spelled in several ways is left to the index.
        """
        known = self._searches.setdefault(aspect, {})
        if key in known:
            return known[key]
        if len(known) >= _SEARCHES.get(aspect, 0) or _SPELLED_OTHERWISE.search(key) or self._escaped_items():
            return None
        quoted, ends = b'"' + key + b'"', self.spans.ends
        places: list[int] = []
        at = self._data.find(quoted, self.spans.starts[0] if ends else 0)
        while ends and 0 <= at < ends[-1]:
            if len(places) == _MOST_FOUND:
                return None
            item = bisect_right(ends, at)
            places.append(item)
            at = self._data.find(quoted, ends[item])
        known[key] = tuple(places)
        return known[key]

    def _index(self, aspect: Aspect) -> dict[bytes, Found]:
        ends = self.spans.ends
        index: dict[bytes, Found] = {}
        item, last = 0, len(ends) - 1
        if last < 0:
            return index
        # A loop over every match of megabytes: what is rare is told by one character and handled apart.
        canonical, rare = (_address_key, b":") if aspect is Aspect.ADDRESS else (_text_key, b"\\")
        end, setdefault = ends[0], index.setdefault
        for match in _PATTERNS[aspect].finditer(self._data, self.spans.starts[0], ends[last]):
            raw = match[1]
            key = canonical(raw) if rare in raw else raw
            if key is None:
                continue
            if match.start() >= end:
                # Matches come in order, so the next object is nearly always the right one.
                item = item + 1 if match.start() < ends[item + 1] else bisect_right(ends, match.start())
                end = ends[item]
            if setdefault(key, item) != item:
                _add(index, key, item)
        self._add_escaped(index, aspect)
        return index

    def _add_escaped(self, index: dict[bytes, Found], aspect: Aspect) -> None:
        touched: set[bytes] = set()
        for item in self._escaped_items():
            for raw_object in self._readable(item):
                for name, value in _scalars(raw_object.value):
                    if (key := _key_of(aspect, name, value)) is not None:
                        _add(index, key, item)
                        touched.add(key)
        for key in touched:
            if isinstance(found := index[key], list):
                index[key] = sorted(set(found))

    def _readable(self, item: int) -> tuple[RawObject, ...]:
        """Return the objects at *item*, none where they cannot be read: an index leads nowhere then, reading all says the fault."""
        try:
            return self.objects(item)
        except ParseError:
            return ()

    def _escaped_items(self) -> tuple[int, ...]:
        if self._escaped is None:
            places = [m.start() for m in _ESCAPE.finditer(self._data)] if self._has_escapes else []
            self._escaped = tuple(sorted({min(bisect_right(self.spans.ends, p), len(self.spans) - 1) for p in places})) if places else ()
        return self._escaped


def _add(index: dict[bytes, Found], key: bytes, item: int) -> None:
    found = index.setdefault(key, item)
    if isinstance(found, list):
        if found[-1] != item:
            found.append(item)
    elif found != item:
        index[key] = [found, item]
