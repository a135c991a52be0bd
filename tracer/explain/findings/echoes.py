"""SERVICE_TAKES_NO_ECHO: an echo request to a Service's address, which its rules do not take; that says nothing of the Service."""

from __future__ import annotations

from collections.abc import Iterator

from tracer.explain.findings.case import Case, finding
from tracer.explain.findings.passage import Passage
from tracer.packet import endpoint_text
from tracer.trace import Finding, Sees


def findings(case: Case, passage: Passage) -> Iterator[Finding]:
    """Yield it where an echo request was sent to an address of a Service and is not answered."""
    if case.sent is None or case.sent.protocol.has_ports or passage.outcome.client_sees is Sees.CONNECTED:
        return
    address = case.sent.destination
    service, kind = next(iter(case.objects.services_with_address(address)), (None, None))
    if service is None or kind is None:
        return
    text = (
        f"{address} is an address of Service {service.namespace}/{service.name}. A Service takes packets by protocol and port, and an echo "
        "request (ping) has no port: that it is not answered says nothing of the Service"
    )
    asked = [f"{endpoint_text(address, port.port)} ({port.protocol.value})" for port in service.ports]
    fix = f"Ask for a port of the Service instead: {', '.join(asked[:3])}." if asked else ""
    yield finding(code="SERVICE_TAKES_NO_ECHO", text=text, fix=fix)
