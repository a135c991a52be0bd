"""A node's iptables rules against the model's.

Strategy: texts are compared first, chain by chain; only where they differ are rules parsed and compared by what they match and do, so that
another spelling is no difference, and neither is a comment. Chains with a rule a Service are compared Service by Service, as their order is
that of a Go map; what must be the last rule must be the last. Rules of endpoints may lack comments: a large cluster's do, and keep what
they have while they are not written anew.
In chains of the kernel only kube-proxy's own jumps are looked for. KUBE-FIREWALL is the kubelet's too: more may stand there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

from tracer.errors import ParseError
from tracer.kube.objects import Objects
from tracer.kubeproxy.configuration import Configuration
from tracer.kubeproxy.drift.finding import Compared, Drift, Finding
from tracer.kubeproxy.drift.ordering import differences
from tracer.kubeproxy.drift.ports import is_there
from tracer.kubeproxy.iptables_rules import iptables_rules
from tracer.kubeproxy.rule_tables import OUT_FILTER, Chains, is_ordered
from tracer.netfilter.dump import Chain, Dump
from tracer.netfilter.hook_order import CHAINS_OF_TABLE
from tracer.netfilter.iptables_save import parse_dump
from tracer.netfilter.model import CommentMatch
from tracer.netfilter.owners import owner_of
from tracer.netfilter.rule_text import parse_rule, strip_counters
from tracer.patterns import pattern
from tracer.values import dataclass

_COMMENT = pattern(r' -m comment --comment (?:"([^"]*)"|(\S+))', re.ASCII)
_PORT = pattern(r"(?:^|[ ])([a-z0-9][a-z0-9.-]{0,252}/[a-z0-9][a-z0-9.-]{0,252}(?::[a-z0-9-]{1,63})?)(?= |$)", re.ASCII)
_TARGET = pattern(r" -[jg] (\S+)", re.ASCII)
_ASKS_OWN = pattern(r" -m set (?:! )?--match-set KUBE-| -m ipvs --vaddr ", re.ASCII)
_OF_PORTS = ("KUBE-SVC-", "KUBE-SVL-", "KUBE-EXT-", "KUBE-FW-", "KUBE-XLB-")
_OF_ENDPOINTS = ("KUBE-SEP-",)
_WITHOUT_COMMENT = ("DNAT", "MARK", "RETURN", "KUBE-MARK-MASQ")
"""Where rules of kube-proxy's lead that need not have a comment."""
_KUBELETS = {"KUBE-FIREWALL": True, "KUBE-MARK-DROP": False}
"""Chains of the kubelet's; whether kube-proxy writes there as well, in releases that are not old."""
_LAST = "must be the last rule"


def compare_iptables(text: str, file: str, objects: Objects, configuration: Configuration, *, version: int) -> Compared:
    """Return where the iptables-save text of one family differs from what kube-proxy would have programmed."""
    expected = iptables_rules(objects, configuration, version=version, has_comments=True)
    return compare_rules(text, file, objects, expected, is_old=configuration.release.is_old)


def compare_rules(text: str, file: str, objects: Objects, expected: Mapping[str, Chains], *, is_old: bool = False) -> Compared:
    """Return where an iptables-save text differs from the tables that are *expected*."""
    dump = parse_dump(text, file)
    if unknown := tuple(_unknown(dump)):
        return Compared(unknown=unknown)
    missing = [table for table in ("filter", "nat") if table not in dump.tables]
    listed = {name: chains for name, chains in expected.items() if name not in missing}
    return Compared(
        findings=tuple(_Comparing(dump, objects, listed, is_old=is_old).findings()) if len(missing) < 2 else (),
        unknown=tuple(f"{file} does not list table {table}" for table in missing),
    )


