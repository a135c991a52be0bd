"""The rules of a random little cluster as values, in the words of iptables and of nft, and what ``nft list hooks`` would print of them."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.oracle.stacks_plan import Plan

MAKERS = ("legacy", "nft", "own", "inet")
"""Who makes chains: iptables-legacy, iptables-nft, native tables of the cluster's own family and of inet. All have the same priorities."""
PRIORITIES = {("raw", ""): -300, ("mangle", ""): -150, ("filter", ""): 0, ("nat", "dst"): -100, ("nat", "src"): 100}
HOOKS = {
    "raw": ("prerouting", "output"),
    "mangle": ("prerouting", "input", "forward", "output", "postrouting"),
    "nat": ("prerouting", "output", "postrouting"),
    "filter": ("input", "forward", "output"),
}
REJECTS = {
    4: {
        "icmp-port-unreachable": "port-unreachable",
        "icmp-host-unreachable": "host-unreachable",
        "icmp-net-unreachable": "net-unreachable",
        "icmp-admin-prohibited": "admin-prohibited",
        "icmp-host-prohibited": "host-prohibited",
    },
    6: {
        "icmp6-port-unreachable": "port-unreachable",
        "icmp6-addr-unreachable": "addr-unreachable",
        "icmp6-no-route": "no-route",
        "icmp6-adm-prohibited": "admin-prohibited",
        "icmp6-policy-fail": "policy-fail",
        "icmp6-reject-route": "reject-route",
    },
}
"""``--reject-with``, and what nft calls it, by IP version."""
RESET = "tcp-reset"


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
        words += [f"-p {self.protocol}"] if self.protocol else []
        words += [f"-m {self.protocol} --dport {self.port}"] if self.port else []
        words += [f"-m mark --mark {self.mark:#x}"] if self.mark is not None else []
        words += [f"-m conntrack --ctstate {self.state.upper()}"] if self.state else []
        kind, _, value = self.does.partition(" ")
        ends = {
            "drop": "DROP", "accept": "ACCEPT", "reject": f"REJECT --reject-with {value}", "mark": f"MARK --set-mark {value}",
            "dnat": f"DNAT --to-destination {value}", "redirect": f"REDIRECT --to-ports {value}", "masquerade": "MASQUERADE",
            "notrack": "CT --notrack",
        }  # fmt: skip
        return f"{' '.join(words)} -j {ends[kind]}"

    def nft(self, plan: Plan) -> str:
        """Return the rule as nft takes it, in a table of any family."""
        words = [f"meta l4proto {self.protocol}"] if self.protocol else []
        words += [f"{plan.family} saddr {self.source}"] if self.source else []
        words += [f"{plan.family} daddr {self.destination}"] if self.destination else []
        words += [f'iifname "{self.in_device}"'] if self.in_device else []
        words += [f'oifname "{self.out_device}"'] if self.out_device else []
        words += [f"{self.protocol} dport {self.port}"] if self.port else []
        words += [f"meta mark {self.mark:#x}"] if self.mark is not None else []
        words += [f"ct state {self.state}"] if self.state else []
        kind, _, value = self.does.partition(" ")
        icmp = f"{'icmp' if plan.version == 4 else 'icmpv6'} type {REJECTS[plan.version].get(value, '')}"
        ends = {
            "drop": "drop", "accept": "accept", "reject": f"reject with {'tcp reset' if value == RESET else icmp}",
            "mark": f"meta mark set {value}", "dnat": f"dnat {plan.family} to {value}", "redirect": f"redirect to :{value}",
            "masquerade": "masquerade", "notrack": "notrack",
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

    plan: Plan
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
        lines = [f"table {self.family} {self.native} {{"]
        kind = "nat" if self.name == "nat" else "route" if self.name == "mangle" else "filter"
        for chain in self.chains:
            of = kind if kind != "route" or chain.hook == "output" else "filter"
            lines.append(
                f" chain {chain.hook} {{\n  type {of} hook {chain.hook} priority {self.priority(chain.hook)}; policy {chain.policy};"
            )
            lines += [*(f"  {rule.nft(self.plan)}" for rule in chain.rules), " }"]
        return "\n".join((*lines, "}", ""))

    def renewed(self, chain: Chain) -> str:
        """Return what its maker's program loads to give *chain*, which is there, the rules that it has by now."""
        if self.maker in ("legacy", "nft"):
            return "\n".join(
                (f"*{self.name}", f"-F {chain.hook.upper()}", *(rule.iptables(chain.hook) for rule in chain.rules), "COMMIT", "")
            )
        at = f"{self.family} {self.native} {chain.hook}"
        return "\n".join((f"flush chain {at}", *(f"add rule {at} {rule.nft(self.plan)}" for rule in chain.rules), ""))

    @property
    def program(self) -> tuple[str, ...]:
        """Return the program that loads ``text``."""
        if self.maker in ("own", "inet"):
            return "nft", "-f", "/dev/stdin"
        return f"{'iptables' if self.plan.version == 4 else 'ip6tables'}-{self.maker}-restore", "--noflush"

    @property
    def family(self) -> str:
        """Return nft's family of the table."""
        return "inet" if self.maker == "inet" else self.plan.family

    @property
    def native(self) -> str:
        """Return the name of the table where nft makes it."""
        return f"own-{self.name}"

    def registered(self, hook: str) -> str:
        """Return what ``nft list hooks`` calls its chain at *hook*."""
        six = self.plan.family[2:]
        if self.maker == "legacy":
            return f"ip{six}table_mangle_hook [ip{six}table_mangle]" if self.name == "mangle" else f"ip{six}t_do_table [ip{six}_tables]"
        if self.maker == "nft":
            return f"chain {self.family} {self.name} {hook.upper()} [nf_tables]"
        return f"chain {self.family} {self.native} {hook} [nf_tables]"


@dataclass(slots=True, kw_only=True)
class Stack:
    """A node's or a pod's own stack: its tables in the order of making. *tells_hooks*: it has a list of its hooks."""

    number: int
    tables: list[Table] = field(default_factory=list)
    tells_hooks: bool = False

    def hooks(self, plan: Plan) -> str:
        """Return what ``nft list hooks`` would print: of equal priorities, what was made last."""
        found: dict[str, list[tuple[int, str]]] = {}
        for table in reversed(self.tables):
            for chain in table.chains:
                found.setdefault(chain.hook, []).append((table.priority(chain.hook), table.registered(chain.hook)))
        lines = [f"family {plan.family} {{"]
        for hook, entries in found.items():
            lines += [f"\thook {hook} {{", *(f"\t\t{at:+011} {name}" for at, name in sorted(entries, key=lambda entry: entry[0])), "\t}"]
        return "\n".join((*lines, "}", ""))
