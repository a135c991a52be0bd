"""The cluster's zone, as CoreDNS's kubernetes plugin answers for it.

Strategy: one question looks up one Service, one pod or one address; nothing is built for the whole zone.
A look-up returns targets; none of them means NODATA, ``None`` instead of a tuple means that the name does not exist.
Source: plugin/kubernetes/{handler,kubernetes,reverse,ns}.go and plugin/backend_lookup.go of CoreDNS 1.14.
"""

from __future__ import annotations

from collections.abc import Iterator

from tracer.dns.kubernetes_options import KubernetesOptions, PodMode
from tracer.dns.message import ADDRESS_TYPES, Answer, Ask, Question, Rcode, Record, soa, unknown, without_repeats
from tracer.dns.names import absolute, address_of_reverse, is_below, is_reverse, longest_zone, without_zone
from tracer.dns.service_import import Imports, ServiceImport
from tracer.dns.target import Target, address_records, host_of, srv_records
from tracer.dns.zone_name import POD, SVC, ZonalName, ZoneName, parse_zonal_name, parse_zone_name
from tracer.dns.zone_objects import ZoneEndpoint, ZoneObjects, ZonePort
from tracer.kube.objects import Objects
from tracer.kube.service import Service, ServiceType
from tracer.packet import Address
from tracer.query import parse_address

SCHEMA_VERSION = "1.1.0"
_VERSION_TTL = 28800
_MOST_CNAMES = 8
_NAME_SERVER = "ns.dns."

Targets = tuple[Target, ...]


def _not_modelled(question: Question) -> Answer:
    return unknown("kubernetes", f"who answers {question.name} was not said", outside=question.name)


