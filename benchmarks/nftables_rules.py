"""A cluster of many Services in nftables mode: the shop's recording, and more Services as kube-proxy 1.36 writes them, with their objects.

Every Service has a cluster IP and three endpoints; one in twenty has a node port, one in fifty session affinity. The endpoints of one in a
thousand are the pods of default/api, so that a trace has as far to go as in the shop; those of the others are addresses without pods.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

NODE = "shop-worker"
_FIRST_CLUSTER_IP, _FIRST_ENDPOINT = int(IPv4Address("10.97.0.1")), int(IPv4Address("10.128.0.2"))
_FIRST_NODE_PORT = 20000


@dataclass(frozen=True, slots=True)
class ScaleService:
    """One Service of the many; *endpoints* are addresses."""

    number: int
    endpoints: tuple[str, ...] = ()

    @property
    def namespace(self) -> str:
        """Return its namespace."""
        return f"team-{self.number % 100:02}"

    @property
    def name(self) -> str:
        """Return its name."""
        return f"svc-{self.number:05}"

    @property
    def cluster_ip(self) -> IPv4Address:
        """Return its cluster IP."""
        return IPv4Address(_FIRST_CLUSTER_IP + self.number)

    @property
    def node_port(self) -> int | None:
        """Return its node port, None for nineteen of twenty."""
        return _FIRST_NODE_PORT + self.number if self.number % 20 == 0 else None

    @property
    def has_affinity(self) -> bool:
        """Return whether it keeps clients on one endpoint."""
        return self.number % 50 == 7

    @property
    def is_in_shop(self) -> bool:
        """Return whether its endpoints are pods of the shop."""
        return self.number % 1000 == 40

    @property
    def tail(self) -> str:
        """Return what its chains' names end in: a hash, then namespace/name/protocol/port."""
        key = f"{self.namespace}/{self.name}/tcp/http"
        return f"{base64.b32encode(hashlib.sha256(key.encode()).digest()).decode()[:8]}-{key}"

    def endpoint_chain(self, address: str) -> str:
        """Return the end of the names of an endpoint's chain and set."""
        key = f"{self.namespace}/{self.name}/tcp/http__{address}/8080"
        return f"{base64.b32encode(hashlib.sha256(key.encode()).digest()).decode()[:8]}-{key}"


def make_large(shop: Path, folder: Path, count: int) -> None:
    """Write the shop with *count* more Services to *folder*; the rules of NODE have them."""
    found = _endpoints_of_api(shop)
    services = [ScaleService(number, tuple(_addresses(number, found))) for number in range(count)]
    shutil.copytree(shop, folder, ignore=shutil.ignore_patterns("nft-ruleset.json"), copy_function=shutil.copyfile)
    path = folder / "nodes" / NODE / "nft-ruleset.txt"
    path.write_text(_enlarged((shop / "nodes" / NODE / "nft-ruleset.txt").read_text(), services))
    _add_items(shop, folder, "services.json", [_service(s) for s in services])
    _add_items(shop, folder, "endpointslices.json", [_slice(s, found) for s in services])


def _addresses(number: int, api: list[dict]) -> Iterator[str]:
    for place, endpoint in enumerate(api):
        own = IPv4Address(_FIRST_ENDPOINT + len(api) * number + place)
        yield endpoint["addresses"][0] if ScaleService(number).is_in_shop else str(own)


def _endpoints_of_api(shop: Path) -> list[dict]:
    items = json.loads((shop / "endpointslices.json").read_bytes())["items"]
    return next(i["endpoints"] for i in items if i["metadata"]["labels"]["kubernetes.io/service-name"] == "api")


def _add_items(shop: Path, folder: Path, name: str, more: list[object]) -> None:
    listed = json.loads((shop / name).read_bytes())
    listed["items"] += more
    (folder / name).write_text(json.dumps(listed))


def _service(service: ScaleService) -> object:
    port: dict[str, object] = {"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080}
    if service.node_port:
        port["nodePort"] = service.node_port
    spec = {"clusterIP": str(service.cluster_ip), "clusterIPs": [str(service.cluster_ip)], "ports": [port]}
    spec |= {"ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", "internalTrafficPolicy": "Cluster"}
    spec |= {"sessionAffinity": "ClientIP" if service.has_affinity else "None", "type": "NodePort" if service.node_port else "ClusterIP"}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(service, service.name),
        "spec": spec,
        "status": {"loadBalancer": {}},
    }


