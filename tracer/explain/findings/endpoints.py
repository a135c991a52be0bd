"""What the EndpointSlices say stands behind one port of a Service, for one address family."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from tracer.explain.findings.subject import Subject
from tracer.kube.endpointslice import Endpoint
from tracer.kube.objects import Objects
from tracer.packet import Address

Target = tuple[Address, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One endpoint with the port that its slice gives it."""

    address: Address
    port: int
    endpoint: Endpoint

    @property
    def target(self) -> Target:
        """Return (address, port)."""
        return (self.address, self.port)

    @property
    def falls_back(self) -> bool:
        """Return whether kube-proxy uses it when nothing is ready: it still serves while it terminates (KEP-1669)."""
        return self.endpoint.serving and self.endpoint.terminating

    def __str__(self) -> str:
        reference = self.endpoint.target_ref
        shown = f"[{self.address}]:{self.port}" if self.address.version == 6 else f"{self.address}:{self.port}"
        return f"{shown} (pod {reference.name})" if reference and reference.kind == "Pod" else shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """*listed*: endpoints with this port. *portless*: endpoints of the Service whose slice gives this port no number.

    *known* False: the snapshot holds no EndpointSlice and no Endpoints object, so nothing can be concluded.
    """

    listed: tuple[Listed, ...] = ()
    portless: tuple[Endpoint, ...] = ()
    known: bool = True
    by_target: dict[Target, Listed] = field(default_factory=dict)

    def at(self, target: Target) -> Listed | None:
        """Return the endpoint with this address and port."""
        return self.by_target.get(target)

    def usable(self, node: str | None = None) -> tuple[Listed, ...]:
        """Return the endpoints that a proxy should use: the ready ones, else those that serve on; only *node*'s when given."""
        mine = tuple(x for x in self.listed if node is None or x.endpoint.node_name == node)
        return tuple(x for x in mine if x.endpoint.ready) or tuple(x for x in mine if x.falls_back)


def endpoints_of(objects: Objects, subject: Subject, *, known: bool) -> Endpoints:
    """Return the endpoints behind *subject*; an empty answer for a port that the Service does not have."""
    listed: list[Listed] = []
    portless: list[Endpoint] = []
    port = subject.port
    slices = objects.slices_of(subject.service.namespace, subject.service.name) if port is not None else ()
    for found in slices:
        if port is None or found.address_type not in ("", f"IPv{subject.address.version}"):
            continue
        number = next((p.port for p in found.ports if p.name == port.name and p.protocol is port.protocol), None)
        if number is None:
            portless.extend(found.endpoints)
        else:
            listed.extend(Listed(address=e.addresses[0], port=number, endpoint=e) for e in found.endpoints if e.addresses)
    return Endpoints(listed=tuple(listed), portless=tuple(portless), known=known or bool(slices), by_target=_first(listed))


def _first(listed: Iterable[Listed]) -> dict[Target, Listed]:
    found: dict[Target, Listed] = {}
    for one in listed:
        if one.target not in found or (one.endpoint.ready and not found[one.target].endpoint.ready):
            found[one.target] = one
    return found
