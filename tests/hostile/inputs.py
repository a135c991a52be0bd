"""Snapshots that are made to be endless, deep or huge, each small or regular enough to be written down here, and what is asked of them.

Names are those of the kinds; a new kind of hostility is one more function in ``INPUTS``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from tests.made_cluster import MadeCluster

Files = dict[str, bytes]
WEB = (("pod:default/client", "10.96.0.10:80"),)
NODE = (("node:n1", "10.96.0.10:80"),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hostile:
    """Files, the questions asked of them, and what an answer must say (a code among the unknowns or outcomes), if anything."""

    files: Files
    questions: tuple[tuple[str, str], ...] = WEB
    code: str | None = None
    settings: Mapping[str, int] = field(default_factory=dict)


def _made(**extra: bytes | str) -> Files:
    cluster = MadeCluster(2)
    client = cluster.pod("client", 1)
    cluster.service("web", [cluster.pod("web-1", 1), cluster.pod("web-2", 2), client])
    return cluster.files() | {path: text.encode() if isinstance(text, str) else text for path, text in extra.items()}


def _with_rules(table: str, lines: list[str]) -> Files:
    files = _made()
    text = files["nodes/n1/iptables-save.txt"].decode()
    begin = text.index(f"*{table}\n")
    end = text.index("COMMIT", begin)
    head, body, tail = text[:begin], text[begin:end], text[end:]
    declared = [line for line in lines if line.startswith(":")]
    rules = [line for line in lines if not line.startswith(":")]
    first = body.index("-A ") if "-A " in body else len(body)
    made = body[:first] + "".join(f"{line}\n" for line in declared) + "".join(f"{line}\n" for line in rules) + body[first:]
    return files | {"nodes/n1/iptables-save.txt": (head + made + tail).encode()}


# A listing without it is none of a node in nftables mode, and nobody would walk the rest.
_OF_KUBE_PROXY = "table ip kube-proxy {\n}\n"


def _nft(text: str, **more: str) -> Files:
    files = {path: content for path, content in _made().items() if not path.startswith("nodes/n1/iptables")}
    return (
        files
        | {"nodes/n1/nft-ruleset.txt": (_OF_KUBE_PROXY + text).encode(), "nodes/n1/kube-proxy-mode.txt": b"nftables\n"}
        | {k: v.encode() for k, v in more.items()}
    )


def _nft_json(items: list[object]) -> Files:
    files = _nft("")
    del files["nodes/n1/nft-ruleset.txt"]
    proxys: list[object] = [{"table": {"family": "ip", "name": "kube-proxy"}}]
    return files | {"nodes/n1/nft-ruleset.json": json.dumps({"nftables": proxys + items}).encode()}


_BASE = "\t\ttype filter hook output priority 0; policy accept;\n"


def _output(rules: str, *more: str) -> str:
    return f"table ip t {{\n{''.join(more)}\tchain out {{\n{_BASE}{rules}\t}}\n}}\n"


def _chains(count: int, ways: int, last: str) -> str:
    chains = [f"\tchain c{n} {{\n" + f"\t\tjump c{n + 1}\n" * ways + "\t}\n" for n in range(count)]
    return "".join(chains) + f"\tchain c{count} {{\n\t\t{last}\n\t}}\n"


# -- rules ----------------------------------------------------------------------------------------------------------------------------


def nft_jumps() -> Hostile:
    """Each chain jumps eight times to the next."""
    return Hostile(files=_nft(_output("\t\tjump c0\n", _chains(14, 8, "counter"))), questions=NODE, code="UNSUPPORTED")


def nft_jumps_that_split() -> Hostile:
    """The same, and each chain draws."""
    return Hostile(files=_nft(_output("\t\tjump c0\n", _chains(14, 4, "numgen random mod 2 0 counter packets 0 bytes 0"))), questions=NODE)


def nft_unknown_matches() -> Hostile:
    """Twenty thousand matches that cannot be told, each of which splits the way."""
    return Hostile(files=_nft(_output("\t\tmeta cpu 1 accept\n" * 20_000)), questions=NODE, code="UNSUPPORTED")


def nft_unknown_matches_of_counters() -> Hostile:
    """The same, and nothing depends on them."""
    return Hostile(files=_nft(_output("\t\tmeta cpu 1 counter\n" * 20_000)), questions=NODE)


def nft_statements() -> Hostile:
    """A rule of 20,000 statements."""
    return Hostile(files=_nft(_output("\t\t" + "counter " * 20_000 + "accept\n")), questions=NODE)


def nft_statements_that_draw() -> Hostile:
    """A rule whose statements each draw a value: 100 to the 50th ways."""
    return Hostile(files=_nft(_output("\t\t" + "meta mark set numgen random mod 100 " * 50 + "\n")), questions=NODE, code="UNSUPPORTED")


def nft_draw() -> Hostile:
    """One value of four milliards."""
    return Hostile(files=_nft(_output("\t\tmeta mark set numgen random mod 4294967295\n")), questions=NODE, code="UNMODELLED_TARGET")


def nft_product() -> Hostile:
    """A concatenation of draws."""
    text = "\t\tnumgen random mod 1000 . numgen random mod 1000 . numgen random mod 1000 vmap { 1 . 1 . 1 : accept }\n"
    return Hostile(files=_nft(_output(text)), questions=NODE, code="UNSUPPORTED")


def nft_parentheses() -> Hostile:
    """Parentheses 100,000 deep."""
    return Hostile(
        files=_nft(_output("\t\tmeta mark " + "(" * 100_000 + "1" + ")" * 100_000 + " accept\n")), questions=NODE, code="BAD_RULE"
    )


def nft_braces() -> Hostile:
    """Braces as deep, in a set and in a rule."""
    deep = "{ " * 50_000 + "1" + " }" * 50_000
    return Hostile(files=_nft(_output(f"\t\tmeta mark {deep} accept\n")), questions=NODE, code="BAD_RULE")


def nft_operators() -> Hostile:
    """An expression of 50,000 operators: a tree as deep."""
    return Hostile(
        files=_nft(_output("\t\tmeta mark and " + " or ".join(["0x1"] * 50_000) + " == 0x1 accept\n")), questions=NODE, code="BAD_RULE"
    )


def nft_set() -> Hostile:
    """A set of 100,000 ranges, asked by 500 rules."""
    ranges = ",\n".join(
        f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}-10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}" for n in range(0, 200_000, 2)
    )
    found = f"\tset s {{\n\t\ttype ipv4_addr\n\t\tflags interval\n\t\telements = {{ {ranges} }}\n\t}}\n"
    return Hostile(files=_nft(_output("\t\tip daddr @s counter\n" * 500, found)), questions=NODE)


def nft_json_numbers() -> Hostile:
    """Numbers without end, in every place that wants one."""
    chain = {"family": "ip", "table": "t", "name": "out", "type": "filter", "hook": "output", "policy": "accept"}
    files = _nft_json([{"table": {"family": "ip", "name": "t"}}, {"chain": chain | {"prio": 0}}])
    text = files["nodes/n1/nft-ruleset.json"].decode().replace('"prio": 0', '"prio": 1e999')
    return Hostile(files=files | {"nodes/n1/nft-ruleset.json": text.encode()}, questions=NODE)


def nft_json_depth() -> Hostile:
    """JSON 500,000 deep."""
    files = _nft_json([])
    return Hostile(files=files | {"nodes/n1/nft-ruleset.json": b'{"nftables": ' + b"[" * 500_000 + b"]" * 500_000 + b"}"}, questions=NODE)


def nft_json_operators() -> Hostile:
    """An operation of 50,000 parts, and one of a modulus of nothing."""
    rule = {"family": "ip", "table": "t", "chain": "out"}
    many = {"match": {"op": "==", "left": {"|": [{"meta": {"key": "mark"}}] + [1] * 50_000}, "right": 1}}
    none = {"match": {"op": "==", "left": {"numgen": {"mode": "random", "mod": 0}}, "right": 1}}
    base = {"chain": rule | {"name": "out", "type": "filter", "hook": "output", "prio": 0, "policy": "accept"}}
    rules = [{"rule": rule | {"expr": [statement]}} for statement in (many, none)]
    return Hostile(files=_nft_json([{"table": {"family": "ip", "name": "t"}}, base, *rules]), questions=NODE, code="BAD_RULE")


def iptables_jumps() -> Hostile:
    """Each chain jumps twice to the next, fifty times."""
    lines = [f":C{n} - [0:0]" for n in range(51)]
    lines += [line for n in range(50) for line in [f"-A C{n} -j C{n + 1}"] * 2]
    return Hostile(files=_with_rules("mangle", [*lines, "-A PREROUTING -j C0"]), code="UNSUPPORTED")


def iptables_unknown_matches() -> Hostile:
    """Fifteen thousand matches that cannot be told, each of which splits the way."""
    return Hostile(files=_with_rules("mangle", ["-A PREROUTING -m nowhere --at all -j ACCEPT"] * 15_000), code="UNSUPPORTED")


def iptables_draws() -> Hostile:
    """Forty rules that draw: 2 to the 40th ways."""
    rule = "-A PREROUTING -m statistic --mode random --probability 0.50000000000 -j MARK --xor-mark 0x1"
    return Hostile(files=_with_rules("mangle", [rule] * 40), code="UNSUPPORTED")


def ipset_scans() -> Hostile:
    """A set of 100,000 networks, asked by 1,000 rules."""
    entries = "".join(f"add S 10.{n >> 8 & 255}.{n & 255}.{n >> 16 << 3}/29\n" for n in range(100_000))
    files = _with_rules("mangle", ["-A PREROUTING -m set --match-set S dst -j MARK --set-xmark 0x1/0x1"] * 1_000)
    return Hostile(files=files | {"nodes/n1/ipset-save.txt": f"create S hash:net family inet hashsize 1024\n{entries}".encode()})


def ipset_lists() -> Hostile:
    """Lists of lists, each naming the next a hundred times."""
    text = "".join(f"create L{n} list:set size 8\n" for n in range(8)) + "create S hash:ip family inet\nadd S 10.9.9.9\n"
    text += "".join(f"add L{n} L{n + 1}\n" * 100 for n in range(7)) + "add L7 S\n" * 100
    files = _with_rules("mangle", ["-A PREROUTING -m set --match-set L0 dst -j MARK --set-xmark 0x1/0x1"])
    return Hostile(files=files | {"nodes/n1/ipset-save.txt": text.encode()})


# -- virtual servers, frontends -------------------------------------------------------------------------------------------------------


def _ipvs(count: int, scheduler: str, **more: str) -> Files:
    lines = [f"-A -t 10.96.0.10:80 -s {scheduler}"]
    lines += [f"-a -t 10.96.0.10:80 -r 10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}:8080 -m -w 1" for n in range(count)]
    files = _made() | {"nodes/n1/ipvsadm-save.txt": "\n".join(lines).encode(), "nodes/n1/kube-proxy-mode.txt": b"ipvs\n"}
    return files | {k: v.encode() for k, v in more.items()}


def ipvs_servers() -> Hostile:
    """20,000 real servers of one virtual server, in turn."""
    return Hostile(files=_ipvs(20_000, "rr"), questions=NODE)


def ipvs_loads() -> Hostile:
    """The same, by load: every one has to be compared."""
    reals = "".join(
        f"  -> 10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}:8080      Masq    1      {n % 7}          0\n" for n in range(20_000)
    )
    head = "Prot LocalAddress:Port Scheduler Flags\n  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n"
    listing = f"{head}TCP  10.96.0.10:80 lc\n{reals}"
    return Hostile(files=_ipvs(20_000, "lc", **{"nodes/n1/ipvsadm-list.txt": listing}), questions=NODE)


def hns_frontends() -> Hostile:
    """2,000 policies of 2,000 addresses, and 20,000 lists."""
    endpoints = [{"ID": f"e{n}", "IPAddress": f"10.1.{n >> 8 & 255}.{n & 255}"} for n in range(2_000)]
    policy = {
        "Type": "ELB",
        "VIPs": [f"10.97.{n >> 8}.{n & 255}" for n in range(2_000)],
        "InternalPort": 80,
        "ExternalPort": 80,
        "Protocol": 6,
    }
    lists = [
        {"ID": f"l{n}", "References": [f"/endpoints/e{m}" for m in range(n % 3)], "Policies": [policy] if n < 3 else []}
        for n in range(20_000)
    ]
    lists[0]["References"] = [f"/endpoints/e{m}" for m in range(2_000)]
    files = _made() | {
        "nodes/n1/hns-policies.json": json.dumps(lists).encode(),
        "nodes/n1/hns-endpoints.json": json.dumps(endpoints).encode(),
    }
    return Hostile(files={path: content for path, content in files.items() if not path.startswith("nodes/n1/ip")}, questions=NODE)


def cilium_frontends() -> Hostile:
    """20,000 services, and one of 20,000 backends."""

    def service(n: int, backends: int) -> dict[str, object]:
        address = {"ip": f"10.96.{n >> 8}.{n & 255}", "port": 80, "protocol": "TCP"}
        listed = [{"ip": f"10.1.{m >> 8 & 255}.{m & 255}", "port": 8080} for m in range(backends)]
        return {"spec": {}, "status": {"realized": {"frontend-address": address, "backend-addresses": listed}}}

    found = [service(n, 20_000 if n == 10 else 1) for n in range(20_000)]
    files = _made() | {"nodes/n1/cilium-services.json": json.dumps(found).encode()}
    return Hostile(files={path: content for path, content in files.items() if not path.startswith("nodes/n1/iptables")}, questions=NODE)


# -- routes ---------------------------------------------------------------------------------------------------------------------------


def routes() -> Hostile:
    """50,000 rules that lead from table to table, and 50,000 routes."""
    rules = [{"priority": n, "src": "all", "table": str(1000 + n % 200)} for n in range(20_000)]
    table = [
        {"dst": f"10.{n >> 12 & 255}.{n >> 4 & 255}.{(n & 15) << 4}/28", "dev": "eth0", "table": str(1000 + n % 200)} for n in range(50_000)
    ]
    main = json.loads(_made()["nodes/n1/ip-route.json"])
    return Hostile(files=_made(**{"nodes/n1/ip-rule.json": json.dumps(rules), "nodes/n1/ip-route.json": json.dumps([*main, *table])}))


def route_numbers() -> Hostile:
    """Numbers without end in what ip -j prints."""
    text = _made()["nodes/n1/ip-route.json"].decode()
    return Hostile(
        files=_made(**{"nodes/n1/ip-route.json": text.replace('"metric": 0', '"metric": 1e999').replace("[{", '[{"metric": 1e999, ', 1)})
    )


def next_hops() -> Hostile:
    """A route of 20,000 next hops, each as likely."""
    hops = [{"gateway": f"192.168.{n >> 8 & 255}.{n & 255}", "dev": "eth0", "weight": 1, "flags": []} for n in range(20_000)]
    route = {"dst": "default", "nexthops": hops, "flags": []}
    return Hostile(files=_made(**{"nodes/n1/ip-route.json": json.dumps([route])}), questions=(("pod:default/client", "203.0.113.9:80"),))


# -- objects --------------------------------------------------------------------------------------------------------------------------


def empty_items() -> Hostile:
    """A List of 4 MB of empty items."""
    return Hostile(files=_made(**{"services.json": '{"kind": "List", "items": [' + ",".join(["{}"] * 1_300_000) + "]}"}))


def deep_objects() -> Hostile:
    """An object in 200,000 objects, as JSON and as YAML."""
    deep = '{"a":' * 200_000 + "1" + "}" * 200_000
    return Hostile(files=_made(**{"services.json": f'{{"items": [{deep}]}}', "more.yaml": "kind: Service\na: " + "{a: " * 200_000}))


def yaml_anchors() -> Hostile:
    """Ten levels of ten aliases each."""
    lines = ["kind: Service", "a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    return Hostile(files=_made(**{"more.yaml": "\n".join(lines)}))


def names_that_are_lists() -> Hostile:
    """Every name a list, of objects of every kind."""
    kinds = (
        "Service",
        "EndpointSlice",
        "Endpoints",
        "Pod",
        "Node",
        "Namespace",
        "NetworkPolicy",
        "ConfigMap",
        "Ingress",
        "Gateway",
        "HTTPRoute",
    )
    items = [{"kind": kind, "metadata": {"name": name, "namespace": name}} for kind in kinds for name in (["a"], {"b": 1}, 3, None, True)]
    return Hostile(files=_made(**{"cluster.json": json.dumps({"kind": "List", "items": items})}))


def same_names() -> Hostile:
    """30,000 Services that share one name and one address."""
    item = {
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"clusterIP": "10.96.0.10", "ports": [{"port": 80}]},
    }
    return Hostile(files=_made(**{"services.json": json.dumps({"kind": "List", "items": [item] * 30_000})}))


# -- names ----------------------------------------------------------------------------------------------------------------------------


def _named(corefile: str) -> Files:
    config = {"kind": "ConfigMap", "metadata": {"name": "coredns", "namespace": "kube-system"}, "data": {"Corefile": corefile}}
    dns = {
        "kind": "Service",
        "metadata": {"name": "kube-dns", "namespace": "kube-system"},
        "spec": {"clusterIP": "10.96.0.2", "ports": [{"port": 53, "protocol": "UDP"}]},
    }
    services = json.loads(_made()["services.json"])
    services["items"].append(dns)
    return _made(**{"configmaps.json": json.dumps({"kind": "List", "items": [config]}), "services.json": json.dumps(services)})


def rewrite_loop() -> Hostile:
    """Rewrites that lead to each other, 3,000 of them."""
    rewrites = "".join(f"  rewrite continue name exact a{n}.x. a{(n + 1) % 3000}.x.\n" for n in range(3_000))
    return Hostile(
        files=_named(f".:53 {{\n{rewrites}  kubernetes cluster.local\n  forward . /etc/resolv.conf\n}}\n"),
        questions=(("pod:default/client", "a0.x:80"),),
    )


def corefile_depth() -> Hostile:
    """A Corefile of 100,000 opened braces, and of imports of itself."""
    text = "(a) {\n import a\n}\n.:53 {\n import a\n" + "  x {\n" * 100_000
    return Hostile(files=_named(text), questions=(("pod:default/client", "web:80"),))


def long_lines() -> Hostile:
    """One line of 4 MB in every text of a node."""
    long = "a" * 4_000_000
    names = (
        "iptables-save.txt",
        "ipvsadm-save.txt",
        "ipset-save.txt",
        "conntrack.txt",
        "sysctl.txt",
        "ss.txt",
        "resolv.conf",
        "nft-ruleset.txt",
    )
    return Hostile(files=_made(**{f"nodes/n1/{name}": long for name in names}))


def short_lines() -> Hostile:
    """200,000 lines that say nothing in every text of a node."""
    short = "x\n" * 200_000
    names = ("iptables-save.txt", "ipvsadm-save.txt", "ipset-save.txt", "conntrack.txt", "sysctl.txt", "ss.txt", "nft-ruleset.txt")
    return Hostile(files=_made(**{f"nodes/n1/{name}": short for name in names}))


def blank_lines() -> Hostile:
    """Four million blank lines and one word."""
    return Hostile(
        files=_made(**{"nodes/n1/ss.txt": "\n" * 4_000_000 + "secret", "nodes/n1/resolv.conf": "\n" * 4_000_000 + "kind: secret"})
    )


INPUTS: dict[str, Callable[[], Hostile]] = {
    made.__name__: made
    for made in (
        nft_jumps, nft_jumps_that_split, nft_unknown_matches, nft_unknown_matches_of_counters, nft_statements, nft_statements_that_draw,
        nft_draw, nft_product, nft_parentheses, nft_braces, nft_operators, nft_set, nft_json_numbers, nft_json_depth, nft_json_operators,
        iptables_jumps, iptables_unknown_matches, iptables_draws, ipset_scans, ipset_lists, ipvs_servers, ipvs_loads, hns_frontends,
        cilium_frontends, routes, route_numbers, next_hops, empty_items, deep_objects, yaml_anchors, names_that_are_lists, same_names,
        rewrite_loop, corefile_depth, long_lines, short_lines, blank_lines,
    )
}  # fmt: skip
