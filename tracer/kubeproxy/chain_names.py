"""The names of kube-proxy's chains for a Service's port and its endpoints.

Source: portProtoHash and servicePortEndpointChainName in pkg/proxy/iptables/proxier.go; hashAndTruncate in pkg/proxy/nftables/proxier.go.
"""

from __future__ import annotations

from hashlib import sha256

_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_PAIRS = tuple(a + b for a in _ALPHABET for b in _ALPHABET)
"""What ten bits are in base 32: large clusters have tens of thousands of these names."""


_LONGEST = 240
"""Characters of a name of nft's behind its kind. Source: knftables.NameLengthMax less the longest prefix."""


def _hash(text: str) -> str:
    bits = int.from_bytes(sha256(text.encode()).digest()[:10])
    return "".join([_PAIRS[bits >> at & 1023] for at in (70, 60, 50, 40, 30, 20, 10, 0)])


def port_hash(port: str, protocol: str) -> str:
    """Return what stands behind KUBE-SVC-, KUBE-SVL-, KUBE-EXT- and KUBE-FW- for *port* (``namespace/name:port``)."""
    return _hash(port + protocol)


def endpoint_chain(port: str, protocol: str, endpoint: str) -> str:
    """Return the chain of *endpoint* (``address:port``) behind *port*."""
    return "KUBE-SEP-" + _hash(port + protocol + endpoint)


def nft_name(namespace: str, service: str, protocol: str, port: str, endpoint: tuple[str, int] | None = None) -> str:
    """Return what stands behind ``service-``, ``external-`` and the like for a port, or for an *endpoint* (address, port) behind it."""
    name = f"{namespace}/{service}/{protocol}/{port}"
    if endpoint is not None:
        name = f"{name}__{endpoint[0].replace(':', '.')}/{endpoint[1]}"
    whole = f"{_hash(name)[:8]}-{name}"
    return whole if len(whole) <= _LONGEST else f"{whole[: _LONGEST - 3]}..."
