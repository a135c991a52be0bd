"""What is wrong with a node's file is said when a snapshot is stored: in every mode's rules, with the line, and where a listing is cut off."""

from __future__ import annotations

import pytest

from tests.conftest import DEMO
from tracer.snapshot.layout import LINUX_FILES
from webapp.storing.file_checks import CHECKS

IPTABLES = "*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -s 10.0.0.1/32 -j DROP\n-A FORWARD -j ACCEPT\nCOMMIT\n"
NFT = """\
table ip own {
	set blocked {
		type ipv4_addr
		elements = { 10.0.0.1 }
	}

	chain forward {
		type filter hook forward priority filter; policy accept;
		ip saddr @blocked drop
		tcp dport 80 accept
	}

	chain never_asked {
		tcp dport 81 accept
	}
}
"""
NFT_JSON = """\
{"nftables": [{"table": {"family": "ip", "name": "own"}},
{"chain": {"family": "ip", "table": "own", "name": "c"}},
{"rule": {"family": "ip", "table": "own", "chain": "c", "expr": [{"drop": null}]}}]}
"""
IPVS = "-A -t 10.0.0.1:80 -s rr\n-a -t 10.0.0.1:80 -r 10.1.0.1:8080 -m -w 1\n"
IPSET = "create S hash:ip family inet hashsize 64 maxelem 9\nadd S 10.0.0.1\n"
CONNTRACK = (
    "tcp      6 86400 ESTABLISHED src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 src=10.0.0.2 dst=10.0.0.1 sport=2 dport=1 [ASSURED] use=1\n"
)

WRONG = [
    # file, text, what is put for what, the line that the fault names
    ("iptables-save.txt", IPTABLES, "-s 10.0.0.1/32", "-s 10.0.0.x/32", 3),
    ("ip6tables-save.txt", IPTABLES, "-j ACCEPT", "-j", 4),
    ("iptables-legacy-save.txt", IPTABLES, "-j DROP", "--frobnicate", 3),
    ("ip6tables-legacy-save.txt", IPTABLES, ":FORWARD", ":FORWARD now", 2),
    ("nft-ruleset.txt", NFT, "tcp dport 80 accept", "tcp dport frobnicate accept", 10),
    ("nft-ruleset.txt", NFT, "tcp dport 81 accept", "frobnicate", 14),
    ("nft-ruleset.txt", NFT, "{ 10.0.0.1 }", "{ 10.0.0.1, frobnicate }", 4),
    ("nft-ruleset.json", NFT_JSON, '[{"drop": null}]', "7", None),
    ("nft-ruleset.json", NFT_JSON, '"chain": {"family"', '"chain": {"kin"', None),
    ("ipvsadm-save.txt", IPVS, "-r 10.1.0.1:8080", "-r web:http", 2),
    ("ipvsadm-save.txt", IPVS, "-A -t 10.0.0.1:80", "-A -t 10.0.0.1:http", 1),
    ("ipset-save.txt", IPSET, "add S 10.0.0.1", "add T 10.0.0.1", 2),
    ("conntrack.txt", CONNTRACK, "dport=2 src", "dport=two src", 1),
    ("ip-rule.json", '[{"priority": 0, "src": "all", "table": "local"}]', '"local"', "7.5", None),
    ("sysctl.txt", "net.ipv4.ip_forward = 1\n", " = 1", "", 1),
]
CUT = [
    ("iptables-save.txt", IPTABLES, "COMMIT\n"),
    ("nft-ruleset.txt", NFT, "\t}\n}\n"),
    ("nft-ruleset.txt", NFT, "sport 81 accept\n\t}\n}\n"[6:]),
    ("nft-ruleset.json", NFT_JSON, "]}\n"),
    ("ip-addr.json", "[{}]", "]"),
]
WITHOUT = {
    "ipvsadm-conn.txt",
    "ipvsadm-list.txt",
    "ipvsadm-stats.txt",
    "ipvsadm-persistent.txt",
    "ipset-list.txt",
    "kube-proxy-mode.txt",
    "kube-proxy-version.txt",
    "ip-neigh.json",
    "resolv.conf",
    "ss.txt",
}
"""Lists of which lines are passed over that say nothing, and files of a word or two; JSON is decoded whoever reads it."""


def test_every_file_of_a_node_is_checked_or_needs_no_check() -> None:
    assert LINUX_FILES - {*CHECKS} == WITHOUT


@pytest.mark.parametrize(("name", "text", "old", "new", "line"), WRONG)
def test_a_fault_is_said_with_its_line(name: str, text: str, old: str, new: str, line: int | None) -> None:
    path = f"nodes/n1/{name}"
    assert CHECKS[name](text, path) == ()
    assert old in text
    faults = CHECKS[name](text.replace(old, new), path)
    assert faults
    assert {fault.file for fault in faults} == {path}
    assert line is None or line in [fault.line for fault in faults]


@pytest.mark.parametrize(("name", "text", "end"), CUT)
def test_a_listing_that_is_cut_off_is_said(name: str, text: str, end: str) -> None:
    assert text.endswith(end)
    assert CHECKS[name](text, name) == ()
    assert CHECKS[name](text.removesuffix(end), name)


@pytest.mark.parametrize("mode", ["shop-nftables", "shop-ipvs"])
def test_the_demonstrations_have_no_faults(mode: str) -> None:
    for path in sorted((DEMO / mode).glob("nodes/*/*")):
        if path.name in ("nft-ruleset.txt", "nft-ruleset.json", "ipvsadm-save.txt", "ipset-save.txt"):
            assert CHECKS[path.name](path.read_text(), path.name) == (), path
