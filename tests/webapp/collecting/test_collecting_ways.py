"""The ways in which nodes are read where kube-proxy's container has few programs, or no such pod runs: the same files by both collectors.

Tried against a scripted kubectl and the recorded API server, never yet against a cluster of each platform.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from tests.sizes import every
from tests.webapp.collecting.stub_cluster import SCRIPT, Ran, collect, debug_pods, started
from tracer.kube.other_policies import other_policies
from tracer.snapshot import Snapshot
from tracer.snapshot.node_files import ALSO, ALSO_CONNECTIONS, SETTINGS_SCRIPT, Also
from tracer.snapshot.summary import summarise
from webapp import uploads
from webapp.collecting.plugin_pods import PLUGIN_PODS
from webapp.recorded_api import RecordedApi, Timeline, serve

NODES = ("node-a", "node-b.example")
TEXT = SCRIPT.read_text()
RULES = "*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n"
WAYS: dict[str, dict[str, str]] = {
    # what the container prints, by file: what is not there is a program that it does not have
    "both back ends": {"iptables-save.txt": RULES + "# Warning: iptables-legacy tables present\n", "iptables-legacy-save.txt": RULES},
    "all programs": {"iptables-save.txt": RULES, "ip6tables-save.txt": "", "nft-ruleset.json": '{"nftables": []}\n', "ip-addr.json": "[]\n",
                     "ip-neigh.json": "[]\n", "bridge-fdb.json": "[]\n", "wg-endpoints.txt": "wg0 x\n", "wg-allowed-ips.txt": "wg0 y\n",
                     "ss.txt": "Netid State\n", "sysctl.txt": "net.a = 1\n"},
    "a shell and cat": {"iptables-save.txt": RULES, "resolv.conf": "nameserver 10.0.0.1\n", "proc-net-route.txt": "Iface\n",
                        "proc-net-if-inet6.txt": "0\n", "proc-net-tcp.txt": "  sl\n", "proc-sys.txt": "/proc/sys/net/ipv4/ip_forward:1\n"},
    "ip without JSON": {"iptables-save.txt": RULES, "ip-addr.txt": "1: lo\n", "ip-rule.txt": "0: from all\n", "ip-route.txt": "default\n"},
    "nft without JSON": {"nft-ruleset.txt": "table ip x {\n}\n", "nft-hooks.txt": "family ip {\n}\n"},
}  # fmt: skip


def cluster(folder: Path, files: dict[str, str]) -> Path:
    """Write a recording of two nodes, both with *files*."""
    recording = folder / "recording"
    for node in NODES:
        (recording / "nodes" / node).mkdir(parents=True)
        for name, text in files.items():
            (recording / "nodes" / node / name).write_text(text)
    (recording / "version.json").write_text('{"gitVersion": "v1.36.2"}')
    objects = {
        "services": [{"kind": "Service", "metadata": {"name": "a", "namespace": "d"}, "spec": {"ports": [{"port": 80}]}}],
        "nodes": [{"kind": "Node", "metadata": {"name": n}, "status": {"nodeInfo": {"operatingSystem": "linux"}}} for n in NODES],
    }
    for plural in ("services", "nodes", "pods", "endpointslices", "namespaces", "configmaps", "ingresses", "networkpolicies"):
        (recording / f"{plural}.json").write_text(json.dumps({"kind": "List", "items": objects.get(plural, [])}))
    return recording


def node_files(target: Path) -> dict[str, bytes]:
    return {path: content for path, content in uploads.read(target).items() if path.startswith("nodes/")}


def noted(target: Path) -> dict[str, str | None]:
    said = json.loads(uploads.read(target)["snapshot.json"])["files"]
    return {path: entry.get("error") for path, entry in said.items() if path.startswith("nodes/")}


def row(also: Also) -> str:
    asked = f"+{also.warned}" if also.warned else ",".join(also.without) or "-"
    return f"{also.file.name} {asked} {'@settings' if also.argv[0] == 'sh' else ' '.join(also.argv)}"


def test_the_script_has_the_same_tables() -> None:
    tables = {
        "more_commands": "\n".join(map(row, ALSO)),
        "more_connections": "\n".join(map(row, ALSO_CONNECTIONS)),
        "settings_script": SETTINGS_SCRIPT,
        "plugin_pods": "\n".join(f"{'='.join(pods.label)} {' '.join(pods.containers)}" for pods in PLUGIN_PODS),
    }
    for name, value in tables.items():
        assert f"\n{name}='{value}'\n" in TEXT


def test_the_settings_are_printed_as_grep_would() -> None:
    printed = subprocess.run(["dash", "-c", SETTINGS_SCRIPT], capture_output=True, text=True, check=True).stdout
    assert re.search(r"^/proc/sys/net/ipv4/ip_forward:[01]$", printed, re.MULTILINE)
    assert re.search(r"^/proc/sys/net/ipv4/conf/all/rp_filter:[012]$", printed, re.MULTILINE)


@pytest.mark.parametrize("way", every(WAYS, 3))
def test_both_collectors_take_what_the_container_can_print(way: str, tmp_path: Path) -> None:
    recording = cluster(tmp_path, WAYS[way])
    ran = collect(tmp_path, recording, "--node", "node-a", "theirs")
    with serve(RecordedApi(Timeline.open(uploads.read(recording)))) as server:
        (tmp_path / "config").write_text(server.kubeconfig())
        call_command("collect", str(tmp_path / "ours"), "--kubeconfig", str(tmp_path / "config"), "--node", "node-a")
    assert ran.code == 0, ran.err
    theirs = node_files(tmp_path / "theirs")
    assert theirs == {f"nodes/node-a/{name}": text.encode() for name, text in WAYS[way].items()}
    assert node_files(tmp_path / "ours") == theirs
    assert noted(tmp_path / "ours") == noted(tmp_path / "theirs")


@pytest.mark.parametrize(
    "said", every(["Error: JSON support not compiled-in", "ip: invalid option -- 'j'", 'Option "-j" is unknown, try "ip -help".'], 3)
)
def test_a_program_that_prints_no_json_is_no_failure(said: str, tmp_path: Path) -> None:
    program = "nft" if "JSON" in said else "ip"
    ran = collect(tmp_path, cluster(tmp_path, WAYS["all programs"]), "--node", "node-a", "out", fails={program: [1, said]})
    assert ran.code == 0, ran.err
    name = "nft-ruleset.json" if program == "nft" else "ip-addr.json"
    assert noted(tmp_path / "out")[f"nodes/node-a/{name}"] == f"{program} ended with 1: {said}"


PLUGINS = [(pods.label[0], pods.label[1], f"sidecar {pods.containers[-1]}", pods.containers[-1]) for pods in PLUGIN_PODS]


def test_nodes_without_kube_proxy_are_read_in_the_plugins_pod(tmp_path: Path) -> None:
    recording = cluster(tmp_path, WAYS["all programs"])
    nodes = {f"node-{number}": row for number, row in enumerate(every(PLUGINS, 6))}
    (recording / "nodes.json").write_text(json.dumps({"items": [{"kind": "Node", "metadata": {"name": node}} for node in nodes]}))
    for node in nodes:
        shutil.copytree(recording / "nodes/node-a", recording / "nodes" / node)
    plugins = {node: row[:3] for node, row in nodes.items()}
    ran = collect(tmp_path, recording, "--parallel", "2", "out", plugins=plugins, pods=dict.fromkeys(nodes))
    assert ran.code == 0, ran.err
    for node, (*_, container) in nodes.items():
        assert f"nodes/{node}/iptables-save.txt" in node_files(tmp_path / "out")
        assert f"  {node}: 10 files by {container} in kube-system/plugin-{node}" in ran.err


def test_policies_of_plugins_open_again(tmp_path: Path) -> None:
    recording = cluster(tmp_path, {})
    kinds = {"networkpolicies.crd.projectcalico.org": "NetworkPolicy", "ciliumnetworkpolicies.cilium.io": "CiliumNetworkPolicy"}
    for resource, kind in kinds.items():
        policy = {"apiVersion": f"{resource.partition('.')[2]}/v1", "kind": kind, "metadata": {"name": "p", "namespace": "d"}, "spec": {}}
        (recording / f"{resource}.json").write_text(json.dumps({"kind": "List", "items": [policy]}))
    ran = collect(tmp_path, recording, "--readings", "none", "out", kinds=[*kinds, "certificates.cert-manager.io"])
    assert ran.code == 0, ran.err
    snapshot = Snapshot.from_files(uploads.read(tmp_path / "out"))
    assert summarise(snapshot).unknown_files == ()
    assert {str(policy) for policy in other_policies(snapshot.objects)} == {
        "NetworkPolicy (crd.projectcalico.org) d/p",
        "CiliumNetworkPolicy d/p",
    }


def test_kinds_that_cannot_be_listed_are_said(tmp_path: Path) -> None:
    ran = collect(tmp_path, cluster(tmp_path, {}), "--readings", "none", "out", forbids=["api-resources"])
    assert ran.code == 1
    assert "The kinds that the cluster has cannot be listed: " in ran.err


# --- debug pods ----------------------------------------------------------------------------------------------------------


def called(ran: Ran, verb: str) -> list[list[str]]:
    return [call for call in ran.calls if call[0] == verb]


def test_debug_pods_read_the_nodes_and_are_gone(tmp_path: Path) -> None:
    recording = cluster(tmp_path, WAYS["all programs"])
    how = (
        "--readings",
        "debug",
        "--node",
        "node-a",
        "--debug-profile",
        "netadmin",
        "--debug-image",
        "registry.example/tools:1",
        "--debug-namespace",
        "tmp",
    )
    ran = collect(tmp_path, recording, *how, "out", not_on_node=["nft"])
    assert ran.code == 0, ran.err
    assert set(node_files(tmp_path / "out")) == {f"nodes/node-a/{name}" for name in WAYS["all programs"]}
    assert "A pod is made on each node" in ran.err
    made = called(ran, "debug")
    assert [call[1] for call in made] == ["node/node-a"]
    assert {tuple(call[2:6]) for call in made} == {("-n", "tmp", "--profile=netadmin", "--image=registry.example/tools:1")}
    assert debug_pods(tmp_path) == []
    assert len(called(ran, "delete")) == 1
    programs = [call[call.index("--") + 1 :] for call in called(ran, "exec")]
    assert ["chroot", "/host", "iptables-save"] in programs
    assert ["nft", "-j", "list", "ruleset"] in programs
    assert ["iptables-save"] not in programs


@pytest.mark.parametrize("fault", ["forbidden", "pending"])
def test_debug_pods_that_do_not_come_up_are_gone_too(fault: str, tmp_path: Path) -> None:
    ran = collect(tmp_path, cluster(tmp_path, {}), "--readings", "debug", "out", debug=fault)
    assert ran.code == 1
    assert all(error and error.startswith("No debug pod runs there: ") for error in noted(tmp_path / "out").values())
    assert debug_pods(tmp_path) == []
    assert "somebody-elses" not in str(called(ran, "delete"))


@pytest.mark.parametrize(
    ("moment", "faults"),
    [("while it is made", {"debug": "hangs"}), ("while it is read", {"sleeps": ["chroot"]})],
    ids=lambda x: str(x)[:16],
)
def test_ctrl_c_leaves_no_debug_pod(tmp_path: Path, moment: str, faults: dict[str, Any]) -> None:
    recording = cluster(tmp_path, WAYS["all programs"])
    with started(tmp_path, recording, "--readings", "debug", "--node", "node-a", "out", **faults) as running:
        deadline = time.monotonic() + 30
        while not debug_pods(tmp_path) or ("chroot" in str(faults) and "chroot" not in (tmp_path / "log.jsonl").read_text()):
            assert time.monotonic() < deadline, moment
            time.sleep(0.05)
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=30)
    assert running.returncode == 130
    assert "nothing was written" in err
    assert debug_pods(tmp_path) == []
    assert not (tmp_path / "out").exists()
