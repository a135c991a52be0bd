"""A random little cluster as a value: nodes with a pod each, how they reach each other, their rules, routes and settings.

Everything is drawn from one seed; ``stacks_world`` builds it, ``stacks_run`` asks. IPv4 only.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import combinations
from random import Random

MAKERS = ("legacy", "nft", "ip", "inet")
"""Who makes chains: iptables-legacy, iptables-nft, native tables of two families. All have the same priorities."""
PRIORITIES = {("raw", ""): -300, ("mangle", ""): -150, ("filter", ""): 0, ("nat", "dst"): -100, ("nat", "src"): 100}
HOOKS = {
    "raw": ("prerouting", "output"),
    "mangle": ("prerouting", "input", "forward", "output", "postrouting"),
    "nat": ("prerouting", "output", "postrouting"),
    "filter": ("input", "forward", "output"),
}
VIRTUAL = ("10.96.0.1", "10.96.0.2")
REFUSED = {"unreachable": "10.99.1.1", "prohibit": "10.99.2.1", "blackhole": "10.99.3.1"}
"""Routes that lead nowhere, with an address behind each."""
NOBODY = "10.98.0.1"
OPEN, CLOSED = 80, 81
REJECTS = ("icmp-port-unreachable", "icmp-host-unreachable", "icmp-net-unreachable", "icmp-admin-prohibited", "icmp-host-prohibited")
_NFT_REJECTS = dict(
    zip(REJECTS, ("port-unreachable", "host-unreachable", "net-unreachable", "admin-prohibited", "host-prohibited"), strict=True)
)
VXLAN_PORT = 8472


def node_address(number: int, network: int = 0) -> str:
    """Return the address of node *number* (from 1) on the first or the second network."""
    return f"192.168.{network}.1{number}"


def pod_address(number: int) -> str:
    """Return the address of the pod of node *number*."""
    return f"10.1.{number}.2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule: what it asks for, and what it does (a word, or a word with what it needs)."""

    protocol: str
    does: str
    port: int | None = None
    source: str = ""
    destination: str = ""
    in_device: str = ""
    out_device: str = ""
    mark: int | None = None
    state: str = ""

    def iptables(self, hook: str) -> str:
        """Return the rule as iptables-restore takes it."""
        words = [f"-A {hook.upper()}"]
        words += [f"-s {self.source}"] if self.source else []
        words += [f"-d {self.destination}"] if self.destination else []
        words += [f"-i {self.in_device}"] if self.in_device else []
        words += [f"-o {self.out_device}"] if self.out_device else []
        words.append(f"-p {self.protocol}")
        words += [f"-m {self.protocol} --dport {self.port}"] if self.port else []
        words += [f"-m mark --mark {self.mark:#x}"] if self.mark is not None else []
        words += [f"-m conntrack --ctstate {self.state.upper()}"] if self.state else []
        kind, _, value = self.does.partition(" ")
        ends = {
            "drop": "DROP", "accept": "ACCEPT", "reject": f"REJECT --reject-with {value}", "mark": f"MARK --set-mark {value}",
            "dnat": f"DNAT --to-destination {value}", "redirect": f"REDIRECT --to-ports {value}", "masquerade": "MASQUERADE",
        }  # fmt: skip
        return f"{' '.join(words)} -j {ends[kind]}"

    def nft(self) -> str:
        """Return the rule as nft takes it, in a table of any family."""
        words = [f"meta l4proto {self.protocol}"]
        words += [f"ip saddr {self.source}"] if self.source else []
        words += [f"ip daddr {self.destination}"] if self.destination else []
        words += [f'iifname "{self.in_device}"'] if self.in_device else []
        words += [f'oifname "{self.out_device}"'] if self.out_device else []
        words += [f"{self.protocol} dport {self.port}"] if self.port else []
        words += [f"meta mark {self.mark:#x}"] if self.mark is not None else []
        words += [f"ct state {self.state}"] if self.state else []
        kind, _, value = self.does.partition(" ")
        reject = f"reject with icmp type {_NFT_REJECTS.get(value, '')}"
        ends = {
            "drop": "drop", "accept": "accept", "reject": reject, "mark": f"meta mark set {value}", "dnat": f"dnat ip to {value}",
            "redirect": f"redirect to :{value}", "masquerade": "masquerade",
        }  # fmt: skip
        return f"{' '.join(words)} counter {ends[kind]}"


@dataclass(slots=True, kw_only=True)
class Chain:
    """A base chain of one maker's table."""

    hook: str
    rules: list[Rule] = field(default_factory=list)
    policy: str = "accept"


