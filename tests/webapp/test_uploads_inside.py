"""Archives in archives, compressed files in archives, folders with links, and logs: what is read, under which name, and what is left out."""

from __future__ import annotations

import bz2
import gzip
import io
import os
import socket
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from django.test import Client

from tests.webapp.made_archives import FILES, LIMITS, PACKERS, link, tar_of, zip_of
from webapp import uploads
from webapp.storing import stored_snapshots
from webapp.storing.handed_in import files_at
from webapp.uploads import Source, UploadError
from webapp.uploads.forms import closed_form, is_log

CONTAINERS = {**PACKERS, "zip": lambda tar: zip_again(tar)}
SHOP = (
    "services.json",
    b'{"kind": "List", "apiVersion": "v1", "items": [{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"},'
    b' "spec": {"clusterIP": "10.96.0.9"}}]}',
)
LOG = b"".join(b"2026-01-01T00:00:00.%09dZ INFO nothing at all happened\n" % n for n in range(30_000))


def zip_again(tar: bytes) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(tar)) as files:
        return zip_of(*((member.name, files.extractfile(member).read()) for member in files))  # type: ignore[union-attr]


def checked(tmp_path: Path, content: bytes, name: str = "upload.bin", limits: uploads.Limits = LIMITS) -> Source:
    (tmp_path / name).write_bytes(content)
    return uploads.check(tmp_path / name, limits=replace(limits, levels=10))


def left(source: Source) -> dict[str, str]:
    return {one.path: one.why for one in source.left_out}


@pytest.mark.parametrize("inner", CONTAINERS)
@pytest.mark.parametrize("outer", CONTAINERS)
def test_an_archive_in_an_archive_gives_its_files(tmp_path: Path, outer: str, inner: str) -> None:
    inside = CONTAINERS[inner](tar_of(*FILES.items()))
    source = checked(tmp_path, CONTAINERS[outer](tar_of((f"d/in.{inner}", inside), ("d/readme.md", b"x"))))
    assert dict(source.files()) == {f"in.{inner}/{name}": content for name, content in FILES.items()} | {"readme.md": b"x"}
    assert source.left_out == ()


@pytest.mark.parametrize("outer", CONTAINERS)
def test_a_third_archive_is_left_out_with_what_to_do(tmp_path: Path, outer: str) -> None:
    third = tar_of(("c.tar", tar_of(*FILES.items())), ("b.json", b"{}"))
    source = checked(tmp_path, CONTAINERS[outer](tar_of(("a.tar", third), ("a.json", b"{}"))))
    assert set(source.names) == {"a.tar/b.json", "a.json"}
    assert "upload it by itself" in left(source)["a.tar/c.tar"]


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
@pytest.mark.parametrize("outer", CONTAINERS)
@pytest.mark.parametrize("above", ["", "in.tar/"])
def test_one_compressed_file_has_its_own_name(tmp_path: Path, outer: str, pack: object, above: str) -> None:
    assert callable(pack)
    files = tar_of(("nodes/a/iptables-save.txt.gz", pack(b"*nat\n")), ("services.json", b"{}"))
    source = checked(tmp_path, CONTAINERS[outer](tar_of(("in.tar", files), ("x", b"")) if above else files))
    assert dict(source.files())[f"{above}nodes/a/iptables-save.txt"] == b"*nat\n"


def test_what_is_damaged_inside_is_left_out_alone(tmp_path: Path) -> None:
    good, noise = tar_of(*FILES.items()), os.urandom(200_000)
    cut = gzip.compress(tar_of(("a.json", b"{}"), ("b.json", noise)))[:100_000]
    outer = tar_of(("cut.tgz", cut), ("good.tar", good), ("x.json.gz", gzip.compress(noise)[:-9]), ("bad.zip", zip_of(("a", noise))[:-40]))
    source = checked(tmp_path, gzip.compress(outer))
    assert dict(source.files()) == FILES
    assert {name: why.split(" (")[0] for name, why in left(source).items()} == dict.fromkeys(
        ["cut.tgz", "x.json.gz", "bad.zip"], "damaged or cut short"
    )


def test_what_is_damaged_deeper_leaves_the_archive_around_it_alone(tmp_path: Path) -> None:
    source = checked(
        tmp_path, tar_of(("in.tar", tar_of(("a.log.gz", gzip.compress(os.urandom(99_000))[:-9]), ("a.json", b"{}"))), ("x", b""))
    )
    assert set(source.names) == {"in.tar/a.json", "x"}
    assert "in.tar/a.log.gz" in left(source)


def test_logs_are_told_once_and_not_read(tmp_path: Path) -> None:
    small, other = ("small.log", LOG[:1_000]), ("objects.log", b'{"kind": "List"}' + b" " * 1_500_000)
    entries = (("a.log", LOG), ("pods/b.log.1.gz", gzip.compress(LOG)), ("messages-20260101", LOG.replace(b"2026-01-01T", b"Jan  1 00:")))
    source = checked(tmp_path, zip_of(*entries, small, other), limits=replace(LIMITS, unpacked_bytes=50_000_000))
    assert set(source.names) == {"small.log", "objects.log"}
    assert list(left(source)) == ["a.log"]
    assert left(source)["a.log"].startswith("a log, which is not read, as 2 more are (")


def test_a_log_is_known_by_its_name_and_its_lines() -> None:
    assert is_log("x/kube-proxy.log", LOG)
    assert not is_log("x/iptables-save.txt", LOG)
    assert not is_log("cluster.log", b'{"kind": "List",\n "items": []}\n')
    assert not is_log("rules.log", b"*nat\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n")


