"""Ask the kernel: load a rule set, send one packet after the other, and note what it did to each, rule by rule."""

from __future__ import annotations

import re
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.oracle import frames
from tests.oracle.frames import NUMBERS, Header
from tests.oracle.lab import BRIDGED, CLIENT, ROUTED, Lab, Seen, pod_address
from tests.oracle.netlink import Conntrack, Event, LegacyTrace, NftTrace
from tests.oracle.netns import CommandFailed
from tests.oracle.rulesets import BASES, RuleSet, Shot
from tests.oracle.vocabulary import RECENT, set_name

_EMPTY = "".join(f"*{t}\n" + "".join(f":{c} ACCEPT\n" for c in chains) + "COMMIT\n" for t, chains in BASES.items())
_LINE = re.compile(r"line:? ([0-9]+)", re.ASCII)
_ENDS = (" -j DROP", " -j REJECT")


@dataclass(frozen=True, slots=True)
class Loaded:
    """A rule set in the kernel: its dump as iptables-save prints it, the sets', and the line of every rule by chain and position."""

    backend: str
    version: int
    dump: str
    sets: str
    lines: dict[tuple[str, str], tuple[int, ...]]
    policies: dict[tuple[str, str], str]
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Mark:
    """One step of the kernel: the line of the dump that matched, or None for the policy of the chain."""

    table: str
    chain: str
    line: int | None


@dataclass(slots=True)
class Observation:
    """What the kernel did to one packet."""

    marks: tuple[Mark, ...]
    seen: Seen = field(default_factory=Seen)
    reply: Observation | None = None


def described(backend: str, version: int, dump: str, sets: str) -> Loaded:
    """Return a rule set as iptables-save and ``ipset save`` print it, each rule known by its line."""
    lines: dict[tuple[str, str], list[int]] = {}
    policies: dict[tuple[str, str], str] = {}
    table = ""
    for number, line in enumerate(dump.splitlines(), 1):
        if line.startswith("*"):
            table = line[1:].strip()
        elif line.startswith(":"):
            policies[table, line[1:].split()[0]] = line.split()[1]
        elif line.startswith("-A "):
            lines.setdefault((table, line.split()[1]), []).append(number)
    return Loaded(backend, version, dump, sets, {k: tuple(v) for k, v in lines.items()}, policies, tuple(dump.splitlines()))


