"""An object is cut the same whichever way it comes in: an upload, ``manage.py collect`` and a follower (one function), and collect.sh."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import Any

import pytest

from tests.webapp.collecting.stub_cluster import SCRIPT
from tracer.kube import configmap, kept_parts
from tracer.kube.known_programs import PROGRAMS
from tracer.snapshot.redact import remove_secrets
from webapp.collecting.more_objects import CONFIG_MAPS, MORE_KINDS, MORE_MAPS
from webapp.collecting.platforms import OTHERWISE, PLATFORMS
from webapp.live.store import Store
from webapp.reading.stored_parts import kept

MARK = "MARK"
TEXT = SCRIPT.read_text()
ANNOTATIONS = {
    "kubectl.kubernetes.io/last-applied-configuration": f'{{"kind":"Pod","spec":{{"containers":[{{"env":[{{"value":"{MARK}"}}]}}]}}}}\n',
    "deprecated.example/last-applied-configuration": MARK,
    "objectset.rio.cattle.io/applied": f"H4sIAAAA{MARK}",
    "packed.example/object": f"H4sIAAAA{MARK}",
    "kapp.k14s.io/original": f'{{"x": "{MARK}"}}',
    "kapp.k14s.io/original-diff-md5": MARK,
    "values.example/yaml": f"replicas: 1\nenv:\n- name: A\n  value: {MARK}\n",
    "nested.example/json": json.dumps(json.dumps({"spec": {"x": MARK}})),
    "tabs.example/yaml": f"x:\tspec:\t{MARK}",
    "pod.beta.kubernetes.io/init-containers": f'[{{"name":"a","image":"{MARK}"}}]',
    "login.example/password": MARK,
    "url.example/where": f"postgres://user:{MARK}@db/x",
    "header.example/add": f"Authorization: Basic {MARK}",
    "long.example/text": "x" * 5_000 + MARK,
    "note": "stays, with a \"quote\", a \\ and a tab\t",
    "k8s.v1.cni.cncf.io/network-status": '[{"name": "a", "ips": ["10.0.0.1"], "default": true}]',
    "a": "x,",
    "z": '"volumes": [',
    "empty": "",
}  # fmt: skip
HTTP = {"path": "/", "port": 80, "httpHeaders": [{"name": "Authorization", "value": MARK}]}


def container(name: str, image: str = "registry.example:5000/x/app:v1", **more: Any) -> dict[str, Any]:
    return {"name": name, "image": image, **more}


def pod(*containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "p",
            "namespace": "d",
            "labels": {"env": "prod", "args": "x", "message": "x", "command": "run"},
            "annotations": ANNOTATIONS,
            "managedFields": [{"manager": MARK, "fieldsV1": {"f:x": {}}}],
        },
        "spec": {"containers": list(containers), "nodeSelector": {"env": "prod"}, **spec},
        "status": {
            "podIP": "10.0.0.1",
            "containerStatuses": [{"name": "c", "state": {"terminated": {"exitCode": 1, "message": f"said {MARK}"}}}],
            "conditions": [{"type": "Ready", "status": "True", "message": MARK}],
        },
    }


ENV = [
    {"name": "A", "value": MARK},
    {"name": "B", "valueFrom": {"secretKeyRef": {"key": "k", "name": "s"}}},
    {"name": "POD_SUBNET", "value": MARK},
]
APP = container(
    "app",
    args=["--password=x" + MARK, f"--cluster-cidr={MARK}"],
    command=["sh", "-c", f"run {MARK} ]"],
    env=ENV,
    envFrom=[{"secretRef": {"name": "db"}}],
    lifecycle={"preStop": {"exec": {"command": ["sh", MARK]}}, "postStart": {"httpGet": HTTP}},
    livenessProbe={"exec": {"command": ["check", MARK]}, "periodSeconds": 3},
    readinessProbe={"httpGet": HTTP},
    ports=[{"containerPort": 80, "name": "http"}],
)
PODS = {
    "everywhere": pod(APP, initContainers=[APP, APP], ephemeralContainers=[APP]),
    "empty lists": pod(container("a", args=[], command=[], env=[], envFrom=[])),
    "no name": pod({"env": ENV, "args": [MARK]}),
    "volumes": pod(
        container("a"),
        volumes=[{"name": "v", "csi": {"driver": "d", "volumeAttributes": {"x": MARK}}}, {"flexVolume": {"options": {"p": MARK}}}, {"secret": {}}],
    ),
    "kube-proxy": pod(
        container(
            "kube-proxy",
            command=["/usr/local/bin/kube-proxy", "--config=/var/lib/kube-proxy/config.conf", f"--x={MARK}", "--cluster-cidr", "10.0.0.0/8", MARK],
            args=[f"--kubeconfig={MARK}", "--proxy-mode=ipvs", "--hostname-override=" + "token" + MARK, "--masquerade-all"],
            env=[{"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}, *ENV],
        )
    ),
    "by its image": pod(container("x", "registry.k8s.io/dns/k8s-dns-node-cache:1.23@sha256:00", args=["-localip", "169.254.20.10", "-conf", "/etc/Corefile"])),
    "aws": pod(
        container(
            "aws-node",
            env=[
                {"name": "AWS_VPC_K8S_CNI_EXTERNALSNAT", "value": "false"},
                {"name": "AWS_VPC_K8S_CNI_X", "value": f"password={MARK}"},
                {"name": "AWS_SECRET", "value": MARK},
                {"name": "ENABLE_IPv4"},
                {"name": "ENABLE_IPv6", "valueFrom": {"configMapKeyRef": {"key": "k", "name": MARK}}},
                {"name": "AWS_VPC_ENI_MTU", "value": MARK * 200},
            ],
        )
    ),
    "istio": pod(
        container("app"),
        initContainers=[container("istio-init", args=["istio-iptables", "-p", "15001", "-x", "", "-b", "*", "-d", "15090,15021", "--log_output_level=default:info"])],
    ),
    "a value that looks like a flag": pod(container("coredns", args=["-conf", "-dns.port", "1053", MARK])),
    "a flag whose value is a secret": pod(container("traefik", args=["--entryPoints.web.address=:8000/tcp", f"--providers.kubernetesIngress.token={MARK}"])),
    "a secret behind a flag": pod(container("coredns", args=["-conf", f"token:{MARK}", MARK])),
    "brackets in words": pod(container("coredns", args=["[", "]", "-conf", "],", '"x"'])),
    "another pod": pod(container("kube-vip-x", env=[{"name": "vip_arp", "value": "true"}, {"name": "bgp_peers", "value": MARK}])),
}  # fmt: skip
COREFILE = f""".:53 {{
    kubernetes cluster.local
    route53 example.org.:ZONE {{
        aws_access_key ID {MARK}
    }}
    etcd {{
\tcredentials user "{MARK}"
    }}
    forward . /etc/resolv.conf
}}
"""
KUBECONFIG = f"apiVersion: v1\nkind: Config\nusers:\n- name: x\n  user:\n    token: {MARK}\n"
MAPS = {
    "coredns": {
        "Corefile": COREFILE,
        "NodeHosts": "10.0.0.1 a",
        "x.db": "$ORIGIN x.\n",
        "password": MARK,
        "hosts": KUBECONFIG,
        "tls.server": f"-----BEGIN X {MARK}",
    },
    "kube-proxy": {
        "config.conf": "clientConnection:\n  kubeconfig: /var/lib/kube-proxy/kubeconfig.conf\nmode: ipvs\n",
        "kubeconfig.conf": KUBECONFIG,
    },
    "node-local-dns": {"Corefile": "a:53 {\n}\n", "a": MARK},
}
SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "s", "namespace": "d", "annotations": ANNOTATIONS},
    "spec": {"ports": [{"port": 80}]},
}


def by_script(value: dict[str, Any], pods: str, keys: str, awk: str) -> dict[str, Any]:
    """Return the object as the script's function leaves it, which reads what kubectl prints."""
    begin, function = TEXT.index("known_programs='"), TEXT.index("without_private() {")
    tables = TEXT[begin : TEXT.index("\nusage() {")]
    script = f"set -u\n{tables}\n{TEXT[function : TEXT.index('take_objects() {')]}".replace(" awk -v", f" {awk} -v")
    listed = {"apiVersion": "v1", "items": [value, value], "kind": "List", "metadata": {"resourceVersion": ""}}
    printed = json.dumps(listed, indent=4, sort_keys=True, ensure_ascii=False) + "\n"
    command = ["dash", "-c", f'{script}\nwithout_private "$1" "$2"', "x", pods, keys]
    done = subprocess.run(command, input=printed, capture_output=True, text=True, check=True)
    first, second = json.loads(done.stdout)["items"]
    assert first == second
    assert isinstance(first, dict)
    return first