class ClusterZone:
    """The zones of one ``kubernetes`` stanza.

    *local_addresses* are those CoreDNS itself has (its pod's), from which it knows its own Service. *lookup* resolves names outside of
    the zone, as CoreDNS does by asking itself. *synced* False: CoreDNS has not yet read the API. *imports* None: whether there are
    ServiceImports is not known.
    """

    def __init__(
        self,
        objects: Objects,
        options: KubernetesOptions,
        *,
        imports: Imports | None = None,
        local_addresses: tuple[Address, ...] = (),
        lookup: Ask = _not_modelled,
        synced: bool = True,
    ) -> None:
        self.options = options
        self.objects = ZoneObjects(objects, options, imports or Imports())
        self._imports_known = imports is not None
        self._local = local_addresses
        self._lookup = lookup
        self._synced = synced

    def answer(self, question: Question) -> Answer | None:
        """Return the zone's answer, None when the question is not the zone's or falls through to the next plugin."""
        zone = longest_zone(question.name, self.options.zones)
        if zone is None:
            return None
        if zone in self.options.multicluster and not self._imports_known:
            return unknown("kubernetes", f"{zone} holds the Services of other clusters, and the snapshot has no ServiceImport")
        zone = question.name[len(question.name) - len(zone) :]
        found = self._sections(question, zone)
        if found is None:
            if self.options.falls_through(question.name):
                return None
            return self._empty(zone, Rcode.NXDOMAIN if self._synced else Rcode.SERVFAIL)
        answer, extra, outside = found
        if not answer:
            return self._empty(zone, Rcode.NOERROR)
        return Answer(
            rcode=Rcode.NOERROR,
            answer=without_repeats(answer),
            additional=without_repeats(extra),
            authoritative=True,
            plugin="kubernetes",
            outside=outside.outside if outside else None,
            servers=outside.servers if outside else (),
            why=outside.why if outside else "",
        )

    def _empty(self, zone: str, rcode: Rcode) -> Answer:
        return Answer(rcode=rcode, authority=(self._soa(zone),), authoritative=True, plugin="kubernetes")

    def _soa(self, zone: str) -> Record:
        return soa(zone, ttl=self.options.ttl, name_server=f"{_NAME_SERVER}{zone}", mailbox=f"hostmaster.{zone}")

    # -- by type ------------------------------------------------------------------------------------------------------------------

    def _sections(self, question: Question, zone: str) -> tuple[tuple[Record, ...], tuple[Record, ...], Answer | None] | None:
        """Return the answer and additional sections and what an upstream said, None for a name error."""
        name, ttl = question.name, self.options.ttl
        match question.rdtype:
            case "A" | "AAAA":
                return self._addresses(question, zone)
            case "TXT" if (text := self._version(name, zone)) is not None:
                return text, (), None
            case "SOA" | "NS" if name == zone:
                return ((self._soa(zone),), (), None) if question.rdtype == "SOA" else (*self._name_servers(zone), None)
            case "PTR":
                hosts = self._reverse(name, zone)
                return None if hosts is None else (tuple(Record(name=name, ttl=ttl, rdtype="PTR", rdata=h) for h in hosts), (), None)
        targets = self._targets(question, zone)
        if targets is None:
            return None
        if question.rdtype == "SRV":
            return (*srv_records(name, [t for t in targets if t.rdtype != "CNAME"], ttl), None)
        if question.rdtype == "CNAME" and targets and targets[0].rdtype == "CNAME":
            return (Record(name=name, ttl=ttl, rdtype="CNAME", rdata=targets[0].rdata),), (), None
        return (), (), None

    def _version(self, name: str, zone: str) -> tuple[Record, ...] | None:
        if without_zone(name.lower(), zone.lower()) != "dns-version":
            return None
        return (Record(name=name, ttl=_VERSION_TTL, rdtype="TXT", rdata=f'"{SCHEMA_VERSION}"'),)

    def _addresses(
        self, question: Question, zone: str, previous: tuple[Record, ...] = ()
    ) -> tuple[tuple[Record, ...], tuple[Record, ...], Answer | None] | None:
        """Return the address records of a name with the CNAMEs that lead to them. Source: A and AAAA in plugin/backend_lookup.go."""
        targets = self._targets(question, zone)
        if targets is None:
            return None
        found: list[Record] = []
        outside: Answer | None = None
        for target in targets:
            if target.rdtype == "CNAME":
                more, said = self._through_cname(question, zone, target, previous)
                found += more
                outside = said or outside
        found += address_records(question.name, targets, question.rdtype, self.options.ttl)
        return tuple(found), (), outside

    def _through_cname(
        self, question: Question, zone: str, target: Target, previous: tuple[Record, ...]
    ) -> tuple[list[Record], Answer | None]:
        """Return a CNAME and what it leads to: nothing at all for a loop, or for a name of this zone without addresses."""
        host = target.rdata
        alias = Record(name=question.name, ttl=self.options.ttl, rdtype="CNAME", rdata=host)
        if is_below(host, question.name) or len(previous) >= _MOST_CNAMES or any(_same(alias, r) for r in previous):
            return [], None
        if is_below(host, zone):
            nested = self._addresses(Question(name=host, rdtype=question.rdtype), zone, (*previous, alias))
            return ([alias, *nested[0]], nested[2]) if nested and nested[0] else ([], None)
        said = self._lookup(Question(name=host, rdtype=question.rdtype))
        return [alias, *said.answer], said

    # -- names --------------------------------------------------------------------------------------------------------------------

    def _targets(self, question: Question, zone: str) -> Targets | None:
        name = question.name.lower()
        if name == f"{_NAME_SERVER}{zone.lower()}":
            return tuple(Target(host=a, owner=question.name) for _, a in self._own_addresses(zone) if _is_of(a, question.rdtype))
        if self.options.zonal and (zonal := parse_zonal_name(name, zone)) is not None:
            return self._zonal(zonal, zone)
        multicluster = zone.lower() in self.options.multicluster
        asked = parse_zone_name(name, zone, multicluster=multicluster)
        if asked is None:
            return None
        if not asked.kind:
            return ()
        if is_reverse(name) or not self.objects.is_exposed(asked.namespace):
            return None
        if asked.kind == POD:
            return self._pods(asked, zone)
        if not asked.service:
            return ()
        return self._imported(asked, zone) if multicluster else self._services(asked, zone)

    def _pods(self, asked: ZoneName, zone: str) -> Targets | None:
        if self.options.pods is PodMode.DISABLED:
            return None
        text = asked.service
        if not text:
            return ()
        dashed_v4 = text.count("-") == 3 and "--" not in text
        address = parse_address(text.replace("-", "." if dashed_v4 else ":"))
        if address is None:
            return None
        if self.options.pods is PodMode.VERIFIED and not self.objects.pods_with_ip(address, asked.namespace):
            return None
        return (Target(host=address, owner=f"{text}.{asked.namespace}.{POD}.{zone}"),)

    def _services(self, asked: ZoneName, zone: str) -> Targets | None:
        service = self.objects.service(asked.namespace, asked.service)
        if service is None or self._is_hidden(service):
            return None
        owner = f"{service.name}.{service.namespace}.{SVC}.{zone}"
        if service.type is ServiceType.EXTERNAL_NAME:
            if asked.endpoint or asked.port or asked.protocol or not service.external_name:
                return None
            return (Target(host=service.external_name, owner=owner),) if isinstance(host_of(service.external_name), str) else None
        if service.headless or asked.endpoint:
            return tuple(_of_endpoints(self.objects.endpoints(*service.key), asked, owner)) or None
        ports = [p for p in self.objects.ports_of(service) if _fits(asked, p)]
        found = tuple(Target(host=ip, owner=owner, port=p.number) for p in ports for ip in service.cluster_ips)
        return found if ports else None

    def _zonal(self, asked: ZonalName, zone: str) -> Targets | None:
        """Return the endpoints of a headless Service in one topology zone; its own names are those without the zone."""
        service = self.objects.service(asked.namespace, asked.service) if self.objects.is_exposed(asked.namespace) else None
        if service is None or not service.headless:
            return None
        endpoints = self.objects.endpoints(*service.key)
        there = tuple(e for e in endpoints if (e.topology_zone or "").lower() == asked.topology_zone)
        chosen = there or (() if asked.pin else endpoints)
        return tuple(_of_endpoints(chosen, ZoneName(), f"{service.name}.{service.namespace}.{SVC}.{zone}"))

    def _is_hidden(self, service: Service) -> bool:
        """Whether ``ignore empty_service`` hides the Service: it has a cluster IP and no endpoint."""
        if not self.options.ignore_empty_service or service.headless or service.type is ServiceType.EXTERNAL_NAME:
            return False
        return not self.objects.endpoints(*service.key)

    def _imported(self, asked: ZoneName, zone: str) -> Targets | None:
        found: ServiceImport | None = self.objects.imports.services.get((asked.namespace, asked.service))
        if found is None:
            return None
        endpoints = self.objects.imported(found.namespace, found.name)
        if self.options.ignore_empty_service and not found.headless and not endpoints:
            return None
        owner = f"{found.name}.{found.namespace}.{SVC}.{zone}"
        if found.headless or asked.endpoint:
            mine = (e for e in endpoints if not asked.endpoint or (e.cluster or "").lower() == asked.cluster)
            return tuple(_of_endpoints(mine, asked, owner)) or None
        ports = [p for p in found.ports if _fits(asked, ZonePort(name=p.name, protocol=p.protocol.value, number=p.port))]
        return tuple(Target(host=ip, owner=owner, port=p.port) for p in ports for ip in found.ips) if ports else None

    # -- addresses ----------------------------------------------------------------------------------------------------------------

    def _reverse(self, name: str, zone: str) -> tuple[str, ...] | None:
        """Return the names of an address, NODATA for a name of the zone that is no address."""
        address = address_of_reverse(name)
        if address is None:
            return None if self._targets(Question(name=name, rdtype="PTR"), zone) is None else ()
        primary = self.options.primary_zone
        service = self.objects.service_with_cluster_ip(address)
        if service is not None:
            return (f"{service.name}.{service.namespace}.{SVC}.{primary}",)
        found = self.objects.endpoints_with_address(address)
        return tuple(dict.fromkeys(f"{e.label}.{e.service[1]}.{e.service[0]}.{SVC}.{primary}" for e in found)) or None

    # -- the name server's own ----------------------------------------------------------------------------------------------------

    def _name_servers(self, zone: str) -> tuple[tuple[Record, ...], tuple[Record, ...]]:
        ttl = self.options.ttl
        own = list(self._own_addresses(zone))
        answer = tuple(Record(name=zone, ttl=ttl, rdtype="NS", rdata=name) for name in dict.fromkeys(n for n, _ in own))
        return answer, tuple(Record(name=n, ttl=ttl, rdtype="A" if a.version == 4 else "AAAA", rdata=str(a)) for n, a in own)

    def _own_addresses(self, zone: str) -> Iterator[tuple[str, Address]]:
        """Yield name and address of the Services that CoreDNS's own address is behind, ``ns.dns`` with that address when there is none."""
        found = [(e, a) for a in self._local for e in self.objects.endpoints_with_address(a)]
        if not found:
            yield from ((f"{_NAME_SERVER}{zone}", a) for a in self._local)
        for endpoint, address in found:
            service = self.objects.service(*endpoint.service)
            if service is None:
                continue
            name = f"{service.name}.{service.namespace}.{SVC}.{zone}"
            if service.headless:
                yield f"{endpoint.label}.{name}", address
            else:
                yield from ((name, ip) for ip in service.cluster_ips)

    def external_own_addresses(self, zone: str, *, headless: bool) -> Iterator[tuple[str, Address]]:
        """Yield the same for a k8s_external *zone*: external addresses, or with *headless* those of endpoints."""
        for address in self._local:
            for endpoint in self.objects.endpoints_with_address(address):
                service = self.objects.service(*endpoint.service)
                if service is None:
                    continue
                name = f"{service.name}.{service.namespace}.{zone}"
                if headless and service.headless:
                    yield f"{endpoint.label}.{name}", address
                else:
                    yield from ((name, ip) for ip in service.external_ips)


def _of_endpoints(endpoints: Iterator[ZoneEndpoint] | tuple[ZoneEndpoint, ...], asked: ZoneName, owner: str) -> Iterator[Target]:
    for endpoint in endpoints:
        if asked.endpoint and endpoint.label.lower() != asked.endpoint:
            continue
        own = f"{endpoint.label}.{endpoint.cluster}.{owner}" if endpoint.cluster else f"{endpoint.label}.{owner}"
        for port in endpoint.ports:
            if _fits(asked, port):
                yield Target(host=endpoint.address, owner=own, port=port.number)


def _fits(asked: ZoneName, port: ZonePort) -> bool:
    return asked.port in ("", port.name.lower()) and asked.protocol in ("", port.protocol.lower())


def _is_of(address: Address, rdtype: str) -> bool:
    return ADDRESS_TYPES.get(rdtype) == address.version


def _same(one: Record, other: Record) -> bool:
    return absolute(one.rdata.lower()) == absolute(other.rdata.lower())
