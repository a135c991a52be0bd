"""The files of an archive and of the archives in it, one after the other, each with why it is not read or with how to read it.

Strategy: a file's first bytes say what it is. An archive in the archive is opened where it stands in the stream (a zip, whose list is at
the end, is put into a temporary file first), and its files are named ``inner.tar.gz/path/in/it``; one compressed file has the name that it
had before. Everything is counted in the one budget. What is wrong with an archive inside leaves that one out; what passes a bound refuses
the whole.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator

from tracer.patterns import pattern
from tracer.values import dataclass
from webapp.uploads.compression import FIRST, ZIP_STARTS, CountedReader, decompressor
from webapp.uploads.damage import DAMAGED, is_ours
from webapp.uploads.entry import CHUNK, Entry, Looked
from webapp.uploads.forms import LARGE, LOOKED_AT, closed_form, is_log
from webapp.uploads.limits import Budget, Limits, PastBounds, UploadError
from webapp.uploads.tar_entries import is_tar, tar_entries
from webapp.uploads.zip_entries import zip_entries

LOG = "a log, which is not read"
_NAME_MAX = 1_024
_SPOOLED = 8 << 20
_COMPRESSED = pattern(r"\.(?:gz|bz2|xz|zst)$", re.ASCII | re.IGNORECASE)
_CONTROL = pattern(r"[\x00-\x1f\x7f]")
_LEADING = pattern(r"\A(?:[A-Za-z]:(?=/))?(?:\.{0,2}/)*", re.ASCII)
_TOO_DEEP = "an archive inside an archive that is inside another. Take it out and upload it by itself"


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One file: the *place* of the outer archive's entry that it is or is in, which of them it is, its name, and why it is not read, or "".

    *closes*: nothing of what came of it is to be read. *size* is what it says it has; 0 where that is not known.
    """

    place: int
    number: int
    name: str
    size: int = 0
    why_not: str = ""
    closes: bool = False
    whole: Callable[[], bytes] = bytes


class Walk:
    """Goes through the entries of an archive once; *is_closed* says of which of them nothing is wanted."""

    def __init__(self, budget: Budget, is_closed: Callable[[int, int], bool] = lambda _place, _number: False) -> None:
        self._budget, self._is_closed = budget, is_closed

    def items(self, entries: Iterator[Entry]) -> Iterator[Item]:
        """Yield each file. :raises UploadError: a bound is passed, or the archive itself is damaged."""
        for place, entry in enumerate(entries):
            self._budget.count_entry(entry.name, entry.size)
            yield from self._entry(entry, place, 0, "")

    def _entry(self, entry: Entry, place: int, number: int, above: str) -> Iterator[Item]:
        if entry.is_folder or self._is_closed(place, number):
            return
        try:
            yield from self._opened(entry, place, number, above)
        except PastBounds:
            raise
        except (UploadError, *DAMAGED) as error:
            if is_ours(error):
                raise
            yield Item(place=place, number=number, name=above + shown(entry.name), why_not=f"damaged or cut short ({error})", closes=True)

    def _opened(self, entry: Entry, place: int, number: int, above: str) -> Iterator[Item]:
        name, why_not = _named(entry.name, above, self._budget.limits)
        if is_debris(name):
            return
        if why_not or entry.why_not:
            yield Item(place=place, number=number, name=name, why_not=why_not or entry.why_not)
            return
        look = Looked(entry.open())
        start = look.start(FIRST)
        item = Item(place=place, number=number, name=name, size=entry.size, whole=look.whole)
        if unpack := decompressor(start):
            yield from self._compressed(item, Looked(CountedReader(unpack(look), self._budget).read), above)
        elif is_tar(start) or start.startswith(ZIP_STARTS):
            yield from self._nested(item, look, above, entry.size)
        else:
            yield _closed(item, look) or item

    def _compressed(self, item: Item, inner: Looked, above: str) -> Iterator[Item]:
        start = inner.start(FIRST)
        if is_tar(start) or start.startswith(ZIP_STARTS):
            yield from self._nested(item, inner, above, None)
            return
        bare = Item(place=item.place, number=item.number, name=_COMPRESSED.sub("", item.name), size=LARGE, whole=inner.whole)
        if decompressor(start):
            yield Item(place=item.place, number=item.number, name=item.name, why_not="compressed twice. Unpack it once")
        elif closed := _closed(bare, inner):
            yield closed
        else:
            yield bare
            # What is damaged has to show before anything of it is used.
            while inner.read(CHUNK):
                pass

    def _nested(self, item: Item, look: Looked, above: str, there: int | None) -> Iterator[Item]:
        if above:
            yield Item(place=item.place, number=item.number, name=item.name, why_not=_TOO_DEEP)
            return
        if is_tar(look.start(FIRST)):
            yield from self._inside(item, tar_entries(look.read, self._budget, there))
            return
        with tempfile.SpooledTemporaryFile(max_size=_SPOOLED, dir=_temporary_folder()) as file:
            while chunk := look.read(CHUNK):
                file.write(chunk)
            size = file.tell()
            file.seek(0)
            yield from self._inside(item, zip_entries(file, size, self._budget))

    def _inside(self, item: Item, entries: Iterator[Entry]) -> Iterator[Item]:
        number = 0
        for number, entry in enumerate(entries, 1):
            self._budget.count_entry(f"{item.name}/{entry.name}", entry.size)
            yield from self._entry(entry, item.place, number, f"{item.name}/")
        if not number:
            yield Item(place=item.place, number=0, name=item.name, why_not="an archive that holds nothing")


def _closed(item: Item, look: Looked) -> Item | None:
    """Return *item* as one that is left out, where its first bytes or its name say that there is nothing in it to read."""
    why_not = closed_form(item.name, look.start(FIRST))
    if not why_not and item.size >= LARGE and is_log(item.name, look.start(LOOKED_AT)):
        why_not = LOG
    return Item(place=item.place, number=item.number, name=item.name, size=item.size, why_not=why_not) if why_not else None


def _temporary_folder() -> str | None:
    from django.conf import settings

    folder = settings.FILE_UPLOAD_TEMP_DIR
    return str(folder) if folder else None


def shown(name: str) -> str:
    """Return a name as it can be shown: bytes that are not UTF-8 and control characters as escapes, and not without end."""
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)[:_NAME_MAX]


def is_debris(name: str) -> bool:
    """Return whether macOS put the file there, beside what it archived."""
    last = name.rpartition("/")[2]
    return name.startswith("__MACOSX/") or "/__MACOSX/" in name or last.startswith("._") or last == ".DS_Store"


def _named(raw: str, above: str, limits: Limits) -> tuple[str, str]:
    """Return the name that an entry has below *above*, and why it is not read, or "".

    What stands in front of absolute names, and ``..`` in front, is taken away, as tar and unzip do: nothing is written by these names.
    """
    name = above + "/".join(part for part in _LEADING.sub("", shown(raw), count=1).split("/") if part not in ("", "."))
    parts = name.split("/")
    if _CONTROL.search(raw):
        return name, "a control character in the name"
    if len(raw) >= _NAME_MAX or len(name) >= _NAME_MAX:
        return name[:_NAME_MAX], f"a name longer than {_NAME_MAX:,} characters"
    if ".." in parts:
        return name, "a path that leads out of the archive ('..')"
    if len(parts) > limits.levels:
        return name, f"deeper than {limits.levels} levels"
    return name or shown(raw), "" if name else "a name that says nothing"
