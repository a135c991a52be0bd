"""What is wrong with a node's file is said when a snapshot is stored: in every mode's rules, with the line, and where a listing is cut off."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import DEMO, PROJECT
from tracer.errors import Fault
from tracer.kube.kinds import KINDS
from tracer.snapshot import Snapshot
from tracer.snapshot.node_files import BESIDE_ROUTES, BY_NAME, CONNTRACK, KERNEL_TEXTS, NODE_FILES, READ, SOCKET_TABLES, TEXTS, Reading
from tracer.snapshot.summary import summarise
from webapp.reading.collect_commands import COLLECT_STEPS

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
CONNECTION = (
    "tcp      6 86400 ESTABLISHED src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 src=10.0.0.2 dst=10.0.0.1 sport=2 dport=1 [ASSURED] use=1\n"
)

TRIE = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 127.0.0.1\n        /32 host LOCAL\n"

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
    ("conntrack.txt", CONNECTION, "dport=2 src", "dport=two src", 1),
    (
        "ip-addr.json",
        '[{"ifname": "lo", "addr_info": [{"family": "inet", "local": "127.0.0.1", "prefixlen": 8}]}]',
        "127.0.0.1",
        "home",
        None,
    ),
    ("ip-link.json", '[{"ifindex": 1, "ifname": "lo", "flags": ["UP"]}]', '"ifindex": 1', '"ifindex": 0', None),
    ("ip-route.json", '[{"dst": "10.0.0.0/8", "dev": "eth0"}]', "10.0.0.0/8", "here", None),
    ("ip6-route.json", '[{"dst": "fd00::/64", "dev": "eth0"}]', "fd00::/64", "here", None),
    ("ip-neigh.json", '[{"dst": "10.1.1.2", "dev": "eth0", "state": ["STALE"]}]', "10.1.1.2", "10.1.1", None),
    ("ip-rule.json", '[{"priority": 0, "src": "all", "table": "local"}]', '"local"', "7.5", None),
    ("ip6-rule.json", '[{"priority": 0, "src": "all", "table": "local"}]', '"local"', "7.5", None),
    ("cilium-services.json", "[]", "[]", '"none"', 1),
    ("hns-policies.json", '[{"ID": "A1", "Policies": []}]', "]}]", "]}", 1),
    ("hns-policies.json", '[{"ID": "A1", "Policies": []}]', "[]", '"@{Type=ELB; ExternalPort=80}"', None),
    ("hns-endpoints.json", '[{"ID": "A1", "IPAddress": "10.0.0.1"}]', "}]", "}", 1),
    ("hnsdiag.txt", '{"ID": "A1", "Policies": []}', '{"ID": "A1", "Policies": []}', "A1 | 10.0.0.1", None),
    ("sysctl.txt", "net.ipv4.ip_forward = 1\n", " = 1", "", 1),
    ("kube-proxy-mode.txt", "iptables\n", "iptables", "curl: (7) Failed to connect", 1),
    ("resolv.conf", "nameserver 10.0.0.1\n", "nameserver", "cat:", 1),
    ("bridge-fdb.json", '[{"mac": "02:00:00:00:00:02", "ifname": "vx0"}]', '"ifname"', '"name"', None),
    ("wg-endpoints.txt", f"wg0\t{'A' * 43}=\t192.0.2.1:51820\n", "192.0.2.1:51820", "192.0.2.1", 1),
    ("wg-allowed-ips.txt", f"wg0\t{'A' * 43}=\t10.0.0.0/24 10.1.0.0/24\n", "10.1.0.0/24", "10.1.0.1/24", 1),
    ("nft-hooks.txt", "family ip {\n\thook input {\n\t}\n}\n", "family", "Error:", 1),
    ("ss.txt", "Netid State Recv-Q Send-Q Local Peer\n", "Netid", "sh: ss: not found", 1),
    ("proc-net-fib-trie.txt", TRIE, "/32 host LOCAL", "/32 host LOC", 4),
    ("proc-net-if-inet6.txt", f"{'0' * 31}1 01 80 10 80       lo\n", "01 80 10 80       lo", "01 80", 1),
    *(
        (f"proc-net-{of}.txt", "  sl  local_address rem_address   st\n", "  sl  local", "cat: no such file", 1)
        for of in ("tcp", "tcp6", "udp", "udp6")
    ),
]
CUT = [
    ("iptables-save.txt", IPTABLES, "COMMIT\n"),
    ("nft-ruleset.txt", NFT, "\t}\n}\n"),
    ("nft-ruleset.txt", NFT, "sport 81 accept\n\t}\n}\n"[6:]),
    ("nft-ruleset.json", NFT_JSON, "]}\n"),
    ("ip-addr.json", '[{"ifname": "lo", "addr_info": [{"family": "inet", "local": "127.0.0.1", "prefixlen": 8}]}]', "]"),
]
WITHOUT = {
    "ipvsadm-conn.txt",
    "ipvsadm-list.txt",
    "ipvsadm-stats.txt",
    "ipvsadm-persistent.txt",
    "ipset-list.txt",
    "kube-proxy-version.txt",
} | {file.name for file in (*TEXTS, *KERNEL_TEXTS) if file not in (*BESIDE_ROUTES, *SOCKET_TABLES)}
"""Lists of which lines are passed over that say nothing, and files of a word or two; JSON is decoded whoever reads it."""


def check(name: str, text: str, path: str) -> tuple[Fault, ...]:
    asked = BY_NAME[name].check
    assert asked is not None
    return asked(text, path)


def test_every_file_of_a_node_is_checked_or_it_is_said_why_not() -> None:
    assert {file.name for file in NODE_FILES if file.check is None} == WITHOUT
    assert [file.name for file in NODE_FILES if (file.check is None) != bool(file.unchecked)] == []
    assert {name for name, *_ in WRONG} == set(BY_NAME) - WITHOUT, "each has a fault below"


@pytest.mark.parametrize(("name", "text", "old", "new", "line"), WRONG)
def test_a_fault_is_found_when_the_snapshot_is_stored(name: str, text: str, old: str, new: str, line: int | None) -> None:
    def faulty(held: str) -> dict[str, int]:
        files = {"services.json": '{"kind": "ServiceList", "items": [{"metadata": {"name": "s"}, "spec": {}}]}', f"nodes/n1/{name}": held}
        return {f.file: f.count for f in summarise(Snapshot.from_files({p: t.encode() for p, t in files.items()})).faults}

    assert faulty(text) == {}
    assert set(faulty(text.replace(old, new))) == {f"nodes/n1/{name}"}


@pytest.mark.parametrize(("name", "text", "old", "new", "line"), WRONG)
def test_a_fault_is_said_with_its_line(name: str, text: str, old: str, new: str, line: int | None) -> None:
    path = f"nodes/n1/{name}"
    assert check(name, text, path) == ()
    assert old in text
    faults = check(name, text.replace(old, new), path)
    assert faults
    assert {fault.file for fault in faults} == {path}
    assert line is None or line in [fault.line for fault in faults]


@pytest.mark.parametrize(("name", "text", "end"), CUT)
def test_a_listing_that_is_cut_off_is_said(name: str, text: str, end: str) -> None:
    assert text.endswith(end)
    assert check(name, text, name) == ()
    assert check(name, text.removesuffix(end), name)


@pytest.mark.parametrize("mode", ["shop-nftables", "shop-ipvs"])
def test_the_demonstrations_have_no_faults(mode: str) -> None:
    for path in sorted((DEMO / mode).glob("nodes/*/*")):
        if path.name in ("nft-ruleset.txt", "nft-ruleset.json", "ipvsadm-save.txt", "ipset-save.txt"):
            assert check(path.name, path.read_text(), path.name) == (), path


# --- one table ------------------------------------------------------------------------------------------------------------------------

ELSEWHERE = {
    "tracer/routing/parse.py": "what a text is called where nobody says a path",
    "tracer/frontends/hns.py": "of several lists it prefers one by name, and stands below the table",
    "tracer/snapshot/looks.py": "the marks of each row, by which its content is known under any name",
    "tracer/frontends/kinds.py": "the table of data paths, from which the rows of their lists are drawn",
}
"""Modules that spell a file's name as a value, and why they may."""
NOT_OF_NODES = {
    *(f"{kind.plural}.json" for kind in KINDS),
    *("snapshot.json", "version.json", "steps.json", "reading.json", "cluster.json", "net-conf.json"),
}


