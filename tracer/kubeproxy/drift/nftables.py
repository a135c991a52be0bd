"""A node's nftables table of kube-proxy's against the model's.

Strategy: the model's text and the recorded listing are read by the same reader and compared by what rules and elements mean. Sets and maps
are compared as such: in which order the kernel lists them is its own, and what rules put into sets of clients is no drift. Empty chains of
Services that are gone are no drift either: kube-proxy takes them away later. The whole table is kube-proxy's; others' are not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

from tracer.errors import ParseError
from tracer.kube.objects import Objects
from tracer.kubeproxy.configuration import Configuration
from tracer.kubeproxy.drift.finding import Compared, Drift, Finding
from tracer.kubeproxy.drift.nft_meaning import key_meaning, rule_meaning
from tracer.kubeproxy.drift.ordering import differences
from tracer.kubeproxy.drift.ports import is_there
from tracer.kubeproxy.nft_layout import layout_of, layout_shown
from tracer.kubeproxy.nftables_rules import nftables_table
from tracer.netfilter import nft_model as n
from tracer.netfilter.nft_json import parse_json
from tracer.netfilter.nft_print import element_text, rule_text
from tracer.netfilter.nft_text import parse_text
from tracer.packet import Address
from tracer.patterns import pattern

TABLE = "kube-proxy"
_OF_PORT = pattern(r"(?:service|local|external|firewall|endpoint|affinity)-[A-Z2-7]{8}-([^/]+)/([^/]+)/(?:tcp|udp|sctp)/([^/_]*)", re.ASCII)
_OWN_RULE = pattern(
    r"ct state new jump |jump |goto (?:service|local)-|meta mark |masquerade|ct status dnat |ip6? daddr @cluster-ips |"
    r"ip6? daddr (?:\.|@nodeport-ips|!= \S+) meta l4proto|fib daddr type local |numgen random mod |meta l4proto \w+ dnat |"
    r"update @affinity-|ip6? saddr @affinity-|(?:ip6? saddr|iifname) \S+ (?:goto service-|jump mark-)|fib saddr type local |reject$|"
    r"ip6? saddr != [^;]* drop$|ip6? daddr \S+ (?:tcp|udp|sctp) dport |[^;]*\"Drop traffic to unallocated ClusterIPs\"$",
    re.ASCII,
)


def compare_nftables(text: str, file: str, objects: Objects, configuration: Configuration, *, is_json: bool = False) -> Compared:
    """Return where the tables of a listing differ from what kube-proxy would have programmed, both families."""
    try:
        ruleset = parse_json(text, file) if is_json else parse_text(text, file)
    except ParseError as error:
        return Compared(unknown=(str(error.faults[0]),))
    for fault in (ruleset.incomplete, ruleset.terse):
        if fault is not None:
            return Compared(unknown=(f"{file}: {fault.message}",))
    findings, unknown = list[Finding](), list[str]()
    for version in configuration.versions:
        family = "ip" if version == 4 else "ip6"
        table = next((t for t in ruleset.tables if (t.family, t.name) == (family, TABLE)), None)
        if table is not None:
            findings += _Comparing(table, file, objects, configuration, version).findings()
        elif not configuration.may_lack(version):
            unknown.append(f"{file} has no table {family} {TABLE}: kube-proxy did not program this node in this mode")
    return Compared(findings=tuple(findings), unknown=tuple(unknown))


class _Comparing:
    """One recorded table against the model's."""

    def __init__(self, table: n.NftTable, file: str, objects: Objects, configuration: Configuration, version: int) -> None:
        self._table = table
        self._file = file
        self._objects = objects
        layout = layout_of(configuration.release)
        if layout is None:
            rules = "\n".join(rule.text for chain in table.chains.values() for rule in chain.rules)
            layout = layout_shown(table.chains, table.sets, rules)
        text = nftables_table(objects, configuration, layout, version=version).to_text()
        self._expected = parse_text(text, "the model").tables[0]

    def findings(self) -> Iterator[Finding]:
        """Yield every difference, sets and maps first."""
        for name in dict.fromkeys((*self._expected.sets, *self._table.sets)):
            yield from self._set(name, self._expected.sets.get(name), self._table.sets.get(name))
        for name in dict.fromkeys((*self._expected.chains, *self._table.chains)):
            yield from self._chain(name, self._expected.chains.get(name), self._table.chains.get(name))

    # -- chains -------------------------------------------------------------------------------------------------------------------

    def _chain(self, name: str, expected: n.NftChain | None, recorded: n.NftChain | None) -> Iterator[Finding]:
        wanted = list(expected.rules) if expected is not None else []
        found = list(recorded.rules) if recorded is not None else []
        if expected is None:
            if found:
                yield self._unwanted_chain(name, found)
            return
        if recorded is not None and _head(expected) != _head(recorded):
            note = f"it is called as {_head(recorded)}, and not as {_head(expected)}"
            yield self._finding(Drift.DIFFERENT, f"chain {name}", line=recorded.line, text=f"chain {name}", note=note, port=_port_of(name))
        for at, other, is_moved in differences([rule_meaning(r) for r in wanted], [rule_meaning(r) for r in found]):
            yield from self._pair(
                name, wanted[at] if at is not None else None, found[other] if other is not None else None, is_moved=is_moved
            )

    def _pair(self, chain: str, expected: n.NftRule | None, recorded: n.NftRule | None, *, is_moved: bool) -> Iterator[Finding]:
        place, port = f"chain {chain}", _port_of(chain)
        said = expected.text if expected is not None else ""
        if recorded is None:
            yield self._finding(Drift.MISSING, place, expected=said, port=port)
            return
        text, line = self._text(recorded), recorded.line
        if not _OWN_RULE.match(text):
            if expected is not None:
                yield self._finding(Drift.MISSING, place, expected=said, port=port)
            yield self._finding(Drift.FOREIGN, place, line=line, text=text, owner="nobody that is known")
        elif expected is not None:
            note = "it does not stand in its place" if is_moved else ""
            yield self._finding(Drift.DIFFERENT, place, line=line, text=text, expected=said, note=note, port=port)
        else:
            yield self._finding(self._gone(port or _port_of(text)), place, line=line, text=text, port=port or _port_of(text))

    def _unwanted_chain(self, name: str, rules: list[n.NftRule]) -> Finding:
        count = f"{len(rules)} rules" if len(rules) > 1 else "1 rule"
        first, port = rules[0], _port_of(name)
        if not port and not _OWN_RULE.match(self._text(first)):
            return self._finding(Drift.FOREIGN, f"chain {name}", line=first.line, text=self._text(first), owner="nobody that is known")
        note = f"a chain with {count} that kube-proxy would not have"
        return self._finding(self._gone(port), f"chain {name}", line=first.line, text=self._text(first), note=note, port=port)

    def _text(self, rule: n.NftRule) -> str:
        return rule.text or rule_text(rule.statements, rule.comment, self._table.family)

    # -- sets and maps ------------------------------------------------------------------------------------------------------------

    def _set(self, name: str, expected: n.NftSet | None, recorded: n.NftSet | None) -> Iterator[Finding]:
        place = f"{'set' if (expected or recorded or _NOTHING).value_type is None else 'map'} {name}"
        if recorded is None:
            yield self._finding(Drift.MISSING, place, expected=place, port=_port_of(name))
        elif expected is None:
            port = _port_of(name)
            drift = self._gone(port) if port else Drift.FOREIGN
            yield self._finding(drift, place, line=recorded.line, text=place, port=port, owner="" if port else "nobody that is known")
        elif _kind(expected) != _kind(recorded):
            note = f"it holds {_kind(recorded)}, and not {_kind(expected)}"
            yield self._finding(Drift.DIFFERENT, place, line=recorded.line, text=place, note=note, port=_port_of(name))
        elif not name.startswith("affinity-"):
            yield from self._elements(place, expected, recorded)

    def _elements(self, place: str, expected: n.NftSet, recorded: n.NftSet) -> Iterator[Finding]:
        wanted = {key_meaning(e, expected.key_types): e for e in expected.elements}
        found = {key_meaning(e, recorded.key_types): e for e in recorded.elements}
        types = (" . ".join(recorded.key_types), recorded.value_type or "")
        for key, element in wanted.items():
            other, said = found.get(key), element_text(element, *types)
            if other is None:
                yield self._finding(Drift.MISSING, place, expected=said, port=self._port_in(element))
            elif other.value != element.value:
                text = element_text(other, *types)
                yield self._finding(Drift.DIFFERENT, place, line=recorded.line, text=text, expected=said, port=self._port_in(element))
        for key, element in found.items():
            if key not in wanted:
                yield self._unwanted_element(place, recorded, element, element_text(element, *types))

    def _unwanted_element(self, place: str, recorded: n.NftSet, element: n.Element, text: str) -> Finding:
        port = self._port_in(element)
        if not port and isinstance(element.value, n.VerdictValue) and element.value.chain not in (None, "reject-chain"):
            return self._finding(Drift.FOREIGN, place, line=recorded.line, text=text, owner="nobody that is known")
        address = element.key.parts[0] if isinstance(element.key, n.Concat) else element.key
        is_used = bool(port) or not isinstance(address, IPv4Address | IPv6Address) or self._is_of_a_service(address)
        drift = self._gone(port) if is_used else Drift.LEFTOVER
        return self._finding(drift, place, line=recorded.line, text=text, port=port)

    def _is_of_a_service(self, address: Address) -> bool:
        return bool(self._objects.services_with_address(address))

    def _port_in(self, element: n.Element) -> str:
        """Return the Service port that an element speaks of: by the chain that it leads to, or its comment."""
        chain = element.value.chain if isinstance(element.value, n.VerdictValue) else None
        return _port_of(chain or "") or element.comment or ""

    # -- what is found ------------------------------------------------------------------------------------------------------------

    def _gone(self, port: str) -> Drift:
        return Drift.STALE if is_there(self._objects, port) else Drift.LEFTOVER

    def _finding(
        self,
        drift: Drift,
        place: str,
        *,
        line: int | None = None,
        text: str = "",
        expected: str = "",
        note: str = "",
        port: str = "",
        owner: str = "",
    ) -> Finding:
        return Finding(
            drift=drift,
            file=self._file,
            place=f"{self._table.family} {TABLE} {place}",
            line=line,
            text=text,
            expected=expected,
            service=port,
            note=note,
            owner=owner,
        )


_NOTHING = n.NftSet("", ())


def _head(chain: n.NftChain) -> str:
    """Return how the kernel calls a chain, "no hook" for one that it does not call."""
    if chain.hook is None:
        return "no hook"
    return f"{chain.type} hook {chain.hook} priority {chain.priority or 0} policy {chain.policy or 'accept'}"


def _kind(found: n.NftSet) -> str:
    """Return what a set or map holds, and for how long."""
    value = f" : {found.value_type}" if found.value_type else ""
    flags = f", {','.join(sorted(found.flags))}" if found.flags else ""
    return " . ".join(found.key_types) + value + flags + (f", timeout {found.timeout}s" if found.timeout else "")


def _port_of(name: str) -> str:
    """Return the Service port in the name of a chain or set, or in a rule that leads to one."""
    found = _OF_PORT.search(name)
    if found is None:
        return ""
    return f"{found[1]}/{found[2]}:{found[3]}" if found[3] else f"{found[1]}/{found[2]}"
