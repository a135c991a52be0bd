"""What the EndpointSlices say stands behind one port of a Service, for one address family."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import field

from tracer.explain.findings.subject import Subject
from tracer.kube.endpoints import Listed, listed_on, number_in, usable
from tracer.kube.endpointslice import Endpoint
from tracer.kube.objects import Objects
from tracer.packet import Address
from tracer.values import dataclass

Target = tuple[Address, int]


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
        return usable([x for x in self.listed if node is None or x.endpoint.node_name == node])


def endpoints_of(objects: Objects, subject: Subject, *, known: bool) -> Endpoints:
    """Return the endpoints behind *subject*; an empty answer for a port that the Service does not have."""
    port, version = subject.port, subject.address.version
    if port is None:
        return Endpoints(known=known)
    slices = objects.slices_of(subject.service.namespace, subject.service.name)
    listed = tuple(listed_on(slices, port, version=version))
    without = (found for found in slices if found.address_type == f"IPv{version}" and number_in(found, port) is None)
    portless = tuple(endpoint for found in without for endpoint in found.endpoints)
    return Endpoints(listed=listed, portless=portless, known=known or bool(slices), by_target=_first(listed))


def _first(listed: Iterable[Listed]) -> dict[Target, Listed]:
    found: dict[Target, Listed] = {}
    for one in listed:
        if one.target not in found or (one.ready and not found[one.target].ready):
            found[one.target] = one
    return found
