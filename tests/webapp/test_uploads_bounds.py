"""What an archive claims is never believed: each lie is refused in words, in a process that has little time and little memory."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard

from tests.sizes import every, some

SECONDS = 8
MEMORY = 1 << 30
BLOCK = 512
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "tar": lambda tar: tar,
    "tar.gz": gzip.compress,
    "tar.xz": lambda tar: lzma.compress(tar, preset=0),
    "tar.zst": zstandard.ZstdCompressor().compress,
}
READ = """
import json, os, pathlib, resource, sys, traceback
os.environ["DJANGO_SETTINGS_MODULE"] = "webapp.settings"
from webapp import uploads
import webapp.uploads.checked, zstandard
limits = uploads.Limits(upload_bytes=1 << 28, unpacked_bytes=1 << 28, entries=20_000, levels=50, ratio=250)
for line in sys.stdin:
    seconds, memory, path = line.rstrip().split(" ", 2)
    child = os.fork()
    if not child:
        resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds)))
        resource.setrlimit(resource.RLIMIT_AS, (int(memory), int(memory)))
        try:
            print(json.dumps(["read", *uploads.read(pathlib.Path(path), limits=limits)]), flush=True)
        except uploads.UploadError as error:
            print(json.dumps([str(error.status), *error.problems]), flush=True)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if code := os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        print(json.dumps([f"ended with {code}"]), flush=True)
"""
Outcome = Callable[[bytes], list[str]]


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[subprocess.Popen[str]]:
    """A process that reads each file it is told of in a child, which has little time and little memory."""
    environment = os.environ | {"HOPLINE_DATA": str(tmp_path_factory.mktemp("data"))}
    command = [sys.executable, "-W", "ignore", "-c", READ]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as process:
        yield process
        assert process.stdin
        process.stdin.close()


@pytest.fixture
def outcome(tmp_path: Path, reader: subprocess.Popen[str]) -> Outcome:
    """What reading some bytes says, first its status or "read"."""

    def asked(content: bytes) -> list[str]:
        path = tmp_path / "upload.bin"
        path.write_bytes(content)
        assert reader.stdin
        assert reader.stdout
        print(SECONDS, MEMORY, path, file=reader.stdin, flush=True)
        said: list[str] = json.loads(reader.stdout.readline())
        return said

    return asked


def header(name: bytes, size: int | bytes, kind: bytes = b"0", *, rest: bytes = b"") -> bytes:
    """Return a tar header whose checksum is right; *size* as a number, or as the field's own 12 bytes."""
    field = size if isinstance(size, bytes) else b"%011o\x00" % size
    block = bytearray(name.ljust(100, b"\x00") + b"0000644\x00" + b"0000000\x00" * 2 + field + b"00000000000\x00" + b" " * 8 + kind)
    block += bytes(257 - len(block)) + b"ustar\x0000"
    block += bytes(BLOCK - len(block))
    block[BLOCK - len(rest) :] = rest
    block[148:156] = b"%06o\x00 " % sum(block)
    return bytes(block)


def filled(content: bytes) -> bytes:
    return content + bytes(-len(content) % BLOCK)


def pax(*pairs: tuple[bytes, bytes], kind: bytes = b"x") -> bytes:
    records = b""
    for key, value in pairs:
        body = b" " + key + b"=" + value + b"\n"
        length = len(body) + len(str(len(body) + 2))
        length += len(str(length)) + len(body) - length
        records += str(length).encode() + body
    return header(b"pax", len(records), kind) + filled(records)