def _unknown(dump: Dump) -> Iterator[str]:
    """Yield why a text cannot be compared: what cannot be read may be what seems to be missing."""
    if dump.illegible is not None:
        yield f"{dump.file}: {dump.illegible.why}"
    elif dump.truncated or any(t.truncated for t in dump.tables.values()):
        yield f"{dump.file} is cut off"
    for table, unread in dump.unread.items():
        yield f"{dump.file}: of table {table} not everything is known: {unread.why}"
    for table_ in dump.tables.values():
        for chain in table_.chains.values():
            if chain.unread is not None:
                yield f"{dump.file}: of chain {chain.name} not everything is known: {chain.unread.why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """A recorded rule: its *line* in the file, and its *text* without counters."""

    line: int
    text: str


class _Comparing:
    """One dump against the model's tables. *service_of* chains is what their rules' comments say."""

    def __init__(self, dump: Dump, objects: Objects, expected: Mapping[str, Chains], *, is_old: bool) -> None:
        self._dump = dump
        self._objects = objects
        self._is_old = is_old
        self._expected = expected
        self._has_port_chains = "KUBE-NODEPORTS" in expected.get("nat", {}) or "KUBE-EXTERNAL-SERVICES" in expected.get("filter", {})

    def findings(self) -> Iterator[Finding]:
        """Yield every difference, table by table and chain by chain."""
        for name, expected in self._expected.items():
            table = self._dump.tables.get(name)
            recorded = table.chains if table is not None else {}
            known = _Names(expected, recorded)
            for chain in sorted({*expected, *(c for c in recorded if self._has_port_chains and _is_of_proxy(c))}):
                yield from self._chain(_Place(name, chain, known), expected.get(chain), recorded.get(chain))

    def _chain(self, place: _Place, expected: list[str] | None, chain: Chain | None) -> Iterator[Finding]:
        lines = _lines(chain)
        if place.chain in CHAINS_OF_TABLE[place.table]:
            yield from self._jumps(place, expected or [], lines)
        elif place.chain in _KUBELETS:
            if _KUBELETS[place.chain] and not self._is_old:
                yield from (f for f in self._ordered(place, expected or [], lines) if f.drift is Drift.MISSING)
        elif expected is None:
            if lines:
                yield self._unwanted_chain(place, lines)
        elif place.chain == OUT_FILTER:  # a rule a Service, in the order of a Go map
            yield from self._ordered(place, sorted(expected), sorted(lines, key=lambda one: one.text))
        elif self._has_port_chains and not is_ordered(place.chain):
            yield from self._by_port(place, expected, lines)
        elif expected != [one.text for one in lines] and expected != _with_comments(expected, lines):
            yield from self._ordered(place, expected, lines)

    # -- chains of the kernel -----------------------------------------------------------------------------------------------------

    def _jumps(self, place: _Place, expected: Sequence[str], lines: Sequence[_Line]) -> Iterator[Finding]:
        """Look for kube-proxy's jumps. Their order is that in which they were missing once, and what else stands there is not its own."""
        held = set(self._equals(place, expected, lines))
        for text in expected:
            if text not in held and not (self._is_old and text.endswith(" -j KUBE-FIREWALL")):
                yield self._missing(place, text)

    # -- chains of kube-proxy -----------------------------------------------------------------------------------------------------

    def _by_port(self, place: _Place, expected: Sequence[str], lines: Sequence[_Line]) -> Iterator[Finding]:
        """Compare a chain Service port by Service port, and see that what must be the last rule is."""
        wanted: dict[str, list[str]] = {}
        for text in expected:
            wanted.setdefault(_port_in(text), []).append(text)
        found: dict[str, list[tuple[_Line, str]]] = {}
        for pair in zip(lines, self._equals(place, expected, lines), strict=True):
            found.setdefault(_port_in(pair[1]), []).append(pair)
        for key in dict.fromkeys((*wanted, *found)):
            pairs = found.get(key, [])
            yield from self._aligned(place, wanted.get(key, []), [one for one, _ in pairs], [text for _, text in pairs])
        yield from self._behind_last(place, [line for line, _ in found.get(_LAST, [])], lines)

    def _behind_last(self, place: _Place, last: Sequence[_Line], lines: Sequence[_Line]) -> Iterator[Finding]:
        if not last:
            return
        behind = [one for one in lines if one.line > last[0].line and one not in last and _is_written_by_proxy(one.text)]
        if behind:
            note = f"it must be the last rule of its chain, and kube-proxy's rule of line {behind[0].line} stands behind it"
            yield self._found(Drift.DIFFERENT, place, last[0], expected=last[0].text, note=note)

    def _ordered(self, place: _Place, expected: Sequence[str], lines: Sequence[_Line]) -> Iterator[Finding]:
        """Compare rules in order."""
        return self._aligned(place, expected, lines, self._equals(place, expected, lines))

    def _aligned(self, place: _Place, expected: Sequence[str], lines: Sequence[_Line], equals: Sequence[str]) -> Iterator[Finding]:
        for wanted, at, is_moved in differences(expected, equals) if expected != equals else ():
            if is_moved and wanted is not None and at is not None:
                yield self._found(Drift.DIFFERENT, place, lines[at], expected=expected[wanted], note="it does not stand in its place")
            elif wanted is not None and at is not None and _is_written_by_proxy(lines[at].text):
                yield self._found(Drift.DIFFERENT, place, lines[at], expected=expected[wanted])
            else:
                if wanted is not None:
                    yield self._missing(place, expected[wanted])
                if at is not None:
                    yield self._unwanted(place, lines[at])

    def _equals(self, place: _Place, expected: Sequence[str], lines: Sequence[_Line]) -> list[str]:
        """Return for each of *lines* the expected rule that matches and does the same, else its own text."""
        texts, held = set(expected), {one.text for one in lines}
        if texts >= held:
            return [one.text for one in lines]
        same = {self._meaning(text, place): text for text in expected if text not in held}
        return [one.text if one.text in texts else same.get(self._meaning(one.text, place), one.text) for one in lines]

    def _meaning(self, text: str, place: _Place) -> object:
        """Return what a rule matches and does, whatever its spelling; its text where it cannot be parsed."""
        try:
            rule = parse_rule(text, 1, place.names, file=self._dump.file)
        except ParseError:
            return text
        return (frozenset(m for m in rule.matches if not isinstance(m, CommentMatch)), rule.target)

    # -- what is found ------------------------------------------------------------------------------------------------------------

    def _missing(self, place: _Place, text: str) -> Finding:
        service = _port_in(text) or self._ports_of_chains.get(place.chain, "")
        return Finding(drift=Drift.MISSING, file=self._dump.file, place=str(place), expected=text, service=_shown(service))

    def _unwanted(self, place: _Place, one: _Line) -> Finding:
        """Return what a rule is that the model does not have: of a Service that is gone, of an earlier state, or somebody's."""
        if not _is_written_by_proxy(one.text):
            owner = owner_of("", "", one.text).name
            return self._found(Drift.FOREIGN, place, one, owner=owner or "nobody that is known")
        return self._found(Drift.STALE if is_there(self._objects, _shown(_port_in(one.text))) else Drift.LEFTOVER, place, one)

    def _unwanted_chain(self, place: _Place, lines: Sequence[_Line]) -> Finding:
        """Return what a chain is that the model does not have; nothing that leads to it makes it harmless."""
        port = next((p for one in lines if (p := _port_in(one.text))), "") or self._led_from.get((place.table, place.chain), "")
        drift = Drift.STALE if is_there(self._objects, _shown(port)) else Drift.LEFTOVER
        rules = f"{len(lines)} rules" if len(lines) > 1 else "1 rule"
        harm = "" if (place.table, place.chain) in self._led_from else "; nothing leads to it"
        return self._found(drift, place, lines[0], note=f"a chain with {rules} that kube-proxy would not have{harm}", port=port)

    def _found(
        self, drift: Drift, place: _Place, one: _Line, *, expected: str = "", note: str = "", owner: str = "", port: str = ""
    ) -> Finding:
        service = "" if drift is Drift.FOREIGN else port or _port_in(one.text) or self._ports_of_chains.get(place.chain, "")
        return Finding(
            drift=drift,
            file=self._dump.file,
            place=str(place),
            line=one.line,
            text=one.text,
            expected=expected,
            service=_shown(service),
            note=note,
            owner=owner,
        )

    @cached_property
    def _ports_of_chains(self) -> Mapping[str, str]:
        """Chain → the Service port that the model writes it for."""
        named = ((chain, rules) for chain, rules in self._expected.get("nat", {}).items() if chain.startswith((*_OF_PORTS, *_OF_ENDPOINTS)))
        return {chain: next((p for rule in rules if (p := _port_in(rule))), "") for chain, rules in named}

    @cached_property
    def _led_from(self) -> Mapping[tuple[str, str], str]:
        """Table and chain → the Service port that a recorded rule leading there speaks of."""
        found: dict[tuple[str, str], str] = {}
        for name, table in self._dump.tables.items():
            for chain in table.chains.values():
                for one in _lines(chain):
                    target = _TARGET.search(one.text)
                    if target is not None and target[1].startswith("KUBE-"):
                        found.setdefault((name, target[1]), _port_in(one.text))
        return found


