"""Which proxy inside a pod takes its connections: the meshes that redirect a pod's traffic, by their marks on the Pod object.

Owns one row a mesh. What the pod's own rules are is not in the object: only that there are some.
Source: istio pkg/kube/inject templates and cni, linkerd2 charts/partials, consul-k8s control-plane/connect-inject, kuma
pkg/plugins/runtime/k8s/webhooks/injector, aws-app-mesh-controller-for-k8s pkg/inject, istio ztunnel architecture.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from tracer.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Mesh:
    """A mesh: its *name*, the *proxy* that takes a pod's connections, and what it leaves on a Pod: *containers*, or *annotations*.

    An annotation counts with any value, or with the one that stands behind ``=``.
    """

    name: str
    proxy: str
    containers: frozenset[str] = frozenset()
    annotations: tuple[str, ...] = ()


MESHES = (
    Mesh(
        name="Istio",
        proxy="Envoy",
        containers=frozenset({"istio-proxy", "istio-init", "istio-validation"}),
        annotations=("sidecar.istio.io/status",),
    ),
    Mesh(name="Istio (ambient)", proxy="ztunnel", annotations=("ambient.istio.io/redirection=enabled",)),
    Mesh(
        name="Linkerd",
        proxy="linkerd-proxy",
        containers=frozenset({"linkerd-proxy", "linkerd-init", "linkerd-network-validator"}),
        annotations=("linkerd.io/proxy-version",),
    ),
    Mesh(
        name="Consul",
        proxy="Envoy",
        containers=frozenset({"consul-dataplane", "consul-connect-inject-init", "envoy-sidecar"}),
        annotations=("consul.hashicorp.com/connect-inject-status=injected",),
    ),
    Mesh(name="Kuma", proxy="Envoy", containers=frozenset({"kuma-sidecar", "kuma-init"}), annotations=("kuma.io/sidecar-injected=true",)),
    Mesh(name="AWS App Mesh", proxy="Envoy", containers=frozenset({"proxyinit"})),
    Mesh(name="Open Service Mesh", proxy="Envoy", containers=frozenset({"osm-init"})),
)
"""The first that has a mark on the pod counts."""


def mesh_of(containers: Collection[str], annotations: Mapping[str, str]) -> Mesh | None:
    """Return the mesh whose proxy takes the connections of a pod with these *containers* (init containers too) and *annotations*."""
    return next(
        (mesh for mesh in MESHES if mesh.containers & {*containers} or any(_is_set(a, annotations) for a in mesh.annotations)), None
    )


def _is_set(mark: str, annotations: Mapping[str, str]) -> bool:
    name, sign, value = mark.partition("=")
    return name in annotations and (not sign or annotations[name] == value)
