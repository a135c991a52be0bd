"""Random rule sets: chains that jump into each other, rules of a few matches and a target; and the packets to send through them."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

from tests.oracle.lab import CLIENT, GATEWAYS, NODE_ADDRESSES, PODS, pod_address
from tests.oracle.targets import TARGETS
from tests.oracle.vocabulary import CLUSTER, DSCP, LOOPBACK, MATCHES, NOWHERE, OUTSIDE, PORTS, TTLS, Kind, Place, set_name

BASES = {
    "raw": ("PREROUTING", "OUTPUT"),
    "mangle": ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
    "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
    "security": ("INPUT", "FORWARD", "OUTPUT"),
}
_SHARE = {"raw": 4, "mangle": 9, "nat": 9, "filter": 9, "security": 3}
_MOST_UNCERTAIN = 4
SOURCE_PORTS = range(31000, 61000)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: its protocol, its matches' texts, its target's text (``-j …``, ``-g …`` or nothing)."""

    matches: tuple[str, ...]
    target: str
    protocol: str = ""

    def text(self, chain: str) -> str:
        """Return the line that iptables-restore reads."""
        return " ".join(x for x in (f"-A {chain}", self.protocol, *self.matches, self.target) if x)


@dataclass(slots=True)
class Chain:
    """One chain; *hooks* are those that can reach it. *policy* is ``-`` for a user chain."""

    name: str
    policy: str
    hooks: frozenset[str]
    rules: list[Rule] = field(default_factory=list)


@dataclass(slots=True)
class RuleSet:
    """One node's rules of one family, and the sets they ask."""

    version: int
    tables: dict[str, list[Chain]]
    sets: str

    def text(self) -> str:
        """Return what iptables-restore reads. The first rules of raw switch the kernel's trace on."""
        lines = []
        for table, chains in self.tables.items():
            lines += [f"*{table}", *(f":{c.name} {c.policy} [0:0]" for c in chains)]
            if table == "raw":
                lines += [":TRACKED - [0:0]", *TRACING]
            lines += [rule.text(chain.name) for chain in chains for rule in chain.rules]
            lines.append("COMMIT")
        return "\n".join(lines) + "\n"

    @property
    def rule_count(self) -> int:
        """Return how many rules there are, those that switch the trace on left out."""
        return sum(len(c.rules) for chains in self.tables.values() for c in chains)


