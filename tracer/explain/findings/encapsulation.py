"""VXLAN_CHECKSUM: a node's own packet that is masqueraded into a VXLAN device while its mark stays.

The encapsulated packet inherits the mark, is masqueraded as well, and older kernels then spoil its zero UDP checksum.
kube-proxy clears the mark since 1.16.13, 1.17.9, 1.18.6.
"""

from __future__ import annotations

from collections.abc import Iterator

from tracer.explain.explanation import Severity
from tracer.explain.findings.case import Case, finding
from tracer.explain.findings.linux_release import spoils_checksums
from tracer.explain.findings.passage import Passage
from tracer.trace import Disposition, Finding


def findings(case: Case, passage: Passage) -> Iterator[Finding]:
    """Yield VXLAN_CHECKSUM where the path, the mark and the kernel fit; a kernel that is not recorded is said."""
    if passage.outcome.disposition is not Disposition.DELIVERED or case.outside or case.client_pod is not None or not passage.nodes:
        return
    hop = passage.nodes[0]
    snat = next((s for s in passage.snats if s.hop is hop), None)
    device = case.stack(hop).routing.link(hop.went_out) if hop.went_out else None
    if snat is None or device is None or device.kind != "vxlan" or not hop.packet_out.mark:
        return
    found = case.cluster.node(hop.node or "")
    version = found.kernel_version if found else None
    spoils = spoils_checksums(version)
    if spoils is False:
        return
    kernel = (
        f"its kernel {version} is one that"
        if version
        else f"the kernel of node {hop.node} is not in the snapshot (Node status); one before 5.7"
    )
    about = f" for Service {case.subject.name}" if case.subject else ""
    text = (
        f"Node {hop.node} masquerades its own packet{about} at {snat.where} and sends it out of the VXLAN device {device.name} with mark "
        f"{hop.packet_out.mark:#x} still set; {kernel} may spoil the checksum of what it encapsulates: the connection takes 63 "
        "seconds or fails"
    )
    fix = (
        f"On node {hop.node}: ethtool -K {device.name} tx-checksum-ip-generic off, or use a corrected kernel and a kube-proxy that "
        "clears the mark."
    )
    yield finding(code="VXLAN_CHECKSUM", text=text, fix=fix, severity=Severity.WARNING if spoils else Severity.NOTICE, at=snat)
