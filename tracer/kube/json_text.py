"""JSON text to values, strictly: RFC 8259, no NaN, no unbounded nesting; every failure is a ParseError with line and caret.

The decoder is that of ``tracer.json_values``. Refuses nothing that the API server can print.
"""

from __future__ import annotations

import codecs
import json

from tracer.errors import Fault, ParseError
from tracer.json_values import decoder, load_json

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_TEXT_KEPT = 400


DECODER = decoder()


def to_utf8(raw: bytes) -> bytes:
    """Return *raw* as UTF-8 without a byte order mark; UTF-16 and UTF-32 are recognised by theirs (PowerShell's ``>`` writes UTF-16).

    Bytes that are no valid text are returned as they are: who reads them reports the offset.
    """
    if raw.startswith(codecs.BOM_UTF8):
        return raw[3:]
    for mark, encoding in _BYTE_ORDER_MARKS:
        if raw.startswith(mark):
            try:
                return raw.decode(encoding).encode()
            except UnicodeError:
                return raw
    return raw


def decode_text(raw: bytes, file: str) -> str:
    """Return *raw* as text. :raises ParseError: not UTF-8; the fault names the byte offset and its line."""
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        begin = raw.rfind(b"\n", 0, error.start) + 1
        end = raw.find(b"\n", error.start)
        shown = raw[begin : end if end >= 0 else len(raw)][: error.start - begin + 60].decode(errors="replace")
        column = len(raw[begin : error.start].decode(errors="replace"))
        message = f"byte {raw[error.start]:#04x} at offset {error.start} is not UTF-8 text"
        raise ParseError(Fault(file=file, line=line, column=column, message=message, text=shown)) from None


def fault_at(text: str, position: int, *, file: str, message: str, first_line: int = 1) -> Fault:
    """Return the fault at character *position* of *text*, which starts on line *first_line* of *file*."""
    position = max(0, min(position, len(text)))
    begin = text.rfind("\n", 0, position) + 1
    end = text.find("\n", position)
    line = text.count("\n", 0, begin) + first_line
    column = position - begin
    # A minified file is one line of megabytes: keep what the caret needs.
    cut = max(0, column - _TEXT_KEPT)
    shown = text[begin + cut : min(end if end >= 0 else len(text), position + _TEXT_KEPT)]
    return Fault(file=file, line=line, column=column - cut, message=message, text=shown)


def decode_json(text: str, file: str, *, first_line: int = 1) -> object:
    """Return the value of the JSON *text*, which starts on line *first_line* of *file*.

    :raises ParseError: not JSON, NaN or Infinity, nested too deeply, or a number beyond the limits.
    Source: RFC 8259.
    """
    try:
        return load_json(text)
    except json.JSONDecodeError as error:
        raise ParseError(fault_at(text, error.pos, file=file, message=f"not JSON: {error.msg}", first_line=first_line)) from None
    except ValueError as error:
        raise ParseError(Fault(file=file, line=first_line, column=None, message=f"not usable JSON: {error}")) from None
