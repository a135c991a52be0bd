"""The node reader: what it prints in a network namespace opens as a node's files and traces; and it is as harmless as its manifest says."""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import io
import json
import re
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from tests.oracle.netns import CommandFailed, Namespace, why_not
from tests.webapp.collecting.stub_cluster import collect
from tests.webapp.collecting.test_collecting_pod_stacks import cluster
from tracer.query import Query, parse_destination, parse_source
from tracer.simulate import trace
from tracer.snapshot import Snapshot
from tracer.snapshot.node_files import BY_NAME, LEGACY_IP6TABLES, LEGACY_IPTABLES, NODE_FILES, OF_A_POD, PROXY_VERSION, Reading
from tracer.snapshot.summary import summarise
from tracer.topology.cluster import Cluster
from webapp.cluster.permissions import rbac_manifest
from webapp.reading import pod_stacks
from webapp.reading.node_reader import READER_ARGV, READER_SECONDS, unpacked_pods, unpacked_reading

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
PROGRAM = DEPLOY / "node-reader/node_reader.py"
# What the manifest's container may do, and no more.
CAPABILITIES = "+net_admin,+net_raw"
MORE_CAPABILITIES = f"{CAPABILITIES},+sys_admin,+sys_ptrace"
"""The same with deploy/node-reader/pod-stacks.yaml."""
RULES = """*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:KUBE-SERVICES - [0:0]
-A OUTPUT -j KUBE-SERVICES
-A KUBE-SERVICES -d 10.96.0.10/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.244.1.2:8080
COMMIT
"""
META = {"namespace": "shop", "name": "web"}
SERVICE = {
    "kind": "Service",
    "metadata": META,
    "spec": {"type": "ClusterIP", "clusterIP": "10.96.0.10", "ports": [{"port": 80, "targetPort": 8080, "protocol": "TCP"}]},
}
NODE = {"kind": "Node", "metadata": {"name": "n"}, "status": {"addresses": [{"type": "InternalIP", "address": "172.18.0.2"}]}}
POD = {
    "kind": "Pod",
    "metadata": META | {"name": "web-1"},
    "spec": {"nodeName": "n", "containers": [{"name": "c"}]},
    "status": {"phase": "Running", "podIP": "10.244.1.2", "podIPs": [{"ip": "10.244.1.2"}]},
}


@pytest.fixture
def program() -> ModuleType:
    spec = importlib.util.spec_from_file_location("node_reader", PROGRAM)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def node() -> Iterator[Namespace]:
    """Return a namespace with a node's address, a pod's route and one Service's rules."""
    reason = why_not()
    if reason:
        pytest.skip(reason)
    with Namespace() as made:
        for command in (
            "ip link set lo up",
            "ip link add eth0 type veth peer name peer0",
            "ip link add veth.1 type veth peer name pod0",
            "ip addr add 172.18.0.2/16 dev eth0",
            "ip link set eth0 up",
            "ip link set veth.1 up",
            "ip link set peer0 up",
            "ip link set pod0 up",
            "ip route add 10.244.1.2 dev veth.1",
            "ip route add default via 172.18.0.1",
        ):
            made.run(*command.split())
        made.run("iptables-restore", text=RULES)
        made.settle()
        yield made


def read(node: Namespace, *arguments: str, capabilities: str = CAPABILITIES) -> dict[str, bytes]:
    """Run the reader in *node* with no more rights than its manifest gives it, and return the tar's files by name."""
    command = [sys.executable, "-I", str(PROGRAM), *arguments]
    if shutil.which("setpriv"):
        bounded = [f"--bounding-set=-all,{capabilities}" if capabilities else "--bounding-set=-all", "--inh-caps=-all"]
        command = ["setpriv", "--no-new-privs", *bounded, "--", *command]
    with node.inside():
        done = subprocess.run(command, capture_output=True, check=True, stdin=subprocess.DEVNULL)
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]


def said(files: dict[str, bytes]) -> dict[str, Any]:
    return json.loads(files["reading.json"])["files"]


# --- in a network namespace ----------------------------------------------------------------------------------------------


