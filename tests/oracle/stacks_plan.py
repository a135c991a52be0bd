"""Who has which address in a random little cluster, for one IP version: nodes, pods, what leads nowhere."""

from __future__ import annotations

from dataclasses import dataclass

OPEN, CLOSED = 80, 81
VXLAN_PORT = 8472


@dataclass(frozen=True, slots=True)
class Plan:
    """The addresses of a cluster of IP *version* 4 or 6; nodes are numbered from 1."""

    version: int

    @property
    def family(self) -> str:
        """Return nft's word for the version."""
        return "ip" if self.version == 4 else "ip6"

    @property
    def icmp(self) -> str:
        """Return the protocol of the version's errors, as rules ask for it."""
        return "icmp" if self.version == 4 else "ipv6-icmp"

    def node(self, number: int, network: int = 0) -> str:
        """Return the address of node *number* on the first or the second network."""
        return f"192.168.{network}.1{number}" if self.version == 4 else f"fd00:192:{network}::1{number}"

    def pod(self, number: int) -> str:
        """Return the address of the pod of node *number*."""
        return f"10.1.{number}.2" if self.version == 4 else f"fd00:10:1:{number}::2"

    def gateway(self, number: int) -> str:
        """Return the address of node *number* towards its pod."""
        return f"10.1.{number}.1" if self.version == 4 else f"fd00:10:1:{number}::1"

    def end(self, number: int) -> str:
        """Return the address of the VXLAN device of node *number*."""
        return f"10.1.{number}.0" if self.version == 4 else f"fd00:10:1:{number}::"

    def pods(self, number: int) -> str:
        """Return the network of the pods of node *number*."""
        return f"{self.end(number)}/{self.length}"

    @property
    def length(self) -> int:
        """Return the prefix length of every network."""
        return 24 if self.version == 4 else 64

    @property
    def whole(self) -> int:
        """Return the prefix length of one address."""
        return 32 if self.version == 4 else 128

    @property
    def virtual(self) -> tuple[str, ...]:
        """Return the addresses that only rules know."""
        return ("10.96.0.1", "10.96.0.2") if self.version == 4 else ("fd00:96::1", "fd00:96::2")

    @property
    def refused(self) -> dict[str, tuple[str, str]]:
        """Return the routes that lead nowhere: the kind, with its network and an address behind."""
        kinds = enumerate(("unreachable", "prohibit", "blackhole"), 1)
        if self.version == 4:
            return {kind: (f"10.99.{n}.0/24", f"10.99.{n}.1") for n, kind in kinds}
        return {kind: (f"fd00:99:{n}::/64", f"fd00:99:{n}::1") for n, kind in kinds}

    def at(self, address: str, port: int) -> str:
        """Return an address with a port, as rules have it."""
        return f"{address}:{port}" if self.version == 4 else f"[{address}]:{port}"
