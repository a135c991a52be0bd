"""Where each item of a JSON list of API objects begins and ends, without decoding the items.

Two ways, same answer. The quick one reads the indentation of a pretty-printed ``List`` and proves what it read:

* A JSON string holds no raw newline, so a newline is always between tokens, and ``{`` at a line's end is never inside a string.
* If every ``{`` is followed by a newline or ``}`` and there are as many ``}``, no brace hides in a string unpaired.
* A chunk that starts where an item starts and holds as many ``{`` as ``}`` ends where an item ends (brackets cannot cross braces),
  and holds one item if it has one brace at the items' indentation (two lists in a row have a boundary that is none of these).
* What is left, with ``[]`` for the items, must itself be JSON with an ``items`` key at the top.

The proof assumes that the file is JSON at all; a chunk that is not says so when it is decoded.
Whatever is odd in the least goes the slow way: ``walk`` lets the standard decoder step over each item.

Between lists ``walk`` passes over commas, ``---`` and what people's terminals and ``kubectl cluster-info dump`` put there
(``tracer.kube.between``). Any other text is a fault.
"""

from __future__ import annotations

import json
import re
from array import array
from collections.abc import Iterable
from dataclasses import replace

from tracer.errors import Fault
from tracer.kube.between import between
from tracer.kube.json_text import DECODER, decode_text, fault_at
from tracer.limits import FAULTS
from tracer.patterns import pattern
from tracer.values import dataclass

