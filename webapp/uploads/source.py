"""Checks a source - a folder, an archive, one file - and gives its files by name.

Strategy: an archive is gone through twice. The first pass looks at every entry, and refuses the whole archive with all reasons before any
content is used; the second yields one file at a time. What a file is is told from its first bytes, never from its name.
"""

from __future__ import annotations

import contextlib
import lzma
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import zstandard

from webapp.uploads.compression import CHUNK, CountedReader, Unpack, decompressor, plain
from webapp.uploads.entry import Entry
from webapp.uploads.limits import MB, Budget, Limits, UploadError
from webapp.uploads.tar_entries import is_tar, tar_entries
from webapp.uploads.zip_entries import zip_entries

_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.zst", ".tzst")
_MOST_PROBLEMS = 50
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_NAME_MAX = 1_024
_NAME_SHOWN = 2 * _NAME_MAX
_DAMAGED = (
    zipfile.BadZipFile,
    lzma.LZMAError,
    zlib.error,
    zstandard.ZstdError,
    EOFError,
    OSError,
    ValueError,
    OverflowError,
    NotImplementedError,
    struct.error,
)
# Top folders that mean something: an archive of nothing but nodes/ is not one wrapped in a folder called "nodes".
_LAYOUT_FOLDERS = frozenset({"nodes", "namespaces", "cluster-resources", "cluster-scoped-resources"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A checked source: *names* are the files' names as a snapshot has them; files() yields each with its bytes, one at a time."""

    names: tuple[str, ...]
    _read: Callable[[], Iterator[tuple[str, bytes]]]

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Yield every file's name and content. :raises UploadError: the source changed, or is damaged, since it was checked."""
        return self._read()


class FolderFiles(Mapping[str, bytes]):
    """The files below a folder, each read when asked for and not kept. Links to folders are not followed."""

    def __init__(self, folder: Path, limits: Limits) -> None:
        self._paths = _walk(folder, limits)

    def __getitem__(self, name: str) -> bytes:
        return self._paths[name].read_bytes()

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)

    def __contains__(self, name: object) -> bool:
        return name in self._paths


def read(path: Path, *, filename: str | None = None, limits: Limits | None = None) -> Mapping[str, bytes]:
    """Return the files of a folder (lazily), of an archive, or the one file itself, by name.

    :raises UploadError: refused, with every reason.
    """
    limits = limits or Limits.from_settings()
    if path.is_dir():
        return FolderFiles(path, limits)
    return dict(check(path, filename=filename, limits=limits).files())


def check(path: Path, *, filename: str | None = None, limits: Limits | None = None) -> Source:
    """Return the source in *path* after looking at all of it; *filename* is what the user called it.

    :raises UploadError: refused, with every reason; nothing was unpacked.
    """
    limits = limits or Limits.from_settings()
    filename = Path(filename or path.name).name
    if path.is_dir():
        folder = FolderFiles(path, limits)
        return Source(names=tuple(folder), _read=lambda: iter(folder.items()))
    try:
        size, start = path.stat().st_size, _first_bytes(path)
    except OSError as error:
        raise UploadError(f"{filename}: {error.strerror or error}") from error
    if size > limits.upload_bytes:
        raise UploadError(f"{filename} has {size / MB:,.1f} MB; the limit is {limits.upload_bytes / MB:,.0f} MB.", status=413)
    if start[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return _archive(path, filename, limits, zip_entries)
    unpack = decompressor(start) or plain
    if is_tar(_first_unpacked(path, filename, unpack)):
        return _archive(path, filename, limits, lambda p, budget: tar_entries(p, unpack, budget))
    if filename.lower().endswith(_ARCHIVES):
        raise UploadError(f"{filename} is not the archive that its name says: it holds neither a zip nor a tar.")
    return _single(path, filename, limits, unpack)


def _archive(path: Path, filename: str, limits: Limits, entries: Callable[[Path, Budget], Iterator[Entry]]) -> Source:
    packed = path.stat().st_size
    problems: list[str] = []
    more = 0
    names: dict[str, str] = {}
    seen: set[str] = set()
    with _readable(filename):
        for count, entry in enumerate(entries(path, Budget(packed, limits)), 1):
            if count > limits.entries:
                raise UploadError(f"{filename} has more than {limits.entries:,} entries, the limit.")
            problem = entry.kind_problem or _name_problem(entry.name, limits)
            if not problem and not entry.is_folder and (name := _plain(entry.name)) and not _is_debris(name):
                problem = "the archive holds this name twice" if name in seen else ""
                names[entry.name] = name
                seen.add(name)
            if problem and len(problems) < _MOST_PROBLEMS:
                problems.append(f"{entry.name[:_NAME_SHOWN]!r}: {problem}.")
            elif problem:
                more += 1
    if problems:
        raise UploadError(*problems, *([f"... and {more} more."] if more else []))
    if not names:
        raise UploadError(f"{filename} holds no files.")
    stripped = _without_top_folder(names)

    def contents() -> Iterator[tuple[str, bytes]]:
        with _readable(filename):
            for entry in entries(path, Budget(packed, limits)):
                if not entry.is_folder and entry.name in stripped:
                    yield stripped[entry.name], entry.read()

    return Source(names=tuple(stripped.values()), _read=contents)


@contextlib.contextmanager
def _readable(filename: str) -> Iterator[None]:
    try:
        yield
    except UploadError:
        raise
    except MemoryError as error:
        raise UploadError(f"{filename} needs more memory to unpack than there is.", status=413) from error
    except _DAMAGED as error:
        raise UploadError(f"{filename} is damaged or cut short: {error}.") from error


def _name_problem(name: str, limits: Limits) -> str:
    if re.search(r"[\x00-\x1f\x7f]", name):
        return "a control character in the name"
    if len(name) > _NAME_MAX or any("\ud800" <= c <= "\udfff" for c in name):
        return f"a name that is not UTF-8, or longer than {_NAME_MAX:,} characters"
    if name.startswith("/") or re.match(r"[A-Za-z]:", name):
        return "an absolute path"
    parts = name.split("/")
    if ".." in parts:
        return "a path that leads out of the archive ('..')"
    if len([part for part in parts if part not in ("", ".")]) > limits.levels:
        return f"deeper than {limits.levels} levels"
    return ""


def _plain(name: str) -> str:
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def _is_debris(name: str) -> bool:
    """Return whether macOS put the file there, beside what it archived."""
    last = name.rpartition("/")[2]
    return name.startswith("__MACOSX/") or last.startswith("._") or last == ".DS_Store"


def _without_top_folder(names: dict[str, str]) -> dict[str, str]:
    tops = {name.partition("/")[0] for name in names.values()}
    if len(tops) != 1 or tops & _LAYOUT_FOLDERS or not all("/" in name for name in names.values()):
        return names
    return {raw: name.partition("/")[2] for raw, name in names.items()}


def _single(path: Path, filename: str, limits: Limits, unpack: Unpack) -> Source:
    start = _first_unpacked(path, filename, unpack)
    if not start.strip():
        raise UploadError(f"{filename} is empty.")
    # PowerShell's ">" writes UTF-16, every other byte of which is NUL; the engine reads it.
    if b"\x00" in start and start[:2] not in _UTF16_MARKS:
        raise UploadError(f"{filename} is neither text nor an archive that Hopline knows (.tar, .tar.gz, .tar.xz, .tar.zst, .zip).")
    name = re.sub(r"\.(gz|xz|zst)$", "", filename, flags=re.IGNORECASE)
    if not re.search(r"\.(json|ya?ml|txt)$", name, re.IGNORECASE):
        name = "cluster" + _suffix(start)

    def contents() -> Iterator[tuple[str, bytes]]:
        with _readable(filename), path.open("rb") as file:
            reader = CountedReader(unpack(file), Budget(path.stat().st_size, limits))
            yield name, b"".join(iter(lambda: reader.read(CHUNK), b""))

    for _ in contents():
        pass
    return Source(names=(name,), _read=contents)


def _suffix(start: bytes) -> str:
    return ".json" if start.lstrip(b"\xef\xbb\xbf\xff\xfe\x00 \t\r\n")[:1] in (b"{", b"[") else ".yaml"


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(512)


def _first_unpacked(path: Path, filename: str, unpack: Unpack) -> bytes:
    with _readable(filename), path.open("rb") as file:
        read, start = unpack(file), b""
        while len(start) < 512 and (more := read(512 - len(start))):
            start += more
        return start


def _walk(folder: Path, limits: Limits) -> dict[str, Path]:
    paths: dict[str, Path] = {}
    total = 0
    for root, folders, files in os.walk(folder):
        folders.sort()
        depth = len(Path(root).relative_to(folder).parts)
        if depth >= limits.levels and (folders or files):
            raise UploadError(f"{root} is deeper than {limits.levels} levels.")
        for file in sorted(files):
            path = Path(root, file)
            if not path.is_file():
                continue
            total += path.stat().st_size
            paths[path.relative_to(folder).as_posix()] = path
    if len(paths) > limits.entries:
        raise UploadError(f"{folder} has more than {limits.entries:,} files, the limit.")
    if total > limits.unpacked_bytes:
        raise UploadError(f"{folder} has more than the limit of {limits.unpacked_bytes / MB:,.0f} MB.", status=413)
    if not paths:
        raise UploadError(f"{folder} holds no files.")
    return paths