TRACING = ["-A PREROUTING ! -i lo -j TRACE"]  # over lo a packet stays traced, and answers to our own are not to be
TRACING += ["-A TRACKED -m conntrack --ctstate NEW"]  # without a rule that asks for it, a namespace has no conntrack and asks no nat chain
TRACING += [f"-A OUTPUT -p {p} -m {p} --sport {SOURCE_PORTS.start}:{SOURCE_PORTS.stop - 1} -j TRACE" for p in ("tcp", "udp", "sctp")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """One packet to send: *source* is a pod, ``client`` (outside) or ``node`` (a process of the node)."""

    source: str
    version: int
    protocol: str
    destination: str
    destination_port: int
    source_port: int
    dscp: int = 0
    ttl: int = 64
    payload: int = 3
    said: bool = True


class Generator:
    """Makes rule sets and packets from a seed."""

    def __init__(self, seed: int, *, version: int, untested: frozenset[str] = frozenset()) -> None:
        self._rng = random.Random(seed)
        self._version = version
        self._untested = untested
        self._uncertain = 0

    def rule_set(self) -> RuleSet:
        """Return a rule set of at least 20 rules in at least 5 chains with rules."""
        while True:
            self._uncertain = 0
            made = RuleSet(self._version, {t: self._table(t) for t in BASES}, _sets(self._rng, self._version))
            used = [c for chains in made.tables.values() for c in chains if c.rules]
            if made.rule_count >= 20 and len(used) >= 5:
                return made

    def rule_set_of_nothing(self) -> RuleSet:
        """Return a rule set without rules; its sets are there."""
        tables = {table: [Chain(name, "ACCEPT", frozenset([name])) for name in names] for table, names in BASES.items()}
        return RuleSet(self._version, tables, _sets(self._rng, self._version))

    def one_rule(self, kind: Kind, place: Place) -> str:
        """Return a table with one rule that uses *kind*, and nothing else that is special."""
        text, chain = _negated(kind.make(self._rng, place), kind, False), next(iter(place.hooks))
        rule = Rule(
            (text,) if kind in MATCHES else (),
            f"-j {text}" if kind in TARGETS and text else "",
            f"-p {place.protocol}" if place.protocol else "",
        )
        return f"*{place.table}\n{rule.text(chain)}\nCOMMIT\n"

    def _table(self, table: str) -> list[Chain]:
        rng = self._rng
        bases = [Chain(name, self._policy(table), frozenset([name])) for name in BASES[table]]
        users = []
        for number in range(rng.choice({"raw": (0, 1), "security": (0, 1)}.get(table, (1, 2, 3)))):
            hooks = frozenset(rng.sample(BASES[table], rng.choice((1, 1, 1, 2))))
            users.append(Chain(f"{rng.choice(('KUBE', 'CNI', 'x'))}-{table[:3].upper()}-{number}", "-", hooks))
        chains = bases + users
        for _ in range(rng.randint(_SHARE[table] // 2, _SHARE[table] + 4)):
            chain = rng.choice(bases) if not users or rng.random() < 0.5 else rng.choice(users)
            chain.rules.append(self._rule(table, chain, chains))
        for user in users:  # every user chain is reachable
            base = next(b for b in bases if b.hooks <= user.hooks)
            base.rules.insert(
                rng.randint(0, len(base.rules)), Rule(self._matches(table, base, "")[: rng.choice((0, 1))], f"-j {user.name}")
            )
        return chains

    def _policy(self, table: str) -> str:
        share = {"filter": 0.1, "nat": 0.0}.get(table, 0.03)
        return "DROP" if self._rng.random() < share else "ACCEPT"

    def _rule(self, table: str, chain: Chain, chains: list[Chain]) -> Rule:
        rng = self._rng
        protocol = rng.choice(("", "", "", "tcp", "tcp", "udp", "udp", "sctp", "!tcp", "!udp"))
        plain = "" if protocol.startswith("!") else protocol
        matches = self._matches(table, chain, plain)
        target = self._target(table, chain, chains, plain)
        if target in ("-j DROP", "-j ACCEPT") or target.startswith("-j REJECT"):
            matches = matches or self._matches(table, chain, plain, least=1)
        if target.startswith("-j TCPMSS"):
            protocol, matches = (
                "tcp",
                ("-m tcp --tcp-flags SYN,RST SYN", *(m for m in matches if "--tcp-flags" not in m and "--syn" not in m)),
            )
        spelled = f"! -p {protocol[1:]}" if protocol.startswith("!") else f"-p {protocol}" if protocol else ""
        return Rule(matches, target, spelled)

    def _matches(self, table: str, chain: Chain, protocol: str, *, least: int = 0) -> tuple[str, ...]:
        rng = self._rng
        place = Place(version=self._version, table=table, hooks=chain.hooks, built_in=chain.policy != "-", protocol=protocol or None)
        wanted = max(least, rng.choice((0, 1, 1, 1, 1, 2, 2, 3)))
        found: dict[str, str] = {}
        while len(found) < wanted:
            kind = self._pick(MATCHES, place)
            if _group(kind.name) in map(_group, found):
                wanted -= 1
                continue
            found[kind.name] = _negated(kind.make(rng, place), kind, rng.random() < 0.3)
        order = sorted(found, key=lambda name: not found[name].startswith(("-s", "! -s", "-d", "! -d", "-i", "! -i", "-o", "! -o")))
        return tuple(found[name] for name in order)

    def _pick(self, kinds: tuple[Kind, ...], place: Place) -> Kind:
        while True:
            kind = self._rng.choices(kinds, [k.weight for k in kinds])[0]
            if kind.name in self._untested or not kind.allowed(place):
                continue
            if kind.uncertain:
                if self._uncertain >= _MOST_UNCERTAIN:
                    continue
                self._uncertain += 1
            return kind

    def _target(self, table: str, chain: Chain, chains: list[Chain], protocol: str) -> str:
        rng = self._rng
        later = [c for c in chains[chains.index(chain) + 1 :] if c.policy == "-" and chain.hooks <= c.hooks]
        if later and rng.random() < 0.35:
            return f"{rng.choice(('-j', '-j', '-j', '-g'))} {rng.choice(later).name}"
        if protocol == "tcp" and table in ("mangle", "filter") and rng.random() < 0.06 and "TCPMSS" not in self._untested:
            return "-j TCPMSS --set-mss 1300"
        place = Place(version=self._version, table=table, hooks=chain.hooks, built_in=chain.policy != "-", protocol=protocol or None)
        text = self._pick(TARGETS, place).make(rng, place)
        return f"-j {text}" if text else ""

    def shots(self, count: int) -> list[Shot]:
        """Return *count* packets, each with a source port of its own."""
        ports = self._rng.sample(SOURCE_PORTS, count)
        return [self._shot(port) for port in ports]

    def _shot(self, port: int) -> Shot:
        rng, version = self._rng, self._version
        source = rng.choice((*PODS, *PODS, "client", "client", "node", "node", "node"))
        shot = Shot(
            source=source,
            version=version,
            protocol=rng.choice(("tcp", "tcp", "udp", "udp", "udp", "sctp")),
            destination=self._destination(source),
            destination_port=rng.choice(PORTS),
            source_port=port,
            dscp=rng.choice(DSCP),
            ttl=rng.choice(TTLS),
            payload=rng.choice((0, 3, 100, 500)),
            said=rng.random() < 0.9,
        )
        if shot.protocol != "udp":
            shot = replace(shot, payload=0)
        if not shot.said:
            shot = replace(shot, ttl=max(shot.ttl, 32))  # whoever says nothing of it is taken to send with enough
        return replace(shot, dscp=0, ttl=64) if shot.protocol == "sctp" and source == "node" else shot

    def _destination(self, source: str) -> str:
        rng, version = self._rng, self._version
        pods = [pod_address(pod, version) for pod in PODS if pod != source]
        if source == "client":
            return rng.choice(NODE_ADDRESSES[version])
        groups = [pods, pods, CLUSTER[version], CLUSTER[version], NODE_ADDRESSES[version], GATEWAYS[version], OUTSIDE[version]]
        groups += [(CLIENT[version],)] if source != "node" else [(LOOPBACK[version],), (LOOPBACK[version],)]
        return rng.choice(rng.choice(groups) if rng.random() > 0.03 else NOWHERE[version])


def _group(name: str) -> str:
    """Return what stands once in a rule. NB: of two matches of TCP flags iptables-save (nft, 1.8.9) prints one, with the other's ``!``."""
    first = name.split()[0]
    return "--tcp-flags" if first == "--syn" else first


def _negated(text: str, kind: Kind, negate: bool) -> str:
    if not kind.negatable:
        return text
    return text if negate else text.replace("! ", "", 1)


def _sets(rng: random.Random, version: int) -> str:
    """Return the sets of every kind, as ``ipset restore`` reads them."""
    family, four = ("inet", True) if version == 4 else ("inet6", False)
    pods = [pod_address(pod, version) for pod in PODS]
    known = [*pods, *CLUSTER[version], *NODE_ADDRESSES[version], *OUTSIDE[version]]
    nets = (
        ["10.1.0.0/16", "10.1.1.0/24", "10.96.0.0/16", "192.0.2.0/24", "10.1.2.0/31"]
        if four
        else ["fd00:1::/32", "fd00:1:1::/64", "fd00:96::/48", "fd00:c::/64", "fd00:1:2::/112"]
    )
    ports = [f"{p}:{n}" for p in ("tcp", "udp", "sctp") for n in PORTS]
    devices = ["pod1a", "pod2a", "cni0", "eth0", "veth3"]
    types = {"ip": "hash:ip", "net": "hash:net", "ipport": "hash:ip,port", "netport": "hash:net,port", "ipportip": "hash:ip,port,ip"}
    types |= {"ipportnet": "hash:ip,port,net", "iface": "hash:net,iface", "grow": "hash:ip"}
    lines, entries = [], {}
    entries["ip"] = rng.sample(known, 4)
    entries["net"] = [n + rng.choice(("", "", " nomatch")) for n in rng.sample(nets, 3)] + rng.sample(known, 1)
    entries["ipport"] = [f"{rng.choice(known)},{port}" for port in rng.sample(ports, 6)]
    entries["netport"] = [f"{rng.choice(nets)},{port}" + rng.choice(("", "", "", " nomatch")) for port in rng.sample(ports, 8)]
    entries["ipportip"] = [f"{rng.choice(known)},{port},{rng.choice(pods)}" for port in ports for _ in range(3)]
    entries["ipportnet"] = [f"{rng.choice(known)},{port},{rng.choice(nets)}" for port in ports]
    entries["iface"] = [f"{rng.choice(nets)},{device}" for device in rng.sample(devices, 4)]
    entries["grow"] = rng.sample(known, 2)
    for name, kind in types.items():
        lines.append(f"create {set_name(name, version)} {kind} family {family}")
        lines += [f"add {set_name(name, version)} {entry}" for entry in dict.fromkeys(entries[name])]
    if four:
        lines.append("create bitip4 bitmap:ip range 10.1.0.0-10.1.255.255")
        lines += [f"add bitip4 {a}" for a in rng.sample(pods, 2)]
    lines.append("create bitport bitmap:port range 0-65535")
    lines += [f"add bitport {p}" for p in rng.sample(PORTS, 3)]
    lines.append(f"create {set_name('list', version)} list:set")
    lines += [f"add {set_name('list', version)} {set_name(n, version)}" for n in rng.sample(("ip", "net", "ipport"), 2)]
    return "\n".join(lines) + "\n"
