"""What reading and walking may cost: every bound of the engine, counted and never timed, in one place. docs/limits.md has the table.

Strategy: what one question may cost is a value, ``Limits``, that a snapshot carries and a walk takes from there; ``Budget`` is what the
question has left of it. Everything that a walk asks, keeps or copies is spent from it, so that time and memory end together, in one
unknown way (code UNSUPPORTED) that says so. What a text may look like are constants: no program writes anything near them, and they keep
whoever walks a value within the interpreter's stack. A text beyond one is a fault of that text.
Bounds that are the kernel's or a program's own (jump stacks, CNAME chains, resolv.conf) are facts of the model and stay where they apply.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

NESTING = 100
"""How deep arrays and objects of JSON, and collections of YAML, may lie in each other."""
DIGITS = 40
"""How many characters a whole number may have."""
EXPANDED = 1_000_000
"""How many values and characters the aliases of one YAML text may add; in a longer text as many as it has characters."""
HOPS = 256
"""How many next hops one route may have."""
PEERS = 8
"""How many other nodes are asked whether they have a route that a node lacks."""
ORDERS = 24
"""How many orders of a virtual server's list are tried, to see whether a hash scheduler's answer depends on it."""
TIED = 24
"""How many orders of chains of equal priority are tried at one hook, to see whether the packet's way depends on it."""
FAULTS = 1_000
"""How many faults of one text are kept; that there are more is kept as the last."""
DIFFERENCES = 1_000
"""How many differences between a node's rules and what kube-proxy would write are told one by one; the others are counted."""
TOLD_RULES = 100
"""How many rules of one stack that only one of two compared answers met are told; the others are counted."""
ALIGNED = 4_000_000
"""How many pairs of an expected and a recorded rule are looked at to align two lists: of longer ones each rule is taken by its place."""
REFUSED = 10_000
"""How many API objects of one file may be unreadable before the rest of it is not looked at."""
AGAIN = 200_000
"""What asking again may cost for one suggestion, in units of ``Limits.work``."""
SUGGESTIONS = 8
"""How many suggestions for one answer are asked again: those behind are not made."""
OTHERS = 8
"""How many other settings of one assumption are offered, and looked at."""
SERVED = 300_000
"""How much the load balancers of one file may list, each address against each mapping: a backend is 1, a frontend 5, 200 characters 1."""
COMPARED = 250
"""Of how many Services, and ten times as many endpoints, a node's rules are compared with what kube-proxy would write for one question."""
PROGRAMMED = 1_000
"""Services times nodes without recorded rules: of more not all rules are modelled, but those that a question's packets can meet."""
PROGRAMS = 8
"""For how many questions' Services such rules are kept, and for how many settings of assumptions."""
WRITTEN = 1_000
"""How many external addresses of Services, ports of pods, or pods' networks may be written into the rules of a node that are modelled."""
OVERRIDES = 100
"""How many what-if words one question may have."""
OVERRIDE_TEXT = 4_000
"""How many characters one what-if word may have."""
APPLIED = 1_000_000
"""How many characters of JSON the manifest of one what-if question may have."""
APPLIED_OBJECTS = 500
"""How many objects the manifest of one what-if question may hold."""
WHAT_IFS = 8
"""For how many what-if changes the changed cluster is kept, of one cluster."""
MIGRATED = 1_000_000
"""How many questions a migration report asks of each mode; the Services behind those are named as not asked."""
MIGRATED_ON_PAGE = 600
"""The same for one page, which does not stream: it leads to the Services behind those."""
MIGRATED_PEERS = 4
"""At how many other nodes a node's or pod's migration questions dial each node port."""
MIGRATED_ADDRESSES = 6
"""At how many addresses of one node a migration report dials node ports."""
OPERATIONS = 64
"""How many operations one expression of an nftables rule may have, and how deep its parentheses and braces may be nested."""