class Kernel:
    """One back end for one family in the lab; *patience* is how long it waits, in seconds, after the last sign of life of a packet."""

    patience = 0.03

    def __init__(self, lab: Lab, backend: str, version: int) -> None:
        self.lab, self.backend, self.version = lab, backend, version
        self._program = f"{'ip' if version == 4 else 'ip6'}tables-{backend}"
        self._trace: NftTrace | LegacyTrace = NftTrace(lab.node) if backend == "nft" else LegacyTrace(lab.node)
        self.conntrack = Conntrack(lab.node)
        self._uses_recent = self._changes_sets = self._loaded = False

    def close(self) -> None:
        """Take the rules away."""
        self.lab.node.run(f"{self._program}-restore", "--wait=10", text=_EMPTY)
        self._trace.close()
        self.conntrack.close()

    def load(self, rules: RuleSet) -> Loaded:
        """Put *rules* into the kernel. :raises CommandFailed: it does not take them."""
        if self._loaded:
            self.lab.node.run(f"{self._program}-restore", "--wait=10", text=_EMPTY)
        self._loaded = True
        self._destroy_sets()
        self.lab.node.run("ipset", "restore", text=rules.sets)
        text = rules.text()
        self.lab.node.run(f"{self._program}-restore", "--wait=10", text=text)
        if isinstance(self._trace, NftTrace):
            self._trace.learn()
        self._uses_recent, self._changes_sets = "-m recent" in text, " -j SET " in text
        dump, sets = self.lab.node.run(f"{self._program}-save"), self.lab.node.run("ipset", "save")
        return described(self.backend, self.version, dump, sets)

    def refusal(self, text: str) -> str | None:
        """Load *text*, and return why that was refused, None if it was not."""
        try:
            self.lab.node.run(f"{self._program}-restore", "--wait=10", text=text)
        except CommandFailed as error:
            return " ".join(str(error).split())[-160:]
        return None

    def _destroy_sets(self) -> None:
        """NB: nf_tables lets go of rules, and so of the sets that they ask, some time after they are gone."""
        for _ in range(200):
            try:
                self.lab.node.run("ipset", "restore", text="flush\ndestroy\n")
                return
            except CommandFailed:
                time.sleep(0.005)
        raise CommandFailed("the sets of the last rule set are still in use")

    # -- one packet ---------------------------------------------------------------------------------------------------------------

    def shoot(self, loaded: Loaded, shot: Shot) -> Observation:
        """Send *shot* and return what became of it, and of the answer to it where it came out of the node."""
        self._forget(loaded)
        seen = Seen()
        self._send(shot, seen)
        observed = self._followed(loaded, seen)
        found = list(dict.fromkeys(seen.headers))
        if len(found) == 1 and found[0][0] != "local" and found[0][1].source not in ("127.0.0.1", "::1", found[0][1].destination):
            observed.reply = self._answered(loaded, *found[0])
        return observed

    def _answered(self, loaded: Loaded, device: str, header: Header) -> Observation:
        """Send the first answer back into the cable that the packet came out of."""
        back = Header(
            protocol=header.protocol,
            source=header.destination,
            source_port=header.destination_port,
            destination=header.source,
            destination_port=header.source_port,
        )
        self.lab.drain()
        seen = Seen()
        self.lab.send(device, frames.packet(back, answers=header), peer_mac=self._neighbour(device, back.destination))
        observed = self._followed(loaded, seen)
        # What the node's own socket says to the answer is traced too; it is not asked for.
        marks = observed.marks
        own = next((n for n, mark in enumerate(marks) if mark.chain == "OUTPUT"), len(marks))
        # NB: nf_tables tells of a rule when its target has run, so that a reset is on its way before its rule is told.
        late = self.backend == "nft" and own < len(marks) and "--reject-with tcp-reset" in self._text(loaded, marks[-1])
        return Observation((*marks[:own], *(marks[-1:] if late else ())), seen)

    def _neighbour(self, device: str, destination: str) -> str | None:
        """The MAC address of *destination* where it is on the same bridge as *device*; None: the node's own."""
        version = 6 if ":" in destination else 4
        ports = {pod_address(pod, version): own for pod, (own, _) in BRIDGED.items()}
        on_bridge = device in ports.values() and destination in ports
        return self.lab.cables[ports[destination]].peer_mac if on_bridge else None

    def _followed(self, loaded: Loaded, seen: Seen) -> Observation:
        """Read the trace and the cables until the packet has come to an end."""
        marks: list[Mark] = []
        deadline, patient = time.monotonic() + self.patience, True
        while time.monotonic() < deadline:
            self.lab.collect(seen, 0 if patient else 2)
            patient = False
            if self._read(loaded, marks):
                deadline = time.monotonic() + self.patience
            if seen.headers or (marks and self._is_end(loaded, marks[-1])):
                break
        self.lab.collect(seen, 0)
        self._read(loaded, marks)
        if marks and " -j REJECT" in self._text(loaded, marks[-1]) and not seen.refusals:
            self.lab.collect(seen, 1)
        return Observation(tuple(marks), seen)

    def _read(self, loaded: Loaded, marks: list[Mark]) -> bool:
        before = len(marks)
        for event in self._trace.waiting():
            if event.version == loaded.version:
                mark = _mark(loaded, event)
                if mark is not None and " -j TRACE" not in self._text(loaded, mark):
                    marks.append(mark)
        return len(marks) > before

    @staticmethod
    def _text(loaded: Loaded, mark: Mark) -> str:
        return "" if mark.line is None else loaded.texts[mark.line - 1]

    def _is_end(self, loaded: Loaded, mark: Mark) -> bool:
        if mark.line is None:
            return loaded.policies.get((mark.table, mark.chain)) == "DROP"
        text = self._text(loaded, mark)
        return any(x in text for x in _ENDS)

    def _forget(self, loaded: Loaded) -> None:
        """Take back what earlier packets left behind: connections, lists, entries of sets, late packets."""
        self.conntrack.flush()
        self.lab.drain()
        for _ in self._trace.waiting():
            pass
        if self._uses_recent:
            with self.lab.node.inside():
                for name in RECENT:
                    path = Path("/proc/thread-self/net/xt_recent", name)
                    if path.exists():
                        path.write_text("/\n")
        if self._changes_sets:
            name = set_name("grow", loaded.version)
            adds = "".join(f"{line}\n" for line in loaded.sets.splitlines() if line.startswith(f"add {name} "))
            self.lab.node.run("ipset", "restore", text=f"flush {name}\n{adds}")

    def _send(self, shot: Shot, seen: Seen) -> None:
        if shot.source == "node":
            try:
                self._send_own(shot)
            except OSError as error:
                seen.error = error.strerror or str(error)
            return
        device = "eth0" if shot.source == "client" else (ROUTED | BRIDGED)[shot.source][0]
        source = CLIENT[shot.version] if shot.source == "client" else pod_address(shot.source, shot.version)
        header = Header(
            protocol=shot.protocol,
            source=source,
            source_port=shot.source_port,
            destination=shot.destination,
            destination_port=shot.destination_port,
            dscp=shot.dscp,
            ttl=shot.ttl,
        )
        self.lab.send(device, frames.packet(header, b"x" * shot.payload), peer_mac=self._neighbour(device, shot.destination))

    def _send_own(self, shot: Shot) -> None:
        """Send from a process of the node: a real socket, the source address left to the kernel."""
        family = socket.AF_INET if shot.version == 4 else socket.AF_INET6
        kind = {"udp": socket.SOCK_DGRAM, "tcp": socket.SOCK_STREAM, "sctp": socket.SOCK_RAW}[shot.protocol]
        with self.lab.node.inside():
            made = socket.socket(family, kind, NUMBERS[shot.protocol] if shot.protocol == "sctp" else 0)
        with made:
            made.setblocking(False)
            if shot.version == 4:
                made.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, shot.dscp << 2)
                made.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, shot.ttl)
            else:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, shot.dscp << 2)
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, shot.ttl)
            if shot.protocol == "sctp":
                header = Header(
                    protocol="sctp",
                    source=shot.destination,
                    source_port=shot.source_port,
                    destination=shot.destination,
                    destination_port=shot.destination_port,
                )
                made.sendto(frames.packet(header)[20 if shot.version == 4 else 40 :], (shot.destination, 0))
                return
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(("", shot.source_port))
            if shot.protocol == "udp":
                made.sendto(b"x" * shot.payload, (shot.destination, shot.destination_port))
            else:
                made.connect_ex((shot.destination, shot.destination_port))


