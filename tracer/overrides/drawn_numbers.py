"""Numbers and addresses that the API server draws where nobody gives them: here the same question always gets the same ones.

Node ports are the last ones that are free, cluster IPs the first free ones behind those that are given.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address

from tracer.kube.service import Service
from tracer.overrides.service_fields import NODE_PORTS
from tracer.packet import Address


class Drawn:
    """What is taken, and what was drawn: *notes* say in words what stands for a number that nobody knows."""

    def __init__(self, services: Iterable[Service]) -> None:
        self.notes: list[str] = []
        held = list(services)
        self._ports = {port.node_port for s in held for port in s.ports} | {s.health_check_node_port for s in held}
        self._addresses = {address for s in held for address in s.cluster_ips}

    def node_port(self, whose: str, what: str = "node port") -> int:
        """Return a free node port for *whose* Service."""
        found = next((n for n in reversed(NODE_PORTS) if n not in self._ports), NODE_PORTS[-1])
        self._ports.add(found)
        self.notes.append(f"the API server draws a {what} for {whose}: {found} stands for it here")
        return found

    def cluster_ip(self, whose: str, version: int) -> Address | None:
        """Return a free cluster IP of IP *version*; None where no Service has one, so that their network is not known."""
        of_family = [address for address in self._addresses if address.version == version]
        if not of_family:
            return None
        highest = max(map(int, of_family))
        found = ip_address(highest + 1) if highest + 1 < 1 << of_family[0].max_prefixlen else None
        if found is None:
            return None
        self._addresses.add(found)
        self.notes.append(f"the API server draws a cluster IP for {whose}: {found} stands for it here")
        return found
