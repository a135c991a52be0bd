"""Pod: who owns an address, on which node, and which ports its containers declare."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime

from tracer.kube.fields import Fields, Origin
from tracer.kube.known_programs import KUBE_PROXY, image_name
from tracer.kube.service import read_protocol
from tracer.kube.sidecars import Mesh, mesh_of
from tracer.packet import Address, Protocol
from tracer.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerPort:
    """A port that a container declares. *host_port* None: not published on the node."""

    name: str
    container: str
    container_port: int
    protocol: Protocol
    host_port: int | None = None
    host_ip: Address | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsConfig:
    """A pod's own resolver settings; *options* are (name, value or None)."""

    nameservers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[tuple[str, str | None], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerReference:
    """What made a pod: the controller when there is one."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyContainer:
    """The container of a pod that is kube-proxy's: its *image*, and the *flags* of its command line by name, "" for one without a value."""

    image: str
    flags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """A Pod. *ips* are what its status says; ``owned_ips`` leaves them out when the pod's network is gone.

    *ready* None: the Ready condition is absent. *terminating*: deletion has been asked for.
    *mesh* is the one whose proxy takes the pod's connections, inside it. *kube_proxy* is what the pod runs where it is kube-proxy's.
    """

    namespace: str
    name: str
    ips: tuple[Address, ...] = ()
    host_ips: tuple[Address, ...] = ()
    host_network: bool = False
    node_name: str | None = None
    ports: tuple[ContainerPort, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    phase: str = ""
    ready: bool | None = None
    terminating: bool = False
    dns_policy: str = "ClusterFirst"
    dns_config: DnsConfig | None = None
    hostname: str | None = None
    subdomain: str | None = None
    set_hostname_as_fqdn: bool = False
    enable_service_links: bool = True
    owner: OwnerReference | None = None
    created: datetime | None = None
    mesh: Mesh | None = None
    kube_proxy: ProxyContainer | None = None
    origin: Origin = field(default_factory=Origin, compare=False)

    @property
    def key(self) -> tuple[str, str]:
        """Return (namespace, name)."""
        return (self.namespace, self.name)

    @property
    def has_ended(self) -> bool:
        """Return whether all containers have ended: the sandbox is gone, its address may belong to another pod."""
        return self.phase in ("Succeeded", "Failed")

    @property
    def owned_ips(self) -> tuple[Address, ...]:
        """Return the addresses that are this pod's own: none on the host's network (they are the node's) or after its end."""
        return () if self.host_network or self.has_ended else self.ips

    def port_named(self, name: str, protocol: Protocol) -> ContainerPort | None:
        """Return the first container port of that name and protocol, as a Service's named target port finds it, or None."""
        return next((p for p in self.ports if p.name == name and p.protocol is protocol), None)

    def declares(self, port: int, protocol: Protocol) -> bool:
        """Return whether some container declares the port. Declaring is no promise that anything listens."""
        return any(p.container_port == port and p.protocol is protocol for p in self.ports)

    @classmethod
    def from_dict(cls, value: object, origin: Origin | None = None) -> Pod:
        """Return the Pod an API object describes. :raises ParseError: a field has the wrong type."""
        top = Fields.of(value, "Pod", origin)
        metadata, spec, status = top.nested("metadata"), top.nested("spec"), top.nested("status")
        return cls(
            namespace=metadata.text_or("namespace", "default"),
            name=metadata.name(),
            ips=_ips(status, "podIPs", "podIP"),
            host_ips=_ips(status, "hostIPs", "hostIP"),
            host_network=bool(spec.flag("hostNetwork")),
            node_name=spec.text("nodeName") or None,
            ports=_ports(spec),
            labels=metadata.text_map("labels"),
            annotations=metadata.text_map("annotations"),
            phase=status.text("phase") or "",
            ready=_ready(status),
            terminating=metadata.has("deletionTimestamp"),
            dns_policy=spec.text_or("dnsPolicy", "ClusterFirst"),
            dns_config=_dns_config(spec.nested("dnsConfig")) if spec.has("dnsConfig") else None,
            hostname=spec.text("hostname") or None,
            subdomain=spec.text("subdomain") or None,
            set_hostname_as_fqdn=bool(spec.flag("setHostnameAsFQDN")),
            enable_service_links=spec.flag("enableServiceLinks") is not False,
            owner=_owner(metadata),
            created=metadata.time("creationTimestamp"),
            mesh=_mesh(spec, metadata.text_map("annotations")),
            kube_proxy=_kube_proxy(spec) if spec.flag("hostNetwork") else None,
            origin=origin or Origin(),
        )


def _mesh(spec: Fields, annotations: Mapping[str, str]) -> Mesh | None:
    if spec.flag("hostNetwork"):
        return None
    return mesh_of([c.text("name") or "" for lists in ("containers", "initContainers") for c in spec.each(lists)], annotations)


def _kube_proxy(spec: Fields) -> ProxyContainer | None:
    """Return kube-proxy's container: it is found on the host's network alone."""
    for container in spec.each("containers"):
        image = container.text("image") or ""
        if KUBE_PROXY.runs_in(container.text("name") or "", image_name(image)):
            return ProxyContainer(image=image, flags=_flags((*container.texts("command"), *container.texts("args"))))
    return None


def _flags(words: tuple[str, ...]) -> Mapping[str, str]:
    """Return the flags of a command line by name. Source: pflag, where ``--name=value`` and ``--name value`` say the same."""
    flags: dict[str, str] = {}
    waiting = ""
    for word in words:
        if word.startswith("-"):
            waiting, has_value, value = word.lstrip("-").partition("=")
            flags[waiting] = value
            waiting = "" if has_value else waiting
        elif waiting:
            flags[waiting], waiting = word, ""
    return flags


def _ips(status: Fields, several: str, one: str) -> tuple[Address, ...]:
    listed = tuple(ip for entry in status.each(several) if (ip := entry.address("ip")) is not None)
    first = status.address(one)
    return listed or ((first,) if first else ())


def _ports(spec: Fields) -> tuple[ContainerPort, ...]:
    """Return the ports of the containers that run beside each other: also init containers that restart always (sidecars)."""
    sidecars = (c for c in spec.each("initContainers") if c.text("restartPolicy") == "Always")
    return tuple(_port(p, c.text("name") or "") for c in (*spec.each("containers"), *sidecars) for p in c.each("ports"))


def _port(entry: Fields, container: str) -> ContainerPort:
    number = entry.port("containerPort")
    if number is None:
        entry.refuse("containerPort", "is missing")
    return ContainerPort(
        name=entry.text("name") or "",
        container=container,
        container_port=number,
        protocol=read_protocol(entry),
        host_port=entry.port("hostPort"),
        host_ip=entry.address("hostIP"),
    )


def _ready(status: Fields) -> bool | None:
    said = next((c.text("status") for c in status.each("conditions") if c.text("type") == "Ready"), None)
    return None if said is None else said == "True"


def _dns_config(config: Fields) -> DnsConfig:
    return DnsConfig(
        nameservers=config.texts("nameservers"),
        searches=config.texts("searches"),
        options=tuple((o.name(), o.text("value")) for o in config.each("options")),
    )


def _owner(metadata: Fields) -> OwnerReference | None:
    owners = metadata.each("ownerReferences")
    chosen = next((o for o in owners if o.flag("controller")), owners[0] if owners else None)
    return OwnerReference(kind=chosen.text("kind") or "", name=chosen.text("name") or "") if chosen else None
