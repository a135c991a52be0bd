"""The one table of what differs between kube-proxy's modes: each row with when it applies, why, and what to set to keep what was.

A report explains every difference by a row of this table, or calls it unexplained: then the row is missing here, or one of the two
answers is wrong. docs/modes.md lists the rows, and a test holds it against them. A row tells what differs between two sides, whichever
of them is left: ``one`` and ``other`` are the modes on each.
To add one: a row here, a line in docs/modes.md, a cluster in tests/tracer/migration/test_known.py where it is found.
Source: pkg/proxy/{iptables,nftables,ipvs}/proxier.go of Kubernetes 1.36, KEP-3866 (nftables), KEP-265 (IPVS); what real packets did in the
recordings of each mode.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from tracer.kube.service import TrafficPolicy
from tracer.migration.universe import Asker, Cell, Way
from tracer.migration.verdict import Verdict
from tracer.trace import Disposition, Sees
from tracer.values import dataclass

IPTABLES, NFTABLES, IPVS = "iptables", "nftables", "ipvs"
_NONE = "Nothing sets it."
_FROM_INSIDE = (Asker.NODE, Asker.POD, Asker.OWN_POD)
_GONE = (Disposition.LOST, Disposition.LEAVES, Disposition.UNREACHABLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One difference: *holds* says of a cell, and its verdicts on the side of *one* and of *other*, whether it is this one.

    *keep* is what to set, or to do, to keep what was: by the mode that is taken up. *minors* are the releases of kube-proxy that it is
    about (1.N), *source* where it is from.
    """

    id: str
    one: frozenset[str]
    other: frozenset[str]
    text: str
    keep: Mapping[str, str]
    source: str
    holds: Callable[[Cell, Verdict, Verdict], bool]
    minors: range = range(20, 1000)


def _modes(*names: str) -> frozenset[str]:
    return frozenset(names)


def _turns(before: Verdict, after: Verdict, left: Disposition, right: Disposition) -> bool:
    return before.dispositions == {left} and after.dispositions == {right}


def _external_is_local(cell: Cell) -> bool:
    return cell.service is not None and cell.service.external_traffic_policy is TrafficPolicy.LOCAL


def _is_of_the_node(cell: Cell, verdict: Verdict) -> bool:
    """Whether packets arrive at the dialled address and port themselves: nothing translated them."""
    return verdict.places == {(cell.address, cell.number)} and verdict.dispositions == {Disposition.DELIVERED}


def _on_loopback(cell: Cell, one: Verdict, other: Verdict) -> bool:
    if cell.way is not Way.LOOPBACK or not _is_of_the_node(cell, other):
        return False
    return not _is_of_the_node(cell, one) and one.dispositions.isdisjoint(_GONE)


def _refused_here(way: Way) -> Callable[[Cell, Verdict, Verdict], bool]:
    """Nobody takes the packet in one mode; in the other a rule refuses it."""

    def holds(cell: Cell, one: Verdict, other: Verdict) -> bool:
        return cell.way is way and one.dispositions <= set(_GONE) and other.dispositions == {Disposition.REJECTED}

    return holds


def _own_ping(cell: Cell, one: Verdict, other: Verdict) -> bool:
    return cell.way is Way.PING and cell.asker is Asker.NODE and one.dispositions == other.dispositions == {Disposition.REJECTED}


def _unallocated(cell: Cell, one: Verdict, other: Verdict) -> bool:
    return cell.way is Way.UNALLOCATED and one.dispositions <= set(_GONE) and other.dispositions == {Disposition.DROPPED}


def _primary_only(cell: Cell, one: Verdict, other: Verdict) -> bool:
    if cell.way is not Way.NODE_PORT or cell.is_primary:
        return False
    return _is_of_the_node(cell, other) and not _is_of_the_node(cell, one)


def _local_refused(cell: Cell, one: Verdict, other: Verdict) -> bool:
    is_local = cell.service is not None and cell.service.internal_traffic_policy is TrafficPolicy.LOCAL
    is_asked = is_local and cell.way is Way.CLUSTER_IP and not cell.is_here
    return is_asked and _turns(one, other, Disposition.DROPPED, Disposition.REJECTED)


def _by_arp(cell: Cell, one: Verdict, other: Verdict) -> bool:
    is_asked = cell.way is Way.EXTERNAL_IP and cell.node is None
    return is_asked and one.dispositions == {Disposition.LOST} and Disposition.LOST not in other.dispositions


