"""No Secret may pass, however it is written; what is kept stays where it stood, and what nothing had to be taken from stays as it was."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tracer.snapshot import Snapshot
from tracer.snapshot.redact import remove_secrets

DEMO = Path(__file__).resolve().parents[3] / "demo"
VALUE = "c2VjcmV0LXBhc3N3b3Jk"
SECRET: dict[str, Any] = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db"}, "data": {"password": VALUE}}
SERVICE: dict[str, Any] = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "api"}}


def text(value: Any) -> bytes:
    return json.dumps(value).encode()


YAML_SECRET = f"apiVersion: v1\nkind: Secret\nmetadata:\n  name: db\ndata:\n  password: {VALUE}\n".encode()

SPELLINGS = {
    "one object": ("a.json", text(SECRET)),
    "list": ("a.json", text({"kind": "List", "items": [SECRET, SERVICE]})),
    "typed list": ("a.json", text({"kind": "SecretList", "items": [{"data": {"password": VALUE}}]})),
    "nested list": ("a.json", text({"kind": "List", "items": [{"kind": "List", "items": [SECRET]}]})),
    "array": ("a.json", text([SERVICE, SECRET])),
    "one after the other": ("a.json", text(SERVICE) + b"\n" + text(SECRET)),
    "watch event": ("pods.watch.jsonl", text({"type": "ADDED", "object": SECRET})),
    "deep inside": ("a.json", text({"kind": "Template", "objects": {"x": [[SECRET]]}})),
    "escaped": ("a.json", text(SECRET).replace(b'"Secret"', b'"Sec\\u0072et"')),
    "escaped key": ("a.json", text(SECRET).replace(b'"kind"', b'"\\u006bind"')),
    "other case": ("a.json", text(SECRET).replace(b'"Secret"', b'"SECRET"').replace(b'"kind"', b'"Kind"')),
    "white space": ("a.json", text(SECRET).replace(b'"Secret"', b'" Secret\\n"').replace(b'"kind":', b'"kind" \n:\t')),
    "twice": ("a.json", text(SECRET).replace(b'"kind":', b'"kind": "Service", "kind":')),
    "twice, the other first": ("a.json", text(SECRET).replace(b'"Secret"', b'"Secret", "kind": "Service"')),
    "truncated": ("a.json", text(SECRET)[:-3]),
    "not a number": ("a.json", text([SECRET, float("nan")])),
    "utf-16": ("a.json", json.dumps(SECRET).encode("utf-16")),
    "utf-16 without a mark": ("a.json", json.dumps(SECRET).encode("utf-16-le")),
    "byte order mark": ("a.json", b"\xef\xbb\xbf" + text(SECRET)),
    "not utf-8": ("a.json", text(SECRET) + b"\xff"),
    "too deep": ("a.json", b"[" * 100_000 + text(SECRET)),
    "deep": ("a.json", b"[" * 600 + text(SECRET) + b"]" * 600),
    "yaml": ("a.yaml", YAML_SECRET),
    "yaml of several documents": ("a.yml", b"kind: Service\n---\n" + YAML_SECRET + b"---\nkind: Pod\n"),
    "yaml in other words": ("a.yaml", YAML_SECRET.replace(b"kind: Secret", b'? "kind"\n: !!str Secret')),
    "yaml with a folded word": ("a.yaml", YAML_SECRET.replace(b"Secret", b'"Sec\\\n  ret"')),
    "yaml with escapes": ("a.yaml", YAML_SECRET.replace(b"Secret", b'"\\x53ecret"')),
    "yaml with anchors": ("a.yaml", YAML_SECRET.replace(b"kind: Secret", b"kind: &k Secret")),
    "yaml with aliases": (
        "a.yaml",
        b"kind: List\nitems:\n- kind: Service\n  metadata: {labels: {k: &k Secret}}\n- {kind: *k, data: {password: %b}}\n" % VALUE.encode(),
    ),
    "yaml with a fault": ("a.yaml", YAML_SECRET + b"\t: :\n"),
    "json called yaml": ("a.yaml", text(SECRET)),
    "yaml called json": ("a.json", YAML_SECRET),
    "no known name": ("notes.txt", YAML_SECRET),
    "a node's file": ("nodes/n/iptables-save.txt", YAML_SECRET),
    "a node's file, truncated": ("nodes/n/ss.txt", text(SECRET)[:-3]),
    "string data": ("a.json", text({"kind": "Secret", "stringData": {"p": VALUE}})[:-1]),
    "by its place": ("cluster-resources/secrets/default.json", text([{"data": {"p": VALUE}}])),
    "by its folder": ("secrets/default/db/password.json", text({"secretValue": VALUE})),
    "pull secrets": ("b/cluster-resources/image-pull-secrets/default.json", text({"auths": VALUE})),
    "by its name": ("namespaces/x/core/secrets.yaml", f"items:\n- data: {{p: {VALUE}}}\n".encode()),
    "archive": ("inner.tar.gz", b"\x1f\x8b\x08" + VALUE.encode()),
    "plain archive": ("inner.tar", b"a" * 257 + b"ustar\x0000" + VALUE.encode()),
    "config map": ("a.json", text({"kind": "ConfigMap", "metadata": {"name": "app", "namespace": "default"}, "data": {"p": VALUE}})),
    "config map of the right name elsewhere": (
        "a.json",
        text({"kind": "ConfigMap", "metadata": {"name": "coredns", "namespace": "x"}, "data": {"p": VALUE}}),
    ),
    "typed list of config maps": (
        "a.json",
        text({"kind": "ConfigMapList", "items": [{"metadata": {"name": "app"}, "data": {"p": VALUE}}]}),
    ),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_it_does_not_pass(spelling: str) -> None:
    path, content = SPELLINGS[spelling]
    kept, removed = remove_secrets({path: content})
    flat = b"".join(kept.values())
    assert VALUE.encode() not in flat.replace(b"\x00", b""), kept
    assert removed
    assert all(said.startswith(f"{path}: ") for said in removed)


@pytest.mark.parametrize("spelling", ["list", "one after the other", "yaml of several documents", "array"])
def test_what_stands_beside_it_stays(spelling: str) -> None:
    path, content = SPELLINGS[spelling]
    kept, removed = remove_secrets({path: content})
    assert b"Service" in kept[path]
    assert removed == (f"{path}: removed 1 Secret",)


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("services.json", text({"kind": "List", "items": [SERVICE]})),
        ("pods.json", text({"kind": "Pod", "spec": {"volumes": [{"secret": {"secretName": "db"}}, {"configMap": {"name": "app"}}]}})),
        (
            "gateways.json",
            text({"kind": "Gateway", "metadata": {"name": "g"}, "spec": {"certificateRefs": [{"kind": "Secret", "name": "tls"}]}}),
        ),
        (
            "configmaps.json",
            text({"kind": "ConfigMap", "metadata": {"name": "coredns", "namespace": "kube-system"}, "data": {"Corefile": ""}}),
        ),
        ("secrets/services.json", text({"kind": "ServiceList", "items": []})),
        ("namespaces/secrets/core/services.yaml", b"kind: ServiceList\nitems: []\n"),
        ("nodes/n/iptables-save.txt", b'-A X -m comment --comment "kind: Secret" -j ACCEPT\n'),
        ("nodes/n/iptables-save.txt", b"\xff\xfe\x00 not text"),
    ],
)
def test_what_holds_none_stays_byte_for_byte(path: str, content: bytes) -> None:
    assert remove_secrets({path: content}) == ({path: content}, ())


def test_it_says_how_many_of_what() -> None:
    maps = [{"kind": "ConfigMap", "metadata": {"name": n, "namespace": "x"}} for n in ("a", "b")]
    _, removed = remove_secrets({"all.json": text({"kind": "List", "items": [SECRET, SECRET, SERVICE, *maps]})})
    assert removed == ("all.json: removed 2 Secrets and 2 ConfigMaps",)


def test_a_file_that_smells_says_why_it_is_left_out() -> None:
    kept, removed = remove_secrets({"a.yaml": SPELLINGS["yaml with anchors"][1].replace(b"&k", b"*k")})
    assert kept == {"a.yaml": b'{"apiVersion": "v1", "kind": "List", "items": [\n'}
    why = "not usable YAML: the alias 'k' stands for nothing that comes before it"
    assert removed == (f"a.yaml: left out from line 2 on, it cannot be read ({why})",)


def test_what_another_group_calls_by_a_known_name_is_not_stored() -> None:
    knative = {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "spec": {"template": {"spec": {"containers": [{"env": [VALUE]}]}}},
    }
    calico = {"apiVersion": "crd.projectcalico.org/v1", "kind": "NetworkPolicy", "metadata": {"name": "p"}}
    kept, removed = remove_secrets({"all.json": text({"kind": "List", "items": [SERVICE, knative, calico]})})
    assert VALUE.encode() not in kept["all.json"]
    assert b"projectcalico" in kept["all.json"]
    assert removed == ("all.json: removed 1 Service of serving.knative.dev",)


def test_what_a_merge_key_does_not_bring_is_not_stored() -> None:
    content = f"kind: Service\nmetadata: {{name: web}}\nspec: {{<<: {{clusterIP: {VALUE}}}, clusterIP: 10.96.0.1}}\n".encode()
    kept, _ = remove_secrets({"a.yaml": content})
    assert b"10.96.0.1" in kept["a.yaml"]
    assert VALUE.encode() not in kept["a.yaml"]


@pytest.mark.parametrize("name", sorted(p.name for p in DEMO.iterdir() if p.is_dir()) if DEMO.is_dir() else [])
def test_a_recording_stays_byte_for_byte(name: str) -> None:
    """All but a timeline's answers of the API server, which have what kubectl and the server wrote for themselves."""
    root = DEMO / name
    files = {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}
    kept, removed = remove_secrets(files)
    answers = {path for path in files if path.endswith((".list.json", ".watch.jsonl"))}
    assert {path: kept[path] for path in files if path not in answers} == {path: raw for path, raw in files.items() if path not in answers}
    assert {said.partition(":")[0] for said in removed} <= answers
    assert not any(b"managedFields" in kept[path] or b"last-applied" in kept[path] for path in answers)
    assert all(kept[path].count(b"\n") == files[path].count(b"\n") for path in answers)


