"""Cilium: ``cilium-dbg service list``, as JSON or as the table for people, to frontends and backends.

What is realized (in the eBPF maps) counts, not what is asked for. A Service with a Local policy has two entries for one address: scope
internal for clients of the cluster, external for others. Not yet checked on a real bundle.
The table names no protocol in older versions (the list does not say then), and its rows no Service; that for clients of the cluster ends
in ``/i`` there.
Source: cilium/cilium api/v1/models/{service,service_spec,service_status,frontend_address,backend_address}.go;
cilium-dbg/cmd/service_list.go, pkg/loadbalancer/loadbalancer.go (L3n4Addr.String).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence

from tracer import pasted
from tracer.errors import Fault, ParseError
from tracer.frontends.model import Backend, Frontend, FrontendTable, line_of, ordered, protocol_numbered
from tracer.json_values import load_json
from tracer.packet import Protocol
from tracer.patterns import pattern
from tracer.query import parse_address

_FIRST_LINES = 20
Json = Mapping[str, object]
_HEADING = pattern(r"(?:ID[ \t]+)?Frontend[ \t]+Service Type[ \t]+Backend", re.ASCII)
_END = r"(?:\[(?P<six>[0-9a-f:.]{2,45})\]|(?P<four>[0-9.]{7,15})):(?P<port>[0-9]{1,5})(?:/(?P<protocol>[A-Z]{2,6}))?"
_ROW = pattern(
    rf"(?:[0-9]{{1,6}}[ \t]+)?{_END}(?P<inside>/i)?[ \t]+(?P<type>[A-Za-z]{{2,20}}(?: \(Remote\))?)"
    r"(?:[ \t]+(?P<backend>[0-9]{1,6} => .*))?",
    re.ASCII,
)
_BACKEND = pattern(rf"[0-9]{{1,6}} => {_END}(?:/i)?[ \t]+\((?P<state>[a-z]{{2,20}})\)(?:[ \t]+\(preferred\))?", re.ASCII)
_ADDRESSES = pattern(r'"ip": "([^"\n]*)"')


def parse_cilium(text: str, file: str) -> FrontendTable:
    """Return the services that *text* lists. :raises ParseError: it is neither the JSON nor the table of such a list."""
    lines = pasted.without_margin(text).splitlines()
    if any(_HEADING.match(line.strip()) for line in lines[:_FIRST_LINES]):
        return FrontendTable(file=file, frontends=ordered(_rows(lines, file)))
    try:
        value = load_json(text)
    except ValueError as error:
        raise ParseError(Fault(file=file, line=getattr(error, "lineno", None), column=None, message=f"not JSON: {error}")) from error
    if value is None:  # what Go writes for no services
        value = []
    if not isinstance(value, list):
        raise ParseError(Fault(file=file, line=1, column=0, message="not a list of services"))
    found = (f for item in value if isinstance(item, Mapping) and (f := _frontend(item, text, file)) is not None)
    return FrontendTable(file=file, frontends=ordered(found))


def _rows(lines: Sequence[str], file: str) -> Iterator[Frontend]:
    """The rows of the table; the backends of one stand below each other."""
    found: list[tuple[re.Match[str], list[Backend], int]] = []
    for number, line in enumerate(lines, 1):
        shown = line.strip()
        row = _ROW.fullmatch(shown)
        if row is not None:
            found.append((row, [], number))
        more = (row["backend"] if row is not None else shown) or ""
        backend = _BACKEND.fullmatch(more.strip())
        if backend is not None and found:
            found[-1][1].append(_listed(backend))
        elif more.strip() and not _HEADING.match(shown) and not pasted.is_around(line):
            raise ParseError(Fault(file=file, line=number, column=0, message="no line of cilium-dbg service list", text=line))
    for row, backends, number in found:
        address = parse_address(row["six"] or row["four"])
        if address is None:
            raise ParseError(Fault(file=file, line=number, column=0, message="no address", text=lines[number - 1]))
        yield Frontend(
            address=address,
            port=int(row["port"]),
            protocol=_protocol(row["protocol"]),
            backends=tuple(backends),
            flags=(f"type {row['type']}",),
            text=lines[number - 1].strip(),
            file=file,
            line=number,
            scope="internal" if row["inside"] else "external",
        )


def _listed(found: re.Match[str]) -> Backend:
    address = parse_address(found["six"] or found["four"])
    if address is None:
        raise ParseError(Fault(file="", line=None, column=None, message=f"{found[0]!r} has no address"))
    return Backend(address=address, port=int(found["port"]), state=found["state"], text=found[0])


def _protocol(word: str | None) -> Protocol | None:
    return next((one for one in Protocol if one.value == (word or "").lower()), None)


def _frontend(item: Json, text: str, file: str) -> Frontend | None:
    spec = _nested(_nested(item, "status"), "realized") or _nested(item, "spec")
    front, flags = _nested(spec, "frontend-address"), _nested(spec, "flags")
    address, port = parse_address(str(front.get("ip"))), front.get("port")
    if address is None or not isinstance(port, int):
        return None
    return Frontend(
        address=address,
        port=port,
        protocol=protocol_numbered(front.get("protocol")),
        backends=tuple(_backends(spec)),
        flags=tuple(f"{k} {v}" for k, v in flags.items() if isinstance(v, str)),
        text=json.dumps(spec, sort_keys=True),
        file=file,
        line=line_of(text, str(front.get("ip")), _ADDRESSES),
        scope=str(front.get("scope") or ""),
    )


def _backends(spec: Json) -> Iterator[Backend]:
    items = spec.get("backend-addresses")
    for item in items if isinstance(items, list) else ():
        address = parse_address(str(item.get("ip"))) if isinstance(item, Mapping) else None
        port = item.get("port") if isinstance(item, Mapping) else None
        if address is not None and isinstance(port, int):
            shown = json.dumps(item, sort_keys=True)
            yield Backend(address=address, port=port, state=str(item.get("state") or "active"), text=shown)


def _nested(value: Json, name: str) -> Json:
    found = value.get(name)
    return found if isinstance(found, Mapping) else {}