def _metadata(service: ScaleService, name: str) -> dict[str, object]:
    return {"namespace": service.namespace, "name": name, "creationTimestamp": "2026-11-20T11:48:40Z", "resourceVersion": "2526"}


def _slice(service: ScaleService, endpoints: list[dict]) -> object:
    placed = [e | {"addresses": [a], "targetRef": None} for e, a in zip(endpoints, service.endpoints, strict=True)]
    metadata = _metadata(service, f"{service.name}-x") | {"labels": {"kubernetes.io/service-name": service.name}}
    ports = [{"name": "http", "port": 8080, "protocol": "TCP"}]
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": metadata,
        "addressType": "IPv4",
        "endpoints": placed,
        "ports": ports,
    }


# -- the listing ------------------------------------------------------------------------------------------------------------------


def _enlarged(text: str, services: list[ScaleService]) -> str:
    """Put the Services into kube-proxy's IPv4 table of a listing."""
    begin = text.index("table ip kube-proxy {")
    end = text.index("\n}\n", begin)
    table = text[begin:end]
    table = _grown(table, "set cluster-ips", [str(s.cluster_ip) for s in services])
    table = _grown(table, "map service-ips", [f"{s.cluster_ip} . tcp . 80 : goto service-{s.tail}" for s in services])
    ports = [f"tcp . {s.node_port} : goto external-{s.tail}" for s in services if s.node_port]
    table = _grown(table, "map service-nodeports", ports)
    sets = "\n\n".join("\n".join(lines) for s in services for lines in _sets(s))
    chains = "\n\n".join("\n".join(lines) for s in services for lines in _chains(s))
    first = table.index("\n\tchain ")
    return f"{text[:begin]}{table[:first]}\n{sets}\n{table[first:]}\n\n{chains}{text[end:]}"


def _grown(table: str, name: str, elements: list[str]) -> str:
    found = re.search(rf"\t{name} {{\n.*?elements = {{ (.*?) }}\n\t}}", table, re.DOTALL)
    if found is None:
        raise SystemExit(f"the recording's listing has no {name} with elements")
    return table[: found.end(1)] + "".join(f",\n\t\t\t     {e}" for e in elements) + table[found.end(1) :]


def _sets(service: ScaleService) -> Iterator[list[str]]:
    for address in service.endpoints if service.has_affinity else ():
        name = f"affinity-{service.endpoint_chain(address)}"
        yield [f"\tset {name} {{", "\t\ttype ipv4_addr", "\t\tsize 65535", "\t\tflags dynamic,timeout", "\t\ttimeout 3h", "\t}"]


def _chains(service: ScaleService) -> Iterator[list[str]]:
    if service.has_affinity:
        names = [service.endpoint_chain(a) for a in service.endpoints]
        for name, address in zip(names, service.endpoints, strict=True):
            update, dnat = f"\t\tupdate @affinity-{name} {{ ip saddr }}", f"\t\tmeta l4proto tcp dnat to {address}:8080"
            yield [f"\tchain endpoint-{name} {{", update, dnat, "\t}"]
        known = [f"\t\tip saddr @affinity-{n} goto endpoint-{n}" for n in names]
        drawn = ", ".join(f"{i} : goto endpoint-{n}" for i, n in enumerate(names))
        yield [f"\tchain service-{service.tail} {{", *known, f"\t\tnumgen random mod 3 vmap {{ {drawn} }}", "\t}"]
    else:
        drawn = ", ".join(f"{i} : {a} . 8080" for i, a in enumerate(service.endpoints))
        rule = f"\t\tmeta l4proto tcp dnat ip to numgen random mod 3 map {{ {drawn} }}"
        yield [f"\tchain service-{service.tail} {{", rule, "\t}"]
    if service.node_port:
        mark = '\t\tmeta mark set meta mark | 0x00004000 comment "masquerade"'
        yield [f"\tchain external-{service.tail} {{", mark, f"\t\tgoto service-{service.tail}", "\t}"]