@given(st.binary(max_size=200), st.sampled_from(["a.json", "a.yaml", "a.txt", "nodes/n/iptables-save.txt"]))
def test_any_bytes_are_handled(content: bytes, path: str) -> None:
    kept, removed = remove_secrets({path: b"kind: Secret\n" + content})
    assert bool(kept) or bool(removed)


@given(
    st.recursive(
        st.just(SECRET),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["items", "a", "kind "]), inner, max_size=2),
    )
)
def test_no_depth_hides_one(value: Any) -> None:
    kept, _ = remove_secrets({"a.json": text(value)})
    assert VALUE.encode() not in b"".join(kept.values())


def test_the_value_of_these_tests_is_a_secret() -> None:
    assert base64.b64decode(VALUE) == b"secret-password"


# --- files -------------------------------------------------------------------------------------------------------------------

MARK = "MARK"
POD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "p", "namespace": "d"},
    "spec": {"containers": [{"name": "c", "env": [{"name": "A", "value": MARK}], "args": [MARK]}]},
}
NODE: dict[str, Any] = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}}
DEPLOYMENT: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "d"},
    "spec": {"template": {"spec": POD["spec"]}},
}
KUBECONFIG = f"apiVersion: v1\nkind: Config\nusers:\n- name: dev\n  user: {{token: {MARK}}}\n".encode()
CLEAN = {
    "services.json": text({"kind": "List", "items": [SERVICE]}),
    "nodes/n/iptables-save.txt": b"*nat\nCOMMIT\n",
}
MARKED = {
    "app.log": f"password={MARK}\n".encode(),
    "kubeconfig": KUBECONFIG,
    "config": KUBECONFIG,
    "kubeconfig.yaml": KUBECONFIG,
    "tls.key": f"-----BEGIN PRIVATE KEY-----\n{MARK}\n".encode(),
    ".env": f"TOKEN={MARK}\n".encode(),
    "nodes/n/kubelet.conf": KUBECONFIG,
    "nodes/n/notes.txt": MARK.encode(),
    "nodes/n/ss.txt": f"-----BEGIN RSA PRIVATE KEY-----\n{MARK}\n".encode(),
    "nodes/n/resolv.conf": f"users:\n- user:\n    client-key-data: {MARK}\n".encode(),
    "nodes/n/deep/iptables-save.txt": MARK.encode(),
    "values.yaml": f"apiVersion: v1\npassword: {MARK}\n".encode(),
    "items.json": text({"items": MARK, "password": MARK}),
    "no-kind.json": text({"apiVersion": "v1", "metadata": {"name": "x"}, "data": {"p": MARK}}),
    "numbers.json": text([1, MARK, [POD], None]),
    "workloads.json": text(
        {"kind": "List", "items": [DEPLOYMENT, {**DEPLOYMENT, "kind": "CronJob"}, {**DEPLOYMENT, "kind": "ReplicaSet"}]}
    ),
    "typed.json": text({"kind": "DaemonSetList", "items": [{"spec": MARK}]}),
    "helm.json": text({"kind": "List", "items": [{**SECRET, "type": "helm.sh/release.v1", "data": {"release": MARK}}]}),
    "events.json": text({"kind": "List", "items": [{"kind": "Event", "metadata": {"name": "e"}, "message": MARK, "note": MARK}]}),
    "pods.json": text({"kind": "PodList", "items": [POD["spec"] | {"metadata": {"name": "p"}, "spec": POD["spec"]}]}),
    "pods.yaml": b"apiVersion: v1\nkind: PodList\nitems:\n- metadata: {name: p}\n  spec:\n    containers:\n    - name: c\n      args: ["
    + MARK.encode()
    + b"]\n",
    "a.json": text(POD) + b"\n" + text(SERVICE) + text({"kind": "List", "items": [[POD]]}),
    "b.yaml": b"kind: Service\nmetadata: {name: s}\n---\n"
    + json.dumps(POD).encode()
    + b"\n---\nkind: Role\nrules: "
    + MARK.encode()
    + b"\n",
    "list-with-more.json": text({"kind": "List", "items": [SERVICE], "password": MARK}),
    "list-with-metadata.json": text({"kind": "List", "items": [SERVICE], "metadata": {"annotations": {"x": MARK}}}),
    "twice.json": text(POD).replace(b'"spec"', b'"spec": {}, "spec"'),
    "cut.json": text({"kind": "List", "items": [SERVICE, POD]})[:-9],
    "cut.yaml": b"kind: Pod\nspec:\n  x: [" + MARK.encode() + b"\n",
    "deep.json": b"[" * 100_000 + MARK.encode(),
    "hidden.json": text({"kind": "Service", "metadata": {"name": "s"}, "spec": {"x": [{"kind": "Secret", "data": {"p": MARK}}]}}),
    "snapshot.json": text({"collector": "x", "password": MARK, "files": {"a": {"read_at": "x", "x": MARK}, "b": MARK}}),
    "version.json": text({"gitVersion": "v1.30.0", "password": MARK, "info": {"x": MARK}}),
    "configmaps.json": text(
        {"kind": "ConfigMap", "metadata": {"namespace": "kube-system", "name": "kube-proxy"}, "data": {"kubeconfig.conf": MARK}}
    ),
    "namespaces/d/core/pods.yaml": b"kind: PodList\nitems:\n- spec: {containers: [{name: a, env: [{name: A, value: "
    + MARK.encode()
    + b"}]}]}\n",
    "namespaces/d/pods/p/p.yaml": json.dumps(POD).encode(),
    "d/pods.json": text({"kind": "PodList", "items": [POD]}),
    "cluster-resources/pods/d.json": text([POD]),
    "cluster-resources/pods/logs/d/p/c.log": MARK.encode(),
    "inner.tar.gz": b"\x1f\x8b\x08" + MARK.encode(),
}


