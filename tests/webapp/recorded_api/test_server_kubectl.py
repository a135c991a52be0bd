"""The real kubectl against the recorded API. Skipped, with the reason, where there is none that execs over WebSocket."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator

import pytest

from tests.webapp.recorded_api import shop

Kubectl = Callable[..., subprocess.CompletedProcess[bytes]]
PROXY = ("exec", "-n", "kube-system", "kube-proxy-shop-worker2", "-c", "kube-proxy", "--")


def why_not() -> str | None:
    """Return why kubectl cannot be used, None if it can."""
    program = shutil.which("kubectl")
    if program is None:
        return "needs kubectl 1.31 or newer, and there is none"
    said = subprocess.run([program, "version", "--client", "-o", "json"], capture_output=True, timeout=30, check=False)
    match = re.search(rb'"gitVersion": *"v1\.([0-9]+)', said.stdout)
    if match is None or int(match[1]) < 31:
        return "needs kubectl 1.31 or newer (exec over WebSocket)"
    return None


@pytest.fixture(scope="module")
def kubectl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubectl]:
    """Return a function that runs kubectl against the timeline at its start."""
    if reason := why_not():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("kubectl")
    with shop.served() as (server, _):
        (folder / "config").write_text(server.kubeconfig())

        def run(*arguments: str) -> subprocess.CompletedProcess[bytes]:
            command = ["kubectl", f"--kubeconfig={folder / 'config'}", f"--cache-dir={folder / 'cache'}", *arguments]
            return subprocess.run(command, capture_output=True, timeout=60, check=False)

        yield run


def test_get_as_json_is_the_recorded_cluster(kubectl: Kubectl) -> None:
    for plural in shop.RECORDED:
        done = kubectl("get", plural, "-A", "-o", "json")
        assert done.returncode == 0, done.stderr
        assert shop.versions(json.loads(done.stdout)["items"]) == shop.after(plural, 830)


def test_several_kinds_in_pages(kubectl: Kubectl) -> None:
    done = kubectl("get", "svc,endpointslices,nodes,pods,netpol,ing,ns", "-A", "-o", "json", "--chunk-size=7")
    items = json.loads(done.stdout)["items"]
    assert len(items) == 26 + 25 + 4 + 39 + 1 + 1 + 8
    assert {i["kind"] for i in items} == {"Service", "EndpointSlice", "Node", "Pod", "NetworkPolicy", "Ingress", "Namespace"}


def test_configmaps_by_name(kubectl: Kubectl) -> None:
    done = kubectl("get", "configmap", "-n", "kube-system", "kube-proxy", "coredns", "none", "--ignore-not-found", "-o", "name")
    assert done.stdout.split() == [b"configmap/kube-proxy", b"configmap/coredns"]


def test_raw_version(kubectl: Kubectl) -> None:
    assert json.loads(kubectl("get", "--raw", "/version").stdout) == json.loads(shop.files()["base/version.json"])


def test_exec_prints_the_rules_whole(kubectl: Kubectl) -> None:
    done = kubectl(*PROXY, "iptables-save")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == shop.files()["step-00/shop-worker2.iptables-save.txt"]


def test_exec_tells_stderr_and_exit_code(kubectl: Kubectl) -> None:
    done = kubectl(*PROXY, "iptables-save", "-Z")
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"no output of iptables-save -Z" in done.stderr
    assert b"exit code 2" in done.stderr


def test_exec_of_a_missing_program(kubectl: Kubectl) -> None:
    done = kubectl(*PROXY, "nft", "-j", "list", "ruleset")
    assert done.returncode == 1
    assert b'exec: "nft": executable file not found in $PATH' in done.stderr


@pytest.mark.parametrize(
    ("pod", "container", "message"), [("none", "x", b'pods "none" not found'), ("kube-proxy-shop-worker", "x", b"container x is not valid")]
)
def test_exec_where_there_is_nothing(kubectl: Kubectl, pod: str, container: str, message: bytes) -> None:
    done = kubectl("exec", "-n", "kube-system", pod, "-c", container, "--", "iptables-save")
    assert done.returncode == 1
    assert message in done.stderr
