"""Service ports as rules name them: ``namespace/name:port``."""

from __future__ import annotations

from tracer.kube.objects import Objects


def is_there(objects: Objects, port: str) -> bool:
    """Return whether the objects have the Service port that rules call *port*; what names none is kube-proxy's own, and is there."""
    if not port:
        return True
    namespace, _, rest = port.partition("/")
    name, _, port_name = rest.partition(":")
    service = objects.service(namespace, name)
    return service is not None and any(p.name == port_name for p in service.ports)
