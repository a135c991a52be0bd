"""What Hopline packs comes back as it was, and damage is told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webapp import zstd


@given(st.binary(max_size=4_000), st.sampled_from([1, 3, 10]), st.booleans())
def test_what_is_packed_comes_back(content: bytes, level: int, checksum: bool) -> None:
    assert zstd.unpacked(zstd.packed(content, level=level, checksum=checksum)) == content


def test_a_flipped_bit_is_damage_where_there_is_a_checksum() -> None:
    frame = bytearray(zstd.packed(b"abcdefgh" * 40, level=6, checksum=True))
    frame[-1] ^= 1
    with pytest.raises(zstd.Damaged):
        zstd.unpacked(bytes(frame))


@pytest.mark.parametrize("frame", [b"", b"no frame", zstd.packed(b"cut short" * 50, level=3)[:-3]])
def test_what_is_no_whole_frame_is_damage(frame: bytes) -> None:
    with pytest.raises(zstd.Damaged):
        zstd.unpacked(frame)


def test_a_stream_is_a_frame_when_it_is_flushed() -> None:
    stream = zstd.stream(level=3)
    pieces = [stream.compress(b"one"), stream.compress(b"two"), stream.flush()]
    # A streamed frame does not say its length, which only our own frames do: readers of downloads take it piece by piece.
    import zstandard

    assert zstandard.ZstdDecompressor().decompressobj().decompress(b"".join(pieces)) == b"onetwo"
