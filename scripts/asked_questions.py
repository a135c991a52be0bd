"""Draws the questions that scripts/same_answers.py asks: of which recording, with which of its files left out, and what.

Everything is read from the recordings' own text, nothing is asked of the engine: the same seed draws the same questions whatever becomes
of its modules. What a recording does not hold in the usual form is passed over: it offers fewer questions then, never another kind.
"""

from __future__ import annotations

import fnmatch
import json
import random
import shutil
import tarfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from itertools import chain
from pathlib import Path
from typing import Any

# The share that is drawn of each kind; unknown ones come from recordings with a file less, and not each of them ends as unknown.
SHARES = {"ordinary": 0.18, "ipv6": 0.14, "names": 0.14, "returning": 0.11, "connections": 0.11, "errors": 0.11, "unknown": 0.21}
# Of each kind but the ordinary one, at least so many of 4,000.
LEAST = 300, 4000
CLIENTS = {4: ("203.0.113.10", "198.51.100.77", "192.0.2.9"), 6: ("2001:db8:c::10", "2001:db8:ffff::77", "fd00:dead::9")}
NOBODY = {
    4: ("10.96.255.254:80", "10.244.1.250:8080", "203.0.113.99:443", "127.0.0.1:80", "169.254.169.254:80", "0.0.0.0:80", "224.0.0.1:53"),
    6: ("[fd00:10:96::fffe]:80", "[fd00:10:244:1::fa]:8080", "[2001:db8:c::99]:443", "[::1]:80", "[fe80::1]:80", "[::]:80", "[ff02::1]:53"),
}
# Files left out together: of one node, or (without a node) of the whole recording.
LEFT_OUT = (
    "nodes/{node}/iptables-save.txt nodes/{node}/nft-ruleset.* nodes/{node}/ipvsadm-*",
    "nodes/{node}/ip6tables-save.txt",
    "nodes/*/iptables-save.txt nodes/*/nft-ruleset.* nodes/*/ipvsadm-*",
    "nodes/{node}/*",
    "nodes/*",
    "nodes/{node}/ip-route.json",
    "nodes/*/ip-route.json nodes/*/ip6-route.json",
    "nodes/{node}/ip6-route.json",
    "nodes/{node}/ip-addr.json",
    "nodes/*/ip-addr.json",
    "nodes/*/sysctl.txt",
    "nodes/*/ip-rule.json nodes/*/ip6-rule.json",
    "nodes/*/ip-link.json",
    "nodes/*/ip-neigh.json",
    "nodes/*/ss.txt",
    "nodes/*/ipset-*",
    "nodes/*/ipvsadm-*",
    "nodes/*/conntrack.txt",
    "nodes/{node}/kube-proxy-*",
    "nodes/*/kube-proxy-*",
    "endpointslices.json",
    "pods.json",
    "nodes.json",
    "services.json",
    "configmaps.json",
    "networkpolicies.json",
    "namespaces.json",
)
# Not asked: the walk through it is given up after so many steps that they take minutes to print as text.
_TOO_LONG = "../shared/cases/nft-jumps-without-end/snapshot"
_VARIANTS = 4
_MOST_TRIES = 30

