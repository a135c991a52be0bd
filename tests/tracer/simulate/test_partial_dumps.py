"""What of a node's rules was not recorded, or cannot be read, ends a walk that comes to it in one unknown, named with file and line."""

from __future__ import annotations

import re

import pytest

from tests.made_cluster import MadeCluster
from tracer.trace import Disposition, Trace

CLIENT, SERVICE = "pod:default/client", "10.96.0.10:80"
RULES = "nodes/n1/iptables-save.txt"


def made() -> MadeCluster:
    cluster = MadeCluster(2)
    cluster.pod("client", 1)
    cluster.service("web", [cluster.pod("web", 2)], node_port=30080)
    return cluster


def with_rules(change, *, version: int = 4, node: int = 1, mode: str | None = "iptables") -> MadeCluster:  # type: ignore[no-untyped-def]
    cluster = made()
    name = "iptables-save.txt" if version == 4 else "ip6tables-save.txt"
    cluster.node(node).texts[name] = change(cluster.dump(cluster.node(node), version))
    if mode is None:
        cluster.node(node).without |= {"kube-proxy-mode.txt"}
    return cluster


def table(text: str, name: str) -> str:
    found = re.search(rf"^\*{name}\n.*?^COMMIT\n", text, re.MULTILINE | re.DOTALL)
    return found[0] if found else ""


def unknown(answer: Trace) -> str:
    (outcome,) = answer.outcomes
    assert (outcome.disposition, outcome.conditions) == (Disposition.UNKNOWN, ())
    assert outcome.reason is not None
    return f"{outcome.reason.code}: {outcome.reason.text}"


ALL = "iptables-save -c, as root, prints all tables"
PARTIAL = [
    (lambda text: table(text, "nat"), f"NO_RULES: {RULES} has only table nat of node n1; tables filter, mangle and raw not recorded: {ALL}"),
    (lambda text: table(text, "filter"), f"NO_RULES: {RULES} has only table filter of node n1; tables nat, mangle and raw not recorded: {ALL}"),
    (lambda _: "", f"NO_RULES: {RULES} is empty, and nodes/n1/kube-proxy-mode.txt says iptables: a node in that mode has rules; {ALL}"),
    (lambda _: "Permission denied (you must be root)\n", f"NO_RULES: {RULES} cannot be read as iptables-save: line 1 says “Permission denied (you must be root)”; {ALL}"),
    (lambda text: text + text.replace("10.1.2.2", "10.1.9.9"), f"UNREAD_TABLE: {RULES}:"),
    (lambda text: text.replace("*filter\n", ""), f"UNREAD_TABLE: {RULES}:"),
    (lambda text: text.replace("-j DNAT --to-destination 10.1.2.2:8080", "-j DNAT [unsupported revision]"), f"BAD_RULE: {RULES}:"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "said"), PARTIAL)
def test_what_was_not_read_is_one_unknown(change, said: str) -> None:  # type: ignore[no-untyped-def]
    assert unknown(with_rules(change).trace(CLIENT, SERVICE)).startswith(said)


def test_what_does_not_matter_is_not_seen() -> None:
    """A rule that cannot be read, for another address; a declaration that says nothing."""
    damaged = "-A KUBE-SERVICES -d 10.96.0.99/32 -p tcp -m tcp --dport 80 -j DNAT [unsupported revision]\n-A KUBE-SERVICES"
    cluster = with_rules(lambda text: text.replace("*nat\n", "*nat\n:SPARE - [0:\n").replace("-A KUBE-SERVICES", damaged, 1))
    answer = cluster.trace(CLIENT, SERVICE)
    assert ([o.disposition for o in answer.outcomes], answer.unknowns) == ([Disposition.DELIVERED], ())


@pytest.mark.parametrize("mode", ["iptables", None])
@pytest.mark.parametrize("dress", ["    ", "> ", "12: "])
def test_a_dump_in_another_dress_is_read(mode: str | None, dress: str) -> None:
    cluster = with_rules(lambda text: "".join(f"{dress}{line}\n" for line in text.splitlines()), mode=mode)
    plain = made().trace(CLIENT, SERVICE)
    assert [(o.disposition, o.destination) for o in cluster.trace(CLIENT, SERVICE).outcomes] == [
        (o.disposition, o.destination) for o in plain.outcomes
    ]


def test_a_listing_of_nfts_has_what_a_dump_of_one_table_lacks() -> None:
    cluster = with_rules(lambda text: table(text, "nat"), mode=None)
    chains = "".join(
        f"\tchain {hook} {{\n\t\ttype nat hook {hook.lower()} priority 0; policy accept;\n\t}}\n" for hook in ("PREROUTING", "OUTPUT")
    )
    cluster.node(1).texts["nft-ruleset.txt"] = f"table ip nat {{\n{chains}}}\n"
    (outcome,) = cluster.trace(CLIENT, SERVICE).outcomes
    assert outcome.disposition is Disposition.DELIVERED


def test_a_listing_without_a_table_of_iptables_says_nothing_of_the_other_back_end() -> None:
    cluster = with_rules(lambda text: table(text, "nat"))
    cluster.node(1).texts["nft-ruleset.txt"] = "table inet mine {\n}\n"
    assert "tables filter, mangle and raw not recorded" in unknown(cluster.trace(CLIENT, SERVICE))


def test_an_empty_dump_is_an_empty_rule_set_where_the_other_family_could_be_taken() -> None:
    asked = "[fd00:1:2::2]:8080"
    (outcome,) = with_rules(lambda _: "", version=6, mode=None).trace(CLIENT, asked).outcomes
    assert outcome.disposition is Disposition.DELIVERED
    assert "says iptables" in unknown(with_rules(lambda _: "", version=6).trace(CLIENT, asked))
    nothing = with_rules(lambda _: "", version=6, mode=None)
    nothing.node(1).texts["iptables-save.txt"] = ""
    assert "or they could not be read, is not known" in unknown(nothing.trace(CLIENT, asked))
