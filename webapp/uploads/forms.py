"""What a file is that is not opened, by its first bytes or its name: other archives, pictures, logs; each with what to type instead.

Owns the sentences. Opens nothing: what is opened is compression.py's, tar_entries.py's and zip_entries.py's to say.
"""

from __future__ import annotations

import re

from tracer.patterns import pattern
from tracer.values import dataclass

LOOKED_AT = 1 << 16
LARGE = 1_000_000
"""A log with fewer bytes is read like any other file: it costs nothing, and may hold what somebody pasted."""
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_LINES_ASKED = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class _Form:
    """A form that is not opened: what it is, how it begins, what its name ends in, and the command for it, with F for the file."""

    what: str
    starts: tuple[bytes, ...] = ()
    names: tuple[str, ...] = ()
    unpack: str = ""


_FORMS = (
    _Form(what="a 7-Zip archive", starts=(b"7z\xbc\xaf\x27\x1c",), names=(".7z",), unpack="7z x F && tar czf F.tar.gz DIR"),
    _Form(what="a RAR archive", starts=(b"Rar!\x1a\x07",), names=(".rar",), unpack="unrar x F && tar czf F.tar.gz DIR"),
    _Form(what="compressed by lz4", starts=(b"\x04\x22\x4d\x18", b"\x02\x21\x4c\x18"), names=(".lz4",), unpack="lz4 -d F && gzip F2"),
    _Form(what="compressed by LZMA's old program", starts=(b"\x5d\x00\x00",), names=(".lzma", ".tlz"), unpack="unlzma F && gzip F2"),
    _Form(what="compressed by lzip", starts=(b"LZIP",), names=(".lz",), unpack="lzip -d F && gzip F2"),
    _Form(what="compressed by lzop", starts=(b"\x89LZO\x00\r\n\x1a\n",), names=(".lzo",), unpack="lzop -d F && gzip F2"),
    _Form(what="compressed by compress", starts=(b"\x1f\x9d", b"\x1f\xa0"), names=(".z", ".taz"), unpack="uncompress F && gzip F2"),
    _Form(what="compressed by Brotli", names=(".br",), unpack="brotli -d F && gzip F2"),
    _Form(what="a cabinet of Windows", starts=(b"MSCF",), names=(".cab",), unpack="cabextract -d DIR F && tar czf F.tar.gz DIR"),
    _Form(
        what="a cpio archive", starts=(b"070701", b"070702", b"070707"), names=(".cpio",), unpack="cpio -idm < F && tar czf F.tar.gz DIR"
    ),
    _Form(what="an ar archive", starts=(b"!<arch>\n",), names=(".deb", ".ar"), unpack="ar x F && tar czf F.tar.gz DIR"),
    _Form(what="a package of RPM", starts=(b"\xed\xab\xee\xdb",), names=(".rpm",)),
    _Form(what="one part of a divided zip", starts=(b"PK\x07\x08",), names=(".z01",), unpack="zip -s 0 F --out F.zip"),
    _Form(what="a picture", starts=(b"\x89PNG\r\n", b"\xff\xd8\xff", b"GIF8"), names=(".png", ".jpg", ".jpeg", ".gif")),
    _Form(what="a PDF", starts=(b"%PDF-",), names=(".pdf",)),
    _Form(
        what="a recording of packets", starts=(b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\xc3\xd4", b"\x0a\x0d\x0d\x0a"), names=(".pcap", ".pcapng")
    ),
    _Form(what="encrypted by OpenSSL", starts=(b"Salted__",), names=(".enc",)),
    _Form(what="encrypted by GnuPG", names=(".gpg", ".pgp")),
)
_TAIL = r"(?:[.-][0-9A-Za-z_.-]{1,40})?$"
_LOG_NAME = pattern(rf"\.log{_TAIL}|^(?:messages|syslog|journal|kern|daemon){_TAIL}", re.ASCII)
_LOG_LINE = pattern(
    rb"[ \t]{0,20}(?:\[?[0-9]{4}[-/][0-9]{2}[-/][0-9]{2}[T ]|[IWEF][0-9]{4} [0-9]{2}:|[A-Z][a-z]{2} {1,2}[0-9]{1,2} [0-9]{2}:"
    rb"|time=|level=|ts=|\{\"(?:level|ts|time|log|msg|@timestamp|timestamp|severity)\"|[0-9.:a-f]{3,40} - )"
)


def closed_form(name: str, start: bytes) -> str:
    """Return what the file is, and what to type, where it is of a kind that is not opened; "" of every other."""
    last, is_text = name.rpartition("/")[2], _is_text(start)
    for form in _FORMS:
        if start.startswith(form.starts or (b"\x00" * 600,)) or (not is_text and last.lower().endswith(form.names)):
            return f"{form.what}, which Hopline does not open. {_advice(form, last)}"
    return ""


def is_log(name: str, start: bytes) -> bool:
    """Return whether a file is a log by its name and by most of its first lines; *start* may end anywhere."""
    if not _LOG_NAME.search(name.rpartition("/")[2].lower()):
        return False
    lines = [line for line in start.split(b"\n", _LINES_ASKED)[:_LINES_ASKED] if line.strip()]
    return bool(lines) and sum(_LOG_LINE.match(line) is not None for line in lines) * 2 > len(lines)


def _is_text(start: bytes) -> bool:
    # PowerShell's ">" writes UTF-16, every other byte of which is NUL; the engine reads it.
    return b"\x00" not in start[:512] or start[:2] in UTF16_MARKS


def _advice(form: _Form, name: str) -> str:
    if not form.unpack:
        return "Hand in the texts themselves"
    bare = name.rpartition(".")[0] or name
    words = [{"F": name, "F2": bare, "F.tar.gz": f"{bare}.tar.gz", "F.zip": f"{bare}.zip"}.get(word, word) for word in form.unpack.split()]
    return f"Type: {' '.join(words)}"
