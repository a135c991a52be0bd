"""The one table of API kinds: what the API, kubectl, a snapshot's files and our pages call each, who reads it, what it is found by.

Every list of kinds is drawn from it: the layout of snapshots, what a follower lists and watches, the recorded API, paths and pages, what is
said where one is missing, which look-ups a change makes stale, and what of a node follows it.
What the engine reads of a kind is that kind's own module; one without a module is kept and handed on, and nothing is read of it.
Source: ``kubectl api-resources``, Kubernetes 1.30.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import Enum, auto

from tracer.kube.configmap import ConfigMap, is_wanted
from tracer.kube.endpointslice import EndpointSlice, slices_from_endpoints
from tracer.kube.fields import Origin
from tracer.kube.namespace import Namespace
from tracer.kube.networkpolicy import NetworkPolicy
from tracer.kube.node import Node
from tracer.kube.object_file import Aspect
from tracer.kube.pod import Pod
from tracer.kube.service import Service
from tracer.values import dataclass

Model = Service | EndpointSlice | Node | Pod | Namespace | NetworkPolicy | ConfigMap
"""What the engine reads of an object."""
Key = tuple[Aspect, str]
Read = Callable[[Mapping[str, object], Origin], tuple[Model, ...]]
Keys = Callable[[Model], Iterator[Key]]


class Follows(Enum):
    """What of a node follows an object when it changes."""

    SERVICE_RULES = auto()
    """kube-proxy's rules."""
    WAYS = auto()
    """Addresses, devices and routes."""
    POLICY_RULES = auto()
    """A network plugin's rules."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind: *name* as objects say it (``EndpointSlice``), *plural* as URLs and files do, *word* as pages do (``slice/NS/NAME``).

    *is_followed*: a live cluster is asked for it. Of ConfigMaps only a few are (webapp.cluster.kinds). *bundle_word*: what support bundles
    call it where they do not use the plural.
    *read* returns what the engine reads of an object, or raises ParseError; *keys* what look-ups find it by; *derived* are the look-ups of
    ``Objects`` that are worked out of all objects of the kind. *limits* says what cannot be known without any. *moves*: what follows it.
    *cause_rank*: its place among the causes of a step, from 1; those without one come last.
    """

    name: str
    plural: str
    word: str
    group: str = ""
    version: str = "v1"
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    is_followed: bool = True
    bundle_word: str = ""
    read: Read | None = None
    keys: Keys | None = None
    derived: tuple[str, ...] = ()
    limits: str = ""
    moves: tuple[Follows, ...] = ()
    cause_rank: int | None = None

    @property
    def singular(self) -> str:
        """Return what kubectl calls one of them."""
        return self.name.lower()

    @property
    def api_version(self) -> str:
        """Return what its objects say as ``apiVersion``."""
        return f"{self.group}/{self.version}" if self.group else self.version


_NETWORKING, _GATEWAY = "networking.k8s.io", "gateway.networking.k8s.io"

# --- what an object is found by ---------------------------------------------------------------------------------------------------------


def _service_keys(model: Model) -> Iterator[Key]:
    if isinstance(model, Service):
        yield from ((Aspect.ADDRESS, str(address)) for address, _ in model.addresses)
        yield from ((Aspect.NODE_PORT, str(port.node_port)) for port in model.ports if port.node_port is not None)


def _slice_keys(model: Model) -> Iterator[Key]:
    if isinstance(model, EndpointSlice):
        yield from ((Aspect.ADDRESS, str(address)) for endpoint in model.endpoints for address in endpoint.addresses)
        yield (Aspect.NAME if model.legacy else Aspect.SERVICE_NAME, model.service or "")


def _node_keys(model: Model) -> Iterator[Key]:
    if isinstance(model, Node):
        yield from ((Aspect.ADDRESS, str(address)) for address in model.ips)


def _pod_keys(model: Model) -> Iterator[Key]:
    if isinstance(model, Pod):
        yield from ((Aspect.ADDRESS, str(address)) for address in model.ips)
        if model.host_network:
            yield (Aspect.HOST_NETWORK, "true")


# --- what is read of an object --------------------------------------------------------------------------------------------------------


def _one(read: Callable[[object, Origin], Model]) -> Read:
    return lambda value, origin: (read(value, origin),)


def _read_config_map(value: Mapping[str, object], origin: Origin) -> tuple[Model, ...]:
    metadata = value.get("metadata")
    wanted = isinstance(metadata, Mapping) and is_wanted(metadata.get("namespace"), metadata.get("name"))
    return (ConfigMap.from_dict(value, origin),) if wanted else ()


