"""What a name leads to before it becomes records: an address or another name, with the name that owns it.

Source: plugin/etcd/msg/service.go and plugin/backend_lookup.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from tracer.dns.message import Record
from tracer.dns.names import absolute
from tracer.packet import Address
from tracer.query import parse_address
from tracer.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One target. *host* is an address, or a name for a CNAME; *owner* is the target's own name, *port* None: no SRV record."""

    host: Address | str
    owner: str
    port: int | None = None

    @property
    def rdtype(self) -> str:
        """Return A, AAAA or CNAME."""
        return "CNAME" if isinstance(self.host, str) else ("A" if self.host.version == 4 else "AAAA")

    @property
    def rdata(self) -> str:
        """Return the host as a record's text."""
        return absolute(self.host) if isinstance(self.host, str) else str(self.host)


def host_of(text: str) -> Address | str:
    """Return *text* as an address where it is one: CoreDNS takes an ExternalName such as 192.0.2.1 for an address."""
    return parse_address(text) or text


def address_records(name: str, targets: Iterable[Target], rdtype: str, ttl: int) -> Iterator[Record]:
    """Yield the A or AAAA records of *targets*, each address once."""
    for rdata in dict.fromkeys(t.rdata for t in targets if t.rdtype == rdtype):
        yield Record(name=name, ttl=ttl, rdtype=rdtype, rdata=rdata)


def srv_records(name: str, targets: Sequence[Target], ttl: int) -> tuple[tuple[Record, ...], tuple[Record, ...]]:
    """Return the SRV records of *targets* and the address records that go with them.

    All have priority 0 and an equal share of weight 100, rounded down; the share counts targets, not the records left without repeats.
    Source: SRV in plugin/backend_lookup.go.
    """
    weight = max(100 // len(targets), 1) if targets else 0
    answer: dict[tuple[str, int], Record] = {}
    extra: dict[tuple[str, str], Record] = {}
    for target in targets:
        if target.port is None:
            continue
        owner = target.rdata if isinstance(target.host, str) else target.owner
        rdata = f"0 {weight} {target.port} {owner}"
        answer.setdefault((owner, target.port), Record(name=name, ttl=ttl, rdtype="SRV", rdata=rdata))
        if not isinstance(target.host, str):
            extra.setdefault((owner, target.rdata), Record(name=owner, ttl=ttl, rdtype=target.rdtype, rdata=target.rdata))
    return tuple(answer.values()), tuple(extra.values())
