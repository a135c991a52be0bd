"""One small cluster of each platform that docs/operations.md lists, as its documentation says it looks: nothing here was taken from a real one.

Each is served twice: by a scripted kubectl to collect.sh, and by the recorded API server to ``manage.py collect``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.sizes import every

RULES = "*nat\n:KUBE-SERVICES - [0:0]\nCOMMIT\n"
LEGACY = "# Warning: iptables-legacy tables present, use iptables-legacy-save to see them\n"
ALL = {"iptables-save.txt": RULES, "ip6tables-save.txt": "", "nft-ruleset.json": '{"nftables": []}\n', "ip-addr.json": "[]\n",
       "ip-neigh.json": "[]\n", "bridge-fdb.json": "[]\n", "wg-endpoints.txt": "wg0 x\n", "wg-allowed-ips.txt": "wg0 y\n",
       "ss.txt": "Netid State\n", "nft-hooks.txt": "family ip {\n}\n",
       "sysctl.txt": "net.ipv4.ip_forward = 1\n"}  # fmt: skip
SHELL = {"iptables-save.txt": RULES, "ip6tables-save.txt": "", "resolv.conf": "nameserver 10.96.0.10\n", "proc-net-route.txt": "Iface\n",
         "proc-net-if-inet6.txt": "0\n", "proc-net-tcp.txt": "  sl\n", "proc-sys.txt": "/proc/sys/net/ipv4/ip_forward:1\n"}  # fmt: skip
BOTH = {"iptables-save.txt": RULES + LEGACY, "iptables-legacy-save.txt": RULES}
BUSYBOX = {"iptables-save.txt": RULES, "nft-ruleset.txt": "table ip x {\n}\n", "ip-addr.txt": "1: lo\n", "ip-route.txt": "default\n"}
KUBE_PROXY = ("k8s-app", "kube-proxy", "kube-proxy")
STATIC = ("component", "kube-proxy", "kube-proxy")
COREFILE = {"Corefile": ".:53 {\n}\n"}
NODES = tuple(every(("node-a", "node-b.example"), 2))
"""What the nodes of a cluster are called; Autopilot is known by what its nodes' names begin with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformCluster:
    """One platform: what its *node* says, the *pod* a node is read in (label, value, containers) with its *programs*.

    *maps*: (namespace, name) → data of its ConfigMaps. *namespaces* and *kinds* (resource → objects) that it has. *is_refused*: pods/exec is.
    """

    name: str
    node: dict[str, Any] = field(default_factory=dict)
    pod: tuple[str, str, str] | None = KUBE_PROXY
    programs: dict[str, str] = field(default_factory=lambda: ALL)
    maps: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    namespaces: tuple[str, ...] = ()
    kinds: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    is_refused: bool = False

    @property
    def nodes(self) -> tuple[str, ...]:
        """Return what its nodes are called."""
        return tuple(f"gk3-{node}" for node in NODES) if self.name == "GKE Autopilot" else NODES

    @property
    def is_proxy(self) -> bool:
        """Return whether nodes are read in kube-proxy's pods."""
        return self.pod in (KUBE_PROXY, STATIC)

    @property
    def container(self) -> str:
        """Return the container that nodes are read in."""
        return "" if self.pod is None else self.pod[2].split()[0]

    def pod_on(self, node: str) -> str:
        """Return what the pod is called that *node* is read in."""
        return f"{'kube-proxy' if self.is_proxy else 'plugin'}-{node}"

    def stub(self) -> dict[str, Any]:
        """Return what the scripted kubectl has to know on top of the recording."""
        said: dict[str, Any] = {"kinds": list(self.kinds), "forbids": ["pods/exec"] if self.is_refused else []}
        if not self.is_proxy:
            said["pods"] = dict.fromkeys(self.nodes)
        if self.pod == STATIC:
            said["proxy_label"] = "component=kube-proxy"
        if self.pod and not self.is_proxy:
            said["plugins"] = dict.fromkeys(self.nodes, self.pod)
        return said

    def write(self, folder: Path) -> Path:
        """Write the recording that both are served from, and return it."""
        recording = folder / "recording"
        for node in self.nodes:
            (recording / "nodes" / node).mkdir(parents=True)
            for name, text in self.programs.items():
                (recording / "nodes" / node / name).write_text(text)
        (recording / "version.json").write_text('{"gitVersion": "v1.36.2"}')
        objects: dict[str, list[dict[str, Any]]] = {
            "services": [{"kind": "Service", "metadata": {"name": "a", "namespace": "d"}, "spec": {"ports": [{"port": 80}]}}],
            "nodes": [self._node(node) for node in self.nodes],
            "namespaces": [{"kind": "Namespace", "metadata": {"name": name}} for name in ("kube-system", *self.namespaces)],
            "pods": [self._pod(node) for node in self.nodes] if self.pod else [],
            "configmaps": [
                {"kind": "ConfigMap", "metadata": {"name": name, "namespace": space}, "data": data}
                for (space, name), data in ({("kube-system", "coredns"): COREFILE} | self.maps).items()
            ],
        }
        for plural in ("endpointslices", "ingresses", "networkpolicies"):
            objects[plural] = []
        objects |= {resource.partition(".")[0]: found for resource, found in self.kinds.items()}
        for plural, found in objects.items():
            items = [{"apiVersion": one.get("apiVersion", "v1"), **one} for one in found]
            (recording / f"{plural}.json").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
        return recording

    def _node(self, name: str) -> dict[str, Any]:
        info = {"operatingSystem": "linux", "kubeletVersion": "v1.36.2", "osImage": "Debian GNU/Linux 12", **self.node.get("info", {})}
        metadata = {"name": name, "labels": self.node.get("labels", {}), "annotations": self.node.get("annotations", {})}
        return {"kind": "Node", "metadata": metadata, "spec": self.node.get("spec", {}), "status": {"nodeInfo": info}}

    def _pod(self, node: str) -> dict[str, Any]:
        assert self.pod
        label, value, containers = self.pod
        metadata = {"name": self.pod_on(node), "namespace": "kube-system", "labels": {label: value}}
        spec = {"nodeName": node, "hostNetwork": True, "containers": [{"name": name} for name in containers.split()]}
        return {"kind": "Pod", "metadata": metadata, "spec": spec, "status": {"phase": "Running"}}


