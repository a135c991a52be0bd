"""A packet in a node whose Services are no rules: what the node's list of frontends says of it, and not a step more.

The backend that is chosen is shown where the list names it. How the packet gets there, whether a policy lets it, and which source address
it has then is decided by programs that no snapshot holds: so every way ends unknown.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

from tracer.frontends.model import Backend, Frontend
from tracer.ipvs.model import endpoint_text
from tracer.simulate.crossing import rewritten
from tracer.simulate.walk import Ending, Walk
from tracer.topology.cluster import Cluster
from tracer.topology.data_path import DataPath
from tracer.trace import Disposition, Place, Reason, Step, Unknown

_NAMES = {"cilium": "Cilium's eBPF programs", "calico": "Calico's eBPF programs", "hns": "Windows' Host Networking Service"}
_MISSING = {
    "cilium": "cilium-services.json (cilium-dbg service list -o json)",
    "calico": "the maps (calico-node -bpf nat dump)",
    "hns": "hns-policies.json and hns-endpoints.json",
}


def without_rules(cluster: Cluster, walk: Walk, path: DataPath, hook: str) -> Iterator[Ending]:
    """Yield the ends of a packet in a node that has *path* instead of rules."""
    node = walk.visit.name
    walk = walk.note(f"no rules: {_NAMES[path.kind]} forward packets here ({path.evidence})")
    if path.table is None:
        kept = "lists" if path.kind == "hns" else "maps"
        text = f"The data path of node {node} is in {_NAMES[path.kind]}, whose {kept} this snapshot does not hold: {_MISSING[path.kind]}"
        yield walk.unknown(_unknown(path, text, node))
        return
    frontend = path.table.find(walk.packet, inside=_is_inside(cluster, walk))
    if frontend is None and path.table.incomplete:
        text = f"{path.table.incomplete}: which frontends node {node} has is not known"
        yield walk.unknown(_unknown(path, text, node))
        return
    if frontend is None:
        shown = f"{walk.packet.destination} port {walk.packet.destination_port}"
        text = f"{path.table.file} has no frontend {shown}: {_NAMES[path.kind]} forward the packet in a way that no snapshot holds"
        yield walk.unknown(_unknown(path, text, node))
        return
    yield from _listed(cluster, walk, path, frontend, hook)


def _is_inside(cluster: Cluster, walk: Walk) -> bool:
    """Whether a client of the cluster sent the packet: it has a pod's or a node's address."""
    source = walk.packet.source
    return cluster.pod_with_ip(source) is not None or cluster.objects.node_with_ip(source) is not None


def _listed(cluster: Cluster, walk: Walk, path: DataPath, frontend: Frontend, hook: str) -> Iterator[Ending]:
    active = tuple(b for b in frontend.backends if b.state == "active")
    flags = f" ({', '.join(frontend.flags)})" if frontend.flags else ""
    total = len(active) + frontend.missing
    if total == 0:
        text = f"{frontend.file} lists the frontend{flags} without a backend: what {_NAMES[path.kind]} answer is not recorded"
        yield walk.unknown(_unknown(path, text, walk.visit.name))
        return
    if frontend.missing:
        text = f"{frontend.file} names {frontend.missing} of {total} backends by an id that no list of endpoints explains"
        lost = replace(walk, probability=walk.probability * Fraction(frontend.missing, total))
        yield lost.unknown(_unknown(path, text, walk.visit.name))
    for backend in active:
        yield _chosen(cluster, walk, path, frontend, backend, Fraction(1, total), flags, hook)


def _chosen(
    cluster: Cluster, walk: Walk, path: DataPath, frontend: Frontend, backend: Backend, share: Fraction, flags: str, hook: str
) -> Ending:
    packet = replace(walk.packet, destination=backend.address, destination_port=backend.port)
    condition = None if share == 1 else f"backend {backend.address} port {backend.port} is chosen (how is not in a list)"
    pod = cluster.pod_with_ip(backend.address)
    names = {"endpoint": endpoint_text(backend.address, backend.port)} | ({"pod": f"{pod.namespace}/{pod.name}"} if pod else {})
    names |= {"element": backend.text} if backend.text else {}
    step = Step(
        hook=hook,
        family=walk.packet.family.value,
        table=path.kind,
        chain=f"{walk.packet.destination}:{walk.packet.destination_port}",
        rule=frontend.text,
        file=frontend.file,
        line=frontend.line,
        verdict="dnat",
        rewrote=rewritten(walk.packet, packet),
        condition=condition,
        names=names,
    )
    place = None
    if pod is not None:
        place = Place(kind="pod", namespace=pod.namespace, name=pod.name, node=pod.node_name, ip=backend.address, port=backend.port)
    branch = replace(walk, packet=packet, probability=walk.probability * share).step(step)
    if condition is not None:
        branch = replace(branch, conditions=(*branch.conditions, f"{frontend.file}: {condition}"))
    given = f"backend {backend.address} port {backend.port}" if condition is None else f"{round(1 / share)} backends"
    which = "" if condition is None else "which of them is taken, and "
    text = (
        f"{frontend.file} gives {given}{flags}; {which}what {_NAMES[path.kind]} do beyond is not in a snapshot "
        "(not checked against a kernel)"
    )
    unknown = _unknown(path, text, walk.visit.name)
    branch = replace(branch, unknowns=(*branch.unknowns, unknown))
    return branch.end(Disposition.UNKNOWN, Reason(code=unknown.code, text=text), destination=place)


def _unknown(path: DataPath, text: str, node: str) -> Unknown:
    if path.kind == "hns":
        return Unknown(code="WINDOWS_NOT_REPLAYED", text=text, at={"node": node})
    if path.table is None:
        return Unknown(code="EBPF_MAPS_MISSING", text=text, at={"node": node})
    return Unknown(code="EBPF_NOT_REPLAYED", text=text, at={"node": node})
