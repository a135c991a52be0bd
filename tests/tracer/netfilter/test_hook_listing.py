"""What ``nft list hooks`` prints. NB: the kernel that the tests run on prints nothing; the texts are those of nft's manual and patches."""

from __future__ import annotations

import pytest

from tracer.errors import ParseError
from tracer.netfilter.hook_listing import NAT, TRACKING, parse_hooks
from tracer.netfilter.model import Hook

LISTED = """family ip {
    hook prerouting {
        -0000000400 ipv4_conntrack_defrag [nf_defrag_ipv4]
        -0000000300 iptable_raw_hook [iptable_raw]
        -0000000300 chain inet firewalld raw_PREROUTING [nf_tables]
        -0000000200 ipv4_conntrack_in [nf_conntrack]
        -0000000100 nf_nat_ipv4_pre_routing [nf_nat]
    }
    hook input {
        -0000000150 iptable_mangle_hook [iptable_mangle]
         0000000000 chain ip filter INPUT [nf_tables]
         0000000000 ipt_do_table [ip_tables]
        +0000000010 chain inet firewalld filter_INPUT [nf_tables]
        +0000000100 nf_nat_ipv4_local_in [nf_nat]
    }
}
family ip6 {
    hook ingress device "eth0" {
         0000000000 chain netdev x y [nf_tables]
    }
    hook forward {
        -0000000225 selinux_ipv6_forward
         0000000000 ip6t_do_table [ip6_tables]
    }
}
""".replace("    ", "\t")
"""Of nftables 1.0.6 and later, with functions of Linux 5.10 (one for each table) and 6.18 (one for all)."""
OLD = "family ip hook input {\n\t+0000000000 chain ip a b [nf_tables]\n\t+0000000000 iptable_filter_hook [iptable_filter]\n}\n"
OF_NAT = "family ip {\n\thook prerouting {\n\t\t-0000000100 chain ip b c [nf_tables]\n\t\t-0000000100 ipt_do_table [ip_tables]\n\t}\n}\n"


def names(text: str, family: str, hook: Hook) -> list[str]:
    places = parse_hooks(text, "f").at(family, hook)
    assert sorted(places.values()) == list(range(len(places)))
    return sorted(places, key=places.__getitem__)


def test_names_stand_in_the_kernels_order() -> None:
    assert names(LISTED, "ip", Hook.PREROUTING) == ["legacy raw", "inet firewalld raw_PREROUTING", TRACKING, NAT]
    assert names(LISTED, "ip", Hook.INPUT) == ["legacy mangle", "ip filter INPUT", "legacy filter", "inet firewalld filter_INPUT", NAT]
    assert names(LISTED, "ip6", Hook.FORWARD) == ["legacy filter"]
    assert names(OLD, "ip", Hook.INPUT) == ["ip a b", "legacy filter"]
    assert names(OF_NAT, "ip", Hook.PREROUTING) == ["ip b c", "legacy nat"]


def test_what_is_not_listed_has_no_place() -> None:
    assert names(LISTED, "ip", Hook.OUTPUT) == []
    assert names("", "ip", Hook.INPUT) == []
    assert names(" \n", "ip", Hook.INPUT) == []
    assert names("family ip {\n}\n", "ip", Hook.INPUT) == []


@pytest.mark.parametrize("margin", ["", "> ", "    ", "\t"])
def test_a_margin_does_not_matter(margin: str) -> None:
    assert names("".join(margin + line for line in LISTED.splitlines(keepends=True)), "ip", Hook.INPUT) == names(LISTED, "ip", Hook.INPUT)


@pytest.mark.parametrize("text", ["Error: syntax error\n", "table ip x {\n}\n", "BUG: invalid command object type 33\n"])
def test_another_text_is_a_fault(text: str) -> None:
    with pytest.raises(ParseError, match="nft list hooks"):
        parse_hooks(text, "f")
