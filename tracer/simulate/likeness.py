"""Whether another endpoint's way can only be the one that was walked: what that walk asked, asked again.

A question that is about the endpoint is asked with the other's addresses, names and devices in the place of its own; the answer has to be
what the first was answered, with those put in. Of a stack's routing one look at where an address lies stands for all questions
(``tracer.simulate.cells``); of the rules of a chain only those are asked again that can be about the endpoint.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import Any

from tracer.frozen import changed
from tracer.kube.pod import Pod
from tracer.netfilter import model as m
from tracer.netfilter.kept_runs import KeptRuns
from tracer.netfilter.view import View
from tracer.packet import Address
from tracer.routing import Routing
from tracer.routing.model import InterfaceAddress
from tracer.routing.sysctl import Sysctls
from tracer.simulate.asked import Asked, Called, Looked, Ran, WorkedOut, is_stand_in
from tracer.simulate.belongings import Belongings
from tracer.simulate.stencil import CannotCutError, Cutter, Own, Stencil
from tracer.simulate.walk import Visit, Walk

_MOST_ASKED, _LARGEST, _MOST_NETWORKS = 5_000, 1_000_000, 100
"""How much one walk may ask; of a value that is looked at as a whole, how many parts it may have, and how many networks."""
_IPV4 = 4


class Likeness:
    """The way of *own* that was walked, with everything that it *asked*; it begins with a walk and what goes with it.

    It is held against endpoints of the same kind (``Belongings.kind``).
    """

    def __init__(self, own: Own, begin: tuple[Walk, list[Any]], asked: list[Asked], belongings: Belongings, looks: Looks) -> None:
        self._own, self._begin, self._asked, self._belongings, self._looks = own, begin, asked, belongings, looks
        self._checks: list[Callable[[Own], bool]] | None = None
        self._of_routing: dict[int, Callable[[Own], bool] | None] = {}
        self._start = Stencil(None, None)
        self._met: frozenset[object] = frozenset()
        self._networks: tuple[IPv4Network | IPv6Network, ...] = ()
        self._within: list[bool] = []
        self._masks: dict[_Mask, bool] = {}

    def fits(self, walk: Walk, rest: list[Any], own: Own) -> bool:
        """Return whether *own*'s way, which begins with *walk* and *rest*, can only be this one with its addresses and names put in."""
        if self._checks is None:
            self._checks = self._cut()
        if not self._checks or not self._met.isdisjoint((*own.addresses, *own.words)):
            return False
        if self._of_networks(own) != self._within:
            return False
        numbers = [int(address) for address in own.addresses]
        if any((numbers[place] & mask == value) is not held for (place, value, mask), held in self._masks.items()):
            return False
        return bool(self._start.filled(own) == (_core(walk), rest)) and all(check(own) for check in self._checks)

    def _cut(self) -> list[Callable[[Own], bool]]:
        """What has to be true of another endpoint; nothing where something was asked that cannot be asked of another."""
        if len(self._asked) > _MOST_ASKED:
            return []
        cutter = Cutter(self._own, is_the_clusters)
        met: set[object] = {self._begin[0].visit.came_in}
        try:
            self._start = cutter.cut((_core(self._begin[0]), self._begin[1]))
            checks = [check for one in _each_once(self._asked) if (check := self._check(one, cutter, met)) is not None]
            checks = list(dict.fromkeys(checks))
        except CannotCutError:
            return []
        self._met = frozenset(met.difference(self._own.addresses, self._own.words))
        self._networks = tuple(cutter.networks)
        self._within = self._of_networks(self._own)
        return [_always, *checks]

    def _of_networks(self, own: Own) -> list[bool]:
        """In which of the networks that answers had *own*'s addresses are: whoever is answered may compare them."""
        return [a.version == network.version and a in network for network in self._networks for a in own.addresses]

    def _check(self, asked: Asked, cutter: Cutter, met: set[object]) -> Callable[[Own], bool] | None:
        match asked:
            case Called():
                check, is_about = _called(asked, cutter, met)
                return (self._by_cell(asked.method.__self__) or check) if is_about else check
            case Ran():
                view = asked.view
                met |= {view.packet.source, view.packet.destination, view.in_device, view.out_device, view.phys_in, view.phys_out}
                return _ran(asked.runs, asked.view, cutter, self._masks)
            case WorkedOut():
                return _worked_out(asked, cutter)
            case Looked() if (by_cell := self._by_cell(asked.held)) is not None:
                return by_cell
            case Looked(_, Sysctls() as settings):
                of = self._belongings.settings(settings)
                own = [of.get(link.name) for link in self._own.links]
                return lambda other: [of.get(link.name) for link in other.links] == own
            case Looked():
                held = self._looks.held(asked.value)
                first = held.relation(self._own)
                return lambda own: held.relation(own) == first

    def _by_cell(self, routing: object) -> Callable[[Own], bool] | None:
        """The one question that stands for all those to a stack's routing; None where each has to be asked."""
        if not isinstance(routing, Routing) or routing.inferred_from or self._begin[0].packet.destination.version != _IPV4:
            return None
        if id(routing) not in self._of_routing:
            cells = self._belongings.cells(routing)
            first = cells.of(self._own)
            self._of_routing[id(routing)] = None if first is None else lambda own: cells.of(own) == first
        return self._of_routing[id(routing)]