def _mark(loaded: Loaded, event: Event) -> Mark | None:
    """The step that *event* is, None for the end of a user chain."""
    lines = loaded.lines.get((event.table, event.chain), ())
    if event.position is not None and 0 <= event.position < len(lines):
        return Mark(event.table, event.chain, lines[event.position])
    if event.position is None or event.position == len(lines):
        return Mark(event.table, event.chain, None) if loaded.policies.get((event.table, event.chain)) != "-" else None
    return Mark(event.table, event.chain, -1)


def load_what_loads(kernel: Kernel, rules: RuleSet) -> tuple[Loaded, list[str]]:
    """Load *rules*, leaving out what this kernel or iptables refuses; return that with the reasons."""
    refused: list[str] = []
    while True:
        try:
            return kernel.load(rules), refused
        except CommandFailed as error:
            found = _LINE.search(str(error))
            if found is None:
                raise
            refused += _without_refused(kernel, rules, rules.text().splitlines(), int(found[1]), " ".join(str(error).split())[-160:])


def _without_refused(kernel: Kernel, rules: RuleSet, lines: list[str], number: int, why: str) -> list[str]:
    """Take the rule of line *number* out; where the line is a COMMIT, every rule of its table that the kernel does not take alone."""
    at = max(i for i, line in enumerate(lines[:number]) if line.startswith("*"))
    chains = rules.tables[lines[at][1:]]
    guilty = []
    for chain in chains:
        for rule in chain.rules:
            text = rule.text(chain.name)
            alone = "\n".join([lines[at], *(f":{c.name} {c.policy}" for c in chains), text, "COMMIT\n"])
            if text == lines[number - 1] or (lines[number - 1] == "COMMIT" and kernel.refusal(alone) is not None):
                guilty.append((chain, rule))
    for chain, rule in guilty or [next((c, c.rules[-1]) for c in chains if c.rules)]:
        chain.rules.remove(rule)
    return [f"{rule.text(chain.name)}   ({why})" for chain, rule in guilty] or [f"a rule of table {lines[at][1:]} ({why})"]