def by_upload(value: dict[str, Any]) -> dict[str, Any]:
    content = json.dumps({"kind": "List", "apiVersion": "v1", "items": [value]}).encode()
    found: dict[str, Any] = json.loads(remove_secrets({"cluster.json": content})[0]["cluster.json"])["items"][0]
    return found


def by_follower(value: dict[str, Any]) -> dict[str, Any]:
    store = Store()
    (change,) = store.replace("x", value["kind"], [value], seen_at=0.0)
    found: dict[str, Any] = json.loads(change.after or b"")
    return found


def awks() -> list[str]:
    return [awk for awk in ("awk", "mawk", "gawk", "busybox awk") if shutil.which(awk.split()[0])]


def held_together(value: dict[str, Any], pods: str, keys: str) -> dict[str, Any]:
    after = kept(value, value["kind"])
    assert MARK not in json.dumps(after)
    assert by_upload(value) == after
    assert by_follower(value) == after
    for awk in awks():
        assert by_script(value, pods, keys, awk) == after, awk
    return after


@pytest.mark.parametrize("name", PODS)
def test_a_pod_is_cut_the_same_every_way(name: str) -> None:
    after = held_together(PODS[name], "yes", "-")
    assert after["metadata"]["labels"] == PODS[name]["metadata"]["labels"]
    assert set(after["metadata"]["annotations"]) == {"note", "k8s.v1.cni.cncf.io/network-status", "a", "z", "empty"}


