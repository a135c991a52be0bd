"""Which Kubernetes objects a rule stands for: a reading aid beside the rule, never an input of the walk.

Strategy: what a rule pins down (the address it asks for, the port, the address it translates to) is looked up among the objects; the
comment that kube-proxy writes is used only when the Service it names exists.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping

from tracer.kube.objects import Objects
from tracer.netfilter import model as m
from tracer.packet import Address, endpoint_text, host_text
from tracer.patterns import pattern

_COMMENT = pattern(r"(?P<ns>[a-z0-9-]{1,63})/(?P<name>[a-z0-9.-]{1,253})(?::(?P<port>[a-z0-9-]{1,63}))?(?=$|[ ])", re.ASCII)


class RuleNames:
    """Names for rules, each worked out once."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._known: dict[tuple[str, str | None], Mapping[str, str]] = {}

    def __call__(self, rule: m.Rule) -> Mapping[str, str]:
        """Return names for *rule*: any of service, port, endpoint, pod, node."""
        asked = rule.text, rule.fault
        found = self._known.get(asked)
        if found is None:
            found = self._known[asked] = self._found(rule)
        return found

    def forget(self) -> None:
        """Forget every name: the objects have changed."""
        self._known.clear()

    def looked_up(self, address: Address, port: int | None, translated: bool) -> Mapping[str, str]:
        """Return names for what an nftables rule looked up (a Service's address) or translates to (an endpoint)."""
        if not translated:
            return self._service_at(address, port)
        return self._endpoint(m.NatRange(address, address, m.PortRange(port, port) if port is not None else None))

    def _found(self, rule: m.Rule) -> dict[str, str]:
        names: dict[str, str] = {}
        if rule.comment and (said := _COMMENT.search(rule.comment)) and self._objects.service(said["ns"], said["name"]):
            names["service"] = f"{said['ns']}/{said['name']}"
            if said["port"]:
                names["port"] = said["port"]
        elif (address := _single_destination(rule)) is not None:
            names |= self._service_at(address, _port(rule))
        if isinstance(rule.target, m.Dnat) and rule.target.range.low is not None:
            names |= self._endpoint(rule.target.range)
        return names

    def _service_at(self, address: Address, port: int | None) -> dict[str, str]:
        for service, _ in self._objects.services_with_address(address):
            found = next((p for p in service.ports if p.port == port), None)
            return {"service": f"{service.namespace}/{service.name}"} | ({"port": found.name} if found and found.name else {})
        return {}

    def _endpoint(self, chosen: m.NatRange) -> dict[str, str]:
        address = chosen.low
        if address is None:
            return {}
        names = {"endpoint": endpoint_text(address, chosen.ports.low) if chosen.ports else host_text(address)}
        for pod in self._objects.pods_with_ip(address):
            if not pod.host_network and not pod.has_ended:
                names["pod"] = f"{pod.namespace}/{pod.name}"
                if pod.node_name:
                    names["node"] = pod.node_name
        if "node" not in names and (node := self._objects.node_with_ip(address)):
            names["node"] = node.name
        return names


def _single_destination(rule: m.Rule) -> Address | None:
    for match in rule.matches:
        if isinstance(match, m.AddressMatch) and match.side == "destination" and not match.negated:
            bits = 32 if match.network.version == 4 else 128
            if match.network.mask == (1 << bits) - 1:
                return ipaddress.IPv4Address(match.network.value) if bits == 32 else ipaddress.IPv6Address(match.network.value)
    return None


def _port(rule: m.Rule) -> int | None:
    for match in rule.matches:
        if isinstance(match, m.PortsMatch) and match.side == "destination" and len(match.ranges) == 1 and not match.negated:
            return match.ranges[0].low
    return None