@pytest.mark.parametrize("path", MARKED)
def test_what_is_of_no_use_to_a_trace_is_not_stored(path: str) -> None:
    files = CLEAN | {path: MARKED[path]}
    kept, removed = remove_secrets(files)
    assert MARK.encode() not in b"".join(kept.values()), kept[path]
    assert [said for said in removed if said.startswith(f"{path}: ")]
    assert {name: kept[name] for name in CLEAN} == CLEAN


def test_a_timeline_is_cut_as_well() -> None:
    event = {"type": "ADDED", "object": POD}
    files = {
        "steps.json": text([{"step": 0, "title": "t", "at": 1, "resource_version": "1", "x": MARK}]),
        "base/services.json": CLEAN["services.json"],
        "pods.list.json": text({"kind": "PodList", "metadata": {"resourceVersion": "1"}, "items": [POD]}),
        "pods.watch.jsonl": text(event)
        + b"\n"
        + text({**event, "x": MARK})
        + b"\n"
        + text({"type": "ADDED", "object": SECRET})
        + b"\n{"
        + MARK.encode(),
        "secrets.watch.jsonl": text({"type": "ADDED", "object": {"data": MARK}}),
        "step-00/n.iptables-save.txt": b"*nat\nCOMMIT\n",
        "step-00/n.notes.txt": MARK.encode(),
    }
    kept, _ = remove_secrets(files)
    assert MARK.encode() not in b"".join(kept.values())
    assert kept["step-00/n.iptables-save.txt"] == files["step-00/n.iptables-save.txt"]
    lines = kept["pods.watch.jsonl"].splitlines()
    assert [json.loads(line)["object"]["kind"] for line in lines[:2]] == ["Pod", "Pod"]
    assert lines[2:] == [b"{"], "what cannot be read stays what cannot be read"


