"""Which address of a range NAT gives a flow: no chance is in it, the kernel hashes the flow's addresses.

Source: find_best_ips_proto in nf_nat_core.c, include/linux/jhash.h, Linux 6.18. NB: the hash reads addresses as 32-bit words of the
machine's own byte order; this is what little-endian machines do.
"""

from __future__ import annotations

import struct

from tracer.packet import Address

_WORD = 0xFFFFFFFF
_SEED = 0xDEADBEEF


def address_of_flow(
    low: Address, high: Address, *, source: Address, destination: Address, persistent: bool, rewrites_destination: bool = False
) -> Address:
    """Return the address between *low* and *high* that a flow gets; *persistent* leaves the destination out of the choice.

    NB: where NAT *rewrites_destination*, the kernel goes on hashing with the words that it has just written over the old ones.
    """
    toward = _words(destination)
    last = 0 if low.version == 4 else 3
    chosen = jhash2(_words(source), 0 if persistent else toward[last])
    found, full = b"", False
    for first, final, word in zip(_numbers(low), _numbers(high), toward, strict=False):
        size = _WORD if full else (final - first + 1) & _WORD
        number = ((0 if full else first) + (chosen * size >> 32)) & _WORD
        full = full or number != final
        found += number.to_bytes(4, "big")
        if not persistent:
            chosen ^= int.from_bytes(number.to_bytes(4, "big"), "little") if rewrites_destination else word
    return type(low)(int.from_bytes(found, "big"))


def _words(address: Address) -> tuple[int, ...]:
    return struct.unpack("<4I", address.packed.ljust(16, b"\0"))


def _numbers(address: Address) -> tuple[int, ...]:
    return struct.unpack(f">{len(address.packed) // 4}I", address.packed)


def jhash2(words: tuple[int, ...], seed: int) -> int:
    """Return Jenkins' hash of 32-bit *words*, as the kernel computes it. Source: jhash2 in jhash.h."""
    a = b = c = (_SEED + 4 * len(words) + seed) & _WORD
    while len(words) > 3:
        a, b, c = _mixed((a + words[0]) & _WORD, (b + words[1]) & _WORD, (c + words[2]) & _WORD)
        words = words[3:]
    if not words:
        return c
    more = (*words, 0, 0)
    return _final((a + more[0]) & _WORD, (b + more[1]) & _WORD, (c + more[2]) & _WORD)


def _rotated(word: int, bits: int) -> int:
    return (word << bits | word >> (32 - bits)) & _WORD


def _mixed(a: int, b: int, c: int) -> tuple[int, int, int]:
    for bits in (4, 6, 8, 16, 19, 4):
        a = ((a - c) & _WORD) ^ _rotated(c, bits)
        c = (c + b) & _WORD
        a, b, c = b, c, a
    return a, b, c


def _final(a: int, b: int, c: int) -> int:
    for bits in (14, 11, 25, 16, 4, 14, 24):
        c = ((c ^ b) - _rotated(b, bits)) & _WORD
        a, b, c = b, c, a
    return b