@pytest.mark.parametrize("name", MAPS)
def test_a_config_map_is_cut_the_same_every_way(name: str) -> None:
    (listed,) = re.findall(r"^config_map_keys='(.*?)'$", TEXT, re.DOTALL | re.MULTILINE)
    keys = {of: kept for _, of, kept in (line.split(" ", 2) for line in listed.splitlines())}[name]
    value = {
        "apiVersion": "v1",
        "binaryData": {"x": MARK},
        "data": MAPS[name],
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "kube-system", "annotations": ANNOTATIONS},
    }
    held_together(value, "no", keys)


def test_a_service_is_cut_the_same_every_way() -> None:
    assert held_together(SERVICE, "no", "-")["spec"] == SERVICE["spec"]


def test_what_a_trace_may_need_stays() -> None:
    proxy = kept(PODS["kube-proxy"], "Pod")["spec"]["containers"][0]
    assert proxy["command"] == ["--config=/var/lib/kube-proxy/config.conf", "--cluster-cidr", "10.0.0.0/8"]
    assert proxy["args"] == ["--proxy-mode=ipvs", "--masquerade-all"]
    assert kept(PODS["aws"], "Pod")["spec"]["containers"][0]["env"] == [
        {"name": "AWS_VPC_K8S_CNI_EXTERNALSNAT", "value": "false"},
        {"name": "ENABLE_IPv4"},
    ]
    init = kept(PODS["istio"], "Pod")["spec"]["initContainers"][0]
    assert init["args"] == ["-p", "15001", "-x", "", "-b", "*", "-d", "15090,15021"]
    assert kept(PODS["a flag whose value is a secret"], "Pod")["spec"]["containers"][0]["args"] == ["--entryPoints.web.address=:8000/tcp"]


def test_the_script_has_the_same_tables() -> None:
    table = "\n".join(f"{p.containers}|{p.images}|{p.flags}|{p.variables}" for p in PROGRAMS)
    asked = [(str(kind.namespace), str(kind.name)) for kind in (*CONFIG_MAPS, *(more.kind for more in MORE_MAPS))]
    keys = "\n".join(f"{space} {name} {configmap.KEPT_KEYS[space, name]}" for space, name in asked)
    for name, value in {
        "known_programs": table,
        "whole_object": kept_parts.WHOLE_OBJECT,
        "packed": kept_parts.PACKED,
        "secret": kept_parts.SECRET,
        "kubeconfig_like": kept_parts.KUBECONFIG,
        "secret_property": configmap.SECRET_PROPERTY,
        "object_annotations": kept_parts.OBJECT_ANNOTATIONS,
        "config_map_keys": keys,
        "config_maps": "\n".join(
            [f"{kind.namespace} {kind.name}" for kind in CONFIG_MAPS]
            + [f"{more.namespace} {more.name} {more.sign.pattern}" for more in MORE_MAPS]
        ),
        "platforms": "\n".join(f"{one.name}|{one.sign.pattern}|{one.advice}" for one in PLATFORMS),
        "otherwise": OTHERWISE,
        "more_kinds": "\n".join(f"{more.path} {more.plural}.{more.group}" for more in MORE_KINDS),
    }.items():
        assert f"\n{name}='{value}'\n" in TEXT
    lists = kept_parts.CONTAINER_LISTS.replace(" ", "|")
    assert f'"({lists})"' in TEXT
    assert str(kept_parts.LONGEST_ANNOTATION) in TEXT


def test_every_config_map_that_is_kept_is_asked_for_but_kubeadms_own() -> None:
    asked = {(kind.namespace, kind.name) for kind in (*CONFIG_MAPS, *(more.kind for more in MORE_MAPS))}
    assert asked == configmap.KEPT_KEYS.keys() - {("kube-system", "kubeadm-config")}