def _local_balancer(cell: Cell) -> bool:
    return cell.way is Way.LOAD_BALANCER and cell.asker is Asker.NODE and _external_is_local(cell)


def _balancer_from_node(cell: Cell, one: Verdict, other: Verdict) -> bool:
    if not _local_balancer(cell) or one.sees != {Sees.CONNECTED}:
        return False
    if cell.is_here:
        return other.sees == {Sees.CONNECTED} and other.places <= one.places and other.sources != one.sources
    return other.sees == {Sees.TIMEOUT}


def _balancer_dropped(cell: Cell, one: Verdict, other: Verdict) -> bool:
    return _local_balancer(cell) and not cell.is_here and one.sees == {Sees.CONNECTED} and other.dispositions == {Disposition.DROPPED}


def _own_node_port(cell: Cell, one: Verdict, other: Verdict) -> bool:
    is_asked = cell.way is Way.NODE_PORT and cell.is_own and cell.is_here and _external_is_local(cell)
    return is_asked and one.sees == other.sees and other.places <= one.places


def _never_answered(cell: Cell, one: Verdict, other: Verdict) -> bool:
    is_asked = cell.way is Way.NODE_PORT and not cell.is_here and _external_is_local(cell)
    return is_asked and one.dispositions == {Disposition.DROPPED} and one.sees == other.sees == {Sees.TIMEOUT}


def _scheduled(cell: Cell, one: Verdict, other: Verdict) -> bool:
    return one.has_odds and not other.has_odds and one.sees == other.sees and one.places == other.places


