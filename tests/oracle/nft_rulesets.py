"""Random native nftables rule sets: tables of two families, base chains at many priorities, sets, maps and chains that jump."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field

from tests.oracle.lab import PODS, pod_address
from tests.oracle.nft_vocabulary import GROWN, NFT_ENDS, NFT_MATCHES, NFT_STATEMENTS, NftKind, Spot
from tests.oracle.rulesets import SOURCE_PORTS, Generator
from tests.oracle.vocabulary import CLUSTER, NODE_ADDRESSES, OUTSIDE, PORTS, addresses

TRACING = "tracing"
_HOOKS = ("prerouting", "input", "forward", "output", "postrouting")
_PRIORITIES = {"filter": (-300, -250, -150, -110, -100, -5, 0, 0, 0, 10, 50, 100, 150), "nat": (-150, -100, -100, -90, 100, 100, 0)}
_MOST_UNCERTAIN = 3
_LINE = re.compile(r"/dev/stdin:([0-9]+):", re.ASCII)


@dataclass(frozen=True, slots=True)
class MadeRule:
    """One rule: its protocol match, its matches, what follows them; *kinds* name the matches, *ends* the rest, *negated* those with !=."""

    matches: tuple[str, ...]
    tail: str
    protocol: str = ""
    kinds: tuple[str, ...] = ()
    ends: tuple[str, ...] = ()
    negated: frozenset[str] = frozenset()

    def text(self) -> str:
        """Return the rule as nft reads it."""
        return " ".join(x for x in (self.protocol, *self.matches, self.tail) if x)


@dataclass(slots=True)
class MadeChain:
    """One chain; *header* is empty for a regular one. *policy* DROP or ACCEPT."""

    name: str
    type: str
    hooks: frozenset[str]
    priority: int | None = None
    policy: str = "ACCEPT"
    rules: list[MadeRule] = field(default_factory=list)

    @property
    def header(self) -> str:
        """Return the line that makes it a base chain."""
        if self.priority is None:
            return ""
        (hook,) = self.hooks
        return f"type {self.type} hook {hook} priority {self.priority}; policy {self.policy.lower()};"


@dataclass(slots=True)
class NftRuleSet:
    """One node's native rules; keys of *tables* are ``FAMILY NAME``."""

    version: int
    tables: dict[str, list[MadeChain]]
    sets: dict[str, str]

    def lines(self) -> list[tuple[str, MadeChain | None, MadeRule | None]]:
        """Return the lines that nft reads, with the chain and rule of each."""
        found: list[tuple[str, MadeChain | None, MadeRule | None]] = [(line, None, None) for line in _TRACE]
        for table, chains in self.tables.items():
            found.append((f"table {table} {{", None, None))
            found += [(line, None, None) for line in self.sets[table].splitlines()]
            for chain in chains:
                found.append((f"\tchain {chain.name} {{", None, None))
                found += [(f"\t\t{chain.header}", None, None)] if chain.header else []
                found += [(f"\t\t{rule.text()}", chain, rule) for rule in chain.rules]
                found.append(("\t}", None, None))
            found.append(("}", None, None))
        return found

    def text(self) -> str:
        """Return what nft reads; the first table switches the kernel's trace on."""
        return "\n".join(line for line, _, _ in self.lines()) + "\n"

    def drop(self, refusal: str) -> list[str]:
        """Take out the rules that *refusal*, nft's words, names; return their texts. :raises ValueError: it names none."""
        lines = self.lines()
        dropped = []
        for number in sorted({int(found) for found in _LINE.findall(refusal)}):
            _, chain, rule = lines[number - 1]
            if chain is not None and rule is not None:
                chain.rules.remove(rule)
                dropped.append(rule.text())
        if not dropped:
            raise ValueError(f"nft names no rule: {refusal}")
        return dropped

    def shown(self) -> str:
        """Return the text without what no rule needs: sets that are not asked, chains without rules."""
        text = self.text()
        text = re.sub(r"^\t(?:set|map) (\S+) .*\n", lambda m: m[0] if f"@{m[1]}" in text else "", text, flags=re.MULTILINE)
        return re.sub(r"\t(?:chain \S+ \{\n\t\})\n", "", text[text.index("\n}\n") + 3 :])

    @property
    def rule_count(self) -> int:
        """Return how many rules there are."""
        return sum(len(c.rules) for chains in self.tables.values() for c in chains)


# Over lo a packet stays traced, and answers to our own are not to be. Without a rule that asks for it, a namespace has no conntrack.
_TRACE = f"""table inet {TRACING} {{
	chain incoming {{
		type filter hook prerouting priority -500; policy accept;
		iifname != "lo" meta nftrace set 1
	}}
	chain outgoing {{
		type filter hook output priority -500; policy accept;
		meta l4proto {{ tcp, udp, sctp }} th sport {SOURCE_PORTS.start}-{SOURCE_PORTS.stop - 1} meta nftrace set 1
	}}
	chain tracked {{
		ct state new
	}}
}}""".splitlines()  # fmt: skip


