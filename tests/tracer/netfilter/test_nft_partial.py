"""Listings as people attach them: what stands around them changes nothing, and what they leave out is never taken for empty."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import PROJECT
from tracer.errors import ParseError
from tracer.netfilter.nft_model import Reject
from tracer.netfilter.nft_statements import parse_statements
from tracer.query import Query, parse_destination, parse_source
from tracer.simulate import trace
from tracer.snapshot import Snapshot
from tracer.topology.cluster import Cluster
from tracer.trace import Trace

_CASES = PROJECT / "tests" / "field_cases" / "cases"
_QUESTION = Query(source=parse_source("pod:shop/client"), destination=parse_destination("10.96.7.7:80"))
_HEALTHY = "nft-prompt-line"
_TEXT, _JSON = "nft-ruleset.txt", "nft-ruleset.json"


def _files(case: str) -> dict[str, bytes]:
    root = _CASES / case / "snapshot"
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


FILES = _files(_HEALTHY)
_LISTINGS = {node: FILES[f"nodes/{node}/{_TEXT}"].decode().partition("\n")[2] for node in ("n1", "n2")}


def _asked(change: Callable[[str], str], name: str = _TEXT, files: dict[str, bytes] | None = None, kept: str = "") -> Trace:
    """Ask with the listing of each node changed, but that of node *kept*."""
    given = dict(files or FILES)
    for node, listing in _LISTINGS.items():
        given.pop(f"nodes/{node}/{_TEXT}", None)
        given[f"nodes/{node}/{name}" if node != kept else f"nodes/{node}/{_TEXT}"] = (listing if node == kept else change(listing)).encode()
    return trace(Cluster(Snapshot.from_files(given)), _QUESTION)


def _ends(found: Trace) -> list[tuple[str, str, bool]]:
    return [(str(o.disposition), str(o.destination.name if o.destination else None), bool(o.conditions)) for o in found.outcomes]


_DELIVERED = [("delivered", "web-1", False)]


def _margin(margin: str) -> Callable[[str], str]:
    return lambda text: "".join(f"{margin}{line}\n" for line in text.splitlines())


AROUND: dict[str, Callable[[str], str]] = {
    "nothing": lambda text: text,
    "a prompt before and behind": lambda text: f"root@n1:~# nft list ruleset\n{text}root@n1:~# \n",
    "a root's prompt, which is a comment": lambda text: f"# nft list ruleset\n{text}",
    "kubectl exec": lambda text: (
        f'$ kubectl exec -n kube-system kube-proxy-x -- nft list ruleset\nDefaulted container "a" out of: a\n{text}'
    ),
    "a fence": lambda text: f"```\n{text}```\n",
    "quoted": _margin("> "),
    "indented": _margin("    "),
    "without indentation": lambda text: "".join(f"{line.strip()}\n" for line in text.splitlines()),
    "spaces for tabs": lambda text: text.expandtabs(4),
    "line numbers": lambda text: "".join(f"{n:6}\t{line}\n" for n, line in enumerate(text.splitlines(), 1)),
    "a label": _margin("n1: "),
    "carriage returns": lambda text: text.replace("\n", "\r\n"),
    "colours": lambda text: text.replace("table ip", "\x1b[1mtable ip\x1b[0m"),
    "a program's name": lambda text: text.replace("kube-proxy {", "kube-proxy { # progname kube-proxy"),
    "a handle": lambda text: text.replace(" {\n", " { # handle 3\n"),
    "a comment behind what closes": lambda text: text.replace("\n}\n", "\n} # end\n"),
    "a comment behind a declaration": lambda text: text.replace("policy accept;", "policy accept; # as usual"),
    "comments between tables": lambda text: f"# Warning: table ip nat is managed by iptables-nft, do not touch!\n{text}\n# end\n",
    "when a rule was used last": lambda text: text.replace("\t\tjump services\n", "\t\tlast used 3s456ms jump services\n"),
    "a rule that was never used": lambda text: text.replace(
        "\t\tjump services\n", "\t\tcounter packets 0 bytes 0 last used never jump services\n"
    ),
    "a chain of nobody's": lambda text: text.replace(
        "table ip kube-proxy {\n", "table ip kube-proxy {\n\tchain forwards {\n\t\tdrop\n\t}\n"
    ),
    "a chain without a hook that is jumped to": lambda text: text.replace(
        "\t\tjump services\n", "\t\tjump output\n\t\tjump services\n"
    ).replace("table ip kube-proxy {\n", "table ip kube-proxy {\n\tchain output {\n\t\tcounter\n\t}\n"),
    "objects with names": lambda text: text.replace(
        "table ip nat {\n",
        "table ip nat {\n\tcounter c1 {\n\t\tpackets 0 bytes 0\n\t}\n\n\tflowtable ft {\n\t\thook ingress priority filter\n"
        "\t\tdevices = { eth0 }\n\t}\n\n\tquota q {\n\t\t25 mbytes\n\t}\n\n",
    ),
    "through a pager": lambda text: f"$ nft list ruleset | less\n{text}",
}


@pytest.mark.parametrize("around", AROUND)
def test_what_stands_around_a_listing_changes_nothing(around: str) -> None:
    assert _ends(_asked(AROUND[around])) == _DELIVERED


_WITHOUT_ELEMENTS: Callable[[str], str] = lambda text: "".join(  # noqa: E731
    f"{line}\n" for line in text.splitlines() if not line.startswith("\t\telements = ")
)
_without: Callable[[str, str], str] = lambda text, start: "".join(  # noqa: E731
    f"{line}\n" for line in text.splitlines() if not line.startswith(start)
)
LEFT_OUT: dict[str, tuple[Callable[[str], str], str]] = {
    "nft -t": (_WITHOUT_ELEMENTS, "--terse"),
    "nft -t, and the command": (lambda text: f"# nft -at list ruleset\n{_WITHOUT_ELEMENTS(text)}", "--terse"),
    "one table": (lambda text: f"$ nft list table ip kube-proxy\n{text}", "nft list table ip kube-proxy"),
    "one family": (lambda text: f"# nft list ruleset ip\n{text}", "nft list ruleset ip"),
    "through grep": (lambda text: f"$ sudo nft list ruleset | grep -v counter\n{text}", "grep -v counter"),
    "an error": (lambda text: "bash: nft: command not found\n", "command not found"),
    "an error behind it": (lambda text: f"{text}netlink: Error: cache initialization failed\n", "cache initialization failed"),
    "a page": (lambda text: "<html><body>502 Bad Gateway</body></html>\n", "502 Bad Gateway"),
    "empty": (lambda text: "", "is empty"),
    "blank": (lambda text: " \n\n", "is empty"),
    "cut": (lambda text: text[: len(text) // 2], "cut off"),
    "another table's": (lambda text: "table inet firewall {\n}\n", "no table kube-proxy"),
    "two listings": (lambda text: f"root@n1:~# nft list ruleset\n{text}root@n2:~# nft list ruleset\n{text}", "two listings"),
    "a family that there is not": (lambda text: text.replace("table ip kube-proxy", "table p kube-proxy"), "table p kube-proxy"),
    "a part that there is not": (lambda text: text.replace("\tchain services {", "\tchian services {"), "not a part of a table"),
    "a hook's line is missing": (lambda text: _without(text, "\t\ttype nat hook prerouting"), "chain nat-prerouting"),
    "another hook's line is missing": (lambda text: _without(text, "\t\ttype filter hook forward"), "chain filter-forward"),
    "the word hook is garbled": (lambda text: text.replace("nat hook prerouting", "nat hok prerouting"), "is not known of a chain"),
    "the word type is garbled": (lambda text: text.replace("type nat hook prerouting", "tpe nat hook prerouting"), "no hook"),
    "no such hook": (lambda text: text.replace("nat hook prerouting", "nat hook preroutin"), "no type or no hook"),
    "no such type": (lambda text: text.replace("type nat hook", "type nta hook"), "no type or no hook"),
    "no such policy": (lambda text: text.replace("policy accept", "policy acept"), "the policy 'acept'"),
    "a line that was cut in a table": (lambda text: text.replace("\tchain services {", "\tcha services"), "may be missing"),
}


@pytest.mark.parametrize("kind", LEFT_OUT)
def test_what_a_listing_leaves_out_is_unknown_and_named(kind: str) -> None:
    change, named = LEFT_OUT[kind]
    found = _asked(change)
    assert {str(o.disposition) for o in found.outcomes} == {"unknown"}
    said = " ".join(o.reason.text for o in found.outcomes)
    assert "nodes/n1/nft-ruleset.txt" in said
    assert named in said


def test_the_node_whose_listing_it_is_is_named() -> None:
    found = _asked(lambda text: "", kept="n1")
    assert "nodes/n2/nft-ruleset.txt is empty" in found.outcomes[0].reason.text


def _as_json(text: str) -> str:
    """The listing of the case as ``nft -j`` prints it, as far as this question needs."""
    root = Path(__file__).parent / "made_listing.json"
    node = "n1" if "192.0.2.11" in text else "n2"
    return json.dumps(json.loads(root.read_text())[node])


IN_JSON: dict[str, tuple[Callable[[str], str], str]] = {
    "a prompt": (lambda text: f"root@n1:~# nft -j list ruleset\n{_as_json(text)}\nroot@n1:~# \n", ""),
    "a fence": (lambda text: f"```json\n{_as_json(text)}\n```\n", ""),
    "nft -j -t": (lambda text: _as_json(text).replace('"elem"', '"left"'), "--terse"),
    "one table": (lambda text: f"# nft -j list table ip kube-proxy\n{_as_json(text)}", "nft -j list table ip kube-proxy"),
    "an error": (lambda text: "Error: syntax error, unexpected list\n", "not JSON"),
    "empty": (lambda text: "", "nft-ruleset.json"),
    "two listings": (lambda text: f"{_as_json(text)}\n{_as_json(text)}", "two listings"),
    "cut": (lambda text: _as_json(text)[:-9], "not JSON"),
    "no table": (lambda text: '{"nftables": []}', "is empty"),
    "a family that there is not": (lambda text: _as_json(text).replace('"ip"', '"p"'), "is no family"),
}


@pytest.mark.parametrize("kind", IN_JSON)
def test_the_same_of_json(kind: str) -> None:
    change, named = IN_JSON[kind]
    found = _asked(change, name=_JSON)
    if not named:
        assert _ends(found) == _DELIVERED
        return
    assert {str(o.disposition) for o in found.outcomes} == {"unknown"}
    assert named in found.outcomes[0].reason.text


def test_json_under_the_texts_name_and_text_under_its() -> None:
    assert _ends(_asked(_as_json)) == _DELIVERED
    assert _ends(_asked(lambda text: text, name=_JSON)) == _DELIVERED


def test_empty_sets_of_a_table_that_needs_none_are_empty() -> None:
    """A healthy node of iptables mode: kindnet's table without a policy. No chain is unnamed, and nothing becomes unknown."""
    table = "table inet kindnet-network-policies {\n\tset podips-v4 {\n\t\ttype ipv4_addr\n\t}\n\n\tchain postrouting {\n" + (
        "\t\ttype filter hook postrouting priority srcnat - 5; policy accept;\n\t\tip daddr @podips-v4 drop\n\t}\n}\n"
    )
    files = _files("ip-rule-is-an-error")
    for node in ("n1", "n2"):
        files[f"nodes/{node}/{_TEXT}"] = table.encode()
        files[f"nodes/{node}/ip-rule.json"] = FILES[f"nodes/{node}/ip-rule.json"]
    assert _ends(trace(Cluster(Snapshot.from_files(files)), _QUESTION)) == _DELIVERED


