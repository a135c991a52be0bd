"""Data paths that no rule holds are known by their own marks, and decide what they decide: no more, and whatever rules were left behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import PROJECT
from tracer.query import Query, parse_destination, parse_source
from tracer.simulate import trace
from tracer.snapshot import Snapshot
from tracer.topology.cluster import Cluster
from tracer.topology.mode import mode_of
from tracer.trace import Trace

_CASES = PROJECT / "tests" / "field_cases" / "cases"
_POD, _OUTSIDE, _NODE = "pod:shop/client", "external:203.0.113.9", "node:n1"
_SERVICE, _NODE_PORT, _WORLD = "10.96.7.7:80", "192.0.2.11:30080", "203.0.113.53:443"
Files = dict[str, bytes]


def _files() -> Files:
    """A healthy cluster of iptables mode: kube-proxy's rules on both nodes, and nothing else."""
    root = _CASES / "ip-rule-is-an-error" / "snapshot"
    files = {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    return files | {"nodes/n1/ip-rule.json": files["nodes/n2/ip-rule.json"]}


def _asked(files: Files, source: str, to: str) -> Trace:
    query = Query(source=parse_source(source), destination=parse_destination(to))
    return trace(Cluster(Snapshot.from_files(files)), query)


def _ends(found: Trace) -> set[tuple[str, str]]:
    return {(str(o.disposition), o.reason.code) for o in found.outcomes}


def _with_item(files: Files, name: str, item: dict[str, Any]) -> Files:
    listed = json.loads(files[name])
    return files | {name: json.dumps({**listed, "items": [*listed["items"], item]}).encode()}


def _agent(name: str, labels: dict[str, str], node: str = "n1") -> Callable[[Files], Files]:
    metadata = {"namespace": "kube-system", "name": f"{name}-x7k2p", "labels": labels}
    status = {"phase": "Running", "podIP": "192.0.2.11", "podIPs": [{"ip": "192.0.2.11"}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"nodeName": node, "hostNetwork": True}, "status": status}
    return lambda files: _with_item(files, "pods.json", pod)


def _device(name: str, *, listed: str = "ip-link.json") -> Callable[[Files], Files]:
    def marked(files: Files) -> Files:
        path = f"nodes/n1/{listed}"
        links = json.loads(files[path])
        device = {"ifindex": 77, "ifname": name, "flags": ["BROADCAST", "UP", "LOWER_UP"], "mtu": 1400, "operstate": "UP"}
        address = {"family": "inet", "local": "10.244.1.1", "prefixlen": 24, "scope": "global"}
        device |= {"addr_info": [address] if listed == "ip-addr.json" else []}
        return files | {path: json.dumps([*links, device]).encode()}

    return marked


def _annotation(key: str) -> Callable[[Files], Files]:
    def marked(files: Files) -> Files:
        nodes = json.loads(files["nodes.json"])
        for node in nodes["items"]:
            node["metadata"].setdefault("annotations", {})[key] = "{}"
        return files | {"nodes.json": json.dumps(nodes).encode()}

    return marked


def _felix(enabled: bool) -> Callable[[Files], Files]:
    item = {
        "apiVersion": "crd.projectcalico.org/v1",
        "kind": "FelixConfiguration",
        "metadata": {"name": "default"},
        "spec": {"bpfEnabled": enabled},
    }
    return lambda files: _calico(files) | {"felix.json": json.dumps({"kind": "List", "apiVersion": "v1", "items": [item]}).encode()}


def _config(name: str, key: str, text: str) -> Callable[[Files], Files]:
    item = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "kube-system", "name": name}, "data": {key: text}}
    return lambda files: files | {"configmaps.json": json.dumps({"kind": "ConfigMapList", "apiVersion": "v1", "items": [item]}).encode()}


def _without_kube_proxy(files: Files) -> Files:
    empty = b"*nat\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n*filter\nCOMMIT\n*mangle\nCOMMIT\n*raw\nCOMMIT\n"
    return files | {f"nodes/{node}/iptables-save.txt": empty for node in ("n1", "n2")} | {
        f"nodes/{node}/kube-proxy-mode.txt": b"" for node in ("n1", "n2")
    }  # fmt: skip


def _chain(table: str, name: str) -> Callable[[Files], Files]:
    def marked(files: Files) -> Files:
        path = "nodes/n1/iptables-save.txt"
        return files | {path: files[path].replace(f"*{table}\n".encode(), f"*{table}\n:{name} - [0:0]\n".encode(), 1)}

    return marked


_calico = _agent("calico-node", {"k8s-app": "calico-node"})
_cilium = _agent("cilium", {"k8s-app": "cilium"})
_antrea = _agent("antrea-agent", {"app": "antrea", "component": "antrea-agent"})

EVERYTHING: dict[str, tuple[Callable[[Files], Files], str]] = {
    "OVN: its agent": (_agent("ovnkube-node", {"app": "ovnkube-node"}), "OVN-Kubernetes"),
    "OVN: its agent by name": (_agent("ovnkube-node", {}), "OVN-Kubernetes"),
    "OVN: its device": (_device("ovn-k8s-mp0"), "OVN-Kubernetes"),
    "OVN: its device in ip-addr": (_device("ovn-k8s-mp0", listed="ip-addr.json"), "OVN-Kubernetes"),
    "OVN: the node's annotation": (_annotation("k8s.ovn.org/node-subnets"), "OVN-Kubernetes"),
    "OVN: its chains alone": (lambda files: _chain("nat", "OVN-KUBE-NODEPORT")(_without_kube_proxy(files)), "OVN-Kubernetes"),
    "Antrea without kube-proxy": (lambda files: _antrea(_without_kube_proxy(files)), "Antrea"),
    "Antrea's chains alone": (lambda files: _chain("nat", "ANTREA-PREROUTING")(_without_kube_proxy(files)), "Antrea"),
    "Calico: a device of its BPF programs": (_device("bpfin.cali"), "Calico"),
    "Calico: its configuration": (_felix(True), "Calico"),
    "Cilium: its configuration": (lambda files: _config("cilium-config", "kube-proxy-replacement", "true")(_cilium(files)), "Cilium"),
}