def _version(text: str) -> dict[str, Any]:
    return {"info": {"kubeletVersion": text}}


GATEWAY = {
    "apiVersion": "gateway.networking.k8s.io/v1",
    "kind": "Gateway",
    "metadata": {"name": "g", "namespace": "d"},
    "spec": {"gatewayClassName": "c"},
}
ROUTE = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "r", "namespace": "d"}, "spec": {}}
PLATFORMS = (
    PlatformCluster(
        name="kubeadm",
        node={"annotations": {"kubeadm.alpha.kubernetes.io/cri-socket": "unix:///run/containerd/containerd.sock"}},
        programs=SHELL,
        maps={("kube-system", "kube-proxy"): {"config.conf": "mode: iptables\n"}},
        kinds={"gateways.gateway.networking.k8s.io": [GATEWAY], "httproutes.gateway.networking.k8s.io": [ROUTE]},
    ),
    PlatformCluster(name="kind", node={"spec": {"providerID": "kind://docker/kind/kind-worker"}}),
    PlatformCluster(name="minikube", node={"labels": {"minikube.k8s.io/name": "minikube"}}, programs=BOTH),
    PlatformCluster(
        name="EKS",
        node=_version("v1.31.2-eks-7f9249a"),
        programs=BOTH,
        maps={("kube-system", "kube-proxy-config"): {"config": "mode: iptables\n"}},
    ),
    PlatformCluster(
        name="EKS Auto Mode",
        node={"labels": {"eks.amazonaws.com/compute": ""}}
        | {"labels": {"eks.amazonaws.com/compute-type": "auto"}}
        | _version("v1.31.2-eks-7f9249a"),
        pod=None,
    ),
    PlatformCluster(
        name="AKS",
        node={"labels": {"kubernetes.azure.com/cluster": "mc_x"}},
        pod=STATIC,
        maps={
            ("kube-system", "coredns-custom"): {"a.server": "a:53 {\n}\n"},
            ("kube-system", "azure-ip-masq-agent-config"): {"ip-masq-agent": "nonMasqueradeCIDRs: []\n"},
        },
    ),
    PlatformCluster(
        name="GKE",
        node=_version("v1.31.5-gke.1233000"),
        pod=STATIC,
        programs=BUSYBOX,
        maps={("kube-system", "kube-dns"): {"stubDomains": "{}"}},
    ),
    PlatformCluster(name="GKE Autopilot", node=_version("v1.31.5-gke.1233000"), pod=STATIC, is_refused=True),
    PlatformCluster(name="k3s", node=_version("v1.31.5+k3s1"), pod=None),
    PlatformCluster(
        name="RKE2",
        node=_version("v1.31.5+rke2r1"),
        pod=("k8s-app", "canal", "calico-node kube-flannel"),
        programs=BOTH,
        maps={
            ("kube-system", "rke2-coredns-rke2-coredns"): COREFILE,
            ("kube-system", "rke2-canal-config"): {"masquerade": "true"},
        },
    ),
    PlatformCluster(
        name="OpenShift",
        node={"labels": {"node.openshift.io/os_id": "rhcos"}},
        pod=("app", "ovnkube-node", "ovnkube-controller kube-rbac-proxy-node"),
        maps={("openshift-dns", "dns-default"): COREFILE},
        namespaces=("openshift-dns",),
    ),
    PlatformCluster(name="Talos", node={"info": {"osImage": "Talos (v1.9.4)"}}, programs=SHELL),
    PlatformCluster(
        name="MicroK8s",
        node={"labels": {"microk8s.io/cluster": "true"}},
        pod=("k8s-app", "calico-node", "calico-node"),
        maps={("kube-system", "calico-config"): {"veth_mtu": "1440"}},
    ),
)
