"""Traces made by hand, with the rules a recorded kube-proxy wrote: what the pages are tested with, at any size."""

from __future__ import annotations

import ipaddress
from fractions import Fraction

from tracer.packet import Packet, Protocol
from tracer.query import Query, parse_destination, parse_source
from tracer.trace import Disposition, Hop, Listener, Outcome, Place, Reason, StackKind, Step, Trace, Unknown

SERVICE = "production/public-api"
CLIENT = "203.0.113.10"
BALANCER = "198.51.100.10"
HASH = "3YSG74OMPAGRJFFJ"
ADDRESS = ipaddress.ip_address


def packet(source: str, destination: str, dport: int, *, sport: int | None = None, mark: int = 0, drawn: bool = False) -> Packet:
    return Packet(
        protocol=Protocol.TCP,
        source=ADDRESS(source),
        destination=ADDRESS(destination),
        source_port=sport,
        destination_port=dport,
        mark=mark,
        source_port_random=drawn,
    )


def step(hook: str, table: str, chain: str, rule: str, line: int, verdict: str, *, node: str, **more: object) -> Step:
    return Step(
        hook=hook,
        family="ip",
        table=table,
        chain=chain,
        rule=f"-A {chain} {rule}",
        file=f"nodes/{node}/iptables-save.txt",
        line=line,
        verdict=verdict,
        **more,
    )


def policy(hook: str, table: str, chain: str, value: str = "ACCEPT") -> Step:
    return Step(hook=hook, family="ip", table=table, chain=chain, policy=value)


