"""Faults put into recorded iptables rules, each with what has to be said of it: a seed makes the same ones again."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from tests.tracer.kubeproxy.recorded import RecordedNode
from tracer.kube.objects import Objects
from tracer.kubeproxy.drift.finding import Drift, Finding

_ORDERED = ("KUBE-SVC-", "KUBE-SVL-", "KUBE-EXT-", "KUBE-FW-", "KUBE-SEP-", "KUBE-XLB-", "KUBE-FORWARD", "KUBE-POSTROUTING")
_OWN = (*_ORDERED, "KUBE-SERVICES", "KUBE-NODEPORTS", "KUBE-EXTERNAL-SERVICES", "KUBE-MARK-MASQ", "KUBE-PROXY-FIREWALL")
_PORT = re.compile(r'--comment "(?:[a-z ]* for )?([a-z0-9-]+/[a-z0-9-]+:[a-z0-9-]+)')
FOREIGN = "-A {chain} -s 192.0.2.0/24 -p tcp -m tcp --dport 8443 -j DROP"


@dataclass(frozen=True)
class Mutation:
    """A node's dump with a fault: *says* are the kinds of findings that may be said of it, one of them at *chain*; *service* is whose it is."""

    what: str
    text: str
    says: frozenset[Drift]
    chain: str
    service: str = ""
    hidden: str = ""

    def objects(self, objects: Objects) -> Objects:
        """Return *objects* without the Service that is deleted."""
        return _Without(objects, self.hidden) if self.hidden else objects

    def is_said_by(self, findings: tuple[Finding, ...]) -> bool:
        """Return whether *findings* name the fault and blame nobody else for it."""
        if {f.drift for f in findings} - self.says or not findings:
            return False
        return any(f.place.endswith(f" {self.chain}") and (not self.service or f.service.startswith(self.service)) for f in findings)


class _Without(Objects):
    """Objects without one Service, whose slices are gone too."""

    def __init__(self, objects: Objects, name: str) -> None:
        super().__init__()
        self._all, self._name = objects, name

    @property
    def services(self):  # type: ignore[override, no-untyped-def]
        return tuple(s for s in self._all.services if f"{s.namespace}/{s.name}" != self._name)

    def service(self, namespace, name):  # type: ignore[override, no-untyped-def]
        return None if f"{namespace}/{name}" == self._name else self._all.service(namespace, name)

    @property
    def slices(self):  # type: ignore[override, no-untyped-def]
        return self._all.slices


def mutated(node: RecordedNode, version: int, random: Random) -> Mutation:
    """Return one fault of a random kind in the dump of *node*."""
    lines = node.dump(version).splitlines()
    rules = [n for n, line in enumerate(lines) if _chain(line).startswith(_OWN)]
    kind = random.choice((_deleted, _moved, _altered, _kept, _swapped, _foreign))
    found = kind(lines, rules, random)
    return found if found is not None else _deleted(lines, rules, random)


def _chain(line: str) -> str:
    found = re.match(r"(?:\[[0-9:]+\] )?-A (\S+) ", line)
    return found[1] if found else ""


def _service(line: str) -> str:
    found = _PORT.search(line)
    return found[1] if found else ""


def _made(what: str, lines: list[str], says: set[Drift], of: str, service: str | None = None) -> Mutation:
    text = "\n".join(lines) + "\n"
    return Mutation(what=what, text=text, says=frozenset(says), chain=_chain(of), service=_service(of) if service is None else service)


def _deleted(lines: list[str], rules: list[int], random: Random) -> Mutation:
    at = random.choice(rules)
    return _made(f"deleted: {lines[at]}", lines[:at] + lines[at + 1 :], {Drift.MISSING}, lines[at])


def _moved(lines: list[str], rules: list[int], random: Random) -> Mutation | None:
    """Swap a rule with the next one of its chain, where order is kube-proxy's; or put what must be last first."""
    last = [n for n in rules if "must be the last" in lines[n]]
    if random.random() < 0.3 and last and _chain(lines[last[0] - 1]) == "KUBE-SERVICES":
        at = last[0]
        return _made("last first", [*lines[: at - 1], lines[at], lines[at - 1], *lines[at + 1 :]], {Drift.DIFFERENT}, lines[at])
    pairs = [n for n in rules if n + 1 in rules and _chain(lines[n]) == _chain(lines[n + 1]) and _chain(lines[n]).startswith(_ORDERED)]
    at = random.choice(pairs)
    return _made(f"moved: {lines[at]}", [*lines[:at], lines[at + 1], lines[at], *lines[at + 2 :]], {Drift.DIFFERENT}, lines[at])


def _altered(lines: list[str], rules: list[int], random: Random) -> Mutation | None:
    """Change a port, a probability, a mark or where a rule leads."""
    changes: tuple[Callable[[str], str], ...] = (
        lambda line: re.sub(r"--dport ([0-9]+)", lambda m: f"--dport {int(m[1]) + 1}", line),
        lambda line: re.sub(r"--probability [0-9.]+", "--probability 0.12500000000", line),
        lambda line: re.sub(r"0x4000/0x4000", "0x2000/0x2000", line),
        lambda line: re.sub(r"-j KUBE-MARK-MASQ", "-j RETURN", line),
        lambda line: re.sub(r"-j REJECT --reject-with \S+", "-j DROP", line),
    )
    change = random.choice(changes)
    able = [n for n in rules if change(lines[n]) != lines[n]]
    if not able:
        return None
    at = random.choice(able)
    return _made(f"altered: {lines[at]}", [*lines[:at], change(lines[at]), *lines[at + 1 :]], {Drift.DIFFERENT}, lines[at])


def _swapped(lines: list[str], rules: list[int], random: Random) -> Mutation | None:
    """Send an endpoint's packets to another address."""
    able = [n for n in rules if "--to-destination" in lines[n]]
    if not able:
        return None
    at = random.choice(able)
    changed = re.sub(r"--to-destination \S+:", "--to-destination 10.244.200.200:", lines[at])
    return _made(f"swapped: {lines[at]}", [*lines[:at], changed, *lines[at + 1 :]], {Drift.DIFFERENT}, lines[at])


def _kept(lines: list[str], rules: list[int], random: Random) -> Mutation | None:
    """Delete a Service and keep its rules."""
    able = [n for n in rules if _chain(lines[n]).startswith("KUBE-SVC-") and _service(lines[n])]
    if not able:
        return None
    at = random.choice(able)
    service = _service(lines[at]).partition(":")[0]
    found = _made(f"kept: {service}", lines, {Drift.LEFTOVER}, lines[at], service)
    return Mutation(what=found.what, text=found.text, says=found.says, chain=found.chain, service=service, hidden=service)


def _foreign(lines: list[str], rules: list[int], random: Random) -> Mutation:
    """Put somebody's rule in front of a chain of kube-proxy's."""
    chains = {_chain(lines[n]): n for n in reversed(rules)}
    chain = random.choice(sorted(chains))
    rule = FOREIGN.format(chain=chain)
    at = chains[chain]
    return _made(f"foreign in {chain}", [*lines[:at], rule, *lines[at:]], {Drift.FOREIGN}, rule, "")
