"""The k8s_external plugin: external and load-balancer addresses of Services under a zone of their own.

Source: plugin/k8s_external/{external,apex,msg_to_dns}.go and plugin/kubernetes/external.go of CoreDNS 1.14.
"""

from __future__ import annotations

from tracer.dns.corefile_text import Line
from tracer.dns.message import ADDRESS_TYPES, Answer, Ask, Question, Rcode, Record, soa, without_repeats
from tracer.dns.names import absolute, address_of_reverse, is_below, labels, longest_zone, without_zone
from tracer.dns.target import Target, address_records, srv_records
from tracer.dns.zone import ClusterZone
from tracer.dns.zone_objects import ZonePort
from tracer.kube.service import Service
from tracer.packet import Address
from tracer.values import dataclass

DEFAULT_TTL = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ExternalOptions:
    """One ``k8s_external`` stanza; zones are absolute and in lower case. *unread* are lines with a property that Hopline does not know."""

    zones: tuple[str, ...]
    apex: str = "dns"
    hostmaster: str = "hostmaster"
    ttl: int = DEFAULT_TTL
    headless: bool = False
    fallthrough: tuple[str, ...] | None = None
    unread: tuple[Line, ...] = ()


class ExternalZone:
    """The zones of one stanza. *cluster* is the kubernetes plugin that it asks, *own* its own addresses where they are given."""

    def __init__(self, cluster: ClusterZone, options: ExternalOptions, *, lookup: Ask, own: tuple[Address, ...] | None = None) -> None:
        self._cluster = cluster
        self._options = options
        self._lookup = lookup
        self._own = own

    def answer(self, question: Question) -> Answer | None:
        """Return the zone's answer, None when the question is not the zone's or falls through."""
        zone = longest_zone(question.name, self._options.zones)
        if zone is None:
            return None
        name = question.name.lower()
        if name == zone:
            return self._apex(question, zone)
        if is_below(name, f"{self._options.apex}.{zone}"):
            return self._below_apex(question, zone)
        found = self._hosts(question, zone) if question.rdtype == "PTR" else self._targets(name, zone)
        if found is None and self._falls_through(name):
            return None
        if not found:
            return self._empty(zone, Rcode.NXDOMAIN if found is None else Rcode.NOERROR)
        return self._records(question, zone, found)

    def _falls_through(self, name: str) -> bool:
        zones = self._options.fallthrough
        return zones is not None and any(is_below(name, z) for z in zones)

    def _empty(self, zone: str, rcode: Rcode) -> Answer:
        return Answer(rcode=rcode, authority=(self._soa(zone),), authoritative=True, plugin="k8s_external")

    def _soa(self, zone: str) -> Record:
        base = f"{self._options.apex}.{zone}"
        return soa(zone, ttl=self._options.ttl, name_server=f"ns1.{base}", mailbox=f"{self._options.hostmaster}.{base}")

    def _full(self, answer: tuple[Record, ...], extra: tuple[Record, ...] = ()) -> Answer:
        return Answer(rcode=Rcode.NOERROR, answer=answer, additional=extra, authoritative=True, plugin="k8s_external")

    # -- the zone's own names -----------------------------------------------------------------------------------------------------

    def _apex(self, question: Question, zone: str) -> Answer:
        if question.rdtype == "SOA":
            return self._full((self._soa(zone),))
        if question.rdtype != "NS":
            return self._empty(zone, Rcode.NOERROR)
        server = f"ns1.{self._options.apex}.{zone}"
        record = Record(name=zone, ttl=self._options.ttl, rdtype="NS", rdata=server)
        return self._full((record,), tuple(self._server_records(server, zone, ("A", "AAAA"))))

    def _below_apex(self, question: Question, zone: str) -> Answer:
        before = labels(without_zone(question.name.lower(), zone))
        if len(before) > 2 or (len(before) == 2 and before[0] != "ns1"):
            return self._empty(zone, Rcode.NXDOMAIN)
        found = self._server_records(question.name, zone, (question.rdtype,)) if len(before) == 2 else []
        return self._full(tuple(found)) if found else self._empty(zone, Rcode.NOERROR)

    def _server_records(self, name: str, zone: str, rdtypes: tuple[str, ...]) -> list[Record]:
        own = self._own
        if own is None:
            own = tuple(a for _, a in self._cluster.external_own_addresses(zone, headless=self._options.headless))
        targets = [Target(host=a, owner=name) for a in own]
        return [r for t in rdtypes if t in ADDRESS_TYPES for r in address_records(name, targets, t, self._options.ttl)]

    # -- Services -----------------------------------------------------------------------------------------------------------------

    def _targets(self, name: str, zone: str) -> tuple[Target, ...] | None:
        parts = labels(without_zone(name, zone))
        namespace = parts[-1]
        if not self._cluster.objects.is_exposed(namespace):
            return None
        if len(parts) == 1:
            return ()
        if len(parts) > 4:
            return None
        endpoint = parts[0].removeprefix("_") if len(parts) == 3 else ""
        port, protocol = (parts[0].removeprefix("_"), parts[1].removeprefix("_")) if len(parts) == 4 else ("", "")
        service = self._cluster.objects.service(namespace, parts[-2])
        if service is None:
            return None
        return tuple(self._of_service(service, zone, endpoint, port, protocol)) or None

    def _of_service(self, service: Service, zone: str, endpoint: str, port: str, protocol: str) -> list[Target]:
        objects = self._cluster.objects
        hosts = [*service.external_ips, *(i.ip or i.hostname for i in service.load_balancer_ingress)]
        owner = f"{service.name}.{service.namespace}.{zone}"
        if self._options.headless and not hosts and (service.headless or endpoint):
            return [
                Target(host=e.address, owner=f"{e.label}.{owner}", port=p.number)
                for e in objects.endpoints(*service.key)
                if endpoint in ("", e.label.lower())
                for p in e.ports
                if _fits(p, port, protocol)
            ]
        ports = [p for p in objects.ports_of(service) if _fits(p, port, protocol)]
        return [Target(host=h, owner=owner, port=p.number) for h in hosts if h is not None for p in ports]

    def _hosts(self, question: Question, zone: str) -> tuple[Target, ...] | None:
        """Return the names of an external address; a name that is no address has no PTR record, whether it exists or not."""
        address = address_of_reverse(question.name)
        if address is None:
            return None if self._targets(question.name.lower(), zone) is None else ()
        found = self._cluster.objects.services_with_external_ip(address)
        base = self._options.zones[0]
        return tuple(Target(host=f"{s.name}.{s.namespace}.{base}", owner=question.name) for s in found) or None

    def _records(self, question: Question, zone: str, targets: tuple[Target, ...]) -> Answer:
        name, ttl = question.name, self._options.ttl
        aliases = [t for t in targets if t.rdtype == "CNAME"]
        match question.rdtype:
            case "PTR":
                return self._full(without_repeats(Record(name=name, ttl=ttl, rdtype="PTR", rdata=t.rdata) for t in aliases))
            case "SRV":
                return self._full(*srv_records(name, targets, ttl))
            case "A" | "AAAA":
                found = [r for t in aliases for r in self._alias(question, t)]
                found += address_records(name, targets, question.rdtype, ttl)
                if found:
                    return self._full(without_repeats(found))
        return self._empty(zone, Rcode.NOERROR)

    def _alias(self, question: Question, target: Target) -> list[Record]:
        said = self._lookup(Question(name=absolute(target.rdata), rdtype=question.rdtype))
        return [Record(name=question.name, ttl=self._options.ttl, rdtype="CNAME", rdata=target.rdata), *said.answer]


def _fits(port: ZonePort, name: str, protocol: str) -> bool:
    return name in ("", port.name.lower()) and protocol in ("", port.protocol.lower())