@pytest.mark.needs_root
def test_its_output_opens_as_a_nodes_files_and_traces(node: Namespace) -> None:
    files = read(node)
    objects = {"services.json": SERVICE, "nodes.json": NODE, "pods.json": POD}
    recorded = {name: json.dumps(value).encode() for name, value in objects.items()}
    recorded |= {f"nodes/n/{name}": content for name, content in files.items() if name != "reading.json"}
    snapshot = Snapshot.from_files(recorded)
    summary = summarise(snapshot)
    assert (summary.unknown_files, summary.faults) == ((), ())
    query = Query(source=parse_source("node:n"), destination=parse_destination("svc:shop/web"))
    (outcome,) = trace(Cluster.from_snapshot(snapshot), query).to_dict(with_steps=False)["outcomes"]
    assert (outcome["disposition"], outcome["destination"]["name"]) == ("delivered", "web-1")


@pytest.mark.needs_root
def test_it_brings_every_file_or_says_why_not(node: Namespace) -> None:
    files = read(node)
    report = said(files)
    assert set(files) - {"reading.json"} == {name for name, entry in report.items() if entry["error"] is None}
    assert {"iptables-save.txt", "ip6tables-save.txt", "nft-ruleset.json", "ip-addr.json", "ip-route.json", "sysctl.txt"} <= set(files)
    assert b"--to-destination 10.244.1.2:8080" in files["iptables-save.txt"]
    assert report["kube-proxy-mode.txt"]["error"] == "kube-proxy does not answer on 127.0.0.1:10249"
    assert b"net.ipv4.conf.veth/1.forwarding = " in files["sysctl.txt"]
    assert all(re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z", entry["read_at"]) for entry in report.values())
    assert "conntrack.txt" not in report


@pytest.mark.needs_root
def test_its_settings_are_those_that_sysctl_prints(node: Namespace, program: ModuleType) -> None:
    if not shutil.which("sysctl"):
        pytest.skip("needs sysctl: apt-get install procps")
    with node.inside():
        printed = subprocess.run(["sysctl", "-a", "--pattern", r"^net\."], capture_output=True, text=True, check=False).stdout
        ours = program.sysctls(Path("/proc/sys/net")).decode()
    lines, expected = ({line.rstrip() for line in text.splitlines()} for text in (ours, printed))
    assert expected <= lines
    # sysctl leaves out what the kernel calls deprecated: the same in another unit stands beside it.
    assert {line.partition(" =")[0].rpartition(".")[2] for line in lines - expected} <= {"base_reachable_time", "retrans_time"}


@pytest.mark.needs_root
def test_connections_are_read_only_when_asked_for(node: Namespace) -> None:
    if not shutil.which("conntrack"):
        pytest.skip("needs conntrack: apt-get install conntrack")
    assert "conntrack.txt" in read(node, "--conntrack")


@pytest.mark.needs_root
def test_legacy_rules_are_the_nodes_where_only_they_are_there(node: Namespace) -> None:
    try:
        node.run("iptables", "-t", "nat", "-F")
        node.run("iptables", "-t", "nat", "-X")
        node.run("iptables-legacy-restore", text=RULES)
    except (CommandFailed, OSError) as error:
        pytest.skip(f"no legacy iptables here: {error}")
    files = read(node)
    assert b"--to-destination 10.244.1.2:8080" in files["iptables-save.txt"]
    assert "iptables-legacy-save.txt" not in files
    if shutil.which("setpriv"):
        # This is what NET_RAW is for.
        assert "iptables-legacy-save ended" in said(read(node, capabilities="+net_admin"))["iptables-save.txt"]["error"]
    node.run("iptables-nft-restore", text=RULES)
    both = read(node)
    assert b"DNAT" in both["iptables-save.txt"]
    assert b"DNAT" in both["iptables-legacy-save.txt"]


@pytest.mark.needs_root
@pytest.mark.skipif(not shutil.which("setpriv"), reason="needs setpriv: apt-get install util-linux")
def test_without_its_capability_it_says_what_it_cannot_read(node: Namespace) -> None:
    report = said(read(node, capabilities=""))
    assert "iptables" in report["iptables-save.txt"]["error"] or "ermitted" in report["iptables-save.txt"]["error"]
    assert report["ip-addr.json"]["error"] is None


@pytest.mark.needs_root
def test_the_follower_reads_what_it_prints(node: Namespace) -> None:
    with node.inside():
        printed = subprocess.run([sys.executable, "-I", str(PROGRAM)], capture_output=True, check=True).stdout
    files = {file.name: file for file in unpacked_reading(printed, read_at=1.0)}
    assert b"DNAT" in (files["iptables-save.txt"].content or b"")
    assert files["kube-proxy-mode.txt"].error == "kube-proxy does not answer on 127.0.0.1:10249"
    assert set(files) <= set(BY_NAME)


# --- pods' own stacks ----------------------------------------------------------------------------------------------------


UID, OTHER = "0a1b2c3d-0000-4000-8000-000000000001", "0a1b2c3d-0000-4000-8000-000000000002"
SIDECAR = "*nat\n:OUTPUT ACCEPT [0:0]\n-A OUTPUT -p tcp -j REDIRECT --to-ports 15001\nCOMMIT\n"


@contextlib.contextmanager
def pod_on(node: Namespace, folder: Path, group: str) -> Iterator[list[str]]:
    """Run two processes of a pod, the younger in a network of its own making; give the command that puts *group* over their cgroups.

    NB: no cgroup is made. A file is bound over theirs in a mount namespace of the reader's, which sees all else as it is.
    """
    with contextlib.ExitStack() as ended, Namespace() as pod:
        pod.run("ip", "link", "set", "lo", "up")
        pod.run("iptables-restore", text=SIDECAR)
        commands = []
        for prefix in ([], ["unshare", "--net"]):
            with pod.inside():
                process = subprocess.Popen([*prefix, "sleep", "60"])
            ended.callback(process.wait)
            ended.callback(process.kill)
            (folder / "cgroup").write_text(f"0::/{group}\n")
            commands.append(f"mount --bind {folder}/cgroup /proc/{process.pid}/cgroup")
            time.sleep(0.1)
        yield ["unshare", "--mount", "sh", "-c", f'{" && ".join(commands)} && exec "$@"', "sh"]


def read_pods(node: Namespace, before: list[str], *arguments: str, capabilities: str) -> dict[str, bytes]:
    bounded = ["setpriv", "--no-new-privs", f"--bounding-set=-all,{capabilities}", "--inh-caps=-all", "--"]
    with node.inside():
        done = subprocess.run(
            [*before, *bounded, sys.executable, "-I", str(PROGRAM), *arguments], capture_output=True, check=True, stdin=subprocess.DEVNULL
        )
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]