def strings(path: Path) -> Iterator[str]:
    yield from (n.value for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Constant) and isinstance(n.value, str))


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted((*PROJECT.glob("tracer/**/*.py"), *PROJECT.glob("webapp/**/*.py"))):
        yield path.relative_to(PROJECT).as_posix(), path


def test_no_other_module_spells_the_name_of_a_file() -> None:
    """Whoever means a file takes it from the table; prose may name one."""
    found = {name for name, path in modules() for text in strings(path) if " " not in text and text.rpartition("/")[2] in BY_NAME}
    assert found - {"tracer/snapshot/node_files.py"} == set(ELSEWHERE)


def test_prose_names_no_file_that_there_is_not() -> None:
    spelled = re.compile(r"(?<![\w.*$-])[a-z][a-z0-9]+(?:-[a-z]+)*\.(?:txt|json)\b", re.ASCII)
    named = {(name, word) for name, path in modules() for text in strings(path) for word in spelled.findall(text)}
    assert {(name, word) for name, word in named if word not in BY_NAME and word not in NOT_OF_NODES} == set()
    assert len(named) > 40


def test_names_are_told_apart_and_what_is_read_is_printed_by_a_program() -> None:
    read = [file for file in NODE_FILES if file not in (*TEXTS, *KERNEL_TEXTS)]
    assert len(BY_NAME) == len(NODE_FILES)
    assert len(read) == len({file.word for file in read}) + len({"ruleset twice"})
    assert all(file.argv for file in NODE_FILES if file.reading in (Reading.WITH_EVENTS, Reading.SLOWLY, Reading.ON_DEMAND))
    assert len({file.argv for file in (*READ, CONNTRACK)}) == len(READ) + 1


def test_what_is_read_by_hand_is_read_by_the_same_programs() -> None:
    commands = COLLECT_STEPS[1].commands.replace("iptables-save -c >", "iptables-save >").replace("ip6tables-save -c >", "ip6tables-save >")
    by_hand = {file.name for file in NODE_FILES if f"> {file.name}" in commands}
    assert {file.name for file in (*READ, CONNTRACK)} - by_hand == {"resolv.conf", "kube-proxy-version.txt"}
    printed = [file for file in NODE_FILES if file.name in by_hand and file.argv and file.name != "sysctl.txt"]
    assert [file.name for file in printed if f"{' '.join(file.argv)} > {file.name}" not in commands] == []


def test_the_page_of_the_format_says_how_each_is_taken() -> None:
    rows = [row for row in (PROJECT / "docs/snapshot-format.md").read_text().splitlines() if row.startswith("| `")]
    for file in NODE_FILES:
        [row] = [row for row in rows if f"`{file.name}`" in row.split(" | ")[0]]
        assert not file.argv or file.argv[0].removeprefix("ip6tables").removeprefix("iptables") in row, file.name