def _always(own: Own) -> bool:
    return True


def is_the_clusters(value: object) -> bool:
    """Whether a value is what the snapshot holds, whoever asks: a part of the cluster, rules as they were read."""
    return is_stand_in(value) or callable(value) or type(value).__module__.startswith("tracer.netfilter.")


def _each_once(asked: Sequence[Asked]) -> Iterator[Asked]:
    seen: set[object] = set()
    for one in asked:
        match one:
            case Called(method, args, named):
                key: object = (id(method.__self__), method.__name__, tuple(map(_hashable, args)), tuple(named.items()))
            case Looked(_, value):
                key = id(value)
            case Ran(runs, view):
                key = (id(runs), id(view))
            case WorkedOut():
                key = id(one)
        try:
            if key in seen:
                continue
            seen.add(key)
        except TypeError:  # an argument that cannot be hashed
            pass
        yield one


def _hashable(value: object) -> object:
    return id(value) if isinstance(value, Pod) else value


def _called(asked: Called, cutter: Cutter, met: set[object]) -> tuple[Callable[[Own], bool] | None, bool]:
    """How to ask again, None where that would be the same question with the same answer; and whether it was asked about the endpoint.

    NB: what is asked of others, and answered with what is the endpoint's, is so of no other endpoint, however like it is.
    """
    given, answered = cutter.cut((asked.args, dict(asked.named))), cutter.cut(asked.answer)
    met.update(a for a in (*asked.args, *asked.named.values()) if isinstance(a, (IPv4Address, IPv6Address, str)))
    if given.fill is None and answered.fill is None:
        return None, False

    def check(own: Own) -> bool:
        args, named = given.filled(own)
        return bool(_same(asked.method(*args, **named), answered.filled(own)))

    return check, given.fill is not None


def _worked_out(asked: WorkedOut, cutter: Cutter) -> Callable[[Own], bool] | None:
    given, answered = cutter.cut(asked.given), cutter.cut(asked.answer)
    if given.fill is None:
        return None
    return lambda own: bool(asked.work(given.filled(own)) == answered.filled(own))


def _same(answer: Any, wanted: Any) -> bool:
    return bool((tuple(answer) if hasattr(answer, "__next__") else answer) == wanted)


_Mask = tuple[int, int, int]
"""What rules compare an endpoint's address with: which address, the value, the mask."""


def _ran(runs: KeptRuns, view: View, cutter: Cutter, masks: dict[_Mask, bool]) -> Callable[[Own], bool] | None:
    """NB: of a view only the packet, its connection and what lists learned can speak of an endpoint."""
    found = runs.told(view)
    if found is None:
        raise CannotCutError("a chain that draws")
    if any(rule is not None and cutter.cut(rule.text).fill is not None for _, rule in runs.asked(view)):
        raise CannotCutError("a rule that names the endpoint: what is said of it would be changed, too")
    parts = cutter.cut(_seen(view))
    if parts.fill is None:
        return None
    end, behind = found
    if behind is view or _is_only_marked(view, behind):
        return _answered(runs, view, parts, cutter, masks)
    after = cutter.cut(_seen(behind))

    def check(own: Own) -> bool:
        told = runs.told(_with(view, parts.filled(own)))
        return told is not None and told[0] is end and _seen(told[1]) == after.filled(own)

    return check


def _answered(runs: KeptRuns, view: View, parts: Stencil, cutter: Cutter, masks: dict[_Mask, bool]) -> Callable[[Own], bool] | None:
    """Ask again what the rules asked of the endpoint, where no rule changes but its mark: what else they ask has the same answers.

    What they compare its address with goes to *masks*, with whether that fits: each is compared once, however many rules do.
    """
    asked = [(part, rule) for part, rule in runs.asked(view) if _asks_for_own(part, rule, view, cutter)]
    left: list[tuple[Any, Any]] = []
    for part, rule in asked:
        address = (view.packet.source if part.side == "source" else view.packet.destination) if isinstance(part, m.AddressMatch) else None
        place = cutter.place(address)
        if address is None or place is None or address.version != part.network.version:
            left.append((part, rule))
        else:
            masks[place, part.network.value, part.network.mask] = int(address) & part.network.mask == part.network.value
    if not left:
        return None
    first = [runs.answer(part, rule, view) for part, rule in left]

    def check(own: Own) -> bool:
        seen = _with(view, parts.filled(own))
        return all(runs.answer(part, rule, seen) == answer for (part, rule), answer in zip(left, first, strict=True))

    return check


