"""Random stacks and questions for the kernel oracle: addresses, routes, rules of both families, as ``ip`` commands."""

from __future__ import annotations

import random
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

DEVICES = ("d0", "d1", "d2", "d3", "br0")
TABLES = ("main", "main", "main", "100", "101", "default", "local")


@dataclass(frozen=True)
class Query:
    """One question to ``ip route get`` and to us."""

    destination: str
    source: str | None = None
    mark: int = 0
    iif: str | None = None
    oif: str | None = None
    protocol: str = "udp"
    source_port: int = 1000
    destination_port: int = 53
    tos: int = 0

    def to_text(self) -> str:
        """Return the question in ``ip route get``'s words."""
        words = [self.destination]
        words += ["from", self.source] if self.source else []
        words += ["iif", self.iif] if self.iif else []
        words += ["oif", self.oif] if self.oif else []
        words += ["mark", str(self.mark)] if self.mark else []
        words += ["tos", hex(self.tos)] if self.tos else []
        return " ".join([*words, "ipproto", self.protocol, "sport", str(self.source_port), "dport", str(self.destination_port)])


class World:
    """One random stack: ``commands`` make it; ``queries`` ask about places that matter in it."""

    def __init__(self, rng: random.Random, version: int) -> None:
        self.rng = rng
        self.version = version
        self.local: list[str] = []
        self.places: list[str] = []
        self.options = ("-6",) if version == 6 else ("-4",)
        self.commands = [*self._addresses(), *self._routes(), *(self._rules() if rng.random() < 0.7 else [])]

    def _address(self) -> str:
        rng = self.rng
        if self.version == 4:
            head = rng.choice(("10.0", "10.0", "10.1", "10.2", "192.0", "198.18", "172.16"))
            return f"{head}.{rng.randrange(3)}.{rng.choice((1, 2, 3, 7, 64, 129, 200, 254, 255, 0))}"
        head = rng.choice(("fd00:0:0", "fd00:0:0", "fd00:0:1", "2001:db8:0", "2001:db8:1", "2002:a00:0", "fec0:0:0", "fe80:0:0"))
        return f"{head}:{rng.randrange(3)}::{rng.choice((1, 2, 3, 0x40, 0x81, 0xFF, 0)):x}"

    def _length(self) -> int:
        return self.rng.choice(
            (8, 16, 20, 24, 24, 25, 26, 30, 31, 32, 32) if self.version == 4 else (16, 32, 48, 64, 64, 65, 96, 126, 127, 128, 128)
        )

    def _prefix(self) -> str:
        if self.rng.random() < 0.08:
            return "default"
        address, length = ip_address(self._address()), self._length()
        shift = address.max_prefixlen - length
        base = int(address) >> shift << shift
        self.places.append(str(address))
        return f"{IPv4Address(base) if self.version == 4 else IPv6Address(base)}/{length}"

    def _addresses(self) -> list[str]:
        rng, out = self.rng, [f"addr add {'127.0.0.1/8' if self.version == 4 else '::1/128'} dev lo"]
        for device in (*DEVICES, "lo"):
            for _ in range(rng.randrange(5) if device != "lo" else rng.randrange(2)):
                address = self._address()
                if int(ip_address(address)) & 0xFF in (0, 255) and rng.random() < 0.8:
                    continue
                self.local.append(address)
                out.append(f"addr add {address}{self._address_options()} dev {device}")
        return out

    def _address_options(self) -> str:
        rng = self.rng
        length = self._length() if rng.random() < 0.5 else (24 if self.version == 4 else 64)
        if self.version == 6:
            return f"/{length} nodad" + rng.choice(("", "", "", " preferred_lft 0", " noprefixroute"))
        if rng.random() < 0.1:
            return f" peer {self._address()}/{length}"
        broadcast = " brd +" if rng.random() < 0.3 and length < 31 else ""
        return f"/{length}{broadcast} scope {rng.choice(('global', 'global', 'global', 'site', 'link', 'host'))}"

    def _way(self) -> str:
        rng = self.rng
        device = rng.choice(DEVICES)
        gateway = f"via {self._address()} " if rng.random() < 0.6 else ""
        return f"{gateway}dev {device}{' onlink' if gateway else ''}"

    def _routes(self) -> list[str]:
        rng, out = self.rng, []
        for _ in range(rng.randrange(8, 30)):
            prefix, kind = (
                self._prefix(),
                rng.choice(("unicast",) * 8 + ("multipath", "multipath", "blackhole", "unreachable", "prohibit", "throw", "local")),
            )
            table = rng.choice(TABLES)
            if kind == "multipath":
                ways = " ".join(f"nexthop {self._way()} weight {rng.choice((1, 1, 2, 3, 7))}" for _ in range(rng.randrange(2, 4)))
            else:
                ways = self._way() if kind == "unicast" else (f"dev {rng.choice(DEVICES)}" if kind == "local" else "")
            type_ = "" if kind in ("unicast", "multipath") else kind
            source = f"src {rng.choice(self.local)}" if self.local and kind in ("unicast", "multipath") and rng.random() < 0.25 else ""
            metric = f"metric {rng.choice((1, 5, 10, 256, 1024))}" if rng.random() < 0.3 else ""
            tos = f"tos {rng.choice(('0x10', '0x20'))}" if self.version == 4 and rng.random() < 0.05 else ""
            pref = f"pref {rng.choice(('low', 'high'))}" if self.version == 6 and kind == "unicast" and rng.random() < 0.1 else ""
            origin = f"from {self._prefix()}" if self.version == 6 and rng.random() < 0.05 else ""
            verb = rng.choice(("add", "append", "add"))
            words = ("route", verb, type_, prefix, origin, tos, "table", table, metric, source, pref, ways)
            out.append(" ".join(word for word in words if word))
        return out

    def _rules(self) -> list[str]:
        rng, out = self.rng, []
        for _ in range(rng.randrange(1, 6)):
            parts = []
            if rng.random() < 0.4:
                parts.append(f"from {self._prefix()}")
            if rng.random() < 0.4:
                parts.append(f"to {self._prefix()}")
            if rng.random() < 0.3:
                parts.append(f"fwmark {rng.choice(('0x1', '0x10', '0x4000/0x4000', '0x0/0x1'))}")
            if rng.random() < 0.2:
                parts.append(f"iif {rng.choice((*DEVICES, 'lo', 'nosuch'))}")
            if rng.random() < 0.15:
                parts.append(f"oif {rng.choice((*DEVICES, 'nosuch'))}")
            if rng.random() < 0.2:
                parts.append(f"ipproto {rng.choice(('tcp', 'udp'))} dport {rng.choice(('53', '50-60', '80'))}")
            if rng.random() < 0.1:
                parts.append("sport 1000-2000")
            if rng.random() < 0.1:
                parts.append("uidrange 0-0" if rng.random() < 0.5 else "uidrange 5-9")
            if rng.random() < 0.1 and self.version == 4:
                parts.append("tos 0x10")
            inverted = "not " if parts and rng.random() < 0.2 else ""
            actions = (
                "lookup 100",
                "lookup 101",
                "lookup main suppress_prefixlength 0",
                "lookup 100 suppress_prefixlength 20",
                "lookup 102",
            )
            action = rng.choice((*actions, *actions, "goto 32766", "goto 150", "nop", "blackhole", "unreachable", "prohibit"))
            out.append(f"rule add {inverted}{' '.join(parts)} priority {rng.choice((50, 100, 150, 200, 40000))} {action}")
        return out

    def _place(self) -> str:
        rng = self.rng
        choice = rng.random()
        if choice < 0.3 and self.local:
            base = ip_address(rng.choice(self.local))
            return str(base) if rng.random() < 0.5 else str(base + rng.choice((1, -1, 5, 64)) if int(base) > 64 else base)
        if choice < 0.6 and self.places:
            return str(ip_address(rng.choice(self.places)) + rng.randrange(4))
        if choice < 0.65:
            special4 = ("127.0.0.1", "127.5.5.5", "255.255.255.255", "224.0.0.5", "239.1.2.3", "8.8.8.8", "10.0.0.255", "10.0.1.255")
            return rng.choice(
                special4 if self.version == 4 else ("::1", "ff02::1", "ff05::2", "2001:4860::1", "fe80::99", "::ffff:1.2.3.4")
            )
        return self._address()

    def queries(self, count: int) -> list[Query]:
        """Return *count* random questions: own packets, packets of a known source, of a device, marked, and received ones."""
        return [self._query() for _ in range(count)]

    def _query(self) -> Query:
        rng = self.rng
        received = rng.random() < 0.3
        own_source = not received and bool(self.local) and rng.random() < 0.25
        return Query(
            destination=self._place(),
            source=self._place() if received else rng.choice(self.local) if own_source else None,
            mark=rng.choice((0, 0, 1, 0x10, 0x4000, 0x4001)),
            iif=rng.choice(DEVICES[:4]) if received else None,
            oif=rng.choice(DEVICES) if not received and rng.random() < 0.2 else None,
            protocol=rng.choice(("tcp", "udp")),
            destination_port=rng.choice((53, 60, 80)),
            tos=0x10 if self.version == 4 and rng.random() < 0.1 else 0,
        )