@pytest.mark.parametrize("name", ["x.7z", "x.rar", "x.lz4", "x.lzma", "x.Z", "x.cab", "x.lz", "x.br"])
def test_other_archives_are_refused_in_one_sentence_with_what_to_type(tmp_path: Path, name: str) -> None:
    with pytest.raises(UploadError, match=r"does not open\. Type: \S+ .*x") as caught:
        checked(tmp_path, b"\x00\x01\x02\x03 binary", name)
    assert len(caught.value.problems) == 1


def test_they_are_known_by_content_whatever_they_are_called() -> None:
    assert "7z x cluster.zip && tar czf cluster.tar.gz DIR" in closed_form("cluster.zip", b"7z\xbc\xaf\x27\x1c\x00\x04")
    assert "unrar x a.tar.gz" in closed_form("d/a.tar.gz", b"Rar!\x1a\x07\x01\x00")
    assert closed_form("rules.z", b"*nat\n") == ""


@pytest.mark.parametrize("name", ["cluster.tar.gz", "cluster.zip", "cluster.json", "cluster.log", "cluster"])
@pytest.mark.parametrize("form", CONTAINERS)
def test_the_content_says_what_a_file_is(tmp_path: Path, name: str, form: str) -> None:
    assert dict(checked(tmp_path, CONTAINERS[form](tar_of(*FILES.items())), name).files()) == FILES


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a link out of it, one in it, one to a folder, a pipe and a socket."""
    made = tmp_path / "cluster"
    (made / "nodes" / "n1").mkdir(parents=True)
    (made / "services.json").write_bytes(b"{}")
    (tmp_path / "outside.json").write_bytes(b"secret")
    (made / "pods.json").symlink_to(tmp_path / "outside.json")
    (made / "again.json").symlink_to(made / "services.json")
    (made / "nodes" / "n2").symlink_to(tmp_path)
    os.mkfifo(made / "pipe.json")
    return made


@pytest.mark.parametrize("with_archive", [False, True])
def test_a_folder_gives_no_more_than_its_own_files(folder: Path, *, with_archive: bool) -> None:
    wanted = {"services.json": b"{}"}
    if with_archive:
        (folder / "in.tgz").write_bytes(gzip.compress(tar_of(*FILES.items())))
        wanted |= {f"in.tgz/{name}": content for name, content in FILES.items()}
    source = uploads.check(folder, limits=LIMITS)
    assert dict(source.files()) == wanted == dict(uploads.read(folder, limits=LIMITS))
    assert {one.path: one.why.split(",")[0] for one in source.left_out} == {
        "again.json": "a symbolic link",
        "nodes/n2": "a symbolic link",
        "pods.json": "a symbolic link",
        "pipe.json": "a device",
    }


def test_several_folders_give_no_more_than_their_own_files(folder: Path) -> None:
    assert [name for name, _ in files_at([folder])] == ["cluster/services.json"]


def test_a_socket_in_a_folder_is_left_out(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("agent.json")
        assert "agent.json" in left(uploads.check(folder, limits=LIMITS))


def test_past_a_bound_the_largest_are_named_and_how_to_slim(tmp_path: Path) -> None:
    entries = tuple((f"{n}.bin", bytes(n * 400_000)) for n in range(1, 8))
    with pytest.raises(UploadError, match=r"The largest so far: '4.bin' \(1.6 MB\), '3.bin'.*tar czf slim.tgz --exclude='\*.log'"):
        checked(tmp_path, gzip.compress(tar_of(*entries)))
    with pytest.raises(UploadError, match=r"the limit is 1 MB\. Leave out .*tar czf slim.tgz"):
        checked(tmp_path, bytes(1_000_001))


def test_a_zip_in_a_zip_leaves_no_file_behind(tmp_path: Path, settings: object) -> None:
    before = set(Path(settings.FILE_UPLOAD_TEMP_DIR).iterdir())  # type: ignore[attr-defined]
    inner = zip_of(("a.bin", os.urandom(9_000_000)), ("b.json", b"{}"), method=zipfile.ZIP_STORED)
    large = replace(LIMITS, upload_bytes=50_000_000, unpacked_bytes=50_000_000)
    source = checked(tmp_path, zip_of(("in.zip", inner), ("c.json", b"{}"), method=zipfile.ZIP_STORED), limits=large)
    assert {name: len(content) for name, content in source.files()} == {"in.zip/a.bin": 9_000_000, "in.zip/b.json": 2, "c.json": 2}
    assert set(Path(settings.FILE_UPLOAD_TEMP_DIR).iterdir()) == before  # type: ignore[attr-defined]


@pytest.mark.django_db
def test_the_page_lists_what_was_left_out(tmp_path: Path, client: Client, own_storage: Path) -> None:
    assert own_storage
    (tmp_path / "x.tgz").write_bytes(
        gzip.compress(tar_of(SHOP, (link("app/web.log", tarfile.SYMTYPE), b""), (link("p", tarfile.FIFOTYPE), b"")))
    )
    row = stored_snapshots.store_snapshot(tmp_path / "x.tgz")
    assert [left["path"] for left in row.summary["left_out"]] == ["app/web.log", "p"]
    page = client.get(f"/snapshots/{row.id}").content.decode()
    assert "Not read: app/web.log: a symbolic link, which is not followed." in page