class NftGenerator:
    """Makes rule sets and packets from a seed."""

    def __init__(self, seed: int, *, version: int) -> None:
        self._rng = random.Random(seed)
        self._version = version
        self._uncertain = 0
        self._packets = Generator(seed, version=version)

    def shots(self, count: int) -> list:
        """Return *count* packets, each with a source port of its own."""
        return self._packets.shots(count)

    def rule_set(self) -> NftRuleSet:
        """Return a rule set of at least 20 rules."""
        while True:
            self._uncertain = 0
            own = "ip" if self._version == 4 else "ip6"
            names = [f"{own} a", "inet b", f"{own} c"][: self._rng.choice((2, 2, 3))]
            self._rng.shuffle(names)
            made = NftRuleSet(self._version, {}, {})
            for name in names:
                made.sets[name] = self._sets()
                made.tables[name] = self._chains(name)
            if made.rule_count >= 20:
                return made

    def _chains(self, table: str) -> list[MadeChain]:
        rng = self._rng
        bases, users = [], []
        for number in range(rng.randint(4, 8)):
            kind = rng.choice(("filter", "filter", "nat", "nat", "route")) if number else "nat"
            hook = rng.choice(
                _HOOKS if kind == "filter" else ("output",) if kind == "route" else tuple(h for h in _HOOKS if h != "forward")
            )
            priority = rng.choice(_PRIORITIES["nat" if kind == "nat" else "filter"])
            policy = "DROP" if kind != "nat" and rng.random() < 0.06 else "ACCEPT"
            bases.append(MadeChain(f"base{number}", kind, frozenset([hook]), priority, policy))
        for number, base in enumerate(rng.sample(bases, min(len(bases), rng.choice((1, 2, 3))))):
            others = [b.hooks for b in bases if b.type == base.type and b is not base]
            hooks = base.hooks | (rng.choice(others) if others and rng.random() < 0.3 else frozenset())
            users.append(MadeChain(rng.choice(("svc-{}", "x_{}", "ns/name/tcp/{}")).format(number), base.type, hooks))
        chains = bases + users
        for _ in range(rng.randint(10, 18)):
            chain = rng.choice(bases) if not users or rng.random() < 0.5 else rng.choice(users)
            chain.rules.append(self._rule(table, chain, chains))
        for user in users:  # every user chain is reachable
            base = next(b for b in bases if b.type == user.type and b.hooks <= user.hooks)
            rule = MadeRule((), f"{rng.choice(('jump', 'jump', 'goto'))} {user.name}", "", (), ("jump",))
            base.rules.insert(rng.randint(0, len(base.rules)), rule)
        return chains

    def _rule(self, table: str, chain: MadeChain, chains: list[MadeChain]) -> MadeRule:
        rng = self._rng
        protocol = rng.choice((None, None, "tcp", "tcp", "udp", "udp", "sctp"))
        early = chain.priority is not None and chain.priority < -200
        spot = Spot(version=self._version, family=table.split()[0], type=chain.type, hooks=chain.hooks, early=early, protocol=protocol)
        kinds, matches, negated = self._matches(spot)
        statements = [self._pick(NFT_STATEMENTS, spot) for _ in range(rng.choice((0, 0, 0, 1, 1, 2)))]
        parts = [kind.make(rng, spot) for kind in statements]
        comments = [p for p in parts if p.startswith("comment")][:1]
        parts = [p for p in parts if not p.startswith("comment")]
        end, text = self._end(spot, chain, chains)
        if end in ("drop", "accept", "reject") and not matches:
            kinds, matches, negated = self._matches(spot, least=1)
        tail = " ".join([*parts, text, *comments]).strip()
        shown = f"meta l4proto {protocol}" if protocol else ""
        if not (matches or shown) and (not tail or tail.startswith("comment")):
            tail = f"counter {tail}".strip()  # nft prints a rule that is a comment only as it prints the chain's own
        return MadeRule(matches, tail, shown, kinds, (*(k.name for k in statements), end), negated)

    def _matches(self, spot: Spot, least: int = 0) -> tuple[tuple[str, ...], tuple[str, ...], frozenset[str]]:
        rng = self._rng
        found: dict[str, str] = {}
        negated = set()
        for _ in range(max(least, rng.choice((0, 1, 1, 1, 1, 2, 2)))):
            kind = self._pick((*NFT_MATCHES, GROWN), spot)
            text, has_not = _negated(kind.make(rng, spot), rng.random() < 0.3)
            found[kind.name] = text
            negated |= {kind.name} if has_not else set()
        return tuple(found), tuple(found.values()), frozenset(negated)

    def _pick(self, kinds: tuple[NftKind, ...], spot: Spot) -> NftKind:
        while True:
            kind = self._rng.choices(kinds, [k.weight for k in kinds])[0]
            if not kind.allowed(spot):
                continue
            if kind.uncertain:
                if self._uncertain >= _MOST_UNCERTAIN:
                    continue
                self._uncertain += 1
            return kind

    def _end(self, spot: Spot, chain: MadeChain, chains: list[MadeChain]) -> tuple[str, str]:
        rng = self._rng
        later = [c for c in chains[chains.index(chain) + 1 :] if c.priority is None and c.type == chain.type and chain.hooks <= c.hooks]
        if later and rng.random() < 0.35:
            how = rng.choice(("jump", "jump", "goto"))
            return how, f"{how} {rng.choice(later).name}"
        if rng.random() < 0.15:
            return self._vmap(spot, later)
        kind = self._pick(NFT_ENDS, spot)
        return kind.name, kind.make(rng, spot)

    def _vmap(self, spot: Spot, later: list[MadeChain]) -> tuple[str, str]:
        rng = self._rng
        verdicts = ["accept", "return", "continue", *(f"{h} {c.name}" for c in later for h in ("jump", "goto"))]
        verdicts += ["drop"] if spot.type != "nat" else []
        keys = list(dict.fromkeys(rng.choice(addresses(self._version)) for _ in range(6)))
        form = rng.choice(("address", "ports", "state", "protocol . port", "wildcard", "interval"))
        drawn = lambda: rng.choice(verdicts)  # noqa: E731
        if form == "ports" and spot.protocol:
            return "vmap, ports", f"{spot.protocol} dport vmap {{ {', '.join(f'{p} : {drawn()}' for p in PORTS)} }}"
        if form == "state":
            return (
                "vmap, ct state",
                f"ct state vmap {{ established : {drawn()}, new : {drawn()}, invalid : {drawn()}, untracked : {drawn()} }}",
            )
        if form == "protocol . port":
            elements = [f"{t} . {p} : {drawn()}" for t in ("tcp", "udp", "sctp") for p in rng.sample(PORTS, 3)]
            return "vmap, protocol . port", f"meta l4proto . th dport vmap {{ {', '.join(elements)} }}"
        if form == "interval":
            low, high = ("10.1.0.0/16", "10.96.0.0-10.96.0.5") if self._version == 4 else ("fd00:1::/32", "fd00:96::-fd00:96::5")
            return "vmap, intervals", f"{spot.ip} daddr vmap {{ {low} : {drawn()}, {high} : {drawn()} }}"
        elements = [f"{a} : {drawn()}" for a in keys]
        if form == "wildcard":
            return "vmap with *", f"{spot.ip} daddr vmap {{ {', '.join(elements)}, * : {drawn()} }}"
        return "vmap, addresses", f"{spot.ip} saddr vmap {{ {', '.join(elements)} }}"

    def _sets(self) -> str:
        rng, version = self._rng, self._version
        kind = f"ipv{version}_addr"
        pods = [pod_address(pod, version) for pod in PODS]
        known = [*pods, *CLUSTER[version], *NODE_ADDRESSES[version], *OUTSIDE[version]]
        nets = ["10.1.0.0/16", "10.96.0.0/16", "192.0.2.0/24"] if version == 4 else ["fd00:1::/32", "fd00:96::/48", "fd00:c::/64"]
        narrow = ["10.1.1.0/24", "10.1.2.0-10.1.9.7"] if version == 4 else ["fd00:1:1::/64", "fd00:1:2::-fd00:1:9::7"]
        services = [f"{a} . {p} . {n}" for a in known for p in ("tcp", "udp", "sctp") for n in rng.sample(PORTS, 2)]
        netports = [f"{n} . {p}" for n in nets for p in rng.sample(("53", "80", "400-500", "8000-8100", "8443", "30080"), 2)]
        pairs = list(dict.fromkeys(f"{rng.choice(known)} . {rng.choice(known)}" for _ in range(20)))
        dnats = [f"{a} . {p} : {rng.choice(pods)} . {rng.choice(PORTS)}" for a in rng.sample(known, 6) for p in rng.sample(PORTS, 4)]
        nets_set = rng.choice((rng.sample(nets, 2), narrow))
        blocks = [
            _block("set", f"ips{version}", f"type {kind}", "", rng.sample(known, 4)),
            _block("set", f"nets{version}", f"type {kind}", "flags interval", nets_set),
            _block("set", f"services{version}", f"type {kind} . inet_proto . inet_service", "", services),
            _block("set", f"netports{version}", f"type {kind} . inet_service", "flags interval", netports),
            _block("set", f"pairs{version}", f"type {kind} . {kind}", "", pairs),
            _block("map", f"dnats{version}", f"type {kind} . inet_service : {kind} . inet_service", "", dnats),
            _block("set", f"grow{version}", f"type {kind}", "flags dynamic,timeout; timeout 60s; size 1000", []),
        ]
        return "\n".join(blocks)


def _block(kind: str, name: str, types: str, flags: str, elements: list[str]) -> str:
    listed = f"elements = {{ {', '.join(elements)} }}; " if elements else ""
    return f"\t{kind} {name} {{ {types}; {flags + '; ' if flags else ''}{listed}}}"


def _negated(text: str, negate: bool) -> tuple[str, bool]:
    """Fill in the sign of a match; return it, and whether it says not."""
    made = text.replace("{}", "!= " if negate else "", 1).replace("{=}", "!=" if negate else "==", 1)
    return made, bool(re.search(r" != ", made))