needs_tools = pytest.mark.skipif(
    not all(map(shutil.which, ("setpriv", "unshare", "nsenter"))), reason="needs setpriv, unshare and nsenter: apt-get install util-linux"
)


@pytest.mark.needs_root
@needs_tools
@pytest.mark.parametrize("group", [f"kubepods/besteffort/pod{UID}/x", f"kubepods-pod{UID.replace('-', '_')}.slice/cri-x.scope"])
def test_it_reads_the_own_stack_of_a_pod_with_the_rights_of_the_switch(node: Namespace, tmp_path: Path, group: str) -> None:
    with pod_on(node, tmp_path, group) as before:
        files = read_pods(node, before, "--pods", f"{UID},{OTHER}", capabilities=MORE_CAPABILITIES)
    report = said(files)
    assert b"--to-ports 15001" in files[f"pods/{UID}/iptables-save.txt"]
    assert b"eth0" not in files[f"pods/{UID}/ip-link.json"], "the node's network"
    assert b"net.ipv4.ip_forward = " in files[f"pods/{UID}/sysctl.txt"]
    assert report[f"pods/{OTHER}/iptables-save.txt"]["error"] == "No process of the pod runs there."
    brought = {name.rpartition("/")[2] for name in report if name.startswith(f"pods/{UID}/")}
    assert brought <= OF_A_POD
    assert {
        "iptables-save.txt",
        "ip6tables-save.txt",
        "nft-ruleset.json",
        "ip-addr.json",
        "ip-route.json",
        "ss.txt",
        "sysctl.txt",
    } <= brought
    found = unpacked_pods(tar_of(files), {UID}, read_at=1.0)
    assert {file.name for file in found[UID]} == brought
    (tmp_path / "reading.tar").write_bytes(tar_of(files))
    how = ("--readings", "daemonset", "--reader-namespace", "readers", "--node", "node-a", "--pod-stacks", "pod:shop/web-1")
    ran = collect(tmp_path, cluster(tmp_path), *how, "out", readers=["node-a"], reader_tar=str(tmp_path / "reading.tar"))
    taken = {path.name: path.read_bytes() for path in (tmp_path / "out/nodes/node-a/pods/shop_web-1").iterdir()}
    assert taken == {name: files[f"pods/{UID}/{name}"] for name in brought if f"pods/{UID}/{name}" in files}, ran.err


