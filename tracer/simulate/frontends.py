"""A packet in a node whose Services are no rules: what the node's list of frontends says of it, and not a step more.

The backend that is chosen is shown where the list names it. How the packet gets there, whether a policy lets it, and which source address
it has then is decided by programs that no snapshot holds: so every way ends unknown.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Protocol

from tracer.forks import Fork
from tracer.frontends.model import Backend, Frontend
from tracer.kube.pod import Pod
from tracer.packet import Address, at_text, endpoint_text
from tracer.simulate.crossing import rewritten
from tracer.simulate.walk import Ending, Walk
from tracer.topology.data_path import DataPath
from tracer.trace import Disposition, Place, Reason, Step, Unknown


class Around(Protocol):
    """What such a node asks of what is around it."""

    def pod_with_ip(self, address: Address, node: str | None = None) -> Pod | None:
        """Return the pod that owns *address*; of several, the one on *node*."""

    def is_inside(self, address: Address) -> bool:
        """Return whether a pod or a node of the cluster has *address*."""


def without_rules(around: Around, walk: Walk, path: DataPath, hook: str) -> Iterator[Ending]:
    """Yield the ends of a packet in a node that has *path* instead of rules."""
    node = walk.visit.name
    walk = walk.note(f"no rules: {path.kind.programs} forward packets here ({path.evidence})")
    if path.table is not None and path.table.made_as:
        assumed = (f"assumed: {one}" for one in path.table.notes)
        walk = walk.note(f"as {path.table.made_as} would have it; no lists recorded", *assumed)
    if path.table is None:
        kept = f"whose {path.kind.kept} this snapshot does not hold: {path.kind.wanted}"
        text = f"The data path of node {node} is in {path.kind.programs}, {kept}"
        yield walk.unknown(_unknown(path, text, node))
        return
    if path.is_stale:
        stale = f"{path.table.file} was recorded before the change"
        text = f"{stale}: what {path.kind.programs} on node {node} would have after it is not modelled"
        yield walk.unknown(_unknown(path, text, node))
        return
    frontend = path.table.find(walk.packet, inside=around.is_inside(walk.packet.source))
    if frontend is None and path.table.incomplete:
        text = f"{path.table.incomplete}: which frontends node {node} has is not known"
        yield walk.unknown(_unknown(path, text, node))
        return
    if frontend is None:
        shown = at_text(walk.packet.destination, walk.packet.destination_port)
        lacks = f"{path.table.file} has no frontend {shown}"
        if path.table.made_as:
            lacks = f"Of the load balancers that kube-proxy would make on node {node} none is for {shown} ({path.kind.wanted} would tell)"
        text = f"{lacks}: {path.kind.programs} forward the packet in a way that no snapshot holds"
        yield walk.unknown(_unknown(path, text, node))
        return
    yield from _listed(around, walk, path, frontend, hook)


def _listed(around: Around, walk: Walk, path: DataPath, frontend: Frontend, hook: str) -> Iterator[Ending]:
    active = tuple(b for b in frontend.backends if b.state == "active")
    flags = f" ({', '.join(frontend.flags)})" if frontend.flags else ""
    total = len(active) + frontend.missing
    if total == 0:
        text = f"{frontend.file} lists the frontend{flags} without a backend: what {path.kind.programs} answer is not recorded"
        yield walk.unknown(_unknown(path, text, walk.visit.name))
        return
    if frontend.missing:
        text = f"{frontend.file} names {frontend.missing} of {total} backends by an id that no list of endpoints explains"
        lost = replace(walk, probability=walk.probability * Fraction(frontend.missing, total))
        yield lost.unknown(_unknown(path, text, walk.visit.name))
    for backend in active:
        yield _chosen(around, walk, path, frontend, backend, Fraction(1, total), flags, hook)


def _chosen(
    around: Around, walk: Walk, path: DataPath, frontend: Frontend, backend: Backend, share: Fraction, flags: str, hook: str
) -> Ending:
    packet = replace(walk.packet, destination=backend.address, destination_port=backend.port)
    condition = None if share == 1 else f"backend {backend.address} port {backend.port} is chosen (how is not in a list)"
    pod = around.pod_with_ip(backend.address)
    names = {"endpoint": endpoint_text(backend.address, backend.port)} | ({"pod": f"{pod.namespace}/{pod.name}"} if pod else {})
    names |= {"element": backend.text} if backend.text else {}
    step = Step(
        hook=hook,
        family=walk.packet.family.value,
        table=path.kind.name,
        chain=f"{walk.packet.destination}:{walk.packet.destination_port}",
        rule=frontend.text,
        file=frontend.file,
        line=frontend.line,
        verdict="dnat",
        rewrote=rewritten(walk.packet, packet),
        condition=condition,
        names=names,
        made_as=frontend.made_as,
        position=1 if frontend.made_as else None,
    )
    place = None
    if pod is not None:
        place = Place(kind="pod", namespace=pod.namespace, name=pod.name, node=pod.node_name, ip=backend.address, port=backend.port)
    branch = replace(walk, packet=packet, probability=walk.probability * share).step(step)
    if condition is not None:
        said = f"{frontend.file}: {condition}"
        asked = f"which backend of {frontend.file}:{frontend.line or frontend.text} is chosen"
        fork = Fork(question=asked, branch=int(backend.address) * 65536 + backend.port, condition=said, ways=round(1 / share))
        branch = replace(branch, conditions=(*branch.conditions, said), forks=(*branch.forks, fork))
    given = f"backend {backend.address} port {backend.port}" if condition is None else f"{round(1 / share)} backends"
    which = "" if condition is None else "which of them is taken, and "
    gives = f"{frontend.made_as} would give" if frontend.made_as else f"{frontend.file} gives"
    text = f"{gives} {given}{flags}; {which}what {path.kind.programs} do beyond is not in a snapshot (not checked against a kernel)"
    unknown = _unknown(path, text, walk.visit.name)
    branch = replace(branch, unknowns=(*branch.unknowns, unknown))
    return branch.end(Disposition.UNKNOWN, Reason(code=unknown.code, text=text), destination=place)


def _unknown(path: DataPath, text: str, node: str) -> Unknown:
    return Unknown(code=path.kind.lacks if path.table is None else path.kind.beyond, text=text, at={"node": node})
