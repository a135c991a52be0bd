"""The folder of snapshot bytes and the container format: whole or not there, read file by file, damage noticed."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from django.core.files.base import ContentFile
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from webapp.storing.container import Container, ContainerError, ContainerWriter
from webapp.storing.storage import DurableFolderStorage, held_folder, sweep_folders

FILES = st.dictionaries(st.text(min_size=1, max_size=30), st.binary(max_size=2_000), max_size=8)


def contain(files: dict[str, bytes]) -> io.BytesIO:
    out = io.BytesIO()
    writer = ContainerWriter(out)
    for name, content in files.items():
        writer.add(name, content)
    writer.finish()
    return out


@given(FILES)
def test_a_container_gives_back_what_was_put_in(files: dict[str, bytes]) -> None:
    container = Container(contain(files))
    assert dict(container) == files
    assert {name: container.length(name) for name in container} == {name: len(content) for name, content in files.items()}


def test_reading_one_file_does_not_touch_the_others() -> None:
    out = contain({"a": b"a" * 1_000, "b": bytes(range(256)) * 40, "c": b"c" * 1_000})
    raw = bytearray(out.getvalue())
    at = raw.index(bytes(range(60)))
    raw[at : at + 40] = b"\xff" * 40
    container = Container(io.BytesIO(raw))
    assert (container["a"], container["c"]) == (b"a" * 1_000, b"c" * 1_000)
    with pytest.raises(Exception, match=r"(?i)checksum|decompress|damaged"):
        container["b"]


@pytest.mark.parametrize("kept", [0, 1, 8, 20, 100, -1])
def test_a_container_cut_short_is_refused(kept: int) -> None:
    whole = contain({"a": bytes(range(256))}).getvalue()
    with pytest.raises(ContainerError, match="cut short"):
        Container(io.BytesIO(whole[:kept]))


def test_a_name_twice_is_refused() -> None:
    writer = ContainerWriter(io.BytesIO())
    writer.add("a", b"1")
    with pytest.raises(ValueError, match="twice"):
        writer.add("a", b"2")


@pytest.fixture
def storage(tmp_path: Path) -> DurableFolderStorage:
    return DurableFolderStorage(location=tmp_path / "snapshots")


def test_a_file_is_whole_and_alone(storage: DurableFolderStorage) -> None:
    storage.save("x", ContentFile(b"content"))
    assert storage.open("x").read() == b"content"
    assert storage.listdir("") == ([], ["x"])


def test_a_writer_that_fails_leaves_nothing(storage: DurableFolderStorage) -> None:
    class Broken(ContentFile):
        def chunks(self, chunk_size: int | None = None):
            yield b"half"
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        storage.save("x", Broken(b"x"))
    assert storage.listdir("") == ([], [])


def test_sweeping_spares_what_is_known_and_what_is_held(storage: DurableFolderStorage) -> None:
    other_process = DurableFolderStorage(location=storage.location)
    for name in ("known", "held", "abandoned"):
        storage.save(name, ContentFile(b"x"))
    storage.release("known")
    storage.release("abandoned")
    (Path(storage.location) / "abandoned2.part").write_bytes(b"half")
    assert other_process.sweep(lambda name: name == "known") == ["abandoned", "abandoned2.part"]
    storage.release("held")
    assert other_process.sweep(lambda name: name == "known") == ["held"]
    assert storage.listdir("") == ([], ["known"])


@pytest.mark.django_db
@pytest.mark.skipif(connection.vendor != "sqlite", reason="about SQLite")
def test_the_embedded_database_survives_a_power_cut() -> None:
    with connection.cursor() as cursor:
        assert cursor.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        assert cursor.execute("PRAGMA synchronous").fetchone()[0] == 2


def test_a_folder_goes_with_its_process_and_one_that_is_held_stays(tmp_path: Path) -> None:
    killed = tmp_path / "tmp-of-a-killed-process"
    (killed / "inner").mkdir(parents=True)
    (killed / "inner" / "file").write_bytes(b"x")
    (tmp_path / "a file").write_bytes(b"x")
    with held_folder(tmp_path) as held:
        (held / "file").write_bytes(b"x")
        sweep_folders(tmp_path)
        assert {path.name for path in tmp_path.iterdir()} == {"a file", held.name}
    sweep_folders(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a file"]