@pytest.mark.needs_root
@needs_tools
@pytest.mark.parametrize("lacking", ["+sys_admin", "+sys_ptrace"])
def test_without_a_right_of_the_switch_it_says_so(node: Namespace, tmp_path: Path, lacking: str) -> None:
    capabilities = ",".join(one for one in MORE_CAPABILITIES.split(",") if one != lacking)
    with pod_on(node, tmp_path, f"kubepods/pod{UID}") as before:
        report = said(read_pods(node, before, "--pods", UID, capabilities=capabilities))
    assert report[f"pods/{UID}/iptables-save.txt"]["error"].startswith("The node reader may not enter the networks of pods")
    assert len(report) == 1


def tar_of(files: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return made.getvalue()


@pytest.mark.parametrize("uids", ["", "a b", "../x", "a,,b", "a/b", "x" * 65, ",".join(["a"] * 51)])
def test_what_is_no_list_of_pods_is_refused(uids: str) -> None:
    done = subprocess.run([sys.executable, "-I", str(PROGRAM), "--pods", uids], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (2, b"")


def test_a_pod_that_is_in_its_nodes_network_has_none_of_its_own(program: ModuleType, tmp_path: Path) -> None:
    for name, group in {"1": "init.scope", "7": f"kubepods/pod{UID}/x", "self": "x"}.items():
        (tmp_path / name / "ns").mkdir(parents=True)
        (tmp_path / name / "ns/net").symlink_to("/proc/self/ns/net")
        (tmp_path / name / "cgroup").write_text(f"0::/{group}\n")
    report: dict[str, Any] = {}
    assert list(program.pods([UID], report, tmp_path)) == []
    assert report[f"pods/{UID}/iptables-save.txt"]["error"] == "No process of the pod has a network of its own."
    program.PODS_SECONDS = -1
    assert list(program.pods([UID], report, tmp_path)) == []
    assert report[f"pods/{UID}/iptables-save.txt"]["error"].startswith("Not tried: ")


def test_a_process_began_when_the_kernel_says(program: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "stat").write_text(f"7 (a) b) (c) S {' '.join(str(number) for number in range(4, 22))} 4711 0\n")
    assert program.began(tmp_path) == 4711
    assert program.began(tmp_path / "ended") == sys.maxsize


def test_the_switch_gives_what_the_tests_here_have_and_no_more() -> None:
    (patch,) = documents("node-reader/pod-stacks.yaml")
    spec = patch["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert (spec["hostPID"], set(spec), container["name"]) == (True, {"hostPID", "containers"}, "node-reader")
    security = container["securityContext"]
    assert {f"+{name.lower()}" for name in security["capabilities"]["add"]} == set(MORE_CAPABILITIES.split(","))
    assert security["capabilities"]["drop"] == ["ALL"]
    assert set(security) == {"capabilities", "appArmorProfile"}
    assert "nsenter" not in (DEPLOY / "node-reader/Dockerfile").read_text(), "the image keeps util-linux's nsenter"


def test_it_reads_at_most_as_many_pods_as_are_asked_for(program: ModuleType) -> None:
    assert program.MOST_PODS == pod_stacks.MOST_PODS
    assert program.PODS_SECONDS + program.STACK_SECONDS <= READER_SECONDS
    assert {name for name, _ in program.readings(conntrack=False)} - set(program.NODES_OWN) <= OF_A_POD


# --- its parts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["--help"], ["x"], ["--conntrack", "sh"], ["-c", "id"], ["--pods"], ["--stack", "x"]])
def test_it_takes_no_other_argument(arguments: list[str]) -> None:
    done = subprocess.run([sys.executable, "-I", str(PROGRAM), *arguments], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (2, b"")


def test_programs_that_fail_are_said(program: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(program._ENVIRONMENT, "PATH", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    for name, text in {
        "fails": "echo half; echo 'no\\tway' >&2; exit 3",
        "hangs": "exec /bin/sleep 60",
        "floods": "exec /usr/bin/yes",
    }.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    with pytest.raises(program.Unreadable, match=r"^The container has no program nowhere\.$"):
        program.run("nowhere")
    with pytest.raises(program.Unreadable, match=r"^fails ended with 3: no\tway$"):
        program.run("fails")
    monkeypatch.setattr(program, "SECONDS", 0.3)
    with pytest.raises(program.Unreadable, match=r"^hangs did not end within"):
        program.run("hangs")
    monkeypatch.setattr(program, "SECONDS", 30)
    monkeypatch.setattr(program, "MOST_BYTES", 1 << 20)
    with pytest.raises(program.Unreadable, match=r"^floods printed more than"):
        program.run("floods")


def test_its_report_has_one_file_a_line_for_shell_scripts(program: ModuleType) -> None:
    report = {"b.txt": {"error": 'x "y" \\', "seconds": 0.1}, "a.json": {"error": None, "seconds": 0.2}}
    text = program.report_text(report)
    assert json.loads(text)["files"] == report
    assert text.decode().splitlines()[1] == ' "a.json": {"error": null, "seconds": 0.2},'
    assert program.one_line("a\tb\n\u20ac" + "x" * 400) == "a b " + "x" * 296


@pytest.mark.parametrize(
    ("dump", "expected"),
    [
        (b"", False),
        (b"*nat\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n", False),
        (b"*nat\n:KUBE-SERVICES - [0:0]\nCOMMIT\n", True),
        (b"*filter\n-A INPUT -j DROP\n", True),
    ],
)
def test_a_dump_has_rules_or_not(program: ModuleType, dump: bytes, expected: bool) -> None:
    assert program.has_rules(dump) is expected


def test_its_commands_are_those_of_the_other_readings(program: ModuleType) -> None:
    ours = dict((*program.COMMANDS, program.IPVS, program.CONNTRACK))
    assert ours == {name: BY_NAME[name].argv for name in ours}
    beside_others = {LEGACY_IPTABLES.name, LEGACY_IP6TABLES.name}
    brought = {name for name, _ in program.readings(conntrack=True)} | beside_others
    assert brought == {file.name for file in NODE_FILES if file.reading is not Reading.NEVER} - {PROXY_VERSION.name}


def test_it_is_one_file_of_the_standard_library_without_a_shell() -> None:
    tree = ast.parse(PROGRAM.read_text())
    imports = {alias.name for one in ast.walk(tree) if isinstance(one, ast.Import) for alias in one.names}
    imports |= {str(one.module) for one in ast.walk(tree) if isinstance(one, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in imports} <= sys.stdlib_module_names
    assert not {"socket", "socketserver", "http.server", "shlex", "ctypes"} & imports
    keywords = {one.arg for one in ast.walk(tree) if isinstance(one, ast.keyword)}
    calls = {one.attr for one in ast.walk(tree) if isinstance(one, ast.Attribute)}
    assert "shell" not in keywords
    assert not {"system", "popen", "listen", "bind", "write_text", "write_bytes", "unlink"} & calls


# --- the manifests -------------------------------------------------------------------------------------------------------


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DEPLOY / name).read_text()))


def daemonset() -> dict[str, Any]:
    return next(one for one in documents("node-reader/daemonset.yaml") if one["kind"] == "DaemonSet")


def test_the_container_may_do_no_more_than_the_tests_here() -> None:
    pod = daemonset()["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    security = container["securityContext"]
    assert security["capabilities"] == {"drop": ["ALL"], "add": ["NET_ADMIN", "NET_RAW"]}
    assert {f"+{name.lower()}" for name in security["capabilities"]["add"]} == set(CAPABILITIES.split(","))
    assert (security["privileged"], security["allowPrivilegeEscalation"], security["readOnlyRootFilesystem"]) == (False, False, True)
    assert (pod["hostNetwork"], pod.get("hostPID", False), pod.get("volumes", []), container.get("ports", [])) == (True, False, [], [])
    assert pod["automountServiceAccountToken"] is False
    assert container["image"] == "IMAGE"


def test_the_collectors_find_its_pods() -> None:
    made = daemonset()
    labels = made["spec"]["template"]["metadata"]["labels"]
    assert labels["app.kubernetes.io/name"] == "hopline-node-reader"
    assert made["spec"]["selector"]["matchLabels"].items() <= labels.items()
    script = (DEPLOY.parent / "collect.sh").read_text()
    assert "app.kubernetes.io/name=hopline-node-reader" in script
    assert f"/usr/local/bin/{READER_ARGV[0]}" in (DEPLOY / "node-reader/Dockerfile").read_text()


@pytest.mark.parametrize("readings", ["exec", "daemonset"])
def test_the_rights_are_those_that_hopline_uses(readings: str) -> None:
    text = (DEPLOY / f"rbac-{readings}.yaml").read_text()
    comment, _, rest = text.partition("\n---\n")
    assert all(line.startswith("#") for line in comment.splitlines())
    assert rest == rbac_manifest(readings)


def test_the_image_leaves_no_shell() -> None:
    text = (DEPLOY / "node-reader/Dockerfile").read_text()
    assert "FROM scratch\nCOPY --from=made / /" in text
    for shell in ("/usr/bin/sh", "/usr/bin/bash", "/usr/bin/dash"):
        assert shell in text
    assert "EXPOSE" not in text