ROWS: tuple[Row, ...] = (
    Row(
        id="no-node-port-on-loopback",
        one=_modes(IPTABLES),
        other=_modes(NFTABLES, IPVS),
        text="iptables mode translates node ports at 127.0.0.1 (with route_localnet); nftables and IPVS mode have none there.",
        keep={
            NFTABLES: f"{_NONE} Let local programs dial the node's own address, or the cluster IP.",
            IPVS: f"{_NONE} Let local programs dial the node's own address, or the cluster IP.",
            IPTABLES: "iptables.localhostNodePorts: false in kube-proxy's configuration leaves 127.0.0.1 alone.",
        },
        source="KEP-3866; pkg/proxy/nftables/proxier.go: the map nodeport-ips has no loopback address",
        holds=_on_loopback,
    ),
    Row(
        id="node-port-primary-only",
        one=_modes(IPTABLES, IPVS),
        other=_modes(NFTABLES),
        text=(
            "nftables mode takes node ports at the node's primary address of each family alone, unless nodePortAddresses says "
            "otherwise; the other modes take them at every address of the node."
        ),
        keep={
            NFTABLES: 'nodePortAddresses: ["0.0.0.0/0", "::/0"] in kube-proxy\'s configuration, or the networks that clients dial.',
            IPTABLES: 'nodePortAddresses: ["primary"] in kube-proxy\'s configuration.',
            IPVS: 'nodePortAddresses: ["primary"] in kube-proxy\'s configuration.',
        },
        source="KEP-3866; cmd/kube-proxy/app/server_linux.go: nodePortAddresses defaults to primary in nftables mode",
        holds=_primary_only,
    ),
    Row(
        id="undefined-port-refused",
        one=_modes(IPTABLES),
        other=_modes(NFTABLES, IPVS),
        text=(
            "A cluster IP on a port that its Service does not define is refused at once in nftables and IPVS mode; iptables mode "
            "leaves the packet to routing, and the client times out."
        ),
        keep={
            NFTABLES: f"{_NONE} Clients learn sooner that nothing is there.",
            IPVS: f"{_NONE} Clients learn sooner that nothing is there.",
            IPTABLES: f"{_NONE} A NetworkPolicy or a firewall that rejects the Service range would refuse it.",
        },
        source="pkg/proxy/nftables/proxier.go: chain cluster-ips-check; pkg/proxy/ipvs/proxier.go: chain KUBE-IPVS-FILTER",
        holds=_refused_here(Way.UNDEFINED_PORT),
    ),
    Row(
        id="ping-refused",
        one=_modes(IPTABLES),
        other=_modes(NFTABLES, IPVS),
        text=(
            "Nobody answers a ping of a cluster IP in any mode. nftables and IPVS mode refuse it at once by the rule that refuses "
            "undefined ports; iptables mode leaves it to routing."
        ),
        keep=dict.fromkeys((NFTABLES, IPVS, IPTABLES), f"{_NONE} A check that pings a cluster IP should connect to a port instead."),
        source="pkg/proxy/nftables/proxier.go: chain cluster-ips-check; pkg/proxy/ipvs/proxier.go: chain KUBE-IPVS-FILTER",
        holds=_refused_here(Way.PING),
    ),
    Row(
        id="ping-refused-when-sent",
        one=_modes(NFTABLES),
        other=_modes(IPVS),
        text=(
            "A node's own ping of a cluster IP is refused as it is sent in nftables mode (the program gets EPERM); in IPVS mode the"
            " address is the node's own, and the ICMP error comes from there."
        ),
        keep=dict.fromkeys((NFTABLES, IPVS), f"{_NONE} A check that pings a cluster IP should connect to a port instead."),
        source="pkg/proxy/nftables/proxier.go: the chain is asked in output; pkg/proxy/ipvs/proxier.go: KUBE-IPVS-FILTER in INPUT",
        holds=_own_ping,
    ),
    Row(
        id="unallocated-dropped",
        one=_modes(IPTABLES, IPVS),
        other=_modes(NFTABLES),
        text="An address of the Service range that no Service has is dropped on the node in nftables mode; the others leave it to routing.",
        keep={
            NFTABLES: f"{_NONE} Nothing in the Service range may be used for anything else.",
            IPTABLES: f"{_NONE} A route of the type blackhole for the Service range on each node would drop it.",
            IPVS: f"{_NONE} A route of the type blackhole for the Service range on each node would drop it.",
        },
        source="pkg/proxy/nftables/proxier.go: Drop traffic to unallocated ClusterIPs",
        holds=_unallocated,
        minors=range(33, 1000),
    ),
    Row(
        id="local-refused",
        one=_modes(IPTABLES, NFTABLES),
        other=_modes(IPVS),
        text=(
            "A cluster IP with internalTrafficPolicy Local is refused in IPVS mode on a node without an endpoint: its virtual "
            "server has no real server. In the other modes a rule drops the packet, and the client times out."
        ),
        keep={
            IPVS: f"{_NONE} internalTrafficPolicy: Cluster would use the endpoints of other nodes.",
            IPTABLES: f"{_NONE} Clients that fall back when they are refused wait for a timeout now; shorten it.",
            NFTABLES: f"{_NONE} Clients that fall back when they are refused wait for a timeout now; shorten it.",
        },
        source="net/netfilter/ipvs/ip_vs_core.c: ip_vs_leave; pkg/proxy/iptables/proxier.go: has no local endpoints",
        holds=_local_refused,
    ),
    Row(
        id="external-ip-by-arp",
        one=_modes(IPTABLES, NFTABLES),
        other=_modes(IPVS),
        text=(
            "An external IP that nobody else has is reached from outside in IPVS mode: every node holds it on kube-ipvs0 and "
            "answers ARP for it, unless strict ARP is set. In the other modes somebody has to bring the packets to a node."
        ),
        keep={
            IPVS: "ipvs.strictARP: true in kube-proxy's configuration keeps nodes from answering.",
            IPTABLES: "Announce the address: MetalLB, kube-vip or a route in the router towards a node.",
            NFTABLES: "Announce the address: MetalLB, kube-vip or a route in the router towards a node.",
        },
        source="pkg/proxy/ipvs/proxier.go: kube-ipvs0, strictARP",
        holds=_by_arp,
    ),
    Row(
        id="local-load-balancer-from-node",
        one=_modes(IPTABLES, NFTABLES),
        other=_modes(IPVS),
        text=(
            "A balancer's address of a Service with externalTrafficPolicy Local, dialled from a node: in IPVS mode it is the node's"
            " own, so it is the source too, and nothing masquerades. With a local endpoint the pod sees that address; without one "
            "the packet goes to another node's pod, and the client times out. The other modes use all endpoints, and masquerade."
        ),
        keep={
            IPVS: "Let nodes dial the cluster IP, or set externalTrafficPolicy: Cluster.",
            IPTABLES: f"{_NONE} Nodes reach all endpoints then.",
            NFTABLES: f"{_NONE} Nodes reach all endpoints then.",
        },
        source="pkg/proxy/ipvs/proxier.go: KUBE-LOAD-BALANCER-LOCAL",
        holds=_balancer_from_node,
    ),
    Row(
        id="local-node-port-local-only",
        one=_modes(IPTABLES, NFTABLES),
        other=_modes(IPVS),
        text=(
            "A node port of a Service with externalTrafficPolicy Local, dialled on a node that has an endpoint by the node itself "
            "or its pods: IPVS mode uses local pods alone, and does not masquerade. In the other modes the cluster's own clients "
            "get all endpoints there."
        ),
        keep={
            IPVS: "Let clients of the cluster dial the cluster IP, or set externalTrafficPolicy: Cluster.",
            IPTABLES: f"{_NONE} internalTrafficPolicy: Local keeps clients that dial the cluster IP on their node.",
            NFTABLES: f"{_NONE} internalTrafficPolicy: Local keeps clients that dial the cluster IP on their node.",
        },
        source="pkg/proxy/ipvs/proxier.go: KUBE-NODE-PORT-LOCAL-TCP; pkg/proxy/iptables/proxier.go: pod traffic for …",
        holds=_own_node_port,
    ),
    Row(
        id="local-node-port-never-answered",
        one=_modes(IPTABLES, NFTABLES),
        other=_modes(IPVS),
        text=(
            "A node port of a Service with externalTrafficPolicy Local on a node without an endpoint: a timeout in every mode. IPVS"
            " mode sends the packet on to another node's pod without masquerading, and the handshake never ends; the others drop "
            "it."
        ),
        keep=dict.fromkeys((IPVS, IPTABLES, NFTABLES), "Nothing to keep: the client sees the same."),
        source="pkg/proxy/ipvs/proxier.go: syncEndpoint lists all endpoints where none is local",
        holds=_never_answered,
    ),
    Row(
        id="local-load-balancer-dropped",
        one=_modes(IPTABLES),
        other=_modes(NFTABLES),
        text=(
            "A node without a local endpoint times out on the balancer's address of a Service with externalTrafficPolicy Local: "
            "nftables mode before 1.34 drops the packet before DNAT. iptables mode uses all endpoints."
        ),
        keep={
            NFTABLES: "Take kube-proxy 1.34 or newer, or let nodes dial the cluster IP.",
            IPTABLES: f"{_NONE} Nodes reach all endpoints then.",
        },
        source="pkg/proxy/nftables/proxier.go before 1.34: chain filter-output at priority -110",
        holds=_balancer_dropped,
        minors=range(28, 34),
    ),
    Row(
        id="hashed-scheduler",
        one=_modes(IPTABLES, NFTABLES),
        other=_modes(IPVS),
        text=(
            "IPVS takes the endpoint by its scheduler. One that hashes (sh, dh, mh) or counts connections (lc, …) gives no odds "
            "that anybody could tell beforehand; the other modes draw one with equal odds."
        ),
        keep={
            IPVS: "ipvs.scheduler: rr in kube-proxy's configuration gives equal shares.",
            IPTABLES: "sessionAffinity: ClientIP keeps a client on one endpoint, as a hash of its address does.",
            NFTABLES: "sessionAffinity: ClientIP keeps a client on one endpoint, as a hash of its address does.",
        },
        source="ipvsadm(8); pkg/proxy/apis/config: ipvs.scheduler",
        holds=_scheduled,
    ),
)
"""In the order in which they are asked; a cell is explained by the first that holds of it."""


def sides(row: Row, before: frozenset[str], after: str) -> Iterator[bool]:
    """Yield the ways round in which *row* may be about a change of mode: False where *after* is a mode of *other*, True of *one*."""
    if after in row.other and before & row.one:
        yield False
    if after in row.one and before & row.other:
        yield True


def explained(cell: Cell, before: Verdict, after: Verdict, *, modes: frozenset[str], mode: str, minors: frozenset[int]) -> Row | None:
    """Return the row that explains why *cell* is answered otherwise; None where none does.

    *modes* are those that nodes leave, *mode* the one that they are switched to, *minors* the releases (1.N) of their kube-proxies.
    """
    for row in ROWS:
        if minors and not any(minor in row.minors for minor in minors):
            continue
        for is_turned in sides(row, modes, mode):
            one, other = (after, before) if is_turned else (before, after)
            if row.holds(cell, one, other):
                return row
    return None
