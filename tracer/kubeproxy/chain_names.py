"""The names of kube-proxy's chains for a Service's port and its endpoints.

Source: portProtoHash and servicePortEndpointChainName in pkg/proxy/iptables/proxier.go; hashAndTruncate in pkg/proxy/nftables/proxier.go.
"""

from __future__ import annotations

from hashlib import sha256

_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_PAIRS = tuple(a + b for a in _ALPHABET for b in _ALPHABET)
"""What ten bits are in base 32: large clusters have tens of thousands of these names."""


def _hash(text: str) -> str:
    bits = int.from_bytes(sha256(text.encode()).digest()[:10])
    return "".join([_PAIRS[bits >> at & 1023] for at in (70, 60, 50, 40, 30, 20, 10, 0)])


def port_hash(port: str, protocol: str) -> str:
    """Return what stands behind KUBE-SVC-, KUBE-SVL-, KUBE-EXT- and KUBE-FW- for *port* (``namespace/name:port``)."""
    return _hash(port + protocol)


def endpoint_chain(port: str, protocol: str, endpoint: str) -> str:
    """Return the chain of *endpoint* (``address:port``) behind *port*."""
    return "KUBE-SEP-" + _hash(port + protocol + endpoint)