MANY_KEYS = pax(*((b"k%d" % n, b"") for n in range(20_000)))
HUGE = b"\x80" + (1 << 60).to_bytes(11)
GOOD = header(b"services.json", 2) + filled(b"{}")
TARS = {
    "base 256": (header(b"a.json", HUGE), "claims 1,152,921,504,606,846,976|unpacks to more"),
    "eleven octal digits": (header(b"a.json", 0o77777777777), "claims 8,589,934,591|unpacks to more"),
    "a little more than there is": (header(b"a.json", 5_000_000), "claims 5,000,000 bytes, and 0 follow|ends after"),
    "pax size": (pax((b"size", b"1152921504606846976")) + header(b"a.json", 2) + filled(b"{}"), "claims 1,152|unpacks to more"),
    "pax size of many digits": (pax((b"size", b"9" * 5_000)) + header(b"a.json", 2) + filled(b"{}"), "no number"),
    "pax size below zero": (pax((b"size", b"-512")) + header(b"a.json", 2) + filled(b"{}"), "no number"),
    "pax size for all": (pax((b"size", b"1" * 18), kind=b"g") + GOOD, "of all entries"),
    "negative base 256": (header(b"a.json", b"\xff" * 12), "no number"),
    "size in words": (header(b"a.json", b"many bytes.."), "no number"),
    "size of a folder": (header(b"a/", HUGE, b"5") + GOOD, None),
    "size of a link": (header(b"a", HUGE, b"2") + GOOD, None),
    "long name": (header(b"././@LongLink", HUGE, b"L"), "header record of 1,152"),
    "long name that ends": (header(b"././@LongLink", 900_000, b"L") + bytes(512), "claims 900,000|ends after"),
    "pax record that says it is longer": (header(b"p", 20, b"x") + filled(b"99 path=x\n") + GOOD, "cannot be read"),
    "pax record of length 0": (header(b"p", 20, b"x") + filled(b"0 path=x\n") + GOOD, "cannot be read"),
    "pax digits without end": (header(b"p", 1_000_000, b"x") + filled(b"1" * 1_000_000) + GOOD, "cannot be read"),
    "old sparse": (header(b"a.json", 512, b"S", rest=b"\x01" + bytes(29)) + bytes(1024) + GOOD, None),
    "sparse map without end": (
        pax((b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"9" * 18))
        + header(b"a.json", 512)
        + filled(b"99999999999999999\n"),
        "a file with holes",
    ),
    "records in a row": (b"".join(pax((b"path", b"a")) for _ in range(2_000)) + GOOD, "header records before one entry"),
    "global records in a row": (b"".join(pax((b"comment", b"a"), kind=b"g") for _ in range(2_000)) + GOOD, "header records before one"),
    "many keys for all": (
        pax(*((b"k%d" % n, b"") for n in range(20_000)), kind=b"g") + b"".join(header(b"%d.json" % n, 0) for n in range(15_000)),
        None,
    ),
    "many large records": (
        (MANY_KEYS + header(b"a.json", 0)) * 200,
        "header record of",
    ),
    "wrong checksum": (GOOD + header(b"b.json", 2).replace(b"b.json", b"c.json") + filled(b"{}"), "checksum"),
    "entries without end": (b"".join(header(b"%d.json" % n, 0) for n in range(20_001)), "more than 20,000 entries"),
    "old sparse, a map without end": ((GOOD + header(b"a.json", 0, b"S", rest=b"\x01" + bytes(29)) + b"\x01" * 512 * 9), "cut short"),
    "left out without end": (header(b"a/../" + b"x" * 90, 0) * 20_000 + b"", "holds no files that are read"),
}


@pytest.mark.parametrize("packer", every(PACKERS, 2))
@pytest.mark.parametrize("lie", TARS)
def test_what_a_tar_claims_is_not_believed(outcome: Outcome, lie: str, packer: str) -> None:
    tar, wanted = TARS[lie]
    first, *said = outcome(PACKERS[packer](tar))
    if wanted is None:
        assert first == "read"
    else:
        assert first in ("422", "413")
        assert any(word in " ".join(said) for word in wanted.split("|")), said


def test_a_tar_that_is_read_by_others_is_read_the_same(outcome: Outcome) -> None:
    """Every form that Python writes, with names that need each way of writing them."""
    names = ["a.json", "d/" * 40 + "e.json", "x" * 90 + "/" + "y" * 90 + ".json", "x" * 300 + ".json", "ü" * 40 + ".json"]
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=form) as archive:
            for name in names:
                info = tarfile.TarInfo(name)
                info.size = 700
                if form != tarfile.USTAR_FORMAT or len(name) < 256:
                    archive.addfile(info, io.BytesIO(b"x" * 700))
        with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as archive:
            wanted = archive.getnames()
        assert outcome(out.getvalue()) == ["read", *wanted]