SKETCH_BYTES = 4_000_000
"""How many bytes of manifests are drawn out as a cluster."""
SKETCH_OBJECTS = 5_000
"""How many manifests are."""
SKETCH_PODS = 2_000
"""How many pods a sketch has."""
SKETCH_COPIED = 50_000_000
"""How many characters the templates of a sketch's pods have, each as often as it has pods."""
SKETCH_ENDPOINTS = 50_000
"""How many endpoints all Services of a sketch have, each times the Service's ports."""
SKETCH_NODES = 100
"""How many nodes a sketch has."""
SKETCH_MISTAKES = 100
"""How many mistakes of manifests are told."""

KEPT_HOPS = 20_000
"""How many hops the answers have in all that are kept of one cluster, to be given again: some 20 MB."""
KEPT_TEXTS = 32
"""How many texts of routes are kept with what was read of them, and as many of addresses and of devices: the next question is the same."""
KEPT_TEXT = 262_144
"""How many characters such a text may have: a longer one is read whenever that is asked."""
KEPT_LOOKS = 10_000
"""How many look-ups of one file of a node, or of all objects, are kept with what was found."""

KEPT_RUNS = 20_000
"""How many walks of chains are kept of one cluster, and those of one question more: each with what it asked and its steps, some 2 KB."""
KEPT_RULES = 20_000
"""How many rules of iptables a process keeps as they were read: most nodes have the same ones, in other lines. Each some 1 KB."""
KEPT_CROSSINGS = 40_000
"""How many crossings of a stack are kept of one cluster for the packets that follow: each some 2 KB."""
KEPT_WAYS = 60_000
"""How many hops the ways have in all that are kept of one cluster behind a translation, there and back: each some 1 KB."""

KEPT_OWN = 50_000
"""Of how many pods of one cluster is kept what is their own (routes, devices), and which pods they are like: each some 1 KB."""

KEPT_JSON = 8_000_000
"""How many characters of JSON are kept of steps that the answers of one batch have in common."""

TOLD = 1_000
"""How many outcomes an answer's JSON tells one by one unless it is asked for all; of more, one of each class."""
ODDS_HEX = 4_096
"""How many hexadecimal digits exact odds may have that are written out; longer ones are told after those of the outcome before."""

PIECES = 2_000
"""How many things one pasted text may hold. One of more is not cut: it is taken for what its beginning is."""
CUT_LINES = 50_000
"""How many lines that may stand between things are looked at in one text. One of more is not cut."""
CUT_BYTES = 32_000_000
"""No larger text is cut into the things it holds."""
CUT_OBJECT_BYTES = 8_000_000
"""The same for a text that holds API objects among its first."""
CUT_JSON_BYTES = 1_000_000
"""The same for a text that begins as JSON: a large one is one list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one question may cost.

    *work* is in units of about a microsecond, or of a hundred bytes that are kept; *ways* are those that the packet can go, in all and out
    of one chain; *choices* what one random value, one scheduler or one list of backends may give. *settings* is the work, in the units of
    *work*, that looking at the other settings of an answer's assumptions may be, beside the answer's own.
    """

    work: int = 4_000_000
    ways: int = 10_000
    choices: int = 10_000
    settings: int = 400_000

    def __post_init__(self) -> None:
        """Check that every limit leaves room for something. :raises ValueError: one does not."""
        for field in fields(self):
            if getattr(self, field.name) < 1:
                raise ValueError(f"the limit {field.name} is less than 1")


DEFAULT = Limits()


class Budget:
    """What one question has left."""

    __slots__ = ("left", "limits")

    def __init__(self, limits: Limits = DEFAULT) -> None:
        self.limits = limits
        self.left = limits.work

    @property
    def is_spent(self) -> bool:
        """Return whether nothing is left: whoever walks gives up now."""
        return self.left <= 0

    def spend(self, units: int) -> None:
        """Take *units*. The last who spends may take more than there is."""
        self.left -= units
