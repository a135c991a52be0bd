"""Faults put into recorded listings of nftables, each with what has to be said of it: a seed makes the same ones again."""

from __future__ import annotations

import re
from itertools import pairwise
from random import Random

from tests.tracer.kubeproxy.mutations import Mutation
from tests.tracer.kubeproxy.recorded import RecordedNode
from tracer.kubeproxy.drift.finding import Drift

_PORT = re.compile(r"(?:service|local|external|firewall|endpoint)-[A-Z2-7]{8}-([^/\s]+)/([^/\s]+)/\w+/([a-z0-9-]*)")
_ELEMENTS = ("service-ips", "service-nodeports", "no-endpoint-services", "no-endpoint-nodeports", "cluster-ips", "hairpin-connections")


def nft_mutated(node: RecordedNode, random: Random) -> Mutation:
    """Return one fault of a random kind in the listing of *node*."""
    lines = node.listing.splitlines()
    kinds = (_deleted, _moved, _altered, _kept, _swapped, _foreign, _without_element, _wrong_element)
    for _ in range(20):
        if (found := random.choice(kinds)(lines, random)) is not None:
            return found
    raise AssertionError(f"{node} has nothing to break")


def _service(text: str) -> str:
    found = _PORT.search(text)
    return f"{found[1]}/{found[2]}" + (f":{found[3]}" if found[3] else "") if found else ""


def _own(lines: list[str]) -> list[tuple[int, str, str]]:
    """Return (line, block, what it is) for every line inside kube-proxy's tables; block is ``chain NAME``, ``set NAME`` or ``map NAME``."""
    found, table, block = [], "", ""
    for at, line in enumerate(lines):
        if line.startswith("table "):
            table = line.split()[2]
        elif re.match(r"\t(chain|set|map) ", line):
            block = " ".join(line.split()[:2])
        elif table == "kube-proxy" and line.startswith("\t\t"):
            found.append((at, block, line.strip()))
    return found


def _rules(lines: list[str]) -> list[tuple[int, str, str]]:
    return [
        (at, block, text) for at, block, text in _own(lines) if block.startswith("chain ") and not text.startswith(("type ", "comment "))
    ]


def _elements(lines: list[str]) -> list[tuple[int, str, str]]:
    """Return the lines of elements in the middle of a set or map, one element each."""
    inner = [
        (at, block, text) for at, block, text in _own(lines) if block.split()[-1] in _ELEMENTS and text.endswith(",") and "=" not in text
    ]
    return [(at, block, text) for at, block, text in inner if text.count(",") == 1]


def _made(what: str, lines: list[str], says: set[Drift], block: str, service: str, hidden: str = "") -> Mutation:
    chain = block.split()[-1]
    return Mutation(what=what, text="\n".join(lines) + "\n", says=frozenset(says), chain=chain, service=service, hidden=hidden)


def _deleted(lines: list[str], random: Random) -> Mutation:
    at, block, text = random.choice(_rules(lines))
    return _made(f"deleted: {text}", lines[:at] + lines[at + 1 :], {Drift.MISSING}, block, _service(block))


def _moved(lines: list[str], random: Random) -> Mutation | None:
    rules = _rules(lines)
    pairs = [(a, b) for a, b in pairwise(rules) if a[1] == b[1] and a[0] + 1 == b[0] and a[2] != b[2]]
    if not pairs:
        return None
    (at, block, text), _ = random.choice(pairs)
    swapped = [*lines[:at], lines[at + 1], lines[at], *lines[at + 2 :]]
    return _made(f"moved: {text}", swapped, {Drift.DIFFERENT}, block, _service(block))


def _altered(lines: list[str], random: Random) -> Mutation | None:
    """Change a mark, a verdict, the number of endpoints or a map that is asked."""
    old, new = random.choice(
        (("0x00004000", "0x00002000"), (" drop", " accept"), ("jump services", "jump firewall-check"), ("@service-ips", "@firewall-ips"))
    )
    able = [(at, block, text) for at, block, text in _rules(lines) if old in text]
    if not able:
        return None
    at, block, text = random.choice(able)
    says = {Drift.DIFFERENT}
    if " accept" in text.replace(old, new):
        says = {Drift.MISSING, Drift.FOREIGN, Drift.DIFFERENT}  # kube-proxy accepts nothing: it may be anybody's
    return _made(f"altered: {text}", [*lines[:at], lines[at].replace(old, new), *lines[at + 1 :]], says, block, "")


def _swapped(lines: list[str], random: Random) -> Mutation | None:
    able = [(at, block, text) for at, block, text in _rules(lines) if " dnat " in text]
    if not able:
        return None
    at, block, text = random.choice(able)
    changed = re.sub(
        r"( : |dnat to )(\[?)[0-9a-f:.]*[0-9a-f](?=\]?[ :])",
        r"\g<1>\g<2>" + ("fd00::99" if "ip6" in text or "[" in text else "10.99.0.9"),
        lines[at],
        count=1,
    )
    if changed == lines[at]:
        return None
    return _made(f"swapped: {text}", [*lines[:at], changed, *lines[at + 1 :]], {Drift.DIFFERENT}, block, _service(block))


def _kept(lines: list[str], random: Random) -> Mutation | None:
    able = [(block, text) for _, block, text in _rules(lines) if block.startswith("chain service-") and _service(block)]
    if not able:
        return None
    block, _ = random.choice(able)
    name = _service(block).partition(":")[0]
    return _made(f"kept: {name}", lines, {Drift.LEFTOVER}, block, name, hidden=name)


def _foreign(lines: list[str], random: Random) -> Mutation:
    at, block, text = random.choice(_rules(lines))
    rule = "\t\tmeta l4proto tcp th dport 8443 drop"
    return _made(f"foreign before: {text}", [*lines[:at], rule, *lines[at:]], {Drift.FOREIGN}, block, "")


def _without_element(lines: list[str], random: Random) -> Mutation | None:
    elements = _elements(lines)
    if not elements:
        return None
    at, block, text = random.choice(elements)
    return _made(f"element deleted: {text}", lines[:at] + lines[at + 1 :], {Drift.MISSING}, block, _service(text))


def _wrong_element(lines: list[str], random: Random) -> Mutation | None:
    able = [(at, block, text) for at, block, text in _elements(lines) if ": goto service-" in text or ": goto external-" in text]
    if not able:
        return None
    at, block, text = random.choice(able)
    changed = re.sub(r": goto [^,]+,", ": goto reject-chain,", lines[at])
    return _made(f"element altered: {text}", [*lines[:at], changed, *lines[at + 1 :]], {Drift.DIFFERENT}, block, _service(text))
