"""A random little cluster as a value: nodes with a pod each, how they reach each other, their rules, routes and settings.

Everything is drawn from one seed; ``stacks_world`` builds it, ``stacks_run`` asks. A cluster has one IP version.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import combinations
from random import Random

from tests.oracle.stacks_plan import CLOSED, OPEN, VXLAN_PORT, Plan
from tests.oracle.stacks_rules import HOOKS, MAKERS, REJECTS, RESET, Chain, Rule, Stack, Table

_STATES = ("new", "established", "related", "invalid", "untracked", "established,related", "new,established")


@dataclass(slots=True, kw_only=True)
class Node(Stack):
    """A node: its policy routing rules (ip's words), settings, and its pod's own stack where that is recorded."""

    routing: list[str] = field(default_factory=list)
    rp_filter: int = 0
    is_loose: bool = True
    pod: Stack | None = None

    @property
    def name(self) -> str:
        """Return the node's name."""
        return f"n{self.number}"

    @property
    def stacks(self) -> dict[str, Stack]:
        """Return the stacks of which something is recorded, by the name of the namespace."""
        return {self.name: self} | ({f"p{self.number}": self.pod} if self.pod is not None else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """One question: who sends (``n1``, ``p1``) what to whom. ICMP, an echo request, has no port."""

    source: str
    destination: str
    port: int
    protocol: str

    def __str__(self) -> str:
        """Return it as a person writes it."""
        return f"{self.source} -> {self.destination} port {self.port}/{self.protocol}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What becomes of a stack while connections exist: chains that were given other rules, and whether its connections were forgotten."""

    space: str
    chains: tuple[tuple[Table, Chain], ...]
    forgets: bool


@dataclass(slots=True, kw_only=True)
class Drawn:
    """A little cluster."""

    seed: int
    plan: Plan
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
        self._plan = Plan(self._rng.choice((4, 4, 6)))

    def cluster(self) -> Drawn:
        """Return the cluster of the seed."""
        rng = self._rng
        count = rng.choice((2, 2, 3))
        made = Drawn(
            seed=self._seed,
            plan=self._plan,
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
        node.is_loose = Random(f"{self._seed} loose {node.number}").random() < 0.8  # apart: older seeds draw what they did
        node.tables = self._tables(made, self._of_node(made), often=1.0)
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
            chains = [self._chain(made, table, hook) for hook in hooks]
            found.append(Table(plan=made.plan, maker=maker, name=table, chains=chains))
        if found and rng.random() < 0.2:
            self._firewall(made, found)
        return found

    def _firewall(self, made: Drawn, tables: list[Table]) -> None:
        """Make the chains of one filter table what people write: a policy that drops, and rules for what may pass."""
        rng, plan = self._rng, made.plan
        filters = [table for table in tables if table.name == "filter"]
        for chain in rng.choice(filters).chains if filters else ():
            passing = [("tcp", OPEN), ("udp", OPEN), ("udp", VXLAN_PORT), (plan.icmp, None)]
            left_out = rng.randrange(12) if plan.version == 4 else rng.randrange(9) - 6
            chain.policy = "drop"
            chain.rules = [Rule(protocol="", does="accept", state=rng.choice(("established", "established,related")))]
            chain.rules += [Rule(protocol=p, does="accept", port=port) for at, (p, port) in enumerate(passing) if at != left_out]

    def _quarrel(self, made: Drawn, node: Node, name: str) -> None:
        """Let two makers do different things with the same packets at the same hook."""
        rng, plan = self._rng, made.plan
        chains = [(table, chain) for table in node.tables if table.name == name for chain in table.chains if chain.hook != "postrouting"]
        pairs = [(a[1], b[1]) for a, b in combinations(chains, 2) if a[1].hook == b[1].hook]
        if not pairs:
            return
        protocol, one, other = rng.choice(("tcp", "udp")), *rng.choice(pairs)
        pods = [plan.pod(number.number) for number in made.nodes]
        rng.shuffle(pods)
        ends = {
            "filter": ("drop", f"reject {rng.choice([*REJECTS[plan.version]])}"),
            "nat": [f"dnat {plan.at(pod, OPEN)}" for pod in pods],
            "mangle": ("mark 1", "mark 2"),
        }
        where: dict[str, object] = {"port": CLOSED}
        if name != "filter":
            where = {"port": OPEN, "destination": rng.choice(plan.virtual) if name == "nat" else pods[0]}
        for chain, does in zip((one, other), ends[name], strict=False):
            chain.rules.insert(0, Rule(protocol=protocol, does=does, **where))  # type: ignore[arg-type]
        made.counts[f"quarrels in {name}"] += 1

    def _routing(self, made: Drawn, node: Node) -> list[str]:
        """A policy routing rule and what its table says."""
        rng, plan = self._rng, made.plan
        other = rng.choice([n.number for n in made.nodes if n is not node])
        asked = rng.choice((f"from {plan.pod(node.number)}", "fwmark 1", f"to {plan.pods(other)}", "ipproto udp", "iif pod0"))
        way = rng.choice(
            (
                f"{plan.pods(other)} via {plan.node(other, made.networks - 1)}",
                f"unreachable {plan.pods(other)}",
                f"prohibit {plan.pods(other)}",
                f"blackhole {plan.pods(other)}",
                f"throw {plan.pods(other)}",
            )
        )
        return [f"rule add {asked} lookup 100 pref 1000", f"route add {way} table 100"]

    def _chain(self, made: Drawn, table: str, hook: str) -> Chain:
        rules = [self._rule(made, table, hook) for _ in range(self._rng.choice((1, 1, 2, 3)))]
        return Chain(hook=hook, rules=rules, policy="accept")

    def _rule(self, made: Drawn, table: str, hook: str) -> Rule:
        rng, plan = self._rng, made.plan
        protocol, does = rng.choice(("tcp", "udp")), self._does(made, table, hook)
        kind = does.split()[0]
        if does == f"reject {RESET}":
            protocol = "tcp"
        if kind == "dnat" or (kind == "redirect" and rng.random() < 0.5):
            where = self._where(made, table, hook, 0.15) if rng.random() < 0.3 else {}
            where |= {"destination": rng.choice(plan.virtual), "port": OPEN}
            return Rule(protocol=protocol, does=does, **where)  # type: ignore[arg-type]
        if kind == "notrack":
            where = self._where(made, table, hook, 0.4)
            return Rule(protocol=rng.choice((protocol, protocol, "")), does=does, **where | {"port": None})  # type: ignore[arg-type]
        state = self._state(table)
        if kind in ("drop", "reject"):
            if rng.random() < 0.5:
                return Rule(protocol=protocol, does=does, port=CLOSED)
            if protocol == "udp" and made.overlay and rng.random() < 0.1:
                return Rule(protocol=protocol, does=does, port=VXLAN_PORT)
            if rng.random() < 0.15 and (plan.version == 4 or state.get("state") in ("related", "established,related")):
                return Rule(protocol=plan.icmp, does="drop", **state)  # type: ignore[arg-type]
            where = {"source": self._somebody(made), **self._where(made, table, hook, 0.4)}
            return Rule(protocol=protocol, does=does, **where | state)  # type: ignore[arg-type]
        return Rule(protocol=protocol, does=does, **self._where(made, table, hook, 0.25) | state)  # type: ignore[arg-type]

    def _state(self, table: str) -> dict[str, object]:
        """What state a rule asks for, if it does. NB: where tracking has not begun (raw) every state is INVALID; nobody asks there."""
        rng = self._rng
        return {"state": rng.choice(_STATES)} if table in ("filter", "mangle") and rng.random() < 0.35 else {}

    def _somebody(self, made: Drawn) -> str:
        number = self._rng.choice(made.nodes).number
        return self._rng.choice((made.plan.pod(number), made.plan.node(number)))

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
        rng, plan = self._rng, made.plan
        if table == "nat":
            if hook == "postrouting":
                return "masquerade"
            to = rng.choice([plan.pod(n.number) for n in made.nodes])
            return f"dnat {plan.at(to, OPEN)}" if rng.random() < 0.8 else f"redirect {OPEN}"
        if table == "filter":
            return rng.choice(("drop", f"reject {rng.choice([*REJECTS[plan.version], RESET])}", "accept", "accept"))
        if table == "mangle":
            return rng.choice(("mark 1", "mark 2", "mark 1", "drop"))
        return rng.choice(("drop", "accept", "mark 1", "notrack", "notrack"))

    def shots(self, made: Drawn, count: int) -> list[Shot]:
        """Return questions."""
        rng, plan = self._rng, made.plan
        nodes = [n.number for n in made.nodes]
        nowhere = rng.choice([address for _, address in plan.refused.values()])
        to = [plan.pod(n) for n in nodes] * 3 + [plan.node(n) for n in nodes] + [*plan.virtual] * 2 + [nowhere]
        to += [plan.node(n, 1) for n in nodes] if made.networks > 1 else []
        found = []
        for _ in range(count):
            source = rng.choice(("p", "p", "n")) + str(rng.choice(nodes))
            port = OPEN if rng.random() < 0.7 else CLOSED
            protocol = rng.choice(("tcp", "tcp", "tcp", "udp", "udp", "udp", "icmp"))
            found.append(Shot(source=source, destination=rng.choice(to), port=0 if protocol == "icmp" else port, protocol=protocol))
        return found

    def conversations(self, made: Drawn, count: int) -> list[Shot]:
        """Return questions whose clients stay connected."""
        shots = self.shots(made, count * 4)
        return [shot for shot in shots if shot.port == OPEN][:count]

    def changes(self, made: Drawn) -> list[Change]:
        """Give some chains other rules, and return what is changed."""
        rng, found = self._rng, []
        for node in made.nodes:
            for name, stack in node.stacks.items():
                of_pod = name != node.name
                self._devices = ["eth0"] if of_pod else self._of_node(made)
                forgets = not of_pod and rng.random() < 0.15
                # NB: what forgotten entries translated is seen from the nat rules only; who changes those as well leaves nothing to see it from
                tables = [table for table in stack.tables if not forgets or table.name not in ("nat", "raw")]
                chains = [(table, chain) for table in tables for chain in table.chains if rng.random() < 0.3]
                for table, chain in chains:
                    chain.rules = [self._rule(made, table.name, chain.hook) for _ in range(rng.choice((0, 1, 2)))]
                    if chain.policy == "drop":
                        chain.rules.append(Rule(protocol="", does="accept", state="established"))
                change = Change(space=name, chains=tuple(chains), forgets=forgets)
                made.counts["chains changed under connections"] += len(chains)
                made.counts["stacks that forgot their connections"] += change.forgets
                found.append(change)
        return found

    def _of_node(self, made: Drawn) -> list[str]:
        return ["eth0", "pod0", *(["eth1"] if made.networks > 1 else []), *(["vx0"] if made.overlay else [])]

    def _count(self, made: Drawn) -> None:
        """Count what the cluster has of each dimension."""
        made.counts["labs"] += 1
        made.counts[f"labs of IPv{made.plan.version}"] += 1
        made.counts[f"nodes: {len(made.nodes)}"] += 1
        made.counts["pods by VXLAN" if made.overlay else "pods by routes"] += 1
        made.counts[f"networks: {made.networks}"] += 1
        for node in made.nodes:
            self._count_node(made, node)

    def _count_node(self, made: Drawn, node: Node) -> None:
        makers = {table.maker for table in node.tables}
        made.counts["nodes with both back ends of iptables"] += {"legacy", "nft"} <= makers
        made.counts["nodes with native tables"] += not makers.isdisjoint(("own", "inet"))
        made.counts["pods whose own stack is recorded"] += node.pod is not None
        made.counts["pods with rules of their own"] += node.pod is not None and bool(node.pod.tables)
        made.counts["nodes with nft-hooks.txt"] += node.tells_hooks
        made.counts["nodes that take up no connection midway (tcp_loose 0)"] += not node.is_loose
        made.counts[f"nodes with rp_filter {node.rp_filter}"] += made.plan.version == 4
        places = Counter((chain.hook, table.priority(chain.hook)) for table in node.tables for chain in table.chains)
        made.counts["hooks where two or more chains have one priority"] += sum(1 for count in places.values() if count > 1)
        if node.routing:
            asked, way = node.routing[0].split()[2], node.routing[1].split()[2]
            made.counts[f"policy rules: {asked}"] += 1
            made.counts[f"policy routes: {'unicast' if way[0].isdigit() or ':' in way else way}"] += 1
        for stack in node.stacks.values():
            for table in stack.tables:
                for chain in table.chains:
                    count_chain(made.counts, table.maker, chain)


def count_chain(counts: Counter[str], maker: str, chain: Chain) -> None:
    """Count what a chain has of each dimension."""
    counts[f"chains of {maker}"] += 1
    counts["chains whose policy drops"] += chain.policy == "drop"
    for rule in chain.rules:
        counts[f"rules: {'reject with a reset' if RESET in rule.does else rule.does.split()[0]}"] += 1
        counts["rules about ICMP"] += "icmp" in rule.protocol
        if rule.state:
            counts[f"rules for {rule.state}"] += 1