@pytest.mark.parametrize(
    ("printed", "numeric"),
    [
        ("ct state established,new accept", "ct state 0x2,0x8 accept"),
        ("ct state != new accept", "ct state != 0x8 accept"),
        ("ct state vmap { established : drop, new : accept }", "ct state vmap { 0x2 : drop, 0x8 : accept }"),
        ("ct state { established, related } accept", "ct state { 0x2, 0x4 } accept"),
        ("ct status snat,dnat accept", "ct status 0x10,0x20 accept"),
        ("ct direction reply accept", "ct direction 1 accept"),
        ("ct l3proto ipv4 accept", "ct l3proto 2 accept"),
        ("meta pkttype host accept", "meta pkttype 0 accept"),
        ("meta nfproto ipv6 accept", "meta nfproto 10 accept"),
        ("meta protocol ip accept", "meta protocol 0x0800 accept"),
        ("fib daddr type { local, broadcast } accept", "fib daddr type { 2, 3 } accept"),
        ("fib daddr . iif type != local accept", "fib daddr . iif type != 2 accept"),
        ("tcp flags syn / syn,ack accept", "tcp flags 0x2 / 0x2,0x10 accept"),
    ],
)
def test_nft_n_prints_numbers_for_words(printed: str, numeric: str) -> None:
    assert parse_statements(numeric, "inet") == parse_statements(printed, "inet")