_FIRST_ITEM = pattern(rb'"items": ?\[\n( +|\t+)\{')
_BRACE_IN_TEXT = pattern(rb"\{[^\n}]")
_HEADER_LIMIT = 4096
_SPACE = " \t\n\r"
_NOT_SPACE = pattern(r"[^ \t\n\r]")
_BETWEEN = pattern(r",|---(?=[ \t\r\n]|\Z)[^\n]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spans:
    """Byte offsets of every item, in order; *kinds* are what a typed list says its items are (they need not say it themselves).

    *fault* says where the text stops being JSON; the items are then those before it. *unread* are places that hold something which
    cannot be read, while what follows is.
    """

    starts: array[int]
    ends: array[int]
    kinds: tuple[str | None, ...]
    fault: Fault | None = None
    unread: tuple[Fault, ...] = ()

    def __len__(self) -> int:
        return len(self.starts)

    @classmethod
    def of(cls, starts: Iterable[int], ends: Iterable[int], kinds: tuple[str | None, ...]) -> Spans:
        """Return the spans with these offsets."""
        return cls(starts=array("Q", starts), ends=array("Q", ends), kinds=kinds)


def item_kind(list_kind: object) -> str | None:
    """Return ``Service`` for ``ServiceList``, None for ``List`` and for anything that is no list's kind."""
    return list_kind[:-4] if isinstance(list_kind, str) and list_kind.endswith("List") and list_kind != "List" else None


def is_list(value: object) -> bool:
    """Return whether *value* is a list of API objects: kind ``…List``, or no kind at all, and an ``items`` array."""
    if not isinstance(value, dict) or not isinstance(value.get("items"), list):
        return False
    kind = value.get("kind")
    return kind is None or (isinstance(kind, str) and kind.endswith("List"))


def find_spans(data: bytes, file: str) -> Spans:
    """Return where the API objects in *data* (UTF-8) are; what follows a fault is not among them.

    :raises ParseError: the text is not UTF-8.
    """
    return indented_spans(data) or walk(data, file)


def indented_spans(data: bytes) -> Spans | None:
    """Return the items of a pretty-printed list by their indentation, or None unless that is proved to be right."""
    first = _FIRST_ITEM.search(data, 0, _HEADER_LIMIT)
    if first is None or b"\r" in data:
        return None
    indent = first[1]
    begin = first.end() - 1
    closing = data.rfind(b"\n" + indent + b"}") + len(indent) + 2
    kind = _wrapper_kind(data[: first.end() - len(indent) - 2], data[closing:]) if closing > begin else None
    if kind is None or _BRACE_IN_TEXT.search(data):
        return None
    return _balanced(data, begin, closing, indent, item_kind(kind))


def _wrapper_kind(head: bytes, tail: bytes) -> str | None:
    """Return the kind of the list around the items, or None unless the wrapper is plainly that of one list."""
    if head.count(b'"items"') != 1 or b'"items"' in tail or b"\\" in head or b"\\" in tail:
        return None
    if head.count(b"{") + tail.count(b"{") != head.count(b"}") + tail.count(b"}"):
        return None
    try:
        wrapper = json.loads(head + b"]" + tail[tail.index(b"]") + 1 :]) if tail.lstrip().startswith(b"]") else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(wrapper, dict) or wrapper.get("items") != [] or not is_list(wrapper):
        return None
    return str(wrapper.get("kind") or "List")


def _balanced(data: bytes, begin: int, closing: int, indent: bytes, kind: str | None) -> Spans | None:
    closes = re.compile(b"\n" + indent + rb"\}(,\n" + indent + rb"\{)?")
    starts, ends = array("Q"), array("Q")
    count, to_end = data.count, len(indent) + 2
    for found in closes.finditer(data, begin, closing):
        end = found.start() + to_end
        # A brace at the items' indentation ends an item: the next one begins at once, or it was the last.
        if count(b"{", begin, end) != count(b"}", begin, end) or (found[1] is None and end != closing):
            return None
        starts.append(begin)
        ends.append(end)
        begin = found.end() - 1
    return Spans(starts=starts, ends=ends, kinds=(kind,) * len(starts))


class _Walk:
    """Steps over JSON values with the standard decoder, keeping only where the items are (character offsets)."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.found: list[tuple[int, int, str | None]] = []
        self.unfinished: list[tuple[int, int]] = []
        self.kind: object = None
        self.unread: list[tuple[int, str]] = []

    def _skip(self, position: int) -> int:
        match = _NOT_SPACE.search(self.text, position)
        return match.start() if match else len(self.text)

    def _at(self, position: int) -> str:
        return self.text[position : position + 1]

    def run(self) -> None:
        position = self._skip(0)
        if position == len(self.text):
            raise json.JSONDecodeError("the file is empty", self.text, 0)
        while position < len(self.text):
            opened = self._at(position)
            if opened == "{":
                position = self._object(position)
            elif opened == "[" and not between(self.text, position):
                # NB: ``[root@n1 ~]# `` begins like an array.
                elements, position = self._array(position)
                self.found.extend((a, b, None) for a, b in elements)
            else:
                position = self._between(position)
            position = self._skip(position)

    def _between(self, position: int) -> int:
        """Return where what stands between two values ends. :raises JSONDecodeError: it is none of what is known to stand there."""
        if known := _BETWEEN.match(self.text, position):
            return known.end()
        found = between(self.text, position)
        if found is None or found.lost:
            wrong = "an object or an array of API objects is expected" if found is None else found.wrong
            raise json.JSONDecodeError(wrong, self.text, position)
        if found.wrong and len(self.unread) < FAULTS:
            self.unread.append((position, found.wrong))
        return found.end

    def _array(self, position: int) -> tuple[list[tuple[int, int]], int]:
        elements = self.unfinished = []
        position = self._skip(position + 1)
        if self._at(position) == "]":
            return elements, position + 1
        while True:
            _, end = DECODER.raw_decode(self.text, position)
            elements.append((position, end))
            position = self._skip(end)
            if self._at(position) == "]":
                self.unfinished = []
                return elements, position + 1
            if self._at(position) != ",":
                raise json.JSONDecodeError("Expecting ',' delimiter", self.text, position)
            position = self._skip(position + 1)

    def _object(self, start: int) -> int:
        position = self._skip(start + 1)
        items: list[tuple[int, int]] | None = None
        kind: object = None
        self.kind = None
        while self._at(position) != "}":
            if self._at(position) != '"':
                raise json.JSONDecodeError("Expecting property name enclosed in double quotes", self.text, position)
            key, position = DECODER.raw_decode(self.text, position)
            position = self._skip(position)
            if self._at(position) != ":":
                raise json.JSONDecodeError("Expecting ':' delimiter", self.text, position)
            position = self._skip(position + 1)
            if key == "items" and self._at(position) == "[":
                items, position = self._array(position)
            else:
                value, position = DECODER.raw_decode(self.text, position)
                kind = self.kind = value if key == "kind" else kind
                items = None if key == "items" else items
            position = self._skip(position)
            if self._at(position) == ",":
                position = self._skip(position + 1)
                if self._at(position) == "}":
                    raise json.JSONDecodeError("Expecting property name enclosed in double quotes", self.text, position)
            elif self._at(position) != "}":
                raise json.JSONDecodeError("Expecting ',' delimiter", self.text, position)
        if items is not None and (kind is None or (isinstance(kind, str) and kind.endswith("List"))):
            self.found.extend((a, b, item_kind(kind)) for a, b in items)
        else:
            self.found.append((start, position + 1, None))
        return position + 1


def walk(data: bytes, file: str) -> Spans:
    """Return where the API objects in *data* are, by decoding every one once and keeping none.

    One list, one object, an array of objects, or several of those one after the other.
    :raises ParseError: as find_spans.
    """
    text = decode_text(data, file)
    walker = _Walk(text)
    fault = None
    try:
        walker.run()
    except json.JSONDecodeError as error:
        fault = fault_at(text, error.pos, file=file, message=f"not JSON: {error.msg}")
    except RecursionError:
        fault = Fault(file=file, line=1, column=None, message="not usable JSON: nested too deeply")
    except ValueError as error:
        fault = Fault(file=file, line=1, column=None, message=f"not usable JSON: {error}")
    found = walker.found if fault is None else [*walker.found, *((a, b, item_kind(walker.kind)) for a, b in walker.unfinished)]
    unread = tuple(fault_at(text, position, file=file, message=wrong) for position, wrong in walker.unread)
    return replace(_in_bytes(text, found), fault=fault, unread=unread)


def _in_bytes(text: str, found: list[tuple[int, int, str | None]]) -> Spans:
    """Return character offsets as offsets into the text's UTF-8."""
    starts, ends = array("Q"), array("Q")
    seen, offset = 0, 0
    plain = text.isascii()
    for start, end, _ in found:
        if plain:
            starts.append(start)
            ends.append(end)
            continue
        offset += len(text[seen:start].encode())
        starts.append(offset)
        offset += len(text[start:end].encode())
        ends.append(offset)
        seen = end
    return Spans(starts=starts, ends=ends, kinds=tuple(kind for _, _, kind in found))
