"""Words, objects and dumps under other names, one by one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tracer.routing.proc_text import parse_trie
from tracer.snapshot import Snapshot
from tracer.snapshot.node_files import BY_NAME
from tracer.snapshot.rename import Renaming
from tracer.snapshot.rename.addresses import Addresses
from tracer.snapshot.rename.dumps import HEXADECIMAL, TAKEN, Dumps
from tracer.snapshot.rename.words import Words

KEY = b"sixteen bytes or more"
WORDS = Words(KEY)
DUMPS = Dumps(KEY, Addresses(KEY), WORDS)
W = WORDS.in_name
ADDRESS = Addresses(KEY).in_text("10.244.1.2")
SERVICE = {"kind": "Service", "metadata": {"name": "payroll", "namespace": "acme"}, "spec": {"clusterIP": "10.96.0.1"}}


ROUTING = Path(__file__).parents[2] / "routing" / "proc_text"


def renamed(**files: Any) -> tuple[dict[str, Any], Renaming]:
    content = {"services.json": SERVICE} | files
    raw = {name: value.encode() if isinstance(value, str) else json.dumps(value).encode() for name, value in content.items()}
    renaming = Renaming(Snapshot.from_files(raw), KEY)
    return {name: value.decode() for name, value in renaming.files()}, renaming


# --- words ---------------------------------------------------------------------------------------------------------------


def test_one_word_becomes_one_word() -> None:
    assert WORDS.word("payroll") == Words(KEY).word("payroll") != "payroll"
    assert Words(b"another key of 16 bytes").word("payroll") != WORDS.word("payroll")
    made = [WORDS.word(f"pod-{number}") for number in range(20_000)]
    assert len(set(made)) == 20_000
    assert all(len(word) == 10 and word.isalpha() and word.islower() for word in made)


def test_what_every_cluster_has_stays() -> None:
    assert W("payroll.acme.svc.cluster.local") == f"{W('payroll')}.{W('acme')}.svc.cluster.local"
    assert W("acme/payroll:http") == f"{W('acme')}/{W('payroll')}:http"
    for text in ("kube-system", "default", "http", "8080", "kube-dns", ""):
        assert W(text) == text


# --- objects -------------------------------------------------------------------------------------------------------------


def test_half_a_surrogate_pair_stays_an_escape() -> None:
    files, _ = renamed(**{"services.json": SERVICE | {"spec": {"clusterIP": "None", "ipFamilies": ["\ud800"]}}})
    assert "\\ud800" in files["services.json"]


def test_only_what_a_trace_needs_is_taken_over() -> None:
    pod = {
        "kind": "Pod",
        "metadata": {
            "name": "p",
            "namespace": "acme",
            "uid": "hunter2",
            "annotations": {"note": "hunter2", "service.kubernetes.io/topology-mode": "Auto", "x.kubernetes.io/y": "hunter2"},
            "labels": {"team": "hunter2", "acme.example/owner": "hunter2", "topology.kubernetes.io/zone": "hunter2"},
        },
        "spec": {
            "nodeName": "n",
            "volumes": [{"hostPath": {"path": "/hunter2"}}],
            "containers": [{"name": "c", "image": "registry.hunter2/x", "env": [{"name": "hunter2"}], "ports": [{"containerPort": 80}]}],
        },
        "status": {"phase": "Running", "podIP": "10.244.1.2", "conditions": [{"type": "Ready", "status": "True", "message": "hunter2"}]},
    }
    files, _ = renamed(**{"pods.json": pod})
    (made,) = json.loads(files["pods.json"])["items"]
    assert "hunter2" not in json.dumps(made)
    assert made["metadata"]["annotations"] == {"service.kubernetes.io/topology-mode": "Auto"}
    assert made["metadata"]["labels"] == {
        W("team"): W("hunter2"),
        W("acme.example/owner"): W("hunter2"),
        "topology.kubernetes.io/zone": W("hunter2"),
    }
    assert made["spec"] == {"nodeName": W("n"), "containers": [{"name": W("c"), "ports": [{"containerPort": 80}]}]}
    assert made["status"]["podIP"] == ADDRESS


def test_configurations_lose_domains_and_addresses() -> None:
    config = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nmode: ipvs\nhostnameOverride: acme-1\nclusterCIDR: 10.244.0.0/16\n"
    corefile = "cluster.local:53 {\n  forward . 10.244.1.2\n  rewrite name old.acme.com new.acme.com\n  hosts /etc/hosts\n}\n"
    maps = [
        {
            "kind": "ConfigMap",
            "metadata": {"name": "kube-proxy", "namespace": "kube-system"},
            "data": {"config.conf": config, "kubeconfig.conf": "hunter2"},
        },
        {"kind": "ConfigMap", "metadata": {"name": "coredns", "namespace": "kube-system"}, "data": {"Corefile": corefile}},
    ]
    files, _ = renamed(**{"configmaps.json": {"kind": "List", "items": maps}})
    proxy, dns = (item["data"] for item in json.loads(files["configmaps.json"])["items"])
    assert proxy == {"config.conf": config.replace("acme-1", W("acme-1")).replace("10.244.0.0/16", Addresses(KEY).in_text("10.244.0.0/16"))}
    assert dns["Corefile"] == corefile.replace("10.244.1.2", ADDRESS).replace("acme", W("acme")).replace("old.", f"{W('old')}.").replace(
        "new.", f"{W('new')}."
    )


# --- dumps ---------------------------------------------------------------------------------------------------------------


def hashed(text: str) -> str:
    return DUMPS.renamed("iptables-save.txt", f"-j KUBE-SVC-{text}").removeprefix("-j KUBE-SVC-")


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        (
            "iptables-save.txt",
            '-A KUBE-SERVICES -d 10.244.1.2/32 -m comment --comment "acme/payroll:http cluster IP" -j KUBE-SVC-ERIFXISQEP7F7OF4',
            f'-A KUBE-SERVICES -d {ADDRESS}/32 -m comment --comment "{W("acme")}/{W("payroll")}:http cluster IP" -j KUBE-SVC-'
            + hashed("ERIFXISQEP7F7OF4"),
        ),
        ("iptables-save.txt", "-m comment --comment acme/local -j X", f"-m comment --comment {W('acme')}/local -j X"),
        (
            "iptables-save.txt",
            '--comment "acme/service -> [fd00:10:244:1::2]:8080"',
            f'--comment "{W("acme")}/{W("service")} -> [{Addresses(KEY).in_text("fd00:10:244:1::2")}]:8080"',
        ),
        ("iptables-save.txt", '--comment "allow Berlin office"', f'--comment "allow {W("Berlin")} {W("office")}"'),
        ("iptables-save.txt", '-j LOG --log-prefix "berlin: "', f'-j LOG --log-prefix "{W("berlin")}: "'),
        ("iptables-save.txt", "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -j DROP\n", "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -j DROP\n"),
        (
            "iptables-save.txt",
            ":OFFICE - [0:0]\n-A INPUT -j OFFICE\n[1:2] -A OFFICE -g OFFICE-2\n",
            f":{W('OFFICE')} - [0:0]\n-A INPUT -j {W('OFFICE')}\n[1:2] -A {W('OFFICE')} -g OFFICE-2\n",
        ),
        ("nft-ruleset.txt", '\t\tcomment "acme/payroll:http"', f'\t\tcomment "{W("acme")}/{W("payroll")}:http"'),
        ("nft-ruleset.json", '"comment": "short-circuit pod traffic"', '"comment": "short-circuit pod traffic"'),
        ("nft-ruleset.json", '{"comment": "acme", "expr": [{"limit": 1}]}', f'{{"comment": "{W("acme")}", "expr": [{{"limit": 1}}]}}'),
        ("ipset-save.txt", 'add S 10.244.1.2 comment "acme/payroll"', f'add S {ADDRESS} comment "{W("acme")}/{W("payroll")}"'),
        ("resolv.conf", "search acme.example.com\nnameserver 10.244.1.2\n", f"search {W('acme')}.example.com\nnameserver {ADDRESS}\n"),
        (
            "ss.txt",
            'users:(("kube-proxy",pid=1,fd=2),("payroll",pid=2,fd=3))',
            f'users:(("kube-proxy",pid=1,fd=2),("{W("payroll")}",pid=2,fd=3))',
        ),
        ("ip-route.json", '[{"dst":"10.244.1.2","dev":"eth0"}]', f'[{{"dst":"{ADDRESS}","dev":"eth0"}}]'),
        ("kube-proxy-mode.txt", "iptables", "iptables"),
    ],
)
def test_a_dump_under_other_names(name: str, text: str, expected: str) -> None:
    assert DUMPS.renamed(name, text) == expected


def test_names_of_nft_chains_are_renamed_with_their_addresses() -> None:
    names = [
        "service-FKIP43JP-acme/payroll/tcp/http",
        "endpoint-HRNLURBU-acme/payroll/tcp/__10.244.1.2/80",
        "affinity-HRNLURBU-acme/payroll/udp/http__fd00.10.244.1..2/8080",
    ]
    one, two, three = (DUMPS.renamed("nft-ruleset.json", f'"{name}"').strip('"') for name in names)
    where = f"{W('acme')}/{W('payroll')}"
    assert one.partition("-")[0] == "service"
    assert one.endswith(f"-{where}/tcp/http")
    assert two.endswith(f"-{where}/tcp/__{ADDRESS}/80")
    assert three.endswith(f"-{where}/udp/http__{Addresses(KEY).in_text('fd00:10:244:1::2').replace(':', '.')}/8080")
    assert "FKIP43JP" not in one


def test_every_node_file_is_taken_over_or_said() -> None:
    assert set(BY_NAME) > TAKEN
    files, renaming = renamed(**{f"nodes/acme-1/{name}": "" for name in BY_NAME} | {"notes.txt": "hunter2"})
    assert {name.rpartition("/")[2] for name in files if name.startswith("nodes/")} == TAKEN
    assert {name.split("/")[1] for name in files if name.startswith("nodes/")} == {W("acme-1")}
    left = "\n".join(renaming.left_out)
    assert all(f"nodes/acme-1/{name}" in left for name in set(BY_NAME) - TAKEN)
    assert "notes.txt" in left


def test_no_file_of_proc_with_hexadecimal_addresses_is_taken_over() -> None:
    dotted = {f"proc-net-{name}.txt" for name in ("fib-trie", "dev", "arp", "nf-conntrack")}
    assert {name for name in BY_NAME if name.startswith("proc-net-")} == HEXADECIMAL | dotted
    files, renaming = renamed(**{f"nodes/acme-1/{name}": "0: 0101600A:0050 0A016001" for name in HEXADECIMAL})
    assert not any("0A016001" in str(content) or "0101600A" in str(content) for content in files.values())
    for name in HEXADECIMAL:
        assert f"nodes/acme-1/{name}: its addresses are in hexadecimal" in renaming.left_out


def test_the_trie_of_routes_is_read_under_other_addresses() -> None:
    text = (ROUTING / "node-fib_trie.txt").read_text()
    files, _ = renamed(**{"nodes/acme-1/proc-net-fib-trie.txt": text})
    (made,) = (str(content) for name, content in files.items() if name.endswith("fib-trie.txt"))
    assert "192.0.2.11" not in made
    before, after = parse_trie(text, "f"), parse_trie(made, "f")
    assert (len(after.addresses()), len(after.main), after.has_own_rules_only) == (len(before.addresses()), len(before.main), True)


def test_snapshot_json_says_that_it_is_redacted_and_no_reason_that_may_hold_names() -> None:
    about = {
        "collected_at": "2026-11-20T10:00:00Z",
        "files": {
            "nodes/acme-1/ss.txt": {"error": "payroll said no"},
            "nodes/acme-1/pods/acme_payroll/ss.txt": {"error": "payroll said no"},
            "pods.json": {"error": "acme"},
            "pod:acme/payroll": {"error": "No pod is found by it."},
        },
    }
    files, _ = renamed(**{"snapshot.json": about})
    made = json.loads(files["snapshot.json"])
    assert (made["redacted"], made["collected_at"]) == (True, "2026-11-20T10:00:00+00:00")
    assert made["files"] == {
        f"nodes/{W('acme-1')}/ss.txt": {"error": "it could not be read"},
        f"nodes/{W('acme-1')}/pods/{W('acme')}_{W('payroll')}/ss.txt": {"error": "it could not be read"},
        "pods.json": {"error": "it could not be read"},
    }


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        Renaming(Snapshot.from_files({}), b"short")


def test_a_pods_own_files_lie_below_its_new_name() -> None:
    own = "nodes/worker/pods/acme_payroll/"
    files, _ = renamed(**{f"{own}iptables-save.txt": "*filter\n:INPUT DROP [0:0]\n-A INPUT -s 10.244.1.2/32 -j ACCEPT\nCOMMIT\n"})
    path = f"nodes/{W('worker')}/pods/{W('acme')}_{W('payroll')}/iptables-save.txt"
    assert f"-s {ADDRESS}/32" in files[path] and not any("payroll" in name or "acme" in name for name in files)