# --- zips ----------------------------------------------------------------------------------------------------------------


def zipped(*entries: tuple[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return out.getvalue()


def with_fields(content: bytes, *changes: tuple[bytes, int, bytes]) -> bytes:
    """Return *content* with bytes written at an offset from each record of a signature."""
    changed = bytearray(content)
    for signature, offset, value in changes:
        at = changed.index(signature) + offset
        changed[at : at + len(value)] = value
    return bytes(changed)


def overlapping(count: int) -> bytes:
    """Return a zip whose entries share one compressed kernel: each one's content begins with the local headers of those behind it."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    kernel = packer.compress(bytes(8_000_000)) + packer.flush()
    locals_, directory, offsets = b"", b"", []
    fields = struct.pack("<HHHHHIIIHH", 20, 0, 8, 0, 0, zlib.crc32(bytes(8_000_000)), len(kernel), 8_000_000, 6, 0)
    for n in range(count):
        offsets.append(len(locals_))
        locals_ += b"PK\x03\x04" + fields + b"%06d" % n
    for n, offset in enumerate(offsets):
        directory += b"PK\x01\x02\x14\x00" + fields + bytes(10) + struct.pack("<I", offset) + b"%06d" % n
    end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, count, count, len(directory), len(locals_) + len(kernel), 0)
    return locals_ + kernel + directory + end


def zip64(size: int, offset: int = 0) -> bytes:
    """Return a zip whose directory gives sizes in the extra field of 64 bits."""
    extra = struct.pack("<HHQQ", 1, 16, size, 2)
    local = b"PK\x03\x04" + struct.pack("<HHHHHIIIHH", 45, 0, 0, 0, 0, zlib.crc32(b"{}"), 2, 2, 6, 0) + b"a.json{}"
    many = 0xFFFFFFFF
    entry = struct.pack("<HHHHHHIIIHHHHHII", 45, 45, 0, 0, 0, 0, zlib.crc32(b"{}"), many, many, 6, len(extra), 0, 0, 0, 0, offset)
    directory = b"PK\x01\x02" + entry + b"a.json" + extra
    return local + directory + struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 1, 1, len(directory), len(local), 0)


ZIP = zipped(("services.json", b"{}" * 500_000))
ZIPS = {
    "larger unpacked": (with_fields(ZIP, (b"PK\x01\x02", 24, b"\xfe\xff\xff\xff")), "more than the limit|bomb"),
    "larger packed": (with_fields(ZIP, (b"PK\x01\x02", 20, b"\xfe\xff\xff\xff")), "packed bytes"),
    "smaller unpacked": (with_fields(ZIP, (b"PK\x01\x02", 24, b"\x09\x00\x00\x00")), "damaged"),
    "64 bits": (zip64(1 << 62), "more than the limit"),
    "more entries than there are": (with_fields(ZIP, (b"PK\x05\x06", 8, b"\xff\xff\xff\xff")), None),
    "a directory elsewhere": (with_fields(ZIP, (b"PK\x05\x06", 16, b"\xff\xff\xff\x7f")), "damaged"),
    "a directory larger than the file": (with_fields(ZIP, (b"PK\x05\x06", 12, b"\xff\xff\xff\x7f")), "damaged|directory"),
    "an entry behind the end": (with_fields(ZIP, (b"PK\x01\x02", 42, b"\xff\xff\xff\x7f")), "damaged"),
    "overlapping": (overlapping(2_000), "bomb|more than the limit|packed bytes"),
    "overlapping, few": (overlapping(3), "damaged|packed bytes"),
    "a name of 64 KB": (zipped(("x" * 65_000, b"{}")), "longer than 1,024"),
    "entries without end": (zipped(*((f"{n}.json", b"") for n in range(20_001))), "more than 20,000 entries"),
    "a bomb": (zipped(("a.json", bytes(200_000_000))), "bomb"),
}


@pytest.mark.parametrize("lie", ZIPS)
def test_what_a_zip_claims_is_not_believed(outcome: Outcome, lie: str) -> None:
    content, wanted = ZIPS[lie]
    first, *said = outcome(content)
    if wanted is None:
        assert first == "read"
    else:
        assert first in ("422", "413")
        assert any(word in " ".join(said) for word in wanted.split("|")), said


# --- compressed files ----------------------------------------------------------------------------------------------------


def tarred(*contents: bytes) -> bytes:
    return b"".join(header(b"%d.bin" % n, len(content)) + filled(content) for n, content in enumerate(contents))


NOTHING = {
    "gzip": gzip.compress(b"", mtime=0),
    "xz": lzma.compress(b""),
    "bzip2": bz2.compress(b""),
    "zstd": zstandard.ZstdCompressor().compress(b""),
}
BOMB = b"x" * 300_000_000
COMPRESSED: dict[str, tuple[Callable[[], bytes], str | None]] = {
    "a gzip bomb": (lambda: gzip.compress(BOMB, 9), "bomb|more than the limit"),
    "an xz bomb": (lambda: lzma.compress(BOMB, preset=0), "bomb|more than the limit"),
    "a bzip2 bomb": (lambda: bz2.compress(BOMB[:100_000_000]), "bomb|more than the limit"),
    "an archive bomb in an archive": (lambda: tarred(gzip.compress(tarred(BOMB))), "bomb|more than the limit"),
    "a file bomb in an archive": (lambda: tarred(gzip.compress(BOMB)), "bomb|more than the limit"),
    "a zip bomb in an archive": (lambda: tarred(zipped(("a.json", BOMB))), "bomb|more than the limit"),
    "a zip bomb in a zip": (lambda: zipped(("a.zip", zipped(("a.json", BOMB)))), "bomb|more than the limit"),
    "entries of archives in an archive": (lambda: tarred(*[gzip.compress(header(b"a", 0) * 7_000)] * 3), "more than 20,000 entries"),
    "empty members of bzip2": (lambda: NOTHING["bzip2"] * 200_000, "compressed parts"),
    "two members of bzip2": (lambda: bz2.compress(b'{"a":') + bz2.compress(b"1}"), None),
    "a gzip in a gzip": (lambda: gzip.compress(gzip.compress(b"{}")), None),
    "a gzip in a gzip in a gzip": (lambda: gzip.compress(gzip.compress(gzip.compress(b"{}"))), "neither text nor an archive"),
    "a zstd bomb": (lambda: zstandard.ZstdCompressor().compress(BOMB), "bomb|more than the limit"),
    "a bomb of text": (lambda: gzip.compress(b'{"a": 1}\n' * 30_000_000, 1), "bomb|more than the limit"),
    "empty members of gzip": (lambda: NOTHING["gzip"] * 2_000_000, "compressed parts"),
    "empty members of xz": (lambda: NOTHING["xz"] * 300_000, "compressed parts"),
    "empty frames of zstd": (lambda: NOTHING["zstd"] * 1_000_000, "empty"),
    "a file name without end in gzip's header": (lambda: b"\x1f\x8b\x08\x08" + bytes(6) + b"x" * 30_000_000, "damaged"),
    "two members": (lambda: gzip.compress(b'{"a":') + gzip.compress(b"1}"), None),
    "two members of xz": (lambda: lzma.compress(b'{"a":') + bytes(4) + lzma.compress(b"1}"), None),
    "something behind the end": (lambda: gzip.compress(b"{}") + b"more", "damaged"),
}


@pytest.mark.parametrize("kind", some(list(COMPRESSED), 2))
def test_a_compressed_file_is_counted_whatever_it_holds(outcome: Outcome, kind: str) -> None:
    make, wanted = COMPRESSED[kind]
    first, *said = outcome(make())
    if wanted is None:
        assert first == "read"
    else:
        assert first in ("422", "413")
        assert any(word in " ".join(said) for word in wanted.split("|")), said