# --- places ------------------------------------------------------------------------------------------------------------------


def printed(*objects: dict[str, Any], indent: int | None = 4) -> bytes:
    return (
        json.dumps({"apiVersion": "v1", "items": objects, "kind": "List", "metadata": {"resourceVersion": ""}}, indent=indent).encode()
        + b"\n"
    )


def starts(path: str, content: bytes) -> dict[str, int]:
    """Return the line on which each object begins, by its name."""
    file = Snapshot.from_files({path: content}).objects._files[0]  # the reader itself
    return {str(raw.value["metadata"]["name"]): file.line_of(i) for i in range(len(file)) for raw in file.objects(i)}  # type: ignore[index]


ORDERS = [
    [SERVICE, POD, NODE],
    [POD, SECRET, SERVICE, NODE],
    [SECRET, POD, SERVICE],
    [SERVICE, SECRET],
    [SECRET, SECRET, SERVICE, SECRET, POD, SECRET],
    [SECRET],
    [POD, DEPLOYMENT, DEPLOYMENT, NODE],
]


@pytest.mark.parametrize("form", ["kubectl", "indented by two", "one line", "a row", "two lists", "yaml", "yaml documents"])
@pytest.mark.parametrize("order", range(len(ORDERS)))
def test_every_object_begins_on_the_line_where_it_began(order: int, form: str) -> None:
    objects = [json.loads(json.dumps({**one, "metadata": {"name": f"{one['kind']}-{n}"}})) for n, one in enumerate(ORDERS[order])]
    path = "cluster.yaml" if form.startswith("yaml") else "cluster.json"
    content = {
        "kubectl": lambda: printed(*objects),
        "indented by two": lambda: printed(*objects, indent=2),
        "one line": lambda: printed(*objects, indent=None),
        "a row": lambda: b"\n".join(json.dumps(one, indent=1).encode() for one in objects),
        "two lists": lambda: printed(*objects[:2]) + printed(*objects[2:]),
        "yaml": lambda: yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": objects}).encode(),
        "yaml documents": lambda: yaml.safe_dump_all(objects).encode(),
    }[form]()
    before = {name: line for name, line in starts(path, content).items() if name.partition("-")[0] in ("Service", "Node", "Pod")}
    kept, _ = remove_secrets({path: content})
    assert starts(path, kept[path]) == before if before else not starts(path, kept.get(path, b'{"items": []}'))
    assert MARK.encode() not in kept.get(path, b"")