@dataclass(slots=True, kw_only=True)
class Table:
    """One maker's table: its chains are registered together."""

    maker: str
    name: str
    chains: list[Chain]

    def priority(self, hook: str) -> int:
        """Return the priority of its chain at *hook*."""
        side = ("src" if hook in ("postrouting", "input") else "dst") if self.name == "nat" else ""
        return PRIORITIES[self.name, side]

    def text(self) -> str:
        """Return what its maker's program loads."""
        if self.maker in ("legacy", "nft"):
            lines = [f"*{self.name}", *(f":{chain.hook.upper()} {chain.policy.upper()} [0:0]" for chain in self.chains)]
            lines += [rule.iptables(chain.hook) for chain in self.chains for rule in chain.rules]
            return "\n".join((*lines, "COMMIT", ""))
        lines = [f"table {self.maker} {self.native} {{"]
        kind = "nat" if self.name == "nat" else "route" if self.name == "mangle" else "filter"
        for chain in self.chains:
            of = kind if kind != "route" or chain.hook == "output" else "filter"
            lines.append(
                f" chain {chain.hook} {{\n  type {of} hook {chain.hook} priority {self.priority(chain.hook)}; policy {chain.policy};"
            )
            lines += [*(f"  {rule.nft()}" for rule in chain.rules), " }"]
        return "\n".join((*lines, "}", ""))

    @property
    def native(self) -> str:
        """Return the name of the table where nft makes it."""
        return f"own-{self.name}"

    def registered(self, hook: str) -> str:
        """Return what ``nft list hooks`` calls its chain at *hook*."""
        if self.maker == "legacy":
            return "iptable_mangle_hook [iptable_mangle]" if self.name == "mangle" else "ipt_do_table [ip_tables]"
        if self.maker == "nft":
            return f"chain ip {self.name} {hook.upper()} [nf_tables]"
        return f"chain {self.maker} {self.native} {hook} [nf_tables]"


@dataclass(slots=True, kw_only=True)
class Stack:
    """A node's or a pod's own stack: its tables in the order of making. *tells_hooks*: it has a list of its hooks."""

    number: int
    tables: list[Table] = field(default_factory=list)
    tells_hooks: bool = False

    def hooks(self) -> str:
        """Return what ``nft list hooks`` would print: of equal priorities, what was made last."""
        found: dict[str, list[tuple[int, str]]] = {}
        for table in reversed(self.tables):
            for chain in table.chains:
                found.setdefault(chain.hook, []).append((table.priority(chain.hook), table.registered(chain.hook)))
        lines = ["family ip {"]
        for hook, entries in found.items():
            lines += [f"\thook {hook} {{", *(f"\t\t{at:+011} {name}" for at, name in sorted(entries, key=lambda entry: entry[0])), "\t}"]
        return "\n".join((*lines, "}", ""))