def sep(index: int) -> str:
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
    return (
        "KUBE-SEP-"
        + "".join(letters[(index * 7 + i * 5 + index // 32 * i) % 32] for i in range(12))
        + f"{letters[index % 32]}{letters[index // 32 % 32]}AA"
    )


def node_name(index: int) -> str:
    return f"shop-worker{index or ''}"


def endpoint_address(index: int, nodes: int) -> str:
    return f"10.244.{index % nodes}.{10 + index // nodes}" if nodes < 200 else f"10.244.{index // 200}.{index % 200}"


class Made:
    """A Service with *endpoints* pods on *nodes* nodes behind a load balancer, externalTrafficPolicy Cluster."""

    def __init__(self, *, nodes: int = 3, endpoints: int = 3, service: str = SERVICE, pod: str = "public-api-6f7d9c5b8") -> None:
        self.nodes, self.endpoints, self.service, self.pod = nodes, endpoints, service, pod

    def trace(self) -> Trace:
        outcomes = tuple(self.outcome(n, e) for n in range(self.nodes) for e in range(self.endpoints))
        query = Query(source=parse_source(f"external:{CLIENT}"), destination=parse_destination(f"{BALANCER}:443"))
        return Trace(query=query, outcomes=outcomes)

    def outcome(self, n: int, e: int) -> Outcome:
        entry, own = node_name(n), node_name(e % self.nodes)
        address, node = endpoint_address(e, self.nodes), f"172.18.0.{2 + n}"
        name = f"{self.pod}-{e:05x}"
        first, at_balancer = packet(CLIENT, BALANCER, 443), packet(CLIENT, node, 32255)
        dnat, left = packet(CLIENT, address, 8443, mark=0x4000), packet(node, address, 8443, drawn=True)
        hops = [
            Hop(kind=StackKind.EXTERNAL, name=CLIENT, node=None, came_in=None, went_out="eth0", packet_in=first, packet_out=first),
            Hop(
                kind=StackKind.LOAD_BALANCER,
                name=self.service,
                node=None,
                came_in=None,
                went_out=None,
                packet_in=first,
                packet_out=at_balancer,
                notes=("Modelled as an even split over 3 healthy nodes; the client's address is kept.",),
            ),
            Hop(
                kind=StackKind.NODE,
                name=entry,
                node=entry,
                came_in="eth0",
                went_out="eth0",
                packet_in=at_balancer,
                packet_out=left,
                steps=(*self.prerouting(entry, e, node, address), *self.forward(entry), *self.postrouting(entry, node)),
            ),
        ]
        del dnat
        if own != entry:
            hops.append(
                Hop(
                    kind=StackKind.NODE,
                    name=own,
                    node=own,
                    came_in="eth0",
                    went_out=f"veth{e:04x}",
                    packet_in=left,
                    packet_out=left,
                    steps=(*self.passing(own),),
                )
            )
        hops.append(
            Hop(
                kind=StackKind.POD,
                name=f"{self.service.split('/')[0]}/{name}",
                node=own,
                came_in="eth0",
                went_out=None,
                packet_in=left,
                packet_out=left,
            )
        )
        share = Fraction(1, self.nodes * self.endpoints)
        return Outcome(
            probability=share,
            disposition=Disposition.DELIVERED,
            listener=Listener.DECLARED,
            hops=tuple(hops),
            destination=Place(kind="pod", namespace=self.service.split("/")[0], name=name, node=own, ip=ADDRESS(address), port=8443),
            source_seen=(ADDRESS(node), None),
            findings=(
                Reason(
                    code="CLIENT_IP_LOST",
                    text=f"Node {entry} replaces source {CLIENT} with its own {node}, because {self.service} has "
                    "externalTrafficPolicy: Cluster.",
                ),
            ),
        )

    def prerouting(self, node: str, e: int, ip: str, address: str) -> list[Step]:
        port = f"{self.service}:https"
        names = {"service": self.service, "port": "https"}
        left = self.endpoints - e
        pick = (
            f'-m comment --comment "{port} -> {address}:8443" '
            + (f"-m statistic --mode random --probability {1 / left:.11f} " if left > 1 else "")
            + f"-j {sep(e)}"
        )

        def at(chain: str, rule: str, line: int, verdict: str, **more: object) -> Step:
            return step("prerouting", "nat", chain, rule, line, verdict, node=node, **more)

        return [
            at("PREROUTING", '-m comment --comment "kubernetes service portals" -j KUBE-SERVICES', 143, "jump KUBE-SERVICES"),
            at(
                "KUBE-SERVICES",
                '-m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain" -m addrtype --dst-type '
                "LOCAL -j KUBE-NODEPORTS",
                347,
                "jump KUBE-NODEPORTS",
            ),
            at(
                "KUBE-NODEPORTS",
                f'-p tcp -m comment --comment "{port}" -m tcp --dport 32255 -j KUBE-EXT-{HASH}',
                193,
                f"jump KUBE-EXT-{HASH}",
                names=names,
            ),
            at(
                f"KUBE-EXT-{HASH}",
                f'-m comment --comment "masquerade traffic for {port} external destinations" -j KUBE-MARK-MASQ',
                155,
                "jump KUBE-MARK-MASQ",
                names=names,
            ),
            at("KUBE-MARK-MASQ", "-j MARK --set-xmark 0x4000/0x4000", 175, "continue", rewrote={"mark": ("0x0", "0x4000")}),
            at(f"KUBE-EXT-{HASH}", f"-j KUBE-SVC-{HASH}", 156, f"jump KUBE-SVC-{HASH}", names=names),
            at(
                f"KUBE-SVC-{HASH}",
                pick,
                352 + e,
                f"jump {sep(e)}",
                names=names | {"endpoint": f"{address}:8443"},
                chance=Fraction(1, left) if left > 1 else None,
            ),
            at(
                sep(e),
                f'-p tcp -m comment --comment "{port}" -m tcp -j DNAT --to-destination {address}:8443',
                700 + 2 * e,
                "dnat",
                names=names | {"endpoint": f"{address}:8443"},
                rewrote={"destination": (ip, address), "destination_port": (32255, 8443)},
            ),
        ]

    def forward(self, node: str) -> list[Step]:
        return [
            step(
                "forward",
                "filter",
                "FORWARD",
                '-m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL',
                28,
                "jump KUBE-PROXY-FIREWALL",
                node=node,
            ),
            step(
                "forward",
                "filter",
                "FORWARD",
                '-m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD',
                29,
                "jump KUBE-FORWARD",
                node=node,
            ),
            step(
                "forward",
                "filter",
                "KUBE-FORWARD",
                '-m comment --comment "kubernetes forwarding rules" -m mark --mark 0x4000/0x4000 -j ACCEPT',
                41,
                "accept",
                node=node,
            ),
        ]

    def postrouting(self, node: str, ip: str) -> list[Step]:
        return [
            step(
                "postrouting",
                "nat",
                "POSTROUTING",
                '-m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING',
                146,
                "jump KUBE-POSTROUTING",
                node=node,
            ),
            step(
                "postrouting",
                "nat",
                "KUBE-POSTROUTING",
                "-j MARK --set-xmark 0x4000/0x0",
                199,
                "continue",
                node=node,
                rewrote={"mark": ("0x4000", "0x0")},
            ),
            step(
                "postrouting",
                "nat",
                "KUBE-POSTROUTING",
                '-m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully',
                200,
                "masquerade",
                node=node,
                rewrote={"source": (CLIENT, ip)},
            ),
        ]

    def passing(self, node: str) -> list[Step]:
        return [
            step(
                "prerouting",
                "nat",
                "PREROUTING",
                '-m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
                143,
                "jump KUBE-SERVICES",
                node=node,
            ),
            policy("prerouting", "nat", "PREROUTING"),
            step(
                "forward",
                "filter",
                "FORWARD",
                '-m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD',
                29,
                "jump KUBE-FORWARD",
                node=node,
            ),
            policy("forward", "filter", "FORWARD"),
            step(
                "postrouting",
                "nat",
                "POSTROUTING",
                '-m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING',
                146,
                "jump KUBE-POSTROUTING",
                node=node,
            ),
            step("postrouting", "nat", "KUBE-POSTROUTING", "-m mark ! --mark 0x4000/0x4000 -j RETURN", 198, "return", node=node),
            policy("postrouting", "nat", "POSTROUTING"),
        ]


def lb_trace(**size: int) -> Trace:
    return Made(**size).trace()


def dropped_trace() -> Trace:
    """From outside to a Local node port on a node without endpoints: dropped in INPUT."""
    sent = packet(CLIENT, "172.18.0.2", 31081)
    drop = step(
        "input",
        "filter",
        "KUBE-EXTERNAL-SERVICES",
        '-p tcp -m comment --comment "staging/demo-app-local:http has no local endpoints" -m addrtype '
        "--dst-type LOCAL -m tcp --dport 31081 -j DROP",
        30,
        "drop",
        node="shop-worker",
        names={"service": "staging/demo-app-local", "port": "http"},
    )
    jump = step(
        "input",
        "filter",
        "INPUT",
        '-m conntrack --ctstate NEW -m comment --comment "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES',
        24,
        "jump KUBE-EXTERNAL-SERVICES",
        node="shop-worker",
    )
    passed = step("prerouting", "nat", "PREROUTING", "-j KUBE-SERVICES", 143, "jump KUBE-SERVICES", node="shop-worker")
    hops = (
        Hop(kind=StackKind.EXTERNAL, name=CLIENT, node=None, came_in=None, went_out="eth0", packet_in=sent, packet_out=sent),
        Hop(
            kind=StackKind.NODE,
            name="shop-worker",
            node="shop-worker",
            came_in="eth0",
            went_out=None,
            packet_in=sent,
            packet_out=sent,
            steps=(passed, policy("prerouting", "nat", "PREROUTING"), jump, drop),
        ),
    )
    query = Query(source=parse_source(f"external:{CLIENT}"), destination=parse_destination("172.18.0.2:31081"))
    reason = Reason(
        code="ETP_LOCAL_NO_LOCAL_ENDPOINT",
        text="Node shop-worker has no ready endpoint of staging/demo-app-local, whose externalTrafficPolicy is Local.",
    )
    outcome = Outcome(probability=Fraction(1), disposition=Disposition.DROPPED, reason=reason, hops=hops, findings=(reason,))
    return Trace(query=query, outcomes=(outcome,))


def unknown_trace() -> Trace:
    """From outside to a node whose rules were not recorded."""
    sent = packet(CLIENT, "172.18.0.9", 32255)
    hops = (Hop(kind=StackKind.EXTERNAL, name=CLIENT, node=None, came_in=None, went_out="eth0", packet_in=sent, packet_out=sent),)
    query = Query(source=parse_source(f"external:{CLIENT}"), destination=parse_destination("172.18.0.9:32255"))
    missing = Unknown(code="DATA_MISSING", text="No rules recorded for node shop-worker9", at={"node": "shop-worker9"})
    outcome = Outcome(
        probability=Fraction(1), disposition=Disposition.UNKNOWN, hops=hops, reason=Reason(code="DATA_MISSING", text=missing.text)
    )
    return Trace(query=query, outcomes=(outcome,), unknowns=(missing,))