def test_what_cannot_be_read_is_a_fault_where_it_was_and_the_rest_is_used() -> None:
    content = printed(SERVICE, POD, NODE)[:-200]
    objects = Snapshot.from_files(remove_secrets({"services.json": content})[0]).objects
    assert [s.name for s in objects.services] == ["api"]
    objects.check_all()
    wanted = Snapshot.from_files({"services.json": content}).objects
    wanted.check_all()
    assert [fault.line for fault in objects.faults] == [fault.line for fault in wanted.faults]


@pytest.mark.parametrize(
    "content",
    [
        b"\n" * 4_000_000 + b"# secret",
        b" " * 4_000_000 + b"secret",
        b"kind" * 1_000_000 + b"secret",
        b"kind" + b"!" * 4_000_000 + b"secret",
        b"kind: " * 500_000 + b"secret",
        b"\\\n" * 2_000_000 + b"secret",
        b'{"items": [' + b"{}," * 300_000 + b'{}], "secret": 1}',
        b"[" * 1_000_000 + b"secret",
        b"- " * 100_000 + b"secret",
    ],
)
@pytest.mark.parametrize("path", ["nodes/n/iptables-save.txt", "a.json", "a.yaml", "nodes/n/ip-addr.json"])
def test_no_text_takes_long(content: bytes, path: str) -> None:
    before = time.process_time()
    remove_secrets({path: b"kind: List\n" * (path == "a.yaml") + content})
    assert time.process_time() - before < 20