def group_of(value: Mapping[str, object]) -> str:
    """Return the API group of an object, "" for the core group and for an object that does not say it."""
    version = value.get("apiVersion")
    return version.rpartition("/")[0] if isinstance(version, str) else ""


# --- the table ------------------------------------------------------------------------------------------------------------------------

_OF_SLICES = ("slices", "uses_legacy_endpoints")
KINDS = (
    Kind(
        name="Service",
        plural="services",
        word="svc",
        short_names=("svc",),
        read=_one(Service.from_dict),
        keys=_service_keys,
        derived=("services",),
        moves=(Follows.SERVICE_RULES,),
        cause_rank=1,
    ),
    Kind(
        name="EndpointSlice",
        plural="endpointslices",
        word="slice",
        group="discovery.k8s.io",
        bundle_word="endpointslice",
        read=_one(EndpointSlice.from_dict),
        keys=_slice_keys,
        derived=_OF_SLICES,
        limits="which pods stand behind a Service is known from rules only, and load balancers cannot tell which nodes are healthy",
        moves=(Follows.SERVICE_RULES,),
        cause_rank=8,
    ),
    Kind(
        name="Endpoints",
        plural="endpoints",
        word="endpoints",
        short_names=("ep",),
        is_followed=False,
        read=slices_from_endpoints,
        keys=_slice_keys,
        derived=_OF_SLICES,
    ),
    Kind(
        name="Node",
        plural="nodes",
        word="node",
        namespaced=False,
        short_names=("no",),
        read=_one(Node.from_dict),
        keys=_node_keys,
        derived=("nodes",),
        limits="which node has which address is known from its own files only, and load balancers cannot tell where to send",
        moves=(Follows.WAYS,),
        cause_rank=2,
    ),
    Kind(
        name="Pod",
        plural="pods",
        word="pod",
        short_names=("po",),
        read=_one(Pod.from_dict),
        keys=_pod_keys,
        derived=("pods", "host_network_pods"),
        limits="an address cannot be told to be a pod's, no trace can start from a pod, and no port can be told to be declared",
        moves=(Follows.WAYS, Follows.POLICY_RULES),
        cause_rank=7,
    ),
    Kind(
        name="Namespace",
        plural="namespaces",
        word="ns",
        namespaced=False,
        short_names=("ns",),
        read=_one(Namespace.from_dict),
        derived=("namespaces",),
        limits="NetworkPolicies that select namespaces by other labels than the name cannot be judged",
        moves=(Follows.POLICY_RULES,),
        cause_rank=6,
    ),
    Kind(
        name="NetworkPolicy",
        plural="networkpolicies",
        word="networkpolicy",
        group=_NETWORKING,
        short_names=("netpol",),
        bundle_word="network-policy",
        read=_one(NetworkPolicy.from_dict),
        derived=("network_policies", "_policies_by_namespace"),
        limits="policies are not looked at",
        moves=(Follows.POLICY_RULES,),
        cause_rank=3,
    ),
    Kind(
        name="Ingress",
        plural="ingresses",
        word="ingress",
        group=_NETWORKING,
        short_names=("ing",),
        bundle_word="ingress",
        cause_rank=4,
    ),
    Kind(
        name="ConfigMap",
        plural="configmaps",
        word="configmap",
        short_names=("cm",),
        read=_read_config_map,
        derived=("config_maps",),
        cause_rank=5,
    ),
    Kind(name="Gateway", plural="gateways", word="gateway", group=_GATEWAY, short_names=("gtw",), is_followed=False),
    Kind(name="HTTPRoute", plural="httproutes", word="httproute", group=_GATEWAY, is_followed=False),
)
"""All kinds, in the order in which pages list them."""
BY_NAME = {kind.name: kind for kind in KINDS}
FOLLOWED = tuple(kind for kind in KINDS if kind.is_followed)
"""Those that a follower lists and watches."""
WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController")
"""The kinds that pods are made of: no trace reads them, and of manifests a sketch is made."""
_OLD_GROUPS = frozenset({"extensions"})
"""Where Ingress and NetworkPolicy were before they had a group of their own."""


def is_namesake(kind: str, value: Mapping[str, object]) -> bool:
    """Return whether an object is called as a *kind* of the table is, and is of another group's: it says other things.

    Knative has a Service, OpenShift's configuration a Node and an Ingress, Calico and Antrea a NetworkPolicy (other_policies.py).
    """
    known = BY_NAME.get(kind)
    group = group_of(value)
    return known is not None and group not in ("", known.group) and group not in _OLD_GROUPS


def moving(*what: Follows) -> frozenset[str]:
    """Return the names of the kinds that something of *what* follows; of all, without any."""
    return frozenset(kind.name for kind in KINDS if any(one in kind.moves for one in what or Follows))
