"""VXLAN_CHECKSUM: a node's own packet that is masqueraded into a VXLAN device while its mark stays.

The encapsulated packet inherits the mark, is masqueraded as well, and older kernels then spoil its zero UDP checksum.
Corrected in Linux 5.7 and in 5.6.13, 5.4.41, 4.19.123, 4.14.181; kube-proxy clears the mark since 1.16.13, 1.17.9, 1.18.6.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tracer.explain.explanation import Severity
from tracer.explain.findings.case import Case, finding
from tracer.explain.findings.passage import Passage
from tracer.trace import Disposition, Finding

_VERSION = re.compile(r"([0-9]{1,4})\.([0-9]{1,4})(?:\.([0-9]{1,6}))?", re.ASCII)
_CORRECTED = {(5, 6): 13, (5, 4): 41, (4, 19): 123, (4, 14): 181}
_FIRST_CORRECT = (5, 7)


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
    if version is not None and is_corrected(version):
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
    yield finding(code="VXLAN_CHECKSUM", text=text, fix=fix, severity=Severity.WARNING if version else Severity.NOTICE, at=snat)


def is_corrected(version: str) -> bool | None:
    """Return whether a kernel of this ``uname -r`` has the correction, None when the text is no version.

    Source: Linux commit ea64d8d6c675, netfilter: nat: never update the UDP checksum when it's 0; distributions may have it earlier.
    """
    match = _VERSION.match(version)
    if not match:
        return None
    release, patch = (int(match[1]), int(match[2])), int(match[3] or 0)
    if release >= _FIRST_CORRECT:
        return True
    return release in _CORRECTED and patch >= _CORRECTED[release]
