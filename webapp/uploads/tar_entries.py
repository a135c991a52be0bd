"""The entries of a tar, read as a stream of blocks of 512 bytes.

Strategy: nothing that a header says is believed. A size is held against what may still follow before a byte of it is passed over, every
byte that is passed over is read and counted, and what precedes an entry (long names, pax attributes) has a size, a depth and a total.
Python's own reader cannot be bounded from outside: it passes over a claimed size in a loop that never asks whether anything is there, reads
sparse maps in another, and searches pax attributes with an expression that takes the square of their length (CVE-2024-6232, and siblings).
Source: POSIX.1-2017 pax, "ustar Interchange Format" and "pax Interchange Format"; GNU tar manual, "Basic Tar Format".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from tracer.patterns import pattern
from tracer.values import dataclass
from webapp.uploads.entry import CHUNK, Entry, Looked, Read
from webapp.uploads.limits import Budget, UploadError

_BLOCK = 512
_RECORD_MAX = 1 << 20
_RECORDS_MAX = 1 << 20
_RECORDS_FOR_EACH_ENTRY = 4096
"""How much may stand in header records: of one of them, of all at the start, and more for each entry that came."""
_RECORDS_IN_A_ROW = 16
_KINDS = {
    b"1": "a hard link, which is not followed",
    b"2": "a symbolic link, which is not followed",
    b"3": "a device or a pipe, which is not read",
    b"4": "a device or a pipe, which is not read",
    b"6": "a device or a pipe, which is not read",
}
_FILES = (b"0", b"\x00", b"7")
_FOLDER, _LONG_NAME, _LONG_LINK, _PAX, _SOLARIS_PAX, _PAX_FOR_ALL = b"5", b"L", b"K", b"x", b"X", b"g"
_SPARSE, _MORE_HOLES, _STILL_MORE_HOLES = b"S", 482, 504
"""GNU tar's old form of a file with holes: what says that blocks with more of its map follow, in the header and in such a block."""
_RECORDS = (_LONG_NAME, _LONG_LINK, _PAX, _SOLARIS_PAX, _PAX_FOR_ALL)
_WITHOUT_CONTENT = (*_KINDS, _FOLDER)
_OCTAL = pattern(rb"[0-7]*", re.ASCII)
_DECIMAL = pattern(rb"[0-9]{1,19}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Header:
    """One header block: its name as bytes, its type, and how many bytes it says follow. *is_sparse*: with holes left out."""

    name: bytes
    kind: bytes
    size: int
    is_sparse: bool = False
    has_more_holes: bool = False

    @property
    def text(self) -> str:
        return self.name.decode("utf-8", "surrogateescape")

    @property
    def content_size(self) -> int:
        return 0 if self.kind in _WITHOUT_CONTENT else self.size


def is_tar(start: bytes) -> bool:
    """Return whether *start* is a tar header: its checksum says so (old tars have no magic)."""
    return len(start) >= _BLOCK and _sum_said(start) in _sums(start)


def tar_entries(read: Read, budget: Budget, there: int | None) -> Iterator[Entry]:
    """Yield the entries of the tar that *read* gives, whose bytes are counted by whoever gives them; *there* is how many it has, if known.

    :raises UploadError: a limit is passed, or a header cannot be right.
    :raises EOFError: the archive ends too early.
    """
    return _Archive(read, budget, there).entries()


class _Archive:
    """A tar being read. *there* is how many bytes it has for sure, None where that shows only when it is unpacked."""

    def __init__(self, read: Read, budget: Budget, there: int | None) -> None:
        self._more = read
        self._budget, self._there, self._passed = budget, there, 0
        self._records = _RECORDS_MAX

    def entries(self) -> Iterator[Entry]:
        while (header := self._next()) is not None:
            self._budget.current = header.text
            self._pass_over_holes(header)
            content = _Content(self, header)
            yield Entry(
                name=header.text,
                is_folder=header.kind == _FOLDER or (header.kind in _FILES and header.name.endswith(b"/")),
                size=header.content_size,
                why_not=_why_not(header),
                open=lambda: content.read,  # noqa: B023
            )
            while content.read(CHUNK):
                pass
            self._pass_over(-header.content_size % _BLOCK)
            self._records += _RECORDS_FOR_EACH_ENTRY

    def _pass_over_holes(self, header: _Header) -> None:
        """Pass over the blocks of a map of holes that stand between the header and the content, each of them counted like all others."""
        is_more = header.has_more_holes
        while is_more:
            block = self.read(_BLOCK)
            if len(block) < _BLOCK:
                raise EOFError("a map of holes is cut short")
            is_more = block[_STILL_MORE_HOLES] != 0

    def _next(self) -> _Header | None:
        """Return the next entry's header, as the records before it amend it; None at the end."""
        name, amended = b"", _Attributes()
        for _ in range(_RECORDS_IN_A_ROW):
            block = self.read(_BLOCK)
            if not block.strip(b"\x00"):
                return None
            if len(block) < _BLOCK:
                raise EOFError("the last header is cut short")
            header = _header(block)
            if header.kind not in _RECORDS:
                return self._checked(amended.applied_to(replace(header, name=name or header.name)))
            content = self._record(header)
            if header.kind == _LONG_NAME:
                name = content.partition(b"\x00")[0]
            elif header.kind != _LONG_LINK:
                said = _Attributes.read(content)
                if header.kind == _PAX_FOR_ALL and said != _Attributes():
                    raise UploadError("The archive is damaged: one record gives the name or size of all entries.")
                amended = said if header.kind != _PAX_FOR_ALL else amended
        raise UploadError(f"The archive is damaged: more than {_RECORDS_IN_A_ROW} header records before one entry.")

    def _record(self, header: _Header) -> bytes:
        self._records -= header.size
        if header.size > _RECORD_MAX or self._records < 0:
            raise UploadError(f"{header.text[:200]!r}: a header record of {header.size:,} bytes.")
        content = Looked(_Content(self, self._checked(header)).read).whole()
        self._pass_over(-header.size % _BLOCK)
        return content

    def _checked(self, header: _Header) -> _Header:
        """Return *header*. :raises UploadError: what it says follows cannot follow."""
        size, name = header.content_size, header.text[:200]
        if self._there is not None and size > self._there - self._passed:
            left = self._there - self._passed
            raise UploadError(f"The archive is damaged: {name!r} claims {size:,} bytes, and {left:,} follow.")
        self._budget.current = name
        self._budget.foresee(size)
        return header

    def _pass_over(self, count: int) -> None:
        # NB: archives without the filling of their last block are about, and nothing of an entry is missing then.
        self.read(count)

    def read(self, count: int) -> bytes:
        """Return *count* bytes, fewer only at the end."""
        parts, left = [], count
        while left and (part := self._more(left)):
            parts.append(part)
            left -= len(part)
        self._passed += count - left
        return b"".join(parts)


class _Content:
    """The content of one entry, of which nobody reads more than the header says."""

    def __init__(self, archive: _Archive, header: _Header) -> None:
        self._archive, self._header, self._left = archive, header, header.content_size

    def read(self, size: int) -> bytes:
        """Return up to *size* bytes, b"" at the end. :raises EOFError: the archive ends before the content does."""
        if not self._left:
            return b""
        content = self._archive.read(min(size, self._left, CHUNK))
        if not content:
            size = self._header.content_size
            raise EOFError(f"{self._header.text[:200]!r} ends after {size - self._left:,} of {size:,} bytes")
        self._left -= len(content)
        return content


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attributes:
    """What a pax record says of the next entry, None where it says nothing."""

    path: bytes | None = None
    size: int | None = None
    is_sparse: bool = False

    @classmethod
    def read(cls, record: bytes) -> _Attributes:
        """Return the attributes of a record: ``LENGTH KEY=VALUE\\n``, one after the other. :raises UploadError: it is none."""
        found: dict[bytes, bytes] = {}
        at = 0
        while at < len(record) and record[at : at + 1] != b"\x00":
            blank = record.find(b" ", at, at + 20)
            length = int(record[at:blank]) if blank > at and _DECIMAL.fullmatch(record, at, blank) else 0
            pair = record[blank + 1 : at + length]
            if not pair.endswith(b"\n") or b"=" not in pair or at + length > len(record):
                raise UploadError("The archive is damaged: a pax record cannot be read.")
            key, _, value = pair[:-1].partition(b"=")
            if key in (b"path", b"size") or key.startswith(b"GNU.sparse."):
                found[key] = value
            at += length
        size = found.get(b"size")
        if size is not None and not _DECIMAL.fullmatch(size):
            raise UploadError("The archive is damaged: a pax record gives a size that is no number.")
        is_sparse = any(key.startswith(b"GNU.sparse.") for key in found)
        return cls(path=found.get(b"path"), size=None if size is None else int(size), is_sparse=is_sparse)

    def applied_to(self, header: _Header) -> _Header:
        """Return *header* with what is said here in its place."""
        return replace(
            header,
            name=header.name if self.path is None else self.path,
            size=header.size if self.size is None else self.size,
            is_sparse=self.is_sparse,
        )


def _header(block: bytes) -> _Header:
    if _sum_said(block) not in _sums(block):
        raise UploadError("The archive is damaged: a header's checksum does not fit it.")
    name = block[:100].partition(b"\x00")[0]
    prefix = block[345:500].partition(b"\x00")[0] if block[257:263] == b"ustar\x00" else b""
    size = _number(block[124:136])
    if size is None:
        raise UploadError(f"{name.decode(errors='replace')!r}: its size is no number.")
    more = block[156:157] == _SPARSE and block[_MORE_HOLES] != 0
    return _Header(name=prefix + b"/" + name if prefix else name, kind=block[156:157], size=size, has_more_holes=more)


def _number(field: bytes) -> int | None:
    """Return a header's number: octal digits, or GNU tar's base 256; None for what is neither, or negative."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:])
    digits = field.partition(b"\x00")[0].strip(b" ")
    return int(digits or b"0", 8) if _OCTAL.fullmatch(digits) else None


def _sum_said(block: bytes) -> int | None:
    field = block[148:156].strip(b" \x00")
    return int(field, 8) if field and _OCTAL.fullmatch(field) else None


def _sums(block: bytes) -> tuple[int, int]:
    """Return the sum of a header's bytes, its own field taken as blanks; old programs summed them as signed."""
    others = block[:148] + block[156:_BLOCK]
    total = sum(others) + 8 * 32
    return total, total - 256 * sum(byte > 127 for byte in others)


def _why_not(header: _Header) -> str:
    if header.kind in _KINDS:
        return _KINDS[header.kind]
    if header.is_sparse or header.kind == _SPARSE:
        return "a file with holes, of which only the other parts were packed. Pack it without tar's option --sparse"
    return "" if header.kind in _FILES or header.kind == _FOLDER else "neither a file nor a folder"