@pytest.mark.parametrize(
    ("family", "printed", "numeric"),
    [("inet", "icmpx admin-prohibited", "icmpx 3"), ("ip", "icmp host-unreachable", "icmp 1"), ("ip6", "icmpv6 no-route", "icmpv6 0")],
)
def test_and_for_the_kind_of_a_refusal(family: str, printed: str, numeric: str) -> None:
    found, *_ = parse_statements(f"reject with {numeric}", family)[0]
    wanted, *_ = parse_statements(f"reject with {printed}", family)[0]
    assert isinstance(found, Reject)
    assert isinstance(wanted, Reject)
    assert found.reject_with == wanted.reject_with


@pytest.mark.parametrize(
    "text",
    [
        "meta l4proto tcpp accept",
        "ip daddr . meta l4proto .--More-- th dport vmap @service-ips",
        "ip saddr . ip daddr 10.0.0.1 accept",
        "ip saddr . ip daddr 10.0.0.1 . 10.0.0.2 . 10.0.0.3 accept",
        "ct state neww accept",
        "ct status dnatt accept",
        "fib daddr type locall accept",
        "meta nfproto ipv5 accept",
        "ct state vmap { neww : accept }",
        "meta l4proto { tcp, upd } accept",
    ],
)
def test_a_word_of_no_such_type_is_refused_and_no_mismatch(text: str) -> None:
    """A garbled word would compare with nothing: the rule would be passed over as if it asked for another packet."""
    with pytest.raises(ParseError):
        parse_statements(text, "inet")


@pytest.mark.parametrize("text", ["meta l4proto { tcp, vrrp, ospf, eigrp } accept", "ether type vlan accept", "ct state untracked accept"])
def test_and_words_of_the_type_are_not(text: str) -> None:
    parse_statements(text, "inet")
