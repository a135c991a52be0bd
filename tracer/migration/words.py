"""What becomes of a question in a few words that do not name pods or addresses, so that equal differences are folded into one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from tracer.dispositions import WORDS
from tracer.kube.service import TrafficPolicy
from tracer.migration.universe import Asker, Cell, Way
from tracer.migration.verdict import End, Verdict
from tracer.packet import Address
from tracer.trace import Disposition, Sees

_NOBODY = "nobody there"
_SEES: Mapping[Sees, str] = {
    Sees.CONNECTED: "connected",
    Sees.REFUSED: "refused",
    Sees.TIMEOUT: "timeout",
    Sees.HANGS: "connected, then nothing",
    Sees.CLOSED: "connected, then closed",
    Sees.NO_ROUTE: "no route to host",
    Sees.NET_UNREACHABLE: "network unreachable",
    Sees.EPERM: "not permitted (EPERM)",
    Sees.EACCES: "not permitted (EACCES)",
    Sees.EINVAL: "invalid argument (EINVAL)",
}
_ENDS: Mapping[Disposition, str] = {Disposition.LOST: _NOBODY, Disposition.UNKNOWN: "cannot tell"}
_AT_A_SERVICE = {Way.CLUSTER_IP, Way.EXTERNAL_IP, Way.LOAD_BALANCER}
Owned = Callable[[Address], bool]
"""Whether a node has an address."""


def told(cell: Cell, before: Verdict, after: Verdict, is_of_a_node: Owned) -> tuple[str, str]:
    """Return in words what becomes of *cell* before and after: as much as tells them apart."""
    one, other = _ends(cell, before), _ends(cell, after)
    if one != other:
        return one, other
    if before.dispositions != after.dispositions:
        return f"{one}: {_said(before)}", f"{other}: {_said(after)}"
    reach, seen = _reach(before, after), (_seen(cell, before, is_of_a_node), _seen(cell, after, is_of_a_node))
    said, said_now = [one], [other]
    if before.places != after.places:
        said, said_now = [f"{one}: {reach[0]}"], [f"{other}: {reach[1]}"]
    if seen[0] != seen[1]:
        said, said_now = [*said, f"from {seen[0]}"], [*said_now, f"from {seen[1]}"]
    elif before.sources != after.sources:
        said_now = [*said_now, f"from another address than before ({seen[1]})"]
    if (said, said_now) == ([one], [other]):
        said_now.append(_otherwise(before, after))
    return ", ".join(said), ", ".join(said_now)


def about(cell: Cell) -> str:
    """Return what of the Service's settings the way through *cell* rests on, "" for the defaults."""
    service = cell.service
    if service is None:
        return ""
    is_cluster_ip = cell.way is Way.CLUSTER_IP
    policy = service.internal_traffic_policy if is_cluster_ip else service.external_traffic_policy
    is_asked = is_cluster_ip or cell.way in (Way.NODE_PORT, Way.LOOPBACK, Way.LOAD_BALANCER, Way.EXTERNAL_IP, Way.HEALTH_CHECK)
    said = []
    if is_asked and policy is TrafficPolicy.LOCAL:
        where = "with" if cell.is_here else "without"
        said.append(f"{'internal' if is_cluster_ip else 'external'}TrafficPolicy Local, {where} an endpoint there")
    if cell.way is Way.LOAD_BALANCER and service.load_balancer_source_ranges:
        said.append("loadBalancerSourceRanges")
    if cell.way is Way.NODE_PORT and not cell.is_primary:
        said.append("at another address of the node than its primary one")
    return "; ".join(said)


def _ends(cell: Cell, verdict: Verdict) -> str:
    return " or ".join(sorted({_end(cell, end) for end in verdict.ends}))


def _end(cell: Cell, end: End) -> str:
    place = end.place
    if cell.way in (Way.NODE_PORT, Way.LOOPBACK) and place is not None and (place.ip, place.port) == (cell.address, cell.number):
        return "a port of the node's own"
    if end.sees is not Sees.UNKNOWN:
        return _SEES.get(end.sees, end.sees.value)
    if end.disposition is Disposition.LEAVES:
        return WORDS[Disposition.LEAVES].title.lower()
    return _ENDS.get(end.disposition, end.disposition.value)


def _said(verdict: Verdict) -> str:
    return " or ".join(sorted(disposition.value for disposition in verdict.dispositions))


def _reach(before: Verdict, after: Verdict) -> tuple[str, str]:
    """How many endpoints are reached, each in relation to the other."""
    if before.places < after.places:
        return "some endpoints", "more endpoints"
    if after.places < before.places:
        return "all these endpoints", "some of them"
    return "these endpoints", "others"


def _seen(cell: Cell, verdict: Verdict, is_of_a_node: Owned) -> str:
    """Whose address is seen where the packets arrive."""
    return " or ".join(sorted({_whose(cell, source, is_of_a_node) for source in verdict.sources if source is not None}))


def _whose(cell: Cell, source: Address, is_of_a_node: Owned) -> str:
    if cell.way in _AT_A_SERVICE and source == cell.address:
        return "the dialled address"
    if cell.source.ip is not None:
        return "the client's address" if source == cell.source.ip else "a node's address" if is_of_a_node(source) else "another address"
    if is_of_a_node(source):
        return "a node's address"
    return "another address" if cell.asker is Asker.NODE else "a pod's address"


def _otherwise(before: Verdict, after: Verdict) -> str:
    """What differs where ends, endpoints and sources do not."""
    if before.has_odds is not after.has_odds:
        return "with odds" if after.has_odds else "by a choice without odds"
    return "with other odds" if before.ends.keys() == after.ends.keys() else "by another way"


def listed(names: Iterable[str], most: int = 5) -> str:
    """Return *names* as a list of at most *most*, and how many others there are."""
    found = list(names)
    if len(found) <= most:
        return ", ".join(found)
    return f"{', '.join(found[:most])} and {len(found) - most:,} others"
