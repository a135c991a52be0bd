"""What a finished outcome shows that is worth a warning, although the packet may have arrived.

Each function looks at one outcome and returns a finding of the catalogue, or None. Nothing here changes the walk.
"""

from __future__ import annotations

from tracer.trace import Disposition, Outcome, Reason, StackKind


def findings_of(outcome: Outcome) -> tuple[Reason, ...]:
    """Return the outcome's own findings and those that can be read off it, each code once."""
    found = {finding.code: finding for finding in outcome.findings}
    for look in (client_ip_lost,):
        finding = look(outcome)
        if finding is not None:
            found.setdefault(finding.code, finding)
    return tuple(found.values())


def client_ip_lost(outcome: Outcome) -> Reason | None:
    """Return CLIENT_IP_LOST when a client outside reaches an endpoint that sees another address in its place."""
    if outcome.disposition is not Disposition.DELIVERED or not outcome.hops or outcome.hops[0].kind is not StackKind.EXTERNAL:
        return None
    client = outcome.hops[0].packet_in.source
    for hop in outcome.hops:
        if hop.kind is StackKind.NODE and hop.packet_in.source == client != hop.packet_out.source:
            text = f"Node {hop.name} replaces the source {client} with its own address {hop.packet_out.source}, so the endpoint does not see the client."
            return Reason(code="CLIENT_IP_LOST", text=text)
    return None
