"""Which Kubernetes objects a virtual server and a real server of IPVS stand for: a reading aid beside the line, never an input."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tracer.ipvs.model import RealServer, VirtualServer
from tracer.kube.objects import Objects
from tracer.topology.names import RuleNames

VirtualAnnotator = Callable[[VirtualServer, RealServer | None], Mapping[str, str]]


def no_virtual_names(server: VirtualServer, real: RealServer | None) -> Mapping[str, str]:
    """Return nothing: servers are not annotated."""
    return {}


class VirtualNames:
    """Names for virtual and real servers, found by address and port among the objects."""

    def __init__(self, objects: Objects, names: RuleNames) -> None:
        self._objects = objects
        self._names = names

    def __call__(self, server: VirtualServer, real: RealServer | None) -> Mapping[str, str]:
        """Return names for *server*: service and port; for *real* also endpoint, pod and node."""
        found = dict(self._service(server))
        if real is not None:
            found |= self._names.looked_up(real.address, real.port, True)
        return found

    def _service(self, server: VirtualServer) -> Mapping[str, str]:
        if server.address is None or server.protocol is None:
            return {}
        if named := self._names.looked_up(server.address, server.port, False):
            return named
        for service, port in self._objects.services_with_node_port(server.port, server.protocol):
            return {"service": f"{service.namespace}/{service.name}"} | ({"port": port.name} if port.name else {})
        return {}
