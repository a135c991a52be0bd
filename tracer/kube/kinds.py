"""The one table of API kinds: what the API, kubectl, a snapshot's files and our pages call each, and whether it is followed.

Every list of kinds is drawn from it: the layout of snapshots, what a follower lists and watches, the recorded API, paths and pages.
What the engine reads of a kind is that kind's own module; one without a module is kept and handed on, and nothing is read of it.
Source: ``kubectl api-resources``, Kubernetes 1.30.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind: *name* as objects say it (``EndpointSlice``), *plural* as URLs and files do, *word* as pages do (``slice/NS/NAME``).

    *is_followed*: a live cluster is asked for it. Of ConfigMaps only a few are (webapp.cluster.kinds).
    """

    name: str
    plural: str
    word: str
    group: str = ""
    version: str = "v1"
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    is_followed: bool = True

    @property
    def singular(self) -> str:
        """Return what kubectl calls one of them."""
        return self.name.lower()

    @property
    def api_version(self) -> str:
        """Return what its objects say as ``apiVersion``."""
        return f"{self.group}/{self.version}" if self.group else self.version


_NETWORKING, _GATEWAY = "networking.k8s.io", "gateway.networking.k8s.io"
KINDS = (
    Kind(name="Service", plural="services", word="svc", short_names=("svc",)),
    Kind(name="EndpointSlice", plural="endpointslices", word="slice", group="discovery.k8s.io"),
    Kind(name="Endpoints", plural="endpoints", word="endpoints", short_names=("ep",), is_followed=False),
    Kind(name="Node", plural="nodes", word="node", namespaced=False, short_names=("no",)),
    Kind(name="Pod", plural="pods", word="pod", short_names=("po",)),
    Kind(name="Namespace", plural="namespaces", word="ns", namespaced=False, short_names=("ns",)),
    Kind(name="NetworkPolicy", plural="networkpolicies", word="networkpolicy", group=_NETWORKING, short_names=("netpol",)),
    Kind(name="Ingress", plural="ingresses", word="ingress", group=_NETWORKING, short_names=("ing",)),
    Kind(name="ConfigMap", plural="configmaps", word="configmap", short_names=("cm",)),
    Kind(name="Gateway", plural="gateways", word="gateway", group=_GATEWAY, short_names=("gtw",), is_followed=False),
    Kind(name="HTTPRoute", plural="httproutes", word="httproute", group=_GATEWAY, is_followed=False),
)
"""All kinds, in the order in which pages list them."""
BY_NAME = {kind.name: kind for kind in KINDS}
FOLLOWED = tuple(kind for kind in KINDS if kind.is_followed)
"""Those that a follower lists and watches."""
