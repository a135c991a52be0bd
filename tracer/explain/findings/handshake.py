"""HANDSHAKE_…, SYN_…_AGAIN, DATAGRAM_SENT_AGAIN, MTU_…: what becomes of packets behind the first one, as the walk remarks it."""

from __future__ import annotations

from collections.abc import Iterator

from tracer.explain.findings.case import Case, finding
from tracer.explain.findings.passage import Passage
from tracer.trace import LATER, Finding

_FIX = {
    "HANDSHAKE_UNFINISHED": "Lead requests and answers through the same nodes, or let later packets through where the ACK ends.",
    "SYN_SENT_AGAIN": "Let all SYNs meet the same rules and routes: what asks for a mark that nat rules set sees it once only.",
    "MTU_BLACK_HOLE": "Let ICMP fragmentation-needed (ICMPv6 packet-too-big) through, or give the pods an MTU that fits the whole way.",
    "MTU_FRAGMENTS": "Give the tunnel's device and the pods an MTU with room for the tunnel's headers (50 bytes over IPv4, 70 over IPv6).",
    "SYN_DRAWN_AGAIN": "Let every draw arrive: what stops some of them makes the client wait for a second and more.",
}


def findings(case: Case, passage: Passage) -> Iterator[Finding]:
    """Yield what the walk remarked of later packets."""
    for remark in passage.outcome.remarks:
        if remark.code in LATER:
            node = remark.at.get("node")
            evidence = (f"node {node}",) if node else ()
            yield finding(code=remark.code, text=remark.text, fix=_FIX.get(remark.code, ""), evidence=evidence)
