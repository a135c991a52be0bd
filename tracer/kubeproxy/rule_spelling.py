"""How iptables-save spells what kube-proxy writes: addresses with prefixes, odds as the kernel keeps them, what a refusal is called.

Source: iptables-save(8); libxt_statistic.c, libxt_recent.c, libxt_nfacct.c of iptables 1.8.9.
"""

from __future__ import annotations

from functools import lru_cache

from tracer.kube.fields import Network
from tracer.packet import Address
from tracer.values import dataclass

_STEPS = 1 << 31


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyWords:
    """What differs by family: the *prefix* of one address, whom *reject* answers with, the *mask* of ``recent``, the *loopback* network."""

    prefix: str
    reject: str
    mask: str
    loopback: str


WORDS = {
    4: FamilyWords(prefix="/32", reject="icmp-port-unreachable", mask="255.255.255.255", loopback="127.0.0.0/8"),
    6: FamilyWords(prefix="/128", reject="icmp6-port-unreachable", mask="ffff:" * 7 + "ffff", loopback="::1/128"),
}


@lru_cache(maxsize=1024)
def odds(count: int) -> str:
    """Return the odds of one of *count* as iptables-save prints them: kube-proxy writes ten digits, the kernel keeps steps of 1/2**31."""
    return f"{round(float(f'{1 / count:.10f}') * _STEPS) / _STEPS:.11f}"


def to_address(address: Address) -> str:
    """Return the match for one destination address, with a blank behind it."""
    return f"-d {address}{WORDS[address.version].prefix} "


def source_range(network: Network) -> str:
    """Return the match for a source, with a blank behind it; every address is no match, and iptables-save leaves it out."""
    return f"-s {network} " if network.prefixlen else ""


def source_then(source: str, rest: str) -> str:
    """Return *source* and *rest* in the order in which iptables-save prints them: a device stands behind the addresses."""
    if "-i " not in source:
        return f"{source}{rest}"
    at = min(found for mark in ("-p ", "-m ") if (found := rest.find(mark)) >= 0)
    return f"{rest[:at]}{source}{rest[at:]}"
