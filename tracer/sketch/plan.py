"""The networks of a sketched cluster, and how a free number is chosen that stays the same whatever else changes.

Strategy: a name's hash says where the search for a free one begins, so that what has its own number keeps it when another object comes or
goes; only where two begin at the same place the order of their names decides. Nodes and load balancers have addresses of the networks for
documentation (RFC 5737, RFC 3849): no reader takes them for a cluster of theirs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from tracer.packet import Address

NODE_PORTS = range(30_000, 32_768)
"""Source: the API server's own --service-node-port-range."""
SERVICES = {4: ip_network("10.96.0.0/16"), 6: ip_network("fd00:10:96::/112")}
PODS = {4: ip_network("10.244.0.0/16"), 6: ip_network("fd00:10:244::/48")}
NODES = {4: ip_network("192.0.2.0/24"), 6: ip_network("2001:db8:0:1::/64")}
BALANCERS = {4: ip_network("198.51.100.0/24"), 6: ip_network("2001:db8:0:2::/64")}
DNS_HOST = 10
"""The DNS Service's number in the network of Services, as kubeadm gives it."""
_FIRST_SERVICE = 11
_FIRST_NODE = 10
_PLACES = 65_000


class NoneLeft(Exception):
    """Every number that could be given has been given."""


class Numbers:
    """Numbers of *places*, each given once; *taken* are those that somebody has already."""

    def __init__(self, places: range, taken: Collection[int] = ()) -> None:
        self._places = places
        self._taken = set(taken)

    def take(self, name: str) -> int:
        """Return the free number for *name*. :raises NoneLeft: there is none."""
        count = len(self._places)
        first = int.from_bytes(hashlib.sha256(name.encode(errors="surrogatepass")).digest()[:8]) % count
        for step in range(count):
            number = self._places[(first + step) % count]
            if number not in self._taken:
                self._taken.add(number)
                return number
        raise NoneLeft

    def keep(self, number: int) -> bool:
        """Take *number*, whether or not it is among the places, and return whether it was free."""
        is_free = number not in self._taken
        self._taken.add(number)
        return is_free


def service_numbers(version: int, taken: Collection[Address]) -> Numbers:
    """Return the numbers in the network of Services; the first ones, as the API server's and the DNS Service's, are given to nobody."""
    return _numbers(SERVICES[version], _FIRST_SERVICE, taken)


def balancer_numbers(version: int, taken: Collection[Address]) -> Numbers:
    """Return the numbers in the network of load balancers."""
    return _numbers(BALANCERS[version], 1, taken)


def pod_numbers() -> Numbers:
    """Return the numbers of pods in a node's network: the first is the bridge's."""
    return Numbers(range(2, 255))


def address_in(network: IPv4Network | IPv6Network, number: int) -> Address:
    """Return the address *number* of *network*."""
    return network[number]


def node_address(node: int, version: int) -> Address:
    """Return the address of the node *node*, from 1."""
    return NODES[version][_FIRST_NODE + node]


def pod_network(node: int, version: int) -> IPv4Network | IPv6Network:
    """Return the network of the pods of node *node*, from 1."""
    if version == 4:
        return ip_network((int(PODS[4].network_address) + (node << 8), 24))
    return ip_network((int(PODS[6].network_address) + (node << 64), 64))


def holds(networks: dict[int, IPv4Network | IPv6Network], text: str) -> bool:
    """Return whether the address *text* is in one of *networks*."""
    address = ip_address(text)
    return address in networks[address.version]


def rotated(count: int, name: str) -> Callable[[int], int]:
    """Return what gives the place of turn n among *count*, beginning where the hash of *name* says."""
    first = int.from_bytes(hashlib.sha256(name.encode(errors="surrogatepass")).digest()[:8])
    return lambda turn: (first + turn) % count


def _numbers(network: IPv4Network | IPv6Network, first: int, taken: Collection[Address]) -> Numbers:
    last = min(network.num_addresses - 1, _PLACES)
    base = int(network.network_address)
    return Numbers(range(first, last), [int(one) - base for one in taken if one in network])
