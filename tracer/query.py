"""The question: one packet of a new connection, from whom, to where.

Owns the query's two spellings: the JSON of trace-json.md and the command line's / URL's words (``pod:ns/name``, ``svc:ns/name:port``).
Refuses anything malformed with a QueryError that names the field; whether a name exists is not this module's business.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum

from tracer.assumptions import parse_assumptions
from tracer.errors import QueryError
from tracer.limits import APPLIED, APPLIED_OBJECTS
from tracer.override_words import FIELD as OVERRIDES
from tracer.override_words import parse_overrides
from tracer.packet import Address, Protocol, host_text
from tracer.patterns import pattern
from tracer.values import dataclass


class SourceKind(StrEnum):
    """What sends the packet."""

    POD = "pod"
    NODE = "node"
    EXTERNAL = "external"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Who sends: a pod (namespace and name), a process of a node (name) or a client outside (ip)."""

    kind: SourceKind
    namespace: str | None = None
    name: str | None = None
    ip: Address | None = None

    def __str__(self) -> str:
        if self.kind is SourceKind.POD:
            return f"pod:{self.namespace}/{self.name}"
        return f"node:{self.name}" if self.kind is SourceKind.NODE else f"external:{self.ip}"

    def to_dict(self) -> dict[str, str]:
        """Return the source as trace-json.md writes it."""
        if self.kind is SourceKind.POD:
            return {"kind": "pod", "namespace": str(self.namespace), "name": str(self.name)}
        if self.kind is SourceKind.NODE:
            return {"kind": "node", "name": str(self.name)}
        return {"kind": "external", "ip": str(self.ip)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where to: a host (address or name) and a port. A Service given as ``svc:`` keeps its spelling in *service*.

    *given* is the address that the user says a name outside the cluster has (``NAME=ADDRESS:PORT``).
    """

    host: str
    port: int | None
    service: tuple[str, str] | None = None
    given: Address | None = None

    @property
    def address(self) -> Address | None:
        """Return the host as an address, or None when it is a name."""
        return parse_address(self.host)

    def __str__(self) -> str:
        if self.service:
            return f"svc:{self.service[0]}/{self.service[1]}" + (f":{self.port}" if self.port is not None else "")
        host = host_text(self.host)
        if self.given is not None:
            host += f"={host_text(self.given)}"
        return host if self.port is None else f"{host}:{self.port}"


class FlowState(StrEnum):
    """Whether the client is new to session affinity."""

    NEW = "new"
    RETURNING = "returning"


class Resolver(StrEnum):
    """Whose resolver looks a name up: the C library of the client's image."""

    GLIBC = "glibc"
    MUSL = "musl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One question. *protocol* ICMP asks for an echo request, which has no ports; *source_port* None means any; *seed* asks for one sampled
    path of the tree; *resolver* looks up names.

    *dscp*, *length* (of the whole IP packet, in bytes) and *ttl* (or hop limit) are the packet's own as it is sent, where somebody says
    them; without, a rule that asks for them is unknown. *assume* sets assumptions (tracer.assumptions), in the order of their table.
    *overrides* are what-if words (tracer.override_words), *apply* is the JSON of a list of objects that are put over the cluster's, ""
    without: the question is then about the cluster as it would be.
    """

    source: Source
    destination: Destination
    protocol: Protocol = Protocol.TCP
    source_port: int | None = None
    id: str = ""
    state: FlowState = FlowState.NEW
    seed: int | None = None
    connection: tuple[str, int] | None = None
    resolver: Resolver = Resolver.GLIBC
    dscp: int | None = None
    length: int | None = None
    ttl: int | None = None
    assume: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    apply: str = ""

    @property
    def is_what_if(self) -> bool:
        """Return whether the question is about another cluster than the one that is there."""
        return bool(self.overrides or self.apply)

    def plain(self) -> Query:
        """Return the same question about the cluster as it is."""
        return replace(self, overrides=(), apply="") if self.is_what_if else self

    @property
    def header(self) -> dict[str, int]:
        """Return the header fields that were given, by name."""
        return {k: v for k, v in (("dscp", self.dscp), ("length", self.length), ("ttl", self.ttl)) if v is not None}

    def to_dict(self) -> dict[str, object]:
        """Return the query as trace-json.md writes it."""
        to: dict[str, object] = {"host": self.destination.host, "port": self.destination.port}
        if self.destination.given is not None:
            to["address"] = str(self.destination.given)
        if self.destination.service:
            to["service"] = {"namespace": self.destination.service[0], "name": self.destination.service[1]}
        out: dict[str, object] = {
            "id": self.id,
            "from": self.source.to_dict(),
            "to": to,
            "protocol": self.protocol.value,
            "source_port": self.source_port,
        }
        if self.state is not FlowState.NEW:
            out["state"] = self.state.value
        if self.seed is not None:
            out["seed"] = self.seed
        if self.connection is not None:
            out["connection"] = {"node": self.connection[0], "line": self.connection[1]}
        if self.resolver is not Resolver.GLIBC:
            out["resolver"] = self.resolver.value
        if self.assume:
            out["assume"] = list(self.assume)
        if self.overrides:
            out["overrides"] = list(self.overrides)
        if self.apply:
            out["apply"] = json.loads(self.apply)
        return out | self.header


# A query that names a connection says with it who sends what to whom.
ANYONE = Source(kind=SourceKind.EXTERNAL, ip=ipaddress.IPv4Address(0))
ANYWHERE = Destination(host="0.0.0.0", port=None)  # noqa: S104 - a placeholder, nothing is bound

_SERVICE = pattern(r"svc:(?P<ns>[^/:\s]+)/(?P<name>[^/:\s]+)(?::(?P<port>[0-9]+))?", re.ASCII)
_BRACKETED = pattern(r"\[(?P<host>[^\]\s]+)\](?::(?P<port>[0-9]+))?", re.ASCII)
_HOST = pattern(r"(?P<host>[^\s:/\[\]]+)(?::(?P<port>[0-9]+))?", re.ASCII)
_GIVEN = pattern(r"(?P<host>[^\s:/\[\]=]+=\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]+))?", re.ASCII)
_FIELDS = {"id", "from", "to", "protocol", "source_port", "state", "seed", "connection", "resolver", "assume", "overrides", "apply"}
_HEADER = {"dscp": 63, "length": 65535, "ttl": 255}
_TRACEABLE = {one.value: one for one in (Protocol.TCP, Protocol.UDP, Protocol.SCTP, Protocol.ICMP)}


def parse_address(text: str) -> Address | None:
    """Return *text* as an IP address in any textual form (zone ids refused), or None."""
    if "%" in text:
        return None
    try:
        return ipaddress.IPv6Address(text) if ":" in text else ipaddress.IPv4Address(text)
    except ValueError:
        return None


def parse_port(value: object, field: str) -> int:
    """Return *value* as a port number. :raises QueryError: it is not a whole number from 1 to 65535."""
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,5}", value, re.ASCII):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 65535:
        raise QueryError(f"{value!r} is not a port: give a whole number from 1 to 65535", code="BAD_PORT", field=field)
    return value


def parse_source(text: str) -> Source:
    """Return the source that ``pod:NAMESPACE/NAME``, ``node:NAME`` or ``external:IP`` names.

    :raises QueryError: the text is none of the three.
    """
    kind, _, rest = text.partition(":")
    if kind == "pod" and (m := re.fullmatch(r"([^/\s]+)/([^/\s]+)", rest)):
        return Source(kind=SourceKind.POD, namespace=m[1], name=m[2])
    if kind == "node" and rest and not re.search(r"\s", rest):
        return Source(kind=SourceKind.NODE, name=rest)
    if kind == "external" and (ip := parse_address(rest.strip("[]"))):
        return Source(kind=SourceKind.EXTERNAL, ip=ip)
    raise QueryError(f"source {text!r} is not pod:NAMESPACE/NAME, node:NAME or external:IP", code="BAD_SOURCE", field="from")


def parse_destination(text: str) -> Destination:
    """Return the destination that ``HOST:PORT``, ``[IPv6]:PORT`` or ``svc:NAMESPACE/NAME[:PORT]`` names.

    :raises QueryError: the text is none of them, or the port is out of range.
    """
    text = text.strip()
    if text.startswith("svc:"):
        m = _SERVICE.fullmatch(text)
        if not m:
            raise QueryError(f"{text!r} is not svc:NAMESPACE/NAME[:PORT]", code="BAD_DESTINATION", field="to")
        port = None if m["port"] is None else parse_port(m["port"], "to")
        return Destination(host=f"{m['name']}.{m['ns']}.svc", port=port, service=(m["ns"], m["name"]))
    m = _BRACKETED.fullmatch(text) or _GIVEN.fullmatch(text) or _HOST.fullmatch(text)
    if not m and (address := parse_address(text)):
        return Destination(host=str(address), port=None)
    if not m:
        raise QueryError(f"{text!r} is not HOST:PORT, [IPv6]:PORT or svc:NAMESPACE/NAME[:PORT]", code="BAD_DESTINATION", field="to")
    host = m["host"]
    name, said, given = host.partition("=")
    if said:
        return _with_given(name, given, m["port"])
    address = parse_address(host)
    if text.startswith("[") and (address is None or address.version != 6):
        raise QueryError(f"{host!r} in brackets is not an IPv6 address", code="BAD_DESTINATION", field="to")
    return Destination(host=str(address) if address else host, port=None if m["port"] is None else parse_port(m["port"], "to"))


def _with_given(name: str, given: str, port: str | None) -> Destination:
    """The destination ``NAME=ADDRESS``: a name, and the address it has outside. :raises QueryError: it is no name or no address."""
    address = parse_address(given.strip("[]"))
    if address is None or not name or parse_address(name):
        raise QueryError(f"{name}={given} is not NAME=ADDRESS", code="BAD_DESTINATION", field="to")
    return Destination(host=name, port=None if port is None else parse_port(port, "to"), given=address)


def parse_protocol(value: object) -> Protocol:
    """Return the protocol named *value*, in any case; ``icmp`` is an echo request. :raises QueryError: it is none that can be asked."""
    protocol = _TRACEABLE.get(value.lower()) if isinstance(value, str) else None
    if protocol is None:
        raise QueryError(f"protocol {value!r} is not tcp, udp, sctp or icmp", code="BAD_PROTOCOL", field="protocol")
    return protocol


def query_from_dict(value: object) -> Query:
    """Return the query in trace-json.md's JSON form.

    :raises QueryError: a field is missing, malformed, or not known.
    """
    if not isinstance(value, Mapping):
        raise QueryError("a query is a JSON object", code="BAD_QUERY")
    known = _FIELDS | set(_HEADER)
    if unknown := sorted(str(k) for k in value if k not in known):
        raise QueryError(f"unknown field {unknown[0]!r} in the query", code="BAD_QUERY", field=unknown[0])
    source_port = value.get("source_port")
    seed = value.get("seed")
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
        raise QueryError("seed is not a whole number", code="BAD_QUERY", field="seed")
    state = value.get("state", "new")
    if state not in ("new", "returning"):
        raise QueryError("state is not new or returning", code="BAD_QUERY", field="state")
    resolver = value.get("resolver") or Resolver.GLIBC
    if resolver not in tuple(Resolver):
        raise QueryError("resolver is not glibc or musl", code="BAD_QUERY", field="resolver")
    connection = _connection_from(value.get("connection"))
    return Query(
        id=str(value.get("id", "")),
        source=ANYONE if connection and "from" not in value else _source_from(value.get("from")),
        destination=ANYWHERE if connection and "to" not in value else _destination_from(value.get("to")),
        protocol=parse_protocol(value.get("protocol", "tcp")),
        source_port=None if source_port is None else parse_port(source_port, "source_port"),
        state=FlowState(state),
        seed=seed,
        connection=connection,
        resolver=Resolver(str(resolver)),
        assume=_assumptions_from(value.get("assume")),
        overrides=_overrides_from(value.get("overrides")),
        apply=manifest_text(value.get("apply")),
        **{name: _header_field(value[name], name) for name in _HEADER if value.get(name) is not None},
    )


def _assumptions_from(value: object) -> tuple[str, ...]:
    if value is not None and not isinstance(value, list):
        raise QueryError("assume is not a list of words", code="BAD_ASSUMPTION", field="assume")
    return parse_assumptions(value or ())


def _overrides_from(value: object) -> tuple[str, ...]:
    if value is not None and not isinstance(value, list):
        raise QueryError("overrides is not a list of words", code="BAD_OVERRIDE", field=OVERRIDES)
    return parse_overrides(value or ())


def manifest_text(value: object) -> str:
    """Return the canonical JSON of a list of objects to apply, "" for none. :raises QueryError: it is no such list, or too long."""
    if value is None or value == []:
        return ""
    if not isinstance(value, list) or not all(isinstance(one, Mapping) for one in value):
        raise QueryError("apply is not a list of objects", code="BAD_OVERRIDE", field="apply")
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    if len(value) > APPLIED_OBJECTS or len(text) > APPLIED:
        what = f"at most {APPLIED_OBJECTS} objects of {APPLIED:,} characters (limits APPLIED_OBJECTS, APPLIED)"
        raise QueryError(f"a manifest that is applied may hold {what}", code="BAD_OVERRIDE", field="apply")
    return text


def _header_field(value: object, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _HEADER[name]:
        raise QueryError(f"{name} is not a whole number from 0 to {_HEADER[name]}", code="BAD_QUERY", field=name)
    return value


def _source_from(value: object) -> Source:
    if isinstance(value, str):
        return parse_source(value)
    if isinstance(value, Mapping):
        match value.get("kind"):
            case "pod":
                return parse_source(f"pod:{value.get('namespace', 'default')}/{value.get('name', '')}")
            case "node":
                return parse_source(f"node:{value.get('name', '')}")
            case "external":
                return parse_source(f"external:{value.get('ip', '')}")
    raise QueryError("'from' is not a pod, a node or an external address", code="BAD_SOURCE", field="from")


def _destination_from(value: object) -> Destination:
    if isinstance(value, str):
        return parse_destination(value)
    if not isinstance(value, Mapping):
        raise QueryError("'to' is missing: give a host and a port", code="BAD_DESTINATION", field="to")
    port = None if value.get("port") is None else parse_port(value["port"], "to")
    if isinstance(service := value.get("service"), Mapping):
        ns, name = str(service.get("namespace", "")), str(service.get("name", ""))
        return Destination(host=f"{name}.{ns}.svc", port=port, service=(ns, name))
    host = value.get("host")
    if not isinstance(host, str) or not host or re.search(r"[\s/]", host):
        raise QueryError("'to' has no usable host", code="BAD_DESTINATION", field="to")
    address = parse_address(host.strip("[]"))
    if value.get("address") is not None and address is None:
        return replace(_with_given(host, str(value["address"]), None), port=port)
    return Destination(host=str(address) if address else host, port=port)


def _connection_from(value: object) -> tuple[str, int] | None:
    if value is None:
        return None
    if (
        isinstance(value, Mapping)
        and isinstance(node := value.get("node"), str)
        and isinstance(line := value.get("line"), int)
        and line > 0
    ):
        return (node, line)
    raise QueryError("connection is not {node, line}", code="BAD_QUERY", field="connection")
