"""Archives, folders and single files: what is taken, and what is refused before anything is unpacked."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.webapp.made_archives import FILES, LIMITS, PACKERS, link, tar_of, zip_of
from webapp import uploads
from webapp.uploads import Limits, UploadError


def unix_zip(name: str, mode: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, mode << 16
    return info


def read(tmp_path: Path, content: bytes, name: str = "upload.bin", limits: Limits = LIMITS) -> dict[str, bytes]:
    path = tmp_path / name
    path.write_bytes(content)
    return dict(uploads.read(path, limits=limits))


@pytest.mark.parametrize("packer", PACKERS)
@pytest.mark.parametrize("top", ["", "my-cluster/", "./", "./my-cluster/"])
def test_a_tar_gives_its_files(tmp_path: Path, packer: str, top: str) -> None:
    tar = tar_of(*((top + name, content) for name, content in FILES.items()))
    assert read(tmp_path, PACKERS[packer](tar)) == FILES


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("top", ["", "my-cluster/"])
def test_a_zip_gives_its_files(tmp_path: Path, method: int, top: str) -> None:
    assert read(tmp_path, zip_of(*((top + name, content) for name, content in FILES.items()), method=method)) == FILES


def test_a_folder_gives_its_files_without_reading_them_all(tmp_path: Path) -> None:
    for name, content in FILES.items():
        (tmp_path / "c" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "c" / name).write_bytes(content)
    files = uploads.read(tmp_path / "c", limits=LIMITS)
    (tmp_path / "c" / "services.json").write_bytes(b"changed")
    assert dict(files) == FILES | {"services.json": b"changed"}


@pytest.mark.parametrize(
    ("filename", "content", "name"),
    [
        ("cluster.json", b'{"kind": "List"}', "cluster.json"),
        ("Cluster.YAML", b"kind: List", "Cluster.YAML"),
        ("download", b' \n{"kind": "List"}', "cluster.json"),
        ("download", b"kind: List", "cluster.yaml"),
        ("report.md", b"what is this?", "report.md"),
        ("from PowerShell", '{"kind": "List"}'.encode("utf-16"), "cluster.json"),
        ("all.json.gz", gzip.compress(b'{"kind": "List"}', mtime=0), "all.json"),
        ("all.json.bz2", bz2.compress(b'{"kind": "List"}'), "all.json"),
        ("all.json.gz.gz", gzip.compress(gzip.compress(b'{"kind": "List"}', mtime=0), mtime=0), "all.json"),
        ("all.json.tar.gz", b'{"kind": "List"}', "cluster.json"),
        ("all.json.zst", zstandard.ZstdCompressor().compress(b'{"kind": "List"}'), "all.json"),
    ],
)
def test_one_file_is_a_source(tmp_path: Path, filename: str, content: bytes, name: str) -> None:
    (tmp_path / "x").write_bytes(content)
    assert list(uploads.read(tmp_path / "x", filename=filename)) == [name]


@pytest.mark.parametrize("names", [("nodes/a/x.txt", "nodes/b/y.txt"), ("a/x.json", "y.json"), ("namespaces/ns/core/services.yaml",)])
def test_only_a_wrapping_top_folder_is_skipped(tmp_path: Path, names: tuple[str, ...]) -> None:
    assert tuple(read(tmp_path, tar_of(*((name, b"") for name in names)))) == names


def test_what_macos_adds_is_left_out(tmp_path: Path) -> None:
    content = zip_of(("c/services.json", b"{}"), ("c/._services.json", b"x"), ("__MACOSX/c/._services.json", b"x"), ("c/.DS_Store", b"x"))
    assert read(tmp_path, content) == {"services.json": b"{}"}


def test_windows_zips_have_backslashes(tmp_path: Path) -> None:
    content = zip_of(("c|nodes|a|sysctl.txt", b"x")).replace(b"c|nodes|a|", b"c\\nodes\\a\\")
    assert read(tmp_path, content) == {"nodes/a/sysctl.txt": b"x"}


ODD_TARS = {
    "symlink": (link("s", tarfile.SYMTYPE), "symbolic link"),
    "hard link": (link("h", tarfile.LNKTYPE), "hard link"),
    "device": (link("d", tarfile.CHRTYPE), "device or a pipe"),
    "block device": (link("d", tarfile.BLKTYPE), "device or a pipe"),
    "pipe": (link("p", tarfile.FIFOTYPE), "device or a pipe"),
    "sparse": (link("p", tarfile.GNUTYPE_SPARSE), "a file with holes"),
    "socket": (link("p", b"s"), "neither a file nor a folder"),
    "leads out": ("x/../../etc/cron.d/x", "leads out"),
    "too deep": ("1/2/3/4/5/6", "deeper than 5 levels"),
    "control": ("a\x1b[2Jb", "control character"),
    "long": ("x" * 2_000, "longer than 1,024"),
    "a 7-Zip archive": ("x/y.7z", "7z x y.7z && tar czf y.tar.gz DIR"),
}
ODD_ZIPS = {
    "symlink": (unix_zip("s", 0o120777), "symbolic link"),
    "device": (unix_zip("d", 0o020666), "device or another special"),
    "backslash": ("a\\..\\..\\y", "leads out"),
    "too deep": ("1/2/3/4/5/6", "deeper than 5 levels"),
}
SERVICES = ("services.json", b'{"kind": "List"}')
ODD = {
    **{
        f"{kind} in a {packer}": PACKERS[packer](tar_of(SERVICES, (odd[0], b"\x00x")))
        for kind, odd in ODD_TARS.items()
        for packer in PACKERS
    },  # type: ignore[arg-type]
    **{f"{kind} in a zip": zip_of(SERVICES, (odd[0], b"x")) for kind, odd in ODD_ZIPS.items()},  # type: ignore[arg-type]
}


@pytest.mark.parametrize("case", ODD)
@pytest.mark.parametrize("around", ["", "tar.gz", "zip"])
def test_what_is_odd_is_left_out_and_refuses_nothing(tmp_path: Path, case: str, around: str) -> None:
    content = ODD[case]
    if around:
        content = zip_of(("inner.bin", content)) if around == "zip" else gzip.compress(tar_of(("inner.bin", content)))
    (tmp_path / "x").write_bytes(content)
    source = uploads.check(tmp_path / "x", filename="inner.bin", limits=replace(LIMITS, levels=5 + bool(around)))
    assert dict(source.files()) == dict([SERVICES])
    kind, _, form = case.partition(" in a ")
    [left] = source.left_out
    assert (ODD_ZIPS if form == "zip" else ODD_TARS)[kind][1].replace("5 levels", f"{5 + bool(around)} levels") in left.why
    assert "\x1b" not in left.path


@pytest.mark.parametrize("name", ["/services.json", "C:/services.json", "../services.json", "..\\..\\services.json", "//services.json"])
def test_what_stands_in_front_of_a_name_is_taken_away(tmp_path: Path, name: str) -> None:
    """``tar -P`` writes absolute names, and ``zip ../folder`` such as lead out: nothing is written by them."""
    assert read(tmp_path, zip_of((name, b"{}"))) == {"services.json": b"{}"}
    assert read(tmp_path, tar_of((name.replace("\\", "/"), b"{}"))) == {"services.json": b"{}"}


def test_an_archive_of_odd_entries_only_is_refused_with_each(tmp_path: Path) -> None:
    with pytest.raises(UploadError) as caught:
        read(tmp_path, tar_of(("a/../../b", b""), (link("c", tarfile.SYMTYPE), b"")))
    assert [problem.split(":")[0] for problem in caught.value.problems] == ["upload.bin holds no files that are read.", "a/../../b", "c"]


@pytest.mark.parametrize("content", [tar_of(("a.json", b"1"), ("./a.json", b"2")), zip_of(("a.json", b"1"), ("a.json", b"2"))])
def test_of_a_name_that_stands_twice_the_last_one_counts(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    source = uploads.check(tmp_path / "x", limits=LIMITS)
    assert list(source.files()) == [("a.json", b"2")]
    assert [str(left) for left in source.left_out] == ["a.json: stands more than once; the last one is read"]


def test_names_that_are_not_utf_8_are_read_and_stay_apart(tmp_path: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT, encoding="latin-1") as archive:
        for name in ("ä.json", "ü.json"):
            archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    assert list(read(tmp_path, out.getvalue())) == ["\\xe4.json", "\\xfc.json"]


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    content = bytearray(zip_of(("a.json", b"secret"), method=zipfile.ZIP_STORED))
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(mark) + offset] |= 1
    with pytest.raises(UploadError, match=r"a\.json: it is encrypted"):
        read(tmp_path, bytes(content))


@pytest.mark.parametrize("pack", [tar_of, zip_of])
def test_too_many_entries_are_refused(tmp_path: Path, pack: Callable[..., bytes]) -> None:
    with pytest.raises(UploadError, match="more than 100 entries"):
        read(tmp_path, pack(*((f"{n}.json", b"") for n in range(101))))


def test_a_zip_with_a_monstrous_directory_is_refused_before_it_is_read(tmp_path: Path) -> None:
    names = ((f"{n:060}" * 20, b"") for n in range(8_000))
    with pytest.raises(UploadError, match="directory is larger"):
        read(tmp_path, zip_of(*names, method=zipfile.ZIP_STORED), limits=replace(LIMITS, upload_bytes=100_000_000))


@pytest.mark.parametrize("packer", [*PACKERS, "zip"])
def test_more_than_the_limit_unpacked_is_refused(tmp_path: Path, packer: str) -> None:
    big = b"\0" * 5_000_001
    content = zip_of(("big.json", big)) if packer == "zip" else PACKERS[packer](tar_of(("big.json", big)))
    with pytest.raises(UploadError, match="more than the limit of 5 MB") as caught:
        read(tmp_path, content, limits=replace(LIMITS, upload_bytes=100_000_000))
    assert caught.value.status == 413


def test_a_compression_bomb_is_told_by_its_ratio(tmp_path: Path) -> None:
    content = zstandard.ZstdCompressor().compress(tar_of(("a.json", b"{}"), ("bomb.json", bytes(70_000_000))))
    with pytest.raises(UploadError, match=r"compression bomb.*250 times its size.*'bomb.json'"):
        read(tmp_path, content, limits=replace(LIMITS, unpacked_bytes=1 << 40, ratio=250))


def test_a_bomb_is_never_held_in_memory(tmp_path: Path) -> None:
    import tracemalloc

    content = gzip.compress(tar_of(("bomb.json", bytes(60_000_000))))
    tracemalloc.start()
    with pytest.raises(UploadError):
        read(tmp_path, content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


def test_a_zip_that_lies_about_a_size_gives_no_more_than_it_declared(tmp_path: Path) -> None:
    content = bytearray(zip_of(("a.json", b"x" * 1_000_000)))
    for mark, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = content.index(mark) + offset
        content[at : at + 4] = (10).to_bytes(4, "little")
    with pytest.raises(UploadError, match="damaged"):
        read(tmp_path, bytes(content))


def test_an_oversized_upload_is_refused_with_the_limit(tmp_path: Path) -> None:
    with pytest.raises(UploadError, match=r"upload\.bin has 1\.0 MB; the limit is 1 MB") as caught:
        read(tmp_path, bytes(1_000_001))
    assert caught.value.status == 413


@pytest.mark.parametrize("packer", PACKERS)
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9])
def test_a_truncated_archive_is_refused(tmp_path: Path, packer: str, kept: float) -> None:
    noise = random.Random(1).randbytes(200_000)
    content = PACKERS[packer](tar_of(("a.json", b"{}"), ("b.json", noise), ("c.json", noise)))
    with pytest.raises(UploadError, match="damaged"):
        read(tmp_path, content[: int(len(content) * kept)])


def test_a_header_damaged_in_the_middle_does_not_end_the_archive_in_silence(tmp_path: Path) -> None:
    content = bytearray(tar_of(("a.json", b"{}"), ("b.json", b"{}"), ("c.json", b"{}")))
    content[1024] ^= 0xFF
    with pytest.raises(UploadError, match="damaged"):
        read(tmp_path, bytes(content))


def test_a_huge_header_record_is_refused(tmp_path: Path) -> None:
    info = tarfile.TarInfo("a.json")
    info.pax_headers = {"comment": "x" * 3_000_000}
    with pytest.raises(UploadError, match="header record of 3,"):
        read(tmp_path, gzip.compress(tar_of((info, b"{}"))))


def test_an_xz_dictionary_beyond_the_memory_limit_is_refused(tmp_path: Path) -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 29, "mode": lzma.MODE_FAST, "mf": lzma.MF_HC3, "nice_len": 8}]
    content = lzma.compress(tar_of(("a.json", b"{}")), filters=filters)
    with pytest.raises(UploadError, match=r"damaged.*[Mm]emory"):
        read(tmp_path, content)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"  \n", "is empty"),
        (b"\x7fELF\x00\x00", "neither text nor an archive"),
        (tar_of(), "neither text nor an archive"),
        (zip_of(), "holds no files"),
        (b"\x1f\x8bnot gzip at all", "damaged"),
    ],
)
def test_what_is_no_source_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    with pytest.raises(UploadError, match=reason):
        read(tmp_path, content)


def test_a_missing_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UploadError, match="No such file"):
        uploads.read(tmp_path / "nowhere")


def test_a_folder_within_the_limits_only(tmp_path: Path) -> None:
    (tmp_path / "1/2/3/4/5/6").mkdir(parents=True)
    (tmp_path / "1/2/3/4/5/6/x").touch()
    with pytest.raises(UploadError, match="deeper than 5 levels"):
        uploads.read(tmp_path, limits=LIMITS)


def test_nothing_is_written_anywhere(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    read(tmp_path / "in", tar_of(*FILES.items()))
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["upload.bin"]


GOOD = [pack(tar_of(*FILES.items())) for pack in PACKERS.values()] + [zip_of(*FILES.items())]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    which=st.sampled_from(GOOD),
    cuts=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=6),
    keep=st.floats(0, 1),
)
def test_mutated_archives_are_read_or_refused_never_worse(tmp_path: Path, which: bytes, cuts: list[tuple[float, int]], keep: float) -> None:
    content = bytearray(which[: max(1, int(len(which) * keep))])
    for where, value in cuts:
        content[int(where * (len(content) - 1))] = value
    try:
        files = read(tmp_path, bytes(content))
    except UploadError as error:
        assert error.problems
        return
    assert not any(name.startswith("/") or ".." in name.split("/") for name in files)


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "A.TAR.GZ", "a.tgz", "a.tar.xz", "a.tar.zst"])
def test_an_archive_in_name_only_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("hello\n")
    with pytest.raises(UploadError, match="not the archive that its name says"):
        uploads.check(tmp_path / name)
