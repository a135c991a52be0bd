"""Pods that are others: not ready, on their way out, or new ones made after one that is there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import ip_address

from tracer.kube.node import Node
from tracer.kube.objects import Objects
from tracer.kube.pod import Pod
from tracer.override_words import Segment, Word, refusal
from tracer.overrides.editing import Value, copied
from tracer.packet import Address
from tracer.query import parse_address

_SETTABLE = (("metadata", "labels"), ("metadata", "annotations"))
_ONCE = "1970-01-01T00:00:00Z"


def is_settable(path: Sequence[Segment]) -> bool:
    """Return whether a pod's field can be set after it was made, as far as that is asked here."""
    return tuple(path[:2]) in _SETTABLE


def with_readiness(value: Value, *, is_ready: bool) -> Value:
    """Return the pod with its Ready condition; *value* is changed in place."""
    status = value.setdefault("status", {})
    conditions = status.setdefault("conditions", []) if isinstance(status, dict) else []
    said = "True" if is_ready else "False"
    found = next((c for c in conditions if isinstance(c, dict) and c.get("type") == "Ready"), None)
    if found is None:
        conditions.append({"type": "Ready", "status": said})
    elif found.get("status") != said:
        found["status"] = said
    return value


def made_terminating(value: Value) -> Value:
    """Return the pod as one whose deletion was asked for; *value* is changed in place."""
    metadata = value.setdefault("metadata", {})
    if isinstance(metadata, dict):
        metadata.setdefault("deletionTimestamp", _ONCE)
    return value


def added_pod(objects: Objects, word: Word, notes: list[str]) -> Value:
    """Return a new running pod, made after another one. What stands for an address that nobody gave is added to *notes*.

    :raises QueryError: the pod is there already, what it is made after or its node is not, or an address is none or taken.
    """
    namespace, name = word.key
    if objects.pod(namespace, name) is not None:
        raise refusal(word.text, f"there is a pod {namespace}/{name} already")
    like = objects.pod(namespace, word.options["like"])
    raw = objects.raw("Pod", namespace, word.options["like"])
    if like is None or raw is None:
        near = objects.near_names("Pod", f"{namespace}/{word.options['like']}")
        raise refusal(word.text, f"there is no pod {namespace}/{word.options['like']} to make it after", near=near)
    node = objects.node(word.options["node"])
    if node is None:
        near = objects.near_names("Node", word.options["node"])
        raise refusal(word.text, f"there is no node {word.options['node']}", near=near)
    addresses = _addresses(objects, word, like, node, notes)
    return _made(copied(raw), name, node, addresses)


def _made(value: Value, name: str, node: Node, addresses: Sequence[Address]) -> Value:
    metadata, spec = value.get("metadata"), value.get("spec")
    if isinstance(metadata, dict) and isinstance(spec, dict):
        if spec.get("hostname") == metadata.get("name"):
            spec["hostname"] = name
        kept = {k: v for k, v in metadata.items() if k in ("namespace", "labels", "annotations", "ownerReferences")}
        value["metadata"] = {**kept, "name": name}
        spec["nodeName"] = node.name
    hosts = [str(a) for a in node.internal_ips]
    value["status"] = {
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": "True"}],
        "podIP": str(addresses[0]) if addresses else None,
        "podIPs": [{"ip": str(a)} for a in addresses],
        "hostIP": hosts[0] if hosts else None,
        "hostIPs": [{"ip": host} for host in hosts],
    }
    return value


def _addresses(objects: Objects, word: Word, like: Pod, node: Node, notes: list[str]) -> tuple[Address, ...]:
    if like.host_network:
        return node.internal_ips
    if "ips" in word.options:
        return tuple(_given(objects, word))
    found = tuple(_free(objects, like, node))
    if not found:
        raise refusal(word.text, f"what addresses pods of node {node.name} have is not known: give ips=IP")
    notes.append(
        f"the network plugin draws addresses for pod {word.namespace}/{word.name}: {', '.join(map(str, found))} stand for them here"
    )
    return found


def _given(objects: Objects, word: Word) -> Iterator[Address]:
    for text in word.options["ips"].split("+"):
        address = parse_address(text)
        if address is None:
            raise refusal(word.text, f"{text} is no IP address")
        if holder := next(iter(objects.pods_with_ip(address)), None):
            raise refusal(word.text, f"{address} is the address of pod {holder.namespace}/{holder.name}")
        if (owner := objects.node_with_ip(address)) is not None:
            raise refusal(word.text, f"{address} is an address of node {owner.name}")
        yield address


def _free(objects: Objects, like: Pod, node: Node) -> Iterator[Address]:
    """Yield an address of each family of the pod *like* that is free on *node*: the one behind the highest in use."""
    there = [a for pod in objects.pods if pod.node_name == node.name for a in pod.owned_ips]
    for version in dict.fromkeys(a.version for a in like.owned_ips):
        network = next((n for n in node.pod_cidrs if n.version == version), None)
        of_family = [int(a) for a in there if a.version == version and (network is None or a in network)]
        if network is None and not of_family:
            return
        lowest = int(network.network_address) + 1 if network is not None else 0
        found = ip_address(max((*of_family, lowest)) + 1)
        while objects.pods_with_ip(found):
            found = ip_address(int(found) + 1)
        yield found
