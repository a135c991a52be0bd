"""Which parser reads which file of a node, so that every fault is found when a snapshot is stored and not when a trace meets it."""

from __future__ import annotations

from collections.abc import Callable

from tracer.conntrack_list import parse_conntrack
from tracer.errors import Fault, ParseError
from tracer.ipvs.ipvsadm_save import parse_virtual_servers
from tracer.netfilter import iptables_save
from tracer.netfilter.ipset_save import parse_sets
from tracer.netfilter.nft_rules import NftRules
from tracer.routing.parse import parse_addresses, parse_links, parse_routes, parse_rules, parse_sysctl
from tracer.snapshot.summary import Check


def _by_parsing(parse: Callable[[str, str], object]) -> Check:
    def check(text: str, path: str) -> tuple[Fault, ...]:
        try:
            parse(text, path)
        except ParseError as error:
            return error.faults
        return ()

    return check


def _check_nft(text: str, path: str) -> tuple[Fault, ...]:
    return NftRules.from_listing(text, path).ruleset.check()


CHECKS: dict[str, Check] = {
    "iptables-save.txt": iptables_save.check,
    "ip6tables-save.txt": iptables_save.check,
    "iptables-legacy-save.txt": iptables_save.check,
    "ip6tables-legacy-save.txt": iptables_save.check,
    "nft-ruleset.txt": _check_nft,
    "nft-ruleset.json": _check_nft,
    "ipvsadm-save.txt": lambda text, path: parse_virtual_servers(text, path)[1],
    "ipset-save.txt": lambda text, path: parse_sets(text, path)[1],
    "conntrack.txt": lambda text, path: parse_conntrack(text, path)[1],
    "ip-addr.json": _by_parsing(parse_addresses),
    "ip-link.json": _by_parsing(parse_links),
    "ip-route.json": _by_parsing(parse_routes),
    "ip6-route.json": _by_parsing(parse_routes),
    "ip-rule.json": _by_parsing(parse_rules),
    "ip6-rule.json": _by_parsing(parse_rules),
    "sysctl.txt": _by_parsing(parse_sysctl),
}
"""A node's files by their documented names; the others are read as text or JSON only."""
