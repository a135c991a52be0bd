"""Which file is what, in the documented layout and in the bundles people have."""

from __future__ import annotations

import pytest

from tracer.snapshot.layout import Bundle, recognise
from tracer.snapshot.node_files import BY_NAME, OF_A_POD, STAND_INS, NodeFile

OBJECT = b'{"kind": "List", "items": []}'


@pytest.mark.parametrize(
    ("path", "bundle", "kind"),
    [
        ("services.json", Bundle.HOPLINE, "Service"),
        ("endpointslices.yaml", Bundle.HOPLINE, "EndpointSlice"),
        ("networkpolicies.yml", Bundle.HOPLINE, "NetworkPolicy"),
        ("cluster.json", Bundle.ONE_FILE, None),
        ("everything.yaml", Bundle.ONE_FILE, None),
        ("default/services.json", Bundle.CLUSTER_INFO, "Service"),
        ("kube-system/pods.yaml", Bundle.CLUSTER_INFO, "Pod"),
        ("cluster-resources/services/default.json", Bundle.TROUBLESHOOT, "Service"),
        ("cluster-resources/nodes.json", Bundle.TROUBLESHOOT, "Node"),
        ("cluster-resources/network-policy/default.json", Bundle.TROUBLESHOOT, "NetworkPolicy"),
        ("bundle/cluster-resources/ingress/default.json", Bundle.TROUBLESHOOT, "Ingress"),
        ("quay-io-x-sha256-1/namespaces/default/core/services.yaml", Bundle.MUST_GATHER, "Service"),
        ("namespaces/default/discovery.k8s.io/endpointslices.yaml", Bundle.MUST_GATHER, "EndpointSlice"),
        ("namespaces/default/networking.k8s.io/networkpolicies.yaml", Bundle.MUST_GATHER, "NetworkPolicy"),
        ("cluster-scoped-resources/core/nodes/node-1.yaml", Bundle.MUST_GATHER, "Node"),
        ("namespaces/default/default.yaml", Bundle.MUST_GATHER, None),
        ("namespaces/default/pods/api-1/api-1.yaml", Bundle.MUST_GATHER, None),
        ("k8s-services-20260101-120000.yaml", Bundle.CILIUM, "Service"),
        ("k8s-endpointslices-20260101-120000.yaml", Bundle.CILIUM, "EndpointSlice"),
        ("gatewayapi-httproutes-20260101-120000.yaml", Bundle.CILIUM, "HTTPRoute"),
        ("cilium-sysdump-20260101-120000/k8s-pods-20260101-120000.yaml", Bundle.CILIUM, "Pod"),
    ],
)
def test_files_of_objects(path: str, bundle: Bundle, kind: str | None) -> None:
    layout = recognise({path: OBJECT})
    assert [(o.path, o.kind) for o in layout.objects] == [(path, kind)]
    assert layout.bundle is bundle
    assert layout.unknown == ()


@pytest.mark.parametrize(
    "path",
    [
        "README.md",
        "nodes/n/other.txt",
        "nodes/n/deeper/iptables-save.txt",
        "notes.json",
        "default/api-1/logs.txt",
        "secrets.json.txt",
        "cluster-resources/pods/logs/default/x.txt",
        "namespaces/default/pods/api-1/other.yaml",
        "a/b/services.json",
    ],
)
def test_what_is_not_known_is_listed(path: str) -> None:
    layout = recognise({path: b'{"note": 1}', "services.json": OBJECT})
    assert layout.unknown == (path,)


def test_every_documented_node_file_is_known() -> None:
    layout = recognise({f"nodes/n/{name}": b"" for name in BY_NAME} | {"nodes/m.example/ss.txt": b""})
    assert set(layout.node_files["n"]) == set(BY_NAME)
    assert layout.node_files["m.example"] == {"ss.txt": "nodes/m.example/ss.txt"}
    assert layout.unknown == ()