def test_a_list_of_nothing_is_a_list() -> None:
    kept, removed = remove_secrets({"pods.json": b'{"kind": "PodList", "items": null}'})
    assert (json.loads(kept["pods.json"]), removed) == ({"kind": "PodList", "items": []}, ())


def test_half_a_surrogate_pair_stays_an_escape() -> None:
    pod = json.dumps({**POD, "metadata": {"name": "p", "labels": {"a": "\ud800"}}}).encode()
    kept, _ = remove_secrets({"pods.json": pod})
    assert b'"\\ud800"' in kept["pods.json"]
    assert kept["pods.json"].isascii()


KINDS = st.sampled_from(["Pod", "List", "PodList", "Service", "ConfigMap", "Event", "Secret", "x", 1, None, ["Pod"], {"a": 1}])
ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
    | st.sampled_from(["--conf=x", "kube-proxy"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["metadata", "annotations", "spec", "containers", "env", "args", "name", "items", "data", "object", "value", "message", "x"]
            ),
            inner,
            max_size=5,
        ).flatmap(lambda value: KINDS.map(lambda kind: value | {"kind": kind}))
    ),
    max_leaves=30,
)


@given(
    ANY,
    st.sampled_from(
        ["a.json", "pods.json", "a.yaml", "configmaps.yaml", "snapshot.json", "version.json", "base/pods.json", "pods.watch.jsonl"]
    ),
)
def test_any_shape_is_handled_and_what_is_kept_stays_kept(value: Any, path: str) -> None:
    timeline = {"steps.json": b"[]", "base/services.json": b"{}"} if "base" in path or "watch" in path else {}
    kept, _ = remove_secrets({path: text(value), **timeline})
    again, _ = remove_secrets(kept)
    assert again == kept


def test_no_log_of_a_dump_is_stored() -> None:
    lists = [json.dumps({"kind": "ServiceList", "items": [{"metadata": {"name": n}, "spec": {}}]}, indent=4) for n in ("one", "two")]
    mark = "logs for container app of pod shop/web-1 ===="
    text = f'{lists[0]}\n==== START {mark}\nhunter2 {{"kind": "Service"}}\n==== END {mark}\n{lists[1]}\n'
    kept, said = remove_secrets({"cluster.json": text.encode()})
    assert b"hunter2" not in kept["cluster.json"]
    assert any("stands around" in one for one in said)
    objects = Snapshot.from_files(kept).objects
    assert ([s.name for s in objects.services], objects.faults) == (["one", "two"], ())
    at = [text[: text.index(f'"name": "{n}"')].count("\n") - 2 for n in ("one", "two")]
    assert [s.origin.item for s in objects.services] == [0, 1]
    found = Snapshot.from_files(kept).layout.objects[0].path
    lines = kept[found].decode().split("\n")
    assert [next(i for i, line in enumerate(lines) if f'"{n}"' in line) for n in ("one", "two")] == at