def _is_only_marked(view: View, behind: View) -> bool:
    """Whether all that a chain did to the packet is its mark, which is no endpoint's own."""
    return _seen(changed(behind, packet=changed(behind.packet, mark=view.packet.mark))) == _seen(view) and behind.sets is view.sets


def _asks_for_own(part: object, rule: object, view: View, cutter: Cutter) -> bool:
    """Whether what a rule asks can be about the endpoint: not where it asks for what all endpoints of a class have in common."""
    if rule is None or part is None:
        return rule is None
    if isinstance(part, m.AddressMatch):
        return cutter.cut(view.packet.source if part.side == "source" else view.packet.destination).fill is not None
    if isinstance(part, m.AddrtypeMatch) and is_stand_in(view.routing):
        return False  # the stack's routing notes what it is asked
    if isinstance(part, m.InterfaceMatch):
        return cutter.cut(view.in_device if part.side == "in" else view.out_device).fill is not None
    return not isinstance(part, _OF_ALL)


def _with(view: View, seen: tuple[Any, ...]) -> View:
    return changed(view, **dict(zip(_OF_VIEWS, seen, strict=True)))


_OF_ALL = (
    m.ProtocolMatch,
    m.FragmentMatch,
    m.PortsMatch,
    m.TcpFlagsMatch,
    m.IcmpTypeMatch,
    m.CommentMatch,
    m.CtStateMatch,
    m.CtDirectionMatch,
    m.CtPortMatch,
    m.CtProtocolMatch,
    m.MarkMatch,
    m.PkttypeMatch,
    m.OwnerMatch,
    m.NfacctMatch,
    m.HeaderMatch,
    m.TosMatch,
)
"""What is asked of a packet's ports, state, mark and header. Two ways of one class have them in common."""
_OF_VIEWS = ("packet", "connection", "recent", "in_device", "out_device", "phys_in", "phys_out")


def _seen(view: View) -> tuple[Any, ...]:
    return tuple(getattr(view, name) for name in _OF_VIEWS)


class Looks:
    """The values that one question's walks looked at as a whole, each looked through once."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[object, _Held]] = {}

    def held(self, value: object) -> _Held:
        """Return what code can find of an endpoint in *value*. :raises CannotCutError: it is large, or of a kind that is not known."""
        if id(value) not in self._known:
            self._known[id(value)] = value, _Held(value)  # the value is held: its id stays its own
        return self._known[id(value)][1]


class _Held:
    """What is found in a value: addresses, the networks that have them, and names. Code that looks through it can compare with those."""

    def __init__(self, value: object) -> None:
        self._addresses: set[Address] = set()
        self._networks: set[IPv4Network | IPv6Network] = set()
        self._words: Counter[str] = Counter()
        left, looked = [value], 0
        while left:
            looked += 1
            if looked > _LARGEST or len(self._networks) > _MOST_NETWORKS:
                raise CannotCutError("a large value")
            self._look(left.pop(), left)

    def _look(self, one: object, left: list[object]) -> None:
        if isinstance(one, (IPv4Address, IPv6Address)):
            self._addresses.add(one)
        elif isinstance(one, (IPv4Network, IPv6Network)):
            self._networks.add(one)
        elif isinstance(one, (IPv4Interface, IPv6Interface)):
            raise CannotCutError(type(one).__name__)
        elif isinstance(one, str):
            self._words[one] += 1
        elif isinstance(one, (tuple, list, frozenset)):
            left += one
        elif isinstance(one, dict):
            left += [*one.keys(), *one.values()]
        elif isinstance(one, Pod):
            raise CannotCutError("a pod among others")
        elif isinstance(one, InterfaceAddress):
            left += [one.network, *(getattr(one, f.name) for f in fields(one))]
        elif hasattr(one, "__dataclass_fields__"):
            left += [getattr(one, f.name) for f in fields(one)]  # type: ignore[arg-type]
        elif not (one is None or isinstance(one, (int, bytes, float)) or callable(one)):
            raise CannotCutError(type(one).__name__)

    def relation(self, own: Own) -> object:
        """Return how *own* is in the value: what is the same of two endpoints, where it cannot tell them apart."""
        within = [[network for network in self._networks if a.version == network.version and a in network] for a in own.addresses]
        return within, [a in self._addresses for a in own.addresses], [self._words[word] for word in own.words]


_OWN_WALK = ("probability", "forks", "visit", "hops", "seen", "sets", "drawn")
_WALKS = tuple(f.name for f in fields(Walk) if f.name not in _OWN_WALK)
_VISITS = tuple(f.name for f in fields(Visit) if f.name != "steps")


def _core(walk: Walk) -> tuple[object, ...]:
    """The walk without what another draw, and the steps that led to it, make different."""
    return (*(getattr(walk, name) for name in _WALKS), *(getattr(walk.visit, name) for name in _VISITS))