class _Names:
    """The chains that a rule may lead to: the model's and the recorded ones."""

    def __init__(self, *chains: Mapping[str, object]) -> None:
        self._chains = chains

    def __contains__(self, name: object) -> bool:
        return any(name in chains for chains in self._chains)


@dataclass(frozen=True, slots=True)
class _Place:
    """A chain of a table, and the *names* of chains that its rules may lead to."""

    table: str
    chain: str
    names: _Names

    def __str__(self) -> str:
        return f"{self.table} {self.chain}"


def _lines(chain: Chain | None) -> list[_Line]:
    numbers = chain.numbers if chain is not None else ()
    return [_Line(line=n, text=strip_counters(chain.table.dump.lines[n - 1]).rstrip()) for n in numbers] if chain is not None else []


def _with_comments(expected: Sequence[str], lines: Sequence[_Line]) -> list[str]:
    """Return *lines*' texts with *expected*'s where only a comment is left out."""
    pairs = zip(expected, lines, strict=False)
    return [wanted if one.text == _COMMENT.sub("", wanted) else one.text for wanted, one in pairs] if len(expected) == len(lines) else []


def _comment(text: str) -> str:
    found = _COMMENT.search(text)
    return (found[1] if found[1] is not None else found[2]) if found else ""


def _port_in(text: str) -> str:
    """Return the Service port that a rule's comment speaks of, ``_LAST`` for what must be the last rule, "" for none."""
    said = _comment(text)
    if _LAST in said:
        return _LAST
    found = _PORT.search(said)
    return found[1] if found else ""


def _shown(port: str) -> str:
    return "" if port == _LAST else port


def _is_of_proxy(chain: str) -> bool:
    """Return whether a chain is one that only kube-proxy writes."""
    return chain.startswith((*_OF_PORTS, *_OF_ENDPOINTS))


def _is_written_by_proxy(text: str) -> bool:
    """Return whether kube-proxy could have written a rule of its chains: by the chain that it leads to, or by what its comment says."""
    target = _TARGET.search(text)
    if target is not None and target[1].startswith((*_OF_PORTS, *_OF_ENDPOINTS)):
        return True
    said = _comment(text)
    if not said:
        return _ASKS_OWN.search(text) is not None or (target is not None and target[1] in _WITHOUT_COMMENT)
    return said.startswith(("kubernetes ", "Kubernetes ", "kube-proxy ", "block incoming localnet")) or _PORT.search(said) is not None
