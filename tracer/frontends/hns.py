"""Windows: HNS endpoints and load balancers, as ``Get-HnsEndpoint``, ``Get-HnsPolicyList`` and ``hnsdiag list all -df`` print them as JSON.

Two schemas say the same: version 1 has policy lists with a policy of type ELB and references to endpoints, version 2 has load balancers
with FrontendVIPs and PortMappings. Not yet checked on a real bundle.
Source: microsoft/hcsshim internal/hns/hnspolicylist.go, hnsendpoint.go, hcn/hcnloadbalancer.go; kube-proxy's pkg/proxy/winkernel/hns.go.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from tracer.errors import Fault, ParseError
from tracer.frontends.model import Backend, Frontend, FrontendTable, line_of, ordered, protocol_numbered
from tracer.json_values import check_depth, decoder
from tracer.limits import SERVED
from tracer.packet import Address
from tracer.patterns import pattern
from tracer.query import parse_address
from tracer.values import dataclass

Json = Mapping[str, object]
Referred = tuple[tuple[tuple[Address, str], ...], int]
_DSR, _ILB = 1, 1
_OPENS = pattern(r"[{\[]")


def parse_hns(texts: Mapping[str, str]) -> FrontendTable:
    """Return the load balancers in *texts* (file → text, in any order and mixture). :raises ParseError: a text is not JSON."""
    read = {file: tuple(_objects(text, file)) for file, text in texts.items()}
    room = _Room()
    endpoints = {_id(o): address for objects in read.values() for o in objects if (address := _address(o)) is not None}
    found = [f for file, objects in read.items() for o in objects for f in _frontends(o, endpoints, _Place(texts[file], file, room))]
    lists = "hns-policies.json" if any(file.endswith("hns-policies.json") for file in read) else "hnsdiag.txt"
    file = next((f for f in read if f.endswith(lists)), next(iter(texts), ""))
    return FrontendTable(file=file, frontends=ordered(found), incomplete=_incomplete(read))


class _Room:
    """How much may still be listed.

    Each address stands for each mapping, and each mapping for each endpoint: a small text can list more than anybody has memory for.
    """

    def __init__(self) -> None:
        self._left = SERVED

    def take(self, units: int, file: str) -> None:
        """Take *units*. :raises ParseError: there is no room for them."""
        self._left -= units
        if self._left < 0:
            raise ParseError(
                Fault(file=file, line=None, column=None, message=f"load balancers that list more than is read (limit {SERVED})")
            )


@dataclass(frozen=True, slots=True)
class _Place:
    """The *text* of a *file* that load balancers are read of, and the room for them."""

    text: str
    file: str
    room: _Room


def _incomplete(read: Mapping[str, tuple[Json, ...]]) -> str | None:
    """What could not be read: a file without any object, or one whose inner objects PowerShell cut off."""
    for file, objects in read.items():
        if not objects:
            return f"{file} holds no JSON (hnsdiag list all -df prints it, without -df it prints tables)"
        if any(_is_cut(o) for o in objects):
            return f"{file} is cut off: ConvertTo-Json needs -Depth 20 to write what lies inside"
    return None


def _is_cut(value: Json) -> bool:
    """Whether PowerShell wrote inner objects as text, as it does below ``ConvertTo-Json -Depth``."""
    inner = [value.get(name) for name in ("Policies", "PortMappings")]
    items = [i for found in inner for i in (found if isinstance(found, list) else [found])]
    return any(isinstance(i, str) and i.strip() for i in items)


def _objects(text: str, file: str) -> Iterator[Json]:
    """Yield every object of a JSON text, or of several behind each other, as hnsdiag prints them."""
    decoding, at = decoder(), 0
    while (at := _next(text, at)) < len(text):
        try:
            value, end = decoding.raw_decode(text, at)
            check_depth(text[at:end])
        except (ValueError, RecursionError) as error:
            line = text.count("\n", 0, at) + 1
            raise ParseError(Fault(file=file, line=line, column=None, message=f"not JSON: {error}")) from error
        at = end
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, Mapping):
                yield item


def _next(text: str, at: int) -> int:
    """The next place where JSON may begin: hnsdiag puts headings between its lists."""
    found = _OPENS.search(text, at)
    return found.start() if found else len(text)


def _id(value: Json) -> str:
    return str(value.get("ID") or value.get("Id") or "").lower()


def _address(value: Json) -> Address | None:
    """The address of an endpoint, in either schema."""
    held = value.get("IPAddress")
    configurations = value.get("IpConfigurations")
    if held is None and isinstance(configurations, list) and configurations and isinstance(configurations[0], Mapping):
        held = configurations[0].get("IpAddress")
    return parse_address(held) if isinstance(held, str) else None


def _frontends(value: Json, endpoints: Mapping[str, Address], place: _Place) -> Iterator[Frontend]:
    line = line_of(place.text, str(value.get("ID") or value.get("Id") or ""))
    referred = _referred(value, "References", endpoints)
    for policy in _each(value, "Policies"):
        if policy.get("Type") == "ELB":
            yield from _of_policy(value, policy, referred, place, line)
    if "FrontendVIPs" in value or "PortMappings" in value:
        referred = _referred(value, "HostComputeEndpoints", endpoints)
        for mapping in _each(value, "PortMappings"):
            yield from _of_mapping(value, mapping, referred, place, line)


def _each(value: Json, name: str) -> Iterator[Json]:
    """The objects in a list; PowerShell writes a list of one as its member, and may write nothing for none."""
    items = value.get(name)
    yield from (i for i in (items if isinstance(items, list) else [items]) if isinstance(i, Mapping))


def _words(value: object) -> list[str]:
    """The texts in a list; PowerShell writes a list at its greatest depth as one text with blanks."""
    if isinstance(value, str):
        return value.split()
    return [i for i in value if isinstance(i, str)] if isinstance(value, list) else []


def _referred(value: Json, name: str, endpoints: Mapping[str, Address]) -> Referred:
    """The endpoints that *value* refers to, each with the reference, and how many references lead to none."""
    references = _words(value.get(name))
    ids = [r.rpartition("/")[2].lower() for r in references]
    found = tuple((endpoints[i], json.dumps(r)) for i, r in zip(ids, references, strict=True) if i in endpoints)
    return found, len(ids) - len(found)


def _of_policy(value: Json, policy: Json, referred: Referred, place: _Place, line: int | None) -> Iterator[Frontend]:
    flags = [
        name for name, key in (("DSR", "IsDSR"), ("DSR", "DSR"), ("ILB", "ILB"), ("LocalRoutedVip", "LocalRoutedVip")) if policy.get(key)
    ]
    flags += [f"SourceVIP {policy['SourceVIP']}"] if policy.get("SourceVIP") else []
    shown = {k: value[k] for k in ("ID", "References") if k in value} | {"Policies": [dict(policy)]}
    yield from _made(policy.get("VIPs"), policy, referred, tuple(dict.fromkeys(flags)), json.dumps(shown), place, line)


def _of_mapping(value: Json, mapping: Json, referred: Referred, place: _Place, line: int | None) -> Iterator[Frontend]:
    whole, own = value.get("Flags"), mapping.get("Flags")
    flags = ["DSR"] if isinstance(whole, int) and whole & _DSR else []
    if isinstance(own, int):
        flags += [name for bit, name in ((_ILB, "ILB"), (2, "LocalRoutedVip"), (4, "UseMux"), (8, "PreserveDIP")) if own & bit]
    flags += [f"SourceVIP {value['SourceVIP']}"] if value.get("SourceVIP") else []
    kept = ("ID", "HostComputeEndpoints", "FrontendVIPs", "SourceVIP", "Flags")
    shown = {k: value[k] for k in kept if k in value} | {"PortMappings": [dict(mapping)]}
    yield from _made(value.get("FrontendVIPs"), mapping, referred, tuple(flags), json.dumps(shown), place, line)


def _made(
    addresses: object,
    ports: Json,
    referred: Referred,
    flags: tuple[str, ...],
    text: str,
    place: _Place,
    line: int | None,
) -> Iterator[Frontend]:
    """A frontend an address; without one (a node port) it takes any of the node's."""
    inside, outside = ports.get("InternalPort"), ports.get("ExternalPort")
    if not isinstance(inside, int) or not isinstance(outside, int):
        return
    listed = _words(addresses)
    protocol = protocol_numbered(ports.get("Protocol"))
    place.room.take(len(referred[0]) + 5 * len(listed) + len(text) // 200, place.file)
    backends = tuple(Backend(address=a, port=inside, text=reference) for a, reference in referred[0])
    for address in [parse_address(a) for a in dict.fromkeys(listed)] if listed else [None]:
        if listed and address is None:
            continue
        yield Frontend(
            address=address,
            port=outside,
            protocol=protocol,
            backends=backends,
            flags=flags,
            missing=referred[1],
            text=text,
            file=place.file,
            line=line,
        )
