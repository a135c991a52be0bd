"""Cilium: ``cilium-dbg service list -o json`` to frontends and backends.

What is realized (in the eBPF maps) counts, not what is asked for. A Service with a Local policy has two entries for one address: scope
internal for clients of the cluster, external for others. Not yet checked on a real bundle.
Source: cilium/cilium api/v1/models/{service,service_spec,service_status,frontend_address,backend_address}.go.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

from tracer.errors import Fault, ParseError
from tracer.frontends.model import Backend, Frontend, FrontendTable, line_of, ordered, protocol_numbered
from tracer.json_values import load_json
from tracer.query import parse_address

Json = Mapping[str, object]
FORWARD_CHAIN = "CILIUM_FORWARD"
"""The chain that Cilium's agent makes in table filter of its node, with kube-proxy and without. Source: cilium pkg/datapath/iptables."""
_ADDRESSES = re.compile(r'"ip": "([^"\n]*)"')


def parse_cilium(text: str, file: str) -> FrontendTable:
    """Return the services that *text* lists. :raises ParseError: it is not the JSON of such a list."""
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
