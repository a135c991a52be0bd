"""API objects under other names. Only the fields that a trace may need are taken over, each by what it holds; all others stay behind.

So nothing gets out because nobody thought of it: images, annotations, conditions' messages, volumes, user ids.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tracer.patterns import pattern
from tracer.snapshot.rename.addresses import Addresses
from tracer.snapshot.rename.words import Words

_WELL_KNOWN = pattern(r"(?:[a-z0-9.-]+\.)?(?:kubernetes|k8s)\.io/[A-Za-z0-9._-]+", re.ASCII)
_PLAIN_VALUE = pattern(r"(?:[Tt]rue|[Ff]alse|[Aa]uto|[Dd]isabled|[Ee]nabled|[0-9]{1,5})?", re.ASCII)


class Cleaner:
    """Takes over one object at a time, with *addresses* and *words* replaced."""

    def __init__(self, addresses: Addresses, words: Words) -> None:
        self.addresses = addresses
        self.words = words

    def cleaned(self, kind: str, value: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the object of *kind* as it may be shown, None for a kind that no trace needs."""
        shape = SHAPES.get(kind)
        if shape is None:
            return None
        taken: dict[str, Any] = self.shaped(shape, value)
        return {"apiVersion": value.get("apiVersion", "v1"), "kind": kind} | taken

    def shaped(self, shape: Any, value: Any) -> Any:
        """Return *value* as *shape* wants it: a mapping names the fields, a list its items' shape, a function treats a value."""
        if isinstance(shape, dict):
            return {k: self.shaped(shape[k], v) for k, v in value.items() if k in shape} if isinstance(value, Mapping) else None
        if isinstance(shape, list):
            return [self.shaped(shape[0], item) for item in value] if isinstance(value, list) else None
        return shape(self, value)


# --- treatments --------------------------------------------------------------------------------------------------------------


def keep(_: Cleaner, value: Any) -> Any:
    """Numbers, flags and the API's own words."""
    return value if isinstance(value, str | int | float | bool) else None


def keep_all(_: Cleaner, value: Any) -> Any:
    """Values of the API's own, however deep."""
    return value


def name(cleaner: Cleaner, value: Any) -> Any:
    """A name, or a number where a port may be either."""
    return cleaner.words.in_name(value) if isinstance(value, str) else keep(cleaner, value)


def address(cleaner: Cleaner, value: Any) -> Any:
    """An address or network; ``None`` of a headless Service stays."""
    return cleaner.addresses.in_text(value) if isinstance(value, str) else None


def address_or_name(cleaner: Cleaner, value: Any) -> Any:
    """An address, or else the name of a machine."""
    if not isinstance(value, str):
        return None
    renamed = cleaner.addresses.in_text(value)
    return renamed if renamed != value or re.fullmatch(r"[0-9a-fA-F]*+[:.][0-9a-fA-F:.]*", value, re.ASCII) else name(cleaner, value)


def labels(cleaner: Cleaner, value: Any) -> Any:
    """Labels and selectors: well-known keys stay, every other word is replaced."""
    if not isinstance(value, Mapping):
        return None
    return {label_key(cleaner, key): name(cleaner, text) for key, text in value.items()}


def label_key(cleaner: Cleaner, value: Any) -> Any:
    """The key of a label."""
    return value if not isinstance(value, str) or _WELL_KNOWN.fullmatch(value) or value in ("k8s-app", "app") else name(cleaner, value)


def own_annotations(_: Cleaner, value: Any) -> Any:
    """Kubernetes' own annotations with a switch's or number's value; all others say what nobody can foresee."""
    if not isinstance(value, Mapping):
        return None
    return {k: v for k, v in value.items() if _WELL_KNOWN.fullmatch(k) and isinstance(v, str) and _PLAIN_VALUE.fullmatch(v)}


def texts(cleaner: Cleaner, value: Any) -> Any:
    """A ConfigMap's texts: how kube-proxy and the cluster's DNS are set up, and no key besides."""
    if not isinstance(value, Mapping):
        return None
    wanted = {key: text for key, text in value.items() if key in ("config.conf", "config", "Corefile") and isinstance(text, str)}
    return {key: configuration(cleaner, text) for key, text in wanted.items()}


def configuration(cleaner: Cleaner, text: str) -> str:
    """A configuration's text: addresses and domains are replaced, and the node that it is for."""
    named = _HOSTNAME.sub(lambda match: match[1] + cleaner.words.in_name(match[2]), text)
    return cleaner.addresses.in_text(_DOMAIN.sub(lambda match: cleaner.words.in_name(match[0]), named))


_HOSTNAME = pattern(r"""(["']?hostnameOverride["']?:[ ]*["']?)([A-Za-z0-9.-]+)""", re.ASCII)
# Two labels at least, the last one of letters: neither an address nor a path; kubeproxy.config.k8s.io is everybody's.
_DOMAIN = pattern(r"(?<![A-Za-z0-9_/.-])(?!kubeproxy\.config\.k8s\.io)(?:[A-Za-z0-9_-]+\.)+[A-Za-z]{2,}(?![A-Za-z0-9_/-])", re.ASCII)

# --- shapes ------------------------------------------------------------------------------------------------------------------

