"""Which faults a kernel release still has, told from what ``uname -r`` prints. Distributions may have corrected theirs earlier."""

from __future__ import annotations

import re

from tracer.patterns import pattern

_VERSION = pattern(r"([0-9]{1,4})\.([0-9]{1,4})(?:\.([0-9]{1,6}))?", re.ASCII)
_CHECKSUM_CORRECTED = {(5, 6): 13, (5, 4): 41, (4, 19): 123, (4, 14): 181}


def release(version: str | None) -> tuple[int, int, int] | None:
    """Return the three numbers of a ``uname -r``, None when it is absent or no version."""
    match = _VERSION.match(version or "")
    return (int(match[1]), int(match[2]), int(match[3] or 0)) if match else None


def spoils_checksums(version: str | None) -> bool | None:
    """Return whether NAT of a VXLAN packet may spoil its zero UDP checksum, None when the release is not known.

    Source: Linux commit ea64d8d6c675, netfilter: nat: never update the UDP checksum when it's 0 (5.7; 5.6.13, 5.4.41, 4.19.123, 4.14.181).
    """
    found = release(version)
    if found is None:
        return None
    corrected = _CHECKSUM_CORRECTED.get(found[:2])
    return found < (5, 7, 0) and (corrected is None or found[2] < corrected)


def resets_on_invalid(version: str | None) -> bool | None:
    """Return whether packets out of window can end in a reset by the client, None when the release is not known.

    Source: Kubernetes documentation, Virtual IPs and Service Proxies, Conntrack bug workarounds (Linux before 6.1).
    """
    found = release(version)
    return None if found is None else found < (6, 1, 0)