def test_files_of_a_pods_own_stack() -> None:
    own = {f"nodes/n1/pods/shop_web-1/{name}": b"" for name in OF_A_POD}
    other = ["nodes/n1/pods/shop_web-1/kube-proxy-mode.txt", "nodes/n1/pods/web-1/ss.txt", "nodes/n1/pods/a_b/c/ss.txt"]
    layout = recognise({"services.json": b"", **own, **dict.fromkeys(other, b"")})
    assert (set(layout.pod_stacks["n1/pods/shop_web-1"].values()), set(layout.unknown)) == (set(own), set(other))
    assert layout.node_files == {}


def test_a_timeline_is_its_first_moment() -> None:
    after = {"step-00/n.iptables-save.txt": b"", "step-00/n.notes.txt": b""}
    files = {"base/services.json": OBJECT, "base/nodes/n/iptables-save.txt": b"", "steps.json": b"[]", "pods.watch.jsonl": OBJECT} | after
    layout = recognise(files)
    assert layout.bundle is Bundle.TIMELINE
    assert [o.path for o in layout.objects] == ["base/services.json"]
    assert layout.node_files == {"n": {"iptables-save.txt": "base/nodes/n/iptables-save.txt"}}
    assert layout.recording == ("pods.watch.jsonl", "step-00/n.iptables-save.txt", "steps.json")
    assert layout.unknown == ("step-00/n.notes.txt",)


def test_a_dumps_folders_count_only_without_a_list_of_services() -> None:
    layout = recognise({"services.json": OBJECT, "old/services.json": OBJECT})
    assert [o.path for o in layout.objects] == ["services.json"]
    assert layout.unknown == ("old/services.json",)


def test_lists_of_one_kind_count_before_single_files() -> None:
    layout = recognise({"a.json": OBJECT, "services.json": OBJECT, "namespaces/x/x.yaml": b"kind: Namespace"})
    assert [o.path for o in layout.objects] == ["services.json", "a.json", "namespaces/x/x.yaml"]


@pytest.mark.parametrize(
    ("commands", "named"),
    [
        (["iptables-save--c"], {"iptables-save.txt": "iptables-save--c"}),
        (["iptables-save--c", "iptables-legacy-save--c"], {"iptables-legacy-save.txt": "iptables-legacy-save--c"}),
        (
            ["iptables-save--c", "iptables-nft-save--c", "iptables-legacy-save--c"],
            {"iptables-save.txt": "iptables-nft-save--c", "iptables-legacy-save.txt": "iptables-legacy-save--c"},
        ),
        (
            ["ip6tables-save--c", "iptables-legacy-save--c"],
            {"ip6tables-save.txt": "ip6tables-save--c", "iptables-legacy-save.txt": "iptables-legacy-save--c"},
        ),
        (["ip--j-a", "ps"], {"ip-addr.json": "ip--j-a"}),
    ],
)
def test_bugtool_files_belong_to_a_pod(commands: list[str], named: dict[str, str]) -> None:
    folder = "cilium-bugtool-cilium-7xk2p-20260101-120000/cmd"
    files = recognise({f"{folder}/{c}.md": b"" for c in commands}).pod_files
    assert files == {"cilium-7xk2p": {name: f"{folder}/{c}.md" for name, c in named.items()}}


@pytest.mark.parametrize("file", [file for files in STAND_INS.values() for file in files], ids=lambda file: file.name)
def test_a_file_that_says_the_same_takes_the_place_of_one_that_is_missing(file: NodeFile) -> None:
    alone, both = (
        recognise({f"nodes/n1/{name}": b"" for name in names}).node_files["n1"] for names in ((file.name,), (file.name, file.stands_in_for))
    )
    assert alone[file.stands_in_for] == f"nodes/n1/{file.name}"
    assert (file.name in alone) == file.is_read_itself
    assert (both[file.name], both[file.stands_in_for]) == (f"nodes/n1/{file.name}", f"nodes/n1/{file.stands_in_for}")