_METADATA: dict[str, Any] = {
    "name": name,
    "namespace": name,
    "labels": labels,
    "annotations": own_annotations,
    "creationTimestamp": keep,
    "deletionTimestamp": keep,
    "resourceVersion": keep,
    "ownerReferences": [{"apiVersion": keep, "kind": keep, "name": name, "controller": keep}],
}
_EXPRESSION = {"key": label_key, "operator": keep, "values": [name]}
_SELECTOR = {"matchLabels": labels, "matchExpressions": [_EXPRESSION]}
_PORT = {"name": name, "port": keep, "protocol": keep, "appProtocol": keep}
_REFERENCE = {"kind": keep, "namespace": name, "name": name}
_PEER = {"ipBlock": {"cidr": address, "except": [address]}, "namespaceSelector": _SELECTOR, "podSelector": _SELECTOR}
_POLICY_PORT = {"port": name, "endPort": keep, "protocol": keep}
_CONDITION = {"type": keep, "status": keep, "reason": keep, "lastTransitionTime": keep}
_BACKEND = {"service": {"name": name, "port": {"name": name, "number": keep}}}
_INGRESS_POINT = {"ip": address, "hostname": name, "ipMode": keep, "ports": keep_all}
_CONTAINER = {
    "name": name,
    "restartPolicy": keep,
    "ports": [{"name": name, "containerPort": keep, "hostPort": keep, "protocol": keep, "hostIP": address}],
}
_IP = {"ip": address}
_OLD_ADDRESS = {"ip": address, "hostname": name, "nodeName": name, "targetRef": _REFERENCE}
SHAPES: dict[str, dict[str, Any]] = {
    "Service": {
        "metadata": _METADATA,
        "spec": {
            "ports": [_PORT | {"targetPort": name, "nodePort": keep}],
            "selector": labels,
            "clusterIP": address,
            "clusterIPs": [address],
            "externalIPs": [address],
            "loadBalancerIP": address,
            "loadBalancerSourceRanges": [address],
            "externalName": name,
            "loadBalancerClass": name,
        }
        | dict.fromkeys(
            (
                "type",
                "externalTrafficPolicy",
                "internalTrafficPolicy",
                "sessionAffinity",
                "ipFamilyPolicy",
                "allocateLoadBalancerNodePorts",
                "healthCheckNodePort",
                "publishNotReadyAddresses",
                "trafficDistribution",
            ),
            keep,
        )
        | dict.fromkeys(("sessionAffinityConfig", "ipFamilies"), keep_all),
        "status": {"loadBalancer": {"ingress": [_INGRESS_POINT]}},
    },
    "EndpointSlice": {
        "metadata": _METADATA,
        "addressType": keep,
        "endpoints": [
            {
                "addresses": [address_or_name],
                "conditions": keep_all,
                "hostname": name,
                "nodeName": name,
                "zone": name,
                "targetRef": _REFERENCE,
                "hints": {"forZones": [{"name": name}], "forNodes": [{"name": name}]},
            }
        ],
        "ports": [_PORT],
    },
    "Endpoints": {
        "metadata": _METADATA,
        "subsets": [{"addresses": [_OLD_ADDRESS], "notReadyAddresses": [_OLD_ADDRESS], "ports": [_PORT]}],
    },
    "Node": {
        "metadata": _METADATA,
        "spec": {
            "podCIDR": address,
            "podCIDRs": [address],
            "unschedulable": keep,
            "taints": [{"key": label_key, "value": name, "effect": keep}],
        },
        "status": {
            "addresses": [{"type": keep, "address": address_or_name}],
            "conditions": [_CONDITION],
            "nodeInfo": dict.fromkeys(
                ("kubeletVersion", "kubeProxyVersion", "kernelVersion", "osImage", "operatingSystem", "architecture"), keep
            ),
        },
    },
    "Pod": {
        "metadata": _METADATA,
        "spec": {
            "nodeName": name,
            "hostNetwork": keep,
            "dnsPolicy": keep,
            "dnsConfig": {"nameservers": [address], "searches": [name], "options": [{"name": keep, "value": keep}]},
            "hostname": name,
            "subdomain": name,
            "setHostnameAsFQDN": keep,
            "enableServiceLinks": keep,
            "containers": [_CONTAINER],
            "initContainers": [_CONTAINER],
        },
        "status": {
            "phase": keep,
            "podIP": address,
            "podIPs": [_IP],
            "hostIP": address,
            "hostIPs": [_IP],
            "conditions": [_CONDITION],
        },
    },
    "Namespace": {"metadata": _METADATA, "status": {"phase": keep}},
    "NetworkPolicy": {
        "metadata": _METADATA,
        "spec": {
            "podSelector": _SELECTOR,
            "policyTypes": [keep],
            "ingress": [{"from": [_PEER], "ports": [_POLICY_PORT]}],
            "egress": [{"to": [_PEER], "ports": [_POLICY_PORT]}],
        },
    },
    "Ingress": {
        "metadata": _METADATA,
        "spec": {
            "ingressClassName": name,
            "defaultBackend": _BACKEND,
            "rules": [{"host": name, "http": {"paths": [{"path": name, "pathType": keep, "backend": _BACKEND}]}}],
            "tls": [{"hosts": [name]}],
        },
        "status": {"loadBalancer": {"ingress": [_INGRESS_POINT]}},
    },
    "ConfigMap": {"metadata": _METADATA, "data": texts},
}
