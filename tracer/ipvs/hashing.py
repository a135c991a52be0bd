"""The tables of IPVS's hash schedulers: which real server has a client's slot, given the order of the kernel's own list.

sh and dh deal their 256 slots out in that order; mh (Maglev) fills 4093 slots by each server's own preferences, and order only settles
who comes first where two want the same slot. The default sizes are taken (CONFIG_IP_VS_SH_TAB_BITS, CONFIG_IP_VS_DH_TAB_BITS,
CONFIG_IP_VS_MH_TAB_INDEX), and for mh a 64-bit little-endian kernel, whose hsiphash is SipHash-1-3.
Proved with packets: sh (every client of the recording shop-ipvs-sh). dh and mh: against a second implementation only.
Source: ip_vs_sh.c, ip_vs_dh.c, ip_vs_mh.c, include/linux/hash.h, lib/siphash.c, Linux 6.18; Eisenbud et al., Maglev, NSDI 2016, 3.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import gcd

from tracer.ipvs.model import RealServer
from tracer.packet import Address

SLOTS = 256
"""Of sh's table, and of dh's."""
MAGLEV_SLOTS = 4093
_MAGLEV_BITS = 6
_GOLDEN_RATIO = 0x61C88647
_OFFSET_KEY, _SKIP_KEY = 2654435761, 2654446892
_MASK32, _MASK64 = 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF

Slots = tuple[RealServer, ...]


def folded(address: Address) -> int:
    """Return *address* in 32 bits: an IPv6 address' four words are xored."""
    number = int(address)
    if address.version == 4:
        return number
    return (number >> 96) ^ (number >> 64 & _MASK32) ^ (number >> 32 & _MASK32) ^ (number & _MASK32)


def slot(address: Address, port: int = 0) -> int:
    """Return the slot of an address in sh's table, or in dh's (which looks at no port). Source: ip_vs_sh_hashkey(), hash_32()."""
    return ((folded(address) + port & _MASK32) * _GOLDEN_RATIO & _MASK32) >> 24


def source_table(servers: Sequence[RealServer]) -> Slots:
    """Return sh's table: each server in turn has as many slots as its weight; one of weight 0 has one. Source: ip_vs_sh_reassign()."""
    turn = [server for server in servers for _ in range(max(1, min(server.weight, SLOTS)))]
    return tuple(turn[place % len(turn)] for place in range(SLOTS))


def destination_table(servers: Sequence[RealServer]) -> Slots:
    """Return dh's table: the servers in turn, whatever they weigh. Source: ip_vs_dh_reassign()."""
    return tuple(servers[place % len(servers)] for place in range(SLOTS))


def after_source(table: Slots, address: Address, port: int) -> RealServer | None:
    """Return whom sh takes with its fallback: its slot's server, else the first one with a weight from twice that slot on.

    Source: ip_vs_sh_get_fallback(), where the hash is added to an offset that begins with it.
    """
    first = slot(address, port)
    found = (table[(2 * first + offset) % SLOTS] for offset in range(SLOTS))
    return table[first] if table[first].weight else next((server for server in found if server.weight), None)


# -- mh -------------------------------------------------------------------------------------------------------------------------------


def maglev_slot(address: Address, port: int = 0, offset: int = 0) -> int:
    """Return the slot of an address in mh's table. Source: ip_vs_mh_hashkey(), ip_vs_mh_get()."""
    return _hashed(offset + port + folded(address), _OFFSET_KEY) % MAGLEV_SLOTS


@lru_cache(maxsize=256)
def maglev_table(servers: tuple[RealServer, ...]) -> Slots:
    """Return mh's table for servers of which none has weight 0: those keep an earlier weight that no listing tells.

    In each round every server takes as many slots as its turns, each time the next one of its preference that is free.
    Source: ip_vs_mh_permutate(), ip_vs_mh_populate(), ip_vs_mh_shift_weight().
    """
    divisor = gcd(*(server.weight for server in servers))
    shift = max(0, (max(server.weight for server in servers) // divisor).bit_length() - _MAGLEV_BITS)
    turns = [(server.weight // divisor >> shift) or 1 for server in servers]
    places = [_hashed(server.port + folded(server.address), _OFFSET_KEY) % MAGLEV_SLOTS for server in servers]
    skips = [_hashed(server.port + folded(server.address), _SKIP_KEY) % (MAGLEV_SLOTS - 1) + 1 for server in servers]
    table: list[RealServer | None] = [None] * MAGLEV_SLOTS
    left = MAGLEV_SLOTS
    while left:
        for number, server in enumerate(servers):
            for _ in range(min(turns[number], left)):
                place = places[number]
                while table[place] is not None:
                    place = (place + skips[number]) % MAGLEV_SLOTS
                table[place], places[number] = server, place
                left -= 1
    return tuple(server for server in table if server is not None)


def _hashed(value: int, key: int) -> int:
    """Return hsiphash of *value*, 32 bits wide, under a key that is *key* twice: SipHash-1-3, cut to 32 bits.

    Source: hsiphash_1u32() in lib/siphash.c; Aumasson and Bernstein, SipHash, 2012.
    """
    state = [key ^ 0x736F6D6570736575, key ^ 0x646F72616E646F6D, key ^ 0x6C7967656E657261, key ^ 0x7465646279746573]
    block = 4 << 56 | value & _MASK32
    state[3] ^= block
    _mixed(state)
    state[0] ^= block
    state[2] ^= 0xFF
    for _ in range(3):
        _mixed(state)
    return (state[0] ^ state[1] ^ state[2] ^ state[3]) & _MASK32


def _mixed(state: list[int]) -> None:
    """One SipRound."""
    a, b, c, d = state
    a = a + b & _MASK64
    c = c + d & _MASK64
    b = _rotated(b, 13) ^ a
    d = _rotated(d, 16) ^ c
    a = _rotated(a, 32)
    c = c + b & _MASK64
    a = a + d & _MASK64
    b = _rotated(b, 17) ^ c
    d = _rotated(d, 21) ^ a
    state[:] = a, b, _rotated(c, 32), d


def _rotated(word: int, bits: int) -> int:
    return (word << bits | word >> 64 - bits) & _MASK64