@pytest.mark.parametrize("mark", EVERYTHING)
@pytest.mark.parametrize(("source", "to"), [(_POD, _SERVICE), (_OUTSIDE, _NODE_PORT), (_NODE, _SERVICE)])
def test_what_decides_everything_is_unknown_whatever_rules_are_left(mark: str, source: str, to: str) -> None:
    change, named = EVERYTHING[mark]
    found = _asked(change(_files()), source, to)
    assert {disposition for disposition, _ in _ends(found)} == {"unknown"}
    assert {code for _, code in _ends(found)} <= {"OVS_FLOWS_MISSING", "EBPF_MAPS_MISSING"}
    assert named in found.unknowns[0].text


ANTREA: dict[str, Callable[[Files], Files]] = {
    "its agent": _antrea,
    "its agent by name": _agent("antrea-agent", {}),
    "its device": _device("antrea-gw0"),
    "its agent, and a configuration that says nothing": lambda files: _config("antrea-config", "antrea-agent.conf", "antreaProxy: {}\n")(
        _antrea(files)
    ),
}


@pytest.mark.parametrize("mark", ANTREA)
def test_antrea_beside_kube_proxy_decides_what_pods_send(mark: str) -> None:
    files = ANTREA[mark](_files())
    for to in (_SERVICE, "10.244.2.2:8080", "192.0.2.12:10250"):
        assert _ends(_asked(files, _POD, to)) == {("unknown", "OVS_FLOWS_MISSING")}
    assert "Antrea" in _asked(files, _POD, _SERVICE).unknowns[0].text
    plain = _files()
    for source, to in ((_OUTSIDE, _NODE_PORT), (_NODE, _SERVICE), (_POD, _WORLD)):
        assert _asked(files, source, to).outcomes == _asked(plain, source, to).outcomes, (source, to)
    assert mode_of(Cluster(Snapshot.from_files(files)), "n1").mode == "iptables"


CILIUM: dict[str, Callable[[Files], Files]] = {
    "its agent": _cilium,
    "its device": _device("cilium_host"),
    "a device of ip-addr's": _device("cilium_vxlan", listed="ip-addr.json"),
}


@pytest.mark.parametrize("mark", CILIUM)
def test_cilium_beside_rules_decides_what_pods_send_unless_its_configuration_tells(mark: str) -> None:
    """It translates at the pod's device, whatever rules of kube-proxy's the node holds."""
    files = CILIUM[mark](_files())
    found = _asked(files, _POD, _SERVICE)
    assert _ends(found) == {("unknown", "EBPF_MAPS_MISSING")}
    assert "Cilium" in found.outcomes[0].reason.text
    plain = _files()
    for source, to in ((_OUTSIDE, _NODE_PORT), (_NODE, _SERVICE)):
        assert _asked(files, source, to).outcomes == _asked(plain, source, to).outcomes, (source, to)
    assert _ends(_asked(CILIUM[mark](_without_kube_proxy(_files())), _POD, _SERVICE)) == {("unknown", "EBPF_MAPS_MISSING")}


HEALTHY: dict[str, Callable[[Files], Files]] = {
    "nothing": lambda files: files,
    "Calico with rules": _calico,
    "Calico that says it has no BPF": _felix(False),
    "Cilium beside kube-proxy": lambda files: _config("cilium-config", "kube-proxy-replacement", "false")(_cilium(files)),
    "an agent on the other node only": _agent("ovnkube-node", {"app": "ovnkube-node"}, node="n3"),
    "chains that OVN left behind": _chain("nat", "OVN-KUBE-NODEPORT"),
    "Antrea without AntreaProxy": lambda files: _config("antrea-config", "antrea-agent.conf", "featureGates:\n  AntreaProxy: false\n")(
        _antrea(files)
    ),
    "a device of a like name": _device("ovn0"),
    "the annotation of another": _annotation("k8s.io/ovn"),
}


@pytest.mark.parametrize("mark", HEALTHY)
def test_what_rules_decide_is_replayed(mark: str) -> None:
    files = HEALTHY[mark](_files())
    assert _ends(_asked(files, _POD, _SERVICE)) == {("delivered", "DELIVERED")}
    assert _ends(_asked(files, _OUTSIDE, _NODE_PORT)) == {("delivered", "DELIVERED")}


def test_calico_with_a_chain_for_each_workload_and_no_kube_proxy_works_with_rules() -> None:
    """A kube-proxy that wrote nothing is a fault of its own, and no eBPF."""
    files = _calico(_without_kube_proxy(_files()))
    path = "nodes/n1/iptables-save.txt"
    rules = b"*filter\n:cali-tw-calif0123456789 - [0:0]\n-A cali-tw-calif0123456789 -j ACCEPT\n"
    assert _ends(_asked(files, _POD, _SERVICE)) == {("unknown", "EBPF_MAPS_MISSING")}
    given = files | {path: files[path].replace(b"*filter\n", rules)}
    assert "EBPF_MAPS_MISSING" not in {code for _, code in _ends(_asked(given, _POD, _SERVICE))}