@dataclass(slots=True, kw_only=True)
class Node(Stack):
    """A node: its policy routing rules (ip's words), settings, and its pod's own stack where that is recorded."""

    routing: list[str] = field(default_factory=list)
    rp_filter: int = 0
    pod: Stack | None = None

    @property
    def name(self) -> str:
        """Return the node's name."""
        return f"n{self.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """One question: who sends (``n1``, ``p1``) what to whom."""

    source: str
    destination: str
    port: int
    protocol: str

    def __str__(self) -> str:
        """Return it as a person writes it."""
        return f"{self.source} -> {self.destination}:{self.port}/{self.protocol}"


@dataclass(slots=True, kw_only=True)
class Drawn:
    """A little cluster."""

    seed: int
    nodes: list[Node]
    overlay: bool
    networks: int
    counts: Counter[str] = field(default_factory=Counter)


class Drawing:
    """Draws a cluster and its questions from *seed*."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._rng = Random(seed)
        self._devices: list[str] = []

    def cluster(self) -> Drawn:
        """Return the cluster of the seed."""
        rng = self._rng
        count = rng.choice((2, 2, 3))
        made = Drawn(
            seed=self._seed,
            nodes=[Node(number=n) for n in range(1, count + 1)],
            overlay=rng.random() < 0.5,
            networks=rng.choice((1, 2)),
        )
        for node in made.nodes:
            self._settle(made, node)
        self._count(made)
        return made

    def _settle(self, made: Drawn, node: Node) -> None:
        rng = self._rng
        node.rp_filter = rng.choice((0, 0, 1, 2))
        node.tells_hooks = rng.random() < 0.5
        devices = ["eth0", "pod0", *(["eth1"] if made.networks > 1 else []), *(["vx0"] if made.overlay else [])]
        node.tables = self._tables(made, devices, often=1.0)
        if rng.random() < 0.5:
            node.pod = Stack(number=node.number, tells_hooks=rng.random() < 0.5)
            node.pod.tables = self._tables(made, ["eth0"], often=rng.choice((0.0, 0.4)))
        for name in ("filter", "nat", "mangle"):
            self._quarrel(made, node, name)
        if rng.random() < 0.5:
            node.routing = self._routing(made, node)

    def _tables(self, made: Drawn, devices: list[str], *, often: float) -> list[Table]:
        rng, self._devices, found = self._rng, devices, []
        shares = {"filter": 0.5, "nat": 0.5, "mangle": 0.2, "raw": 0.2}
        keys = [(maker, table) for maker in MAKERS for table in HOOKS if rng.random() < shares[table] * often]
        rng.shuffle(keys)
        for maker, table in keys:
            hooks = [hook for hook in HOOKS[table] if rng.random() < 0.7] or [rng.choice(HOOKS[table])]
            found.append(Table(maker=maker, name=table, chains=[self._chain(made, table, hook) for hook in hooks]))
        return found

    def _quarrel(self, made: Drawn, node: Node, name: str) -> None:
        """Let two makers do different things with the same packets at the same hook."""
        rng = self._rng
        chains = [(table, chain) for table in node.tables if table.name == name for chain in table.chains if chain.hook != "postrouting"]
        pairs = [(a[1], b[1]) for a, b in combinations(chains, 2) if a[1].hook == b[1].hook]
        if not pairs:
            return
        protocol, one, other = rng.choice(("tcp", "udp")), *rng.choice(pairs)
        pods = [pod_address(number.number) for number in made.nodes]
        rng.shuffle(pods)
        ends = {
            "filter": ("drop", f"reject {rng.choice(REJECTS)}"),
            "nat": [f"dnat {pod}:{OPEN}" for pod in pods],
            "mangle": ("mark 1", "mark 2"),
        }
        where: dict[str, object] = {"port": CLOSED}
        if name != "filter":
            where = {"port": OPEN, "destination": rng.choice(VIRTUAL) if name == "nat" else pods[0]}
        for chain, does in zip((one, other), ends[name], strict=False):
            chain.rules.insert(0, Rule(protocol=protocol, does=does, **where))  # type: ignore[arg-type]
        made.counts[f"quarrels in {name}"] += 1

    def _routing(self, made: Drawn, node: Node) -> list[str]:
        """A policy routing rule and what its table says."""
        rng = self._rng
        other = rng.choice([n.number for n in made.nodes if n is not node])
        asked = rng.choice((f"from {pod_address(node.number)}", "fwmark 1", f"to 10.1.{other}.0/24", "ipproto udp", "iif pod0"))
        way = rng.choice(
            (
                f"10.1.{other}.0/24 via {node_address(other, made.networks - 1)}",
                f"unreachable 10.1.{other}.0/24",
                f"prohibit 10.1.{other}.0/24",
                f"blackhole 10.1.{other}.0/24",
                f"throw 10.1.{other}.0/24",
            )
        )
        return [f"rule add {asked} lookup 100 pref 1000", f"route add {way} table 100"]

    def _chain(self, made: Drawn, table: str, hook: str) -> Chain:
        rules = [self._rule(made, table, hook) for _ in range(self._rng.choice((1, 1, 2, 3)))]
        return Chain(hook=hook, rules=rules, policy="accept")

    def _rule(self, made: Drawn, table: str, hook: str) -> Rule:
        rng = self._rng
        protocol, does = rng.choice(("tcp", "udp")), self._does(made, table, hook)
        kind = does.split()[0]
        if kind == "dnat" or (kind == "redirect" and rng.random() < 0.5):
            where = {"destination": rng.choice(VIRTUAL), "port": OPEN}
            return Rule(
                protocol=protocol, does=does, **(where | (self._where(made, table, hook, 0.15) if rng.random() < 0.3 else {}) | where)
            )  # type: ignore[arg-type]
        if kind in ("drop", "reject"):
            if rng.random() < 0.6:
                return Rule(protocol=protocol, does=does, port=CLOSED)
            if protocol == "udp" and made.overlay and rng.random() < 0.1:
                return Rule(protocol=protocol, does=does, port=VXLAN_PORT)
            where = {"source": self._somebody(made), **self._where(made, table, hook, 0.4)}
            # NB: rules by state only stop first packets: the engine walks no packet behind the answer, which others might meet.
            where |= {"state": "new"} if table in ("filter", "mangle") and rng.random() < 0.2 else {}
            return Rule(protocol=protocol, does=does, **where)  # type: ignore[arg-type]
        return Rule(protocol=protocol, does=does, **self._where(made, table, hook, 0.25))  # type: ignore[arg-type]

    def _somebody(self, made: Drawn) -> str:
        number = self._rng.choice(made.nodes).number
        return self._rng.choice((pod_address(number), node_address(number)))

    def _where(self, made: Drawn, table: str, hook: str, often: float) -> dict[str, object]:
        """What a rule asks for, each thing as *often*."""
        rng, found = self._rng, {}  # type: ignore[var-annotated]
        devices = self._devices
        if rng.random() < often:
            found["port"] = rng.choice((OPEN, CLOSED))
        if rng.random() < often:
            found["source"] = self._somebody(made)
        if rng.random() < often:
            found["destination"] = self._somebody(made)
        if rng.random() < often and hook in ("prerouting", "input", "forward"):
            found["in_device"] = rng.choice(devices)
        if rng.random() < often and hook in ("output", "forward", "postrouting"):
            found["out_device"] = rng.choice(devices)
        if rng.random() < often / 2 and table != "raw":
            found["mark"] = rng.choice((1, 2))
        return found

    def _does(self, made: Drawn, table: str, hook: str) -> str:
        rng = self._rng
        if table == "nat":
            if hook == "postrouting":
                return "masquerade"
            to = rng.choice([pod_address(n.number) for n in made.nodes])
            return f"dnat {to}:{OPEN}" if rng.random() < 0.8 else f"redirect {OPEN}"
        if table == "filter":
            return rng.choice(("drop", f"reject {rng.choice(REJECTS)}", "accept", "accept"))
        if table == "mangle":
            return rng.choice(("mark 1", "mark 2", "mark 1", "drop"))
        return rng.choice(("drop", "accept", "mark 1"))

    def shots(self, made: Drawn, count: int) -> list[Shot]:
        """Return questions."""
        rng = self._rng
        nodes = [n.number for n in made.nodes]
        to = (
            [pod_address(n) for n in nodes] * 3
            + [node_address(n) for n in nodes]
            + [*VIRTUAL] * 2
            + [self._rng.choice([*REFUSED.values()])]
        )
        to += [node_address(n, 1) for n in nodes] if made.networks > 1 else []
        found = []
        for _ in range(count):
            source = rng.choice(("p", "p", "n")) + str(rng.choice(nodes))
            port = OPEN if rng.random() < 0.7 else CLOSED
            found.append(Shot(source=source, destination=rng.choice(to), port=port, protocol=rng.choice(("tcp", "udp"))))
        return found

    def _count(self, made: Drawn) -> None:
        """Count what the cluster has of each dimension."""
        made.counts["labs"] += 1
        made.counts[f"nodes: {len(made.nodes)}"] += 1
        made.counts["pods by VXLAN" if made.overlay else "pods by routes"] += 1
        made.counts[f"networks: {made.networks}"] += 1
        for node in made.nodes:
            self._count_node(made, node)

    def _count_node(self, made: Drawn, node: Node) -> None:
        makers = {table.maker for table in node.tables}
        made.counts["nodes with both back ends of iptables"] += {"legacy", "nft"} <= makers
        made.counts["nodes with native tables"] += not makers.isdisjoint(("ip", "inet"))
        made.counts["pods whose own stack is recorded"] += node.pod is not None
        made.counts["pods with rules of their own"] += node.pod is not None and bool(node.pod.tables)
        made.counts["nodes with nft-hooks.txt"] += node.tells_hooks
        made.counts[f"nodes with rp_filter {node.rp_filter}"] += 1
        places = Counter((chain.hook, table.priority(chain.hook)) for table in node.tables for chain in table.chains)
        made.counts["hooks where two or more chains have one priority"] += sum(1 for count in places.values() if count > 1)
        if node.routing:
            asked, way = node.routing[0].split()[2], node.routing[1].split()[2]
            made.counts[f"policy rules: {asked}"] += 1
            made.counts[f"policy routes: {'unicast' if way[0].isdigit() else way}"] += 1
        for table in node.tables:
            for chain in table.chains:
                for rule in chain.rules:
                    made.counts[f"rules: {rule.does.split()[0]}"] += 1
                    made.counts[f"chains of {table.maker}"] += 0
                made.counts[f"chains of {table.maker}"] += 1