Drawn = dict[str, Any] | str | list[Any] | None


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Asked:
    """A recording to ask: *place* in or beside the tree, *inside* a folder of it if it is an archive, *without* files of these patterns."""

    place: str
    inside: str = ""
    without: tuple[str, ...] = ()

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Asked:
        """Return what a line of the answers says."""
        return cls(place=value["recording"], inside=value.get("inside", ""), without=tuple(value.get("without", ())))

    def to_dict(self) -> dict[str, Any]:
        """Return what a line of the answers says, without what is empty."""
        found = {"recording": self.place, "inside": self.inside, "without": list(self.without)}
        return {name: value for name, value in found.items() if value}

    def unpacked(self, target: Path) -> Path:
        """Write the recording's files that are not left out below *target*, and return their folder."""
        origin = Path(self.place)
        if origin.is_file():
            with tarfile.open(origin) as archive:
                archive.extractall(target / "archive", filter="data")
            origin = target / "archive" / self.inside
        if not self.without:
            return origin
        shutil.copytree(origin, target / "less", ignore=lambda folder, names: self._left_out(Path(folder).relative_to(origin), names))
        return target / "less"

    def _left_out(self, folder: Path, names: Sequence[str]) -> set[str]:
        return {name for name in names if any(fnmatch.fnmatch((folder / name).as_posix(), pattern) for pattern in self.without)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a recording says of itself: the names and addresses that questions are made of. Endpoints are spelled ``HOST:PORT``."""

    pods: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    services: tuple[tuple[str, str, int], ...] = ()  # namespace, name, port
    names: tuple[str, ...] = ()
    endpoints: dict[int, tuple[tuple[tuple[str, str], ...], ...]]  # family → groups of (HOST:PORT, protocol)
    sticky: dict[int, tuple[tuple[str, str], ...]]
    lines: tuple[tuple[str, int], ...] = ()  # node and line of each recorded connection


# --- which recordings there are ------------------------------------------------------------------------------------------


def recordings(tree: Path) -> Iterator[tuple[Asked, float]]:
    """Yield each recording below or beside *tree* with its weight: how often it is asked, beside the others."""
    for path in sorted((tree / "demo").iterdir()):
        if path.is_dir():
            yield Asked(place=f"demo/{path.name}" + ("/base" if (path / "base").is_dir() else "")), 10
        elif path.name.endswith(".tar.gz"):
            yield Asked(place=f"demo/{path.name}", inside=path.name.removesuffix(".tar.gz")), 3
    shared = tree.parent / "shared"
    for path in sorted(shared.glob("recordings/*/services.json")):
        if not (tree / "demo" / path.parent.name).exists():
            yield Asked(place=f"../shared/recordings/{path.parent.name}"), 10
    for path in sorted(shared.glob("whatif/*.tar.gz")):
        name = path.name.removesuffix(".tar.gz")
        yield Asked(place=f"../shared/whatif/{path.name}", inside=f"{name}/{'before' if name.startswith('before') else 'after'}"), 0.5
    for path in sorted(shared.glob("cases/*/snapshot")):
        yield Asked(place=f"../shared/cases/{path.parent.name}/snapshot"), 0.4


def lessened(asked: Asked, known: Known, drawn: random.Random) -> list[Asked]:
    """Return *asked* with files left out, in a few ways."""
    found = (text.format(node=drawn.choice(known.nodes or ("none",))) for text in drawn.sample(LEFT_OUT, _VARIANTS))
    return [replace(asked, without=tuple(text.split())) for text in found]


# --- what one of them holds ----------------------------------------------------------------------------------------------


def known_of(folder: Path) -> Known:
    """Return what the recording in *folder* says of itself."""
    nodes, services, pods = (_objects(folder, kind) for kind in ("nodes", "services", "pods"))
    at_nodes = [a["address"] for o in nodes for a in _list(o.get("status"), "addresses") if a.get("type") in ("InternalIP", "ExternalIP")]
    parts = [*_endpoint_parts(services, pods, at_nodes)]
    return Known(
        pods=tuple(f"pod:{_named(o)[0]}/{_named(o)[1]}" for o in pods),
        nodes=tuple(_named(o)[1] for o in nodes) or tuple(sorted(p.name for p in folder.glob("nodes/*"))),
        services=tuple((*_named(o), p["port"]) for o in services for p in _list(o.get("spec"), "ports")),
        names=tuple(_names(services, pods)),
        endpoints={family: tuple(filter(None, (_of(family, part) for part in parts))) for family in (4, 6)},
        sticky={family: _of(family, chain(*_endpoint_parts([o for o in services if _is_sticky(o)], [], at_nodes))) for family in (4, 6)},
        lines=tuple(_lines(folder)),
    )


def _objects(folder: Path, kind: str) -> list[dict[str, Any]]:
    try:
        found = json.loads((folder / f"{kind}.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return []
    items = found.get("items") if isinstance(found, dict) else None
    return [o for o in items or () if isinstance(o, dict) and all(isinstance(n, str) and n for n in _named(o))]


def _named(value: dict[str, Any]) -> tuple[Any, Any]:
    meta = value.get("metadata") or {}
    return meta.get("namespace", "default"), meta.get("name")


def _list(value: object, name: str) -> list[Any]:
    return (value.get(name) if isinstance(value, dict) else None) or []


def _is_sticky(service: dict[str, Any]) -> bool:
    return service.get("spec", {}).get("sessionAffinity") == "ClientIP"


def _endpoint_parts(services: list[Any], pods: list[Any], at_nodes: list[str]) -> Iterator[list[tuple[str, int, str]]]:
    """Yield groups of address, port and protocol: cluster IPs, node ports, addresses outside, pods', what nobody listens at, nodes'."""
    ports = [(o["spec"], p, p.get("protocol", "TCP").lower()) for o in services for p in _list(o.get("spec"), "ports")]
    yield [(ip, p["port"], proto) for spec, p, proto in ports for ip in spec.get("clusterIPs") or [spec.get("clusterIP", "None")]]
    yield [(ip, p["nodePort"], proto) for _, p, proto in ports if p.get("nodePort") for ip in (*at_nodes, "127.0.0.1", "::1")]
    outside = {id(o["spec"]): [*_list(o["spec"], "externalIPs"), *_ingress(o)] for o in services if o.get("spec")}
    yield [(ip, p["port"], proto) for spec, p, proto in ports for ip in outside[id(spec)]]
    at_pods = [(i.get("ip", ""), o) for o in pods for i in _list(o.get("status"), "podIPs")]
    containers = [(ip, p) for ip, o in at_pods for c in _list(o.get("spec"), "containers") for p in _list(c, "ports")]
    yield [(ip, p["containerPort"], p.get("protocol", "TCP").lower()) for ip, p in containers]
    yield [(ip, 9, "tcp") for ip, _ in at_pods] + [(ip, port, "udp") for ip, port in ((a, 30999) for a in at_nodes)]
    yield [(ip, port, "tcp") for ip in at_nodes for port in (22, 10250, 6443)]


def _ingress(service: dict[str, Any]) -> list[str]:
    balancer = service.get("status", {}).get("loadBalancer", {})
    return [i["ip"] for i in _list(balancer, "ingress") if i.get("ip")]


def _of(family: int, found: Any) -> tuple[tuple[str, str], ...]:
    return tuple((f"[{ip}]:{port}" if family == 6 else f"{ip}:{port}", proto) for ip, port, proto in found if _family(ip) == family)


def _family(ip: object) -> int:
    try:
        return ip_address(str(ip)).version
    except ValueError:
        return 0


def _names(services: list[dict[str, Any]], pods: list[dict[str, Any]]) -> Iterator[str]:
    for o in services:
        namespace, name = _named(o)
        port = next((p["port"] for p in _list(o.get("spec"), "ports")), 80)
        ends = ("", f".{namespace}", f".{namespace}.svc", f".{namespace}.svc.cluster.local", f".{namespace}.svc.cluster.local.")
        yield from (f"{name}{end}:{port}" for end in ends)
        if o.get("spec", {}).get("clusterIP") == "None":
            yield from (f"{_named(p)[1]}.{name}.{namespace}:{port}" for p in pods if _named(p)[1].startswith(f"{name}-"))
    yield from ("kubernetes.default:443", "example.com:443", "example.com=93.184.216.34:443", "nobody.default.svc.cluster.local:80")
    yield from ("example.com=[2606:2800:220:1::1]:443", "localhost:80", "a.b.c.d.e.f:80", "10-244-1-2.default.pod.cluster.local:80", ".:80")


def _lines(folder: Path) -> Iterator[tuple[str, int]]:
    for path in sorted(folder.glob("nodes/*/conntrack.txt")):
        lines = path.read_text(errors="replace").splitlines()
        yield from ((path.parent.name, number) for number, text in enumerate(lines, 1) if " src=" in text)


# --- one question of each kind -------------------------------------------------------------------------------------------


def _source(known: Known, drawn: random.Random, family: int) -> str:
    groups = [known.pods, tuple(f"node:{name}" for name in known.nodes), tuple(f"external:{ip}" for ip in CLIENTS[family])]
    weights = [5 if known.pods else 0, 2 if known.nodes else 0, 2]
    return drawn.choice(drawn.choices(groups, weights)[0])


def _to(known: Known, drawn: random.Random, family: int) -> tuple[str, str]:
    groups = [*known.endpoints[family], tuple((text, "tcp") for text in NOBODY[family])]
    if family == 4 and known.services:
        groups.append(tuple((f"svc:{namespace}/{name}:{port}", "tcp") for namespace, name, port in known.services))
    return drawn.choice(drawn.choice(groups))


def _question(known: Known, drawn: random.Random, family: int, to: tuple[str, str]) -> dict[str, Any]:
    made: dict[str, Any] = {"from": _source(known, drawn, family), "to": to[0]}
    if to[1] != "tcp" or drawn.random() < 0.05:
        made["protocol"] = to[1] if drawn.random() < 0.9 else drawn.choice(("tcp", "udp", "sctp"))
    if drawn.random() < 0.1:
        made["source_port"] = drawn.choice((40000, 1024, 53, 65535))
    if drawn.random() < 0.06:
        made |= drawn.choice(({"ttl": 1}, {"ttl": 64}, {"dscp": 46}, {"length": 1500}, {"seed": 7}))
    return made


def _ordinary(known: Known, drawn: random.Random) -> Drawn:
    return _question(known, drawn, 4, _to(known, drawn, 4))


def _ipv6(known: Known, drawn: random.Random) -> Drawn:
    return _question(known, drawn, 6, _to(known, drawn, 6)) if known.endpoints[6] else None


def _name(known: Known, drawn: random.Random) -> Drawn:
    made = _question(known, drawn, 4, (drawn.choice(known.names), "tcp"))
    if made["from"].startswith("external:") and drawn.random() < 0.8:  # nobody knows how a client outside looks names up
        made["from"] = drawn.choice(known.pods or (made["from"],))
    return made | ({"resolver": "musl"} if drawn.random() < 0.3 else {})


def _returning(known: Known, drawn: random.Random) -> Drawn:
    family = 6 if known.endpoints[6] and drawn.random() < 0.25 else 4
    sticky = known.sticky[family]
    to = drawn.choice(sticky) if sticky and drawn.random() < 0.5 else _to(known, drawn, family)
    return _question(known, drawn, family, to) | {"state": "returning"}


def _connection(known: Known, drawn: random.Random) -> Drawn:
    if not known.lines:
        return None
    node, line = drawn.choice(known.lines)
    return {"connection": {"node": node, "line": line}}


def _unknown(known: Known, drawn: random.Random) -> Drawn:
    return drawn.choices((_ordinary, _ipv6, _name), (5, 2, 2))[0](known, drawn)


def _service(known: Known, drawn: random.Random, more: str = "") -> str:
    namespace, name, _ = drawn.choice(known.services or (("a", "b", 1),))
    return f"svc:{namespace}{more}/{name}"


_NO_SOURCES = ("pod:onlyname", "external:999.1.1.1", "node:", "external:fe80::1%eth0", "", 7, {"kind": "moon"})
_NO_DESTINATIONS = ("[10.0.0.1]:80", "a b:80", "svc:a", "10.0.0.1", "n=1.2.3:80", "1.2.3.4=1.2.3.4:80", "[::1", "", 7, {})
# What is made of a good question so that it has no answer, with a near name where there is one.
ERRORS: tuple[Callable[[dict[str, Any], Known, random.Random], Drawn], ...] = (
    lambda q, k, d: q | {"from": d.choice(k.pods or ("pod:a/b",))[:-1]},
    lambda q, k, d: q | {"from": "node:" + d.choice(k.nodes or ("none",)) + "x"},
    lambda q, k, d: q | {"from": {"kind": "pod", "namespace": "nowhere", "name": d.choice(k.pods or ("pod:a/b",)).partition("/")[2]}},
    lambda q, _, d: q | {"from": d.choice(_NO_SOURCES)},
    lambda q, _, d: {"id": "less"} | {name: q[name] for name in d.choice((["to"], ["from"], []))},
    lambda q, k, d: q | {"to": _service(k, d) + "x:80"},
    lambda q, k, d: q | {"to": _service(k, d) + ":9"},
    lambda q, k, d: q | {"to": _service(k, d, "x")},
    lambda q, _, d: q | {"to": d.choice(_NO_DESTINATIONS)},
    lambda q, _, d: q | {"to": {"host": "10.96.0.1", "port": d.choice((0, 65536, "x", True, -1, 1.5))}},
    lambda q, _, d: q | {"protocol": d.choice(("icmp", "xyz", "", 6, None, "TCP/UDP"))},
    lambda q, _, d: q | {"source_port": d.choice((0, 70000, "high", True, "-1"))},
    lambda q, _, d: q | d.choice(({"state": "old"}, {"resolver": "dig"}, {"seed": "7"}, {"ttl": 256}, {"dscp": -1}, {"length": "big"})),
    lambda q, _, d: q | d.choice(({"colour": "red"}, {"From": q["from"]}, {"overrides": ["node/x=removed"]}, {"FROM": 1, "also": 2})),
    lambda _, k, d: {"connection": {"node": d.choice(k.nodes or ("none",)), "line": d.randint(100_000, 999_999)}},
    lambda _, k, d: {"connection": {"node": d.choice(k.nodes or ("none",))[:-1], "line": d.randint(1, 9)}},
    lambda _, k, d: {"connection": d.choice(({"node": "x"}, {"node": "x", "line": 0}, "x:1", 7, {"line": 3}, {"node": 3, "line": 3}))},
    lambda q, _, d: d.choice((json.dumps(q)[:-1], "[]", "7", "null", '"words"', "{}", "{'from': 1}", "[" * d.randint(900, 5000))),
)


def _error(known: Known, drawn: random.Random) -> Drawn:
    good = _question(known, drawn, 4, _to(known, drawn, 4))
    return drawn.choice(ERRORS)(good, known, drawn)


KINDS: dict[str, Callable[[Known, random.Random], Drawn]] = {
    "ordinary": _ordinary,
    "ipv6": _ipv6,
    "names": _name,
    "returning": _returning,
    "connections": _connection,
    "errors": _error,
    "unknown": _unknown,
}


# --- the batch -----------------------------------------------------------------------------------------------------------


def questions(tree: Path, read: dict[Asked, Known], count: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield *count* questions of all recordings as lines: those that come with a case, those of each kind that is drawn, ordinary ones.

    *read* has what each recording of :func:`recordings` says of itself.
    """
    made = list(_of_cases(tree)) if count >= LEAST[1] else []
    weights = {asked: weight for asked, weight in recordings(tree) if asked in read}
    left = count - len(made)
    for kind, share in SHARES.items():
        drawn = random.Random(f"{seed} {kind}")
        made += _drawn(kind, round(left * share), _places(kind, weights, read, drawn), drawn, {_text(line) for line in made})
    made = [line for line in made if line["recording"] != _TOO_LONG][:count]
    weights.pop(Asked(place=_TOO_LONG), None)
    drawn = random.Random(f"{seed} more")
    made += _drawn("ordinary", count - len(made), _places("ordinary", weights, read, drawn), drawn, {_text(line) for line in made})
    yield from made


def _of_cases(tree: Path) -> Iterator[dict[str, Any]]:
    """Yield the questions that recorded cases come with."""
    for path in sorted((tree.parent / "shared").glob("cases/*/expect.json")):
        if (path.parent / "snapshot").is_dir():
            asked = Asked(place=f"../shared/cases/{path.parent.name}/snapshot")
            for row in json.loads(path.read_bytes()).get("questions", ()):
                yield asked.to_dict() | {"kinds": ["cases"], "question": row["question"]}


def _places(kind: str, weights: dict[Asked, float], read: dict[Asked, Known], drawn: random.Random) -> list[tuple[Asked, float, Known]]:
    """Return whom questions of *kind* are asked: each recording, or for unknown answers each large one with a few files less."""
    if kind != "unknown":
        return [(asked, weight, read[asked]) for asked, weight in weights.items()]
    whole = [asked for asked, weight in weights.items() if weight >= 10]
    return [(less, 1, read[asked]) for asked in whole for less in lessened(asked, read[asked], drawn)]


def _text(line: dict[str, Any]) -> str:
    return json.dumps({name: value for name, value in line.items() if name != "kinds"})


def _drawn(
    kind: str, wanted: int, places: list[tuple[Asked, float, Known]], drawn: random.Random, had: set[str]
) -> Iterator[dict[str, Any]]:
    """Yield *wanted* questions of *kind*, none of those in *had* and none twice: fewer, where the recordings are too small."""
    places = [place for place in places if KINDS[kind](place[2], random.Random(0)) is not None]
    if not places:
        return
    for asked, _, known in sorted(drawn.choices(places, [weight for _, weight, _ in places], k=wanted), key=lambda place: place[0]):
        for _ in range(_MOST_TRIES):
            line = asked.to_dict() | {"kinds": [kind], "question": KINDS[kind](known, drawn)}
            if line["question"] is not None and _text(line) not in had:
                had.add(_text(line))
                yield line
                break
