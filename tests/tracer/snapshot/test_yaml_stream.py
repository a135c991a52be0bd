"""Of a stream of documents the healthy ones are read and the broken ones are said, whatever stands between them."""

from __future__ import annotations

import json
import time

import pytest

from tracer.errors import Fault
from tracer.snapshot import Snapshot
from tracer.snapshot.redact import Redaction
from tracer.snapshot.summary import summarise
from tracer.snapshot.yaml_stream import TEMPLATE_SAID, read_stream


def service(name: str, more: str = "") -> str:
    return f"apiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\n  namespace: shop\nspec:\n  clusterIP: 10.96.0.7\n{more}"


def listed(*names: str) -> str:
    items = "".join("- " + service(name).replace("\n", "\n  ").rstrip() + "\n" for name in names)
    return f'apiVersion: v1\nitems:\n{items}kind: List\nmetadata:\n  resourceVersion: ""\n'


def read(text: str, path: str = "cluster.yaml") -> tuple[list[str], tuple[Fault, ...]]:
    objects = Snapshot.from_files({path: text.encode()}).objects
    return [s.name for s in objects.services], objects.faults


BROKEN = {
    "a mapping in a value": "kind: Service\nname: b: c\n",
    "a key twice": service("bad", "kind: Service\n"),
    "a bracket": "kind: Service\nmetadata: {name: [bad\n",
    "a quote": 'kind: Service\nmetadata: {name: "bad\n',
    "a tab": "kind: Service\nmetadata:\n\tname: bad\n",
    "an indent": "kind: Service\n   metadata: x\n",
    "a tag": "kind: !!python/object:os.system Service\n",
    "an alias": "kind: Service\nmetadata: *nothing\n",
    "a bomb": "a: &a [x]\nb: &b [" + "*a, " * 400 + "]\nc: &c [" + "*b, " * 400 + "]\nd: [" + "*c, " * 400 + "]\n",
    "nesting": "kind: " + "[" * 200 + "\n",
    "a control character": "kind: Service\nmetadata: {name: \x07}\n",
    "a template": "kind: Service\nmetadata:\n  name: {{ .Values.name }}\n",
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_document_takes_no_neighbour_with_it(broken: str) -> None:
    bad = BROKEN[broken]
    text = f"---\n{service('a')}---\n{bad}---\n{service('b')}--- # comment\n{bad}---\n{listed('c', 'd')}"
    names, faults = read(text)
    assert names == ["a", "b", "c", "d"]
    first = text[: text.index(bad)].count("\n") + 1
    second = text[: text.rindex(bad)].count("\n") + 1
    # libyaml tells of what is missing at the end of a document where the next one begins, and of a wrong character no place at all.
    length = bad.count("\n") + 1
    assert [begin - 1 <= (f.line or 0) <= begin + length for begin, f in zip((first, second), faults, strict=True)] == [True, True]


@pytest.mark.parametrize("broken", BROKEN)
def test_what_is_stored_ends_in_the_same_answers(broken: str) -> None:
    text = f"{service('a')}---\n{BROKEN[broken]}---\n{service('b')}"
    _, faults = read(text)
    stored = Redaction(["cluster.yaml"]).stored("cluster.yaml", text.encode())
    assert (stored.faults, stored.content is not None) == (faults, True)
    assert stored.said == (f"cluster.yaml: left out what is on line {faults[0].line}: it cannot be read ({faults[0].message})",)
    kept = Snapshot.from_files({"cluster.yaml": stored.content or b""})
    assert [s.name for s in kept.objects.services] == ["a", "b"]
    assert [f.line for f in kept.objects.faults] == [faults[0].line]
    # Who asks for another kind has to hear of it too: it may have been there.
    again = Snapshot.from_files({"cluster.yaml": stored.content or b""})
    assert again.objects.pods == ()
    assert len(again.objects.faults) == 1
    assert summarise(kept, met=stored.faults).to_dict()["faults"][0]["count"] == 1  # type: ignore[index]


@pytest.mark.parametrize("at", [1, 3])
def test_a_list_that_breaks_keeps_what_came_before(at: int) -> None:
    lines = listed("a", "b", "c").split("\n")
    begin = [n for n, line in enumerate(lines) if line.startswith("- ")][at - 1]
    broken = "\n".join([*lines[: begin + 2], "  x: y: z", *lines[begin + 2 :]])
    names, (fault,) = read(f"{service('z')}---\n{broken}")
    assert names == ["z", *"abc"[: at - 1]]
    assert fault.line == 9 + begin + 2
    stored = Redaction(["cluster.yaml"]).stored("cluster.yaml", broken.encode())
    assert stored.said[-1].startswith(f"cluster.yaml: left out from line {begin + 3} on, it cannot be read")


@pytest.mark.parametrize("cut", range(60, len(listed("a", "b")) - 40, 17))
def test_a_list_that_is_cut_short_says_so(cut: int) -> None:
    names, faults = read(listed("a", "b")[:cut] + "\n")
    assert len(faults) == 1
    assert names == (["a"] if cut > listed("a", "b").index("- ", 40) else [])


LOG = "==== START logs for container app of pod shop/a ====\nkind: Secret\n---\n{not: yaml\n==== END logs for container app of pod shop/a ====\n"
NOISE = {
    "a mark": "---\n",
    "nothing": "",
    "an end": "...\n",
    "a directive": "...\n%YAML 1.1\n---\n",
    "a comment": "# kubectl get services\n",
    "a command": "$ kubectl get nodes -o yaml\n",
    "a trace": "+ kubectl get nodes -o yaml\n",
    "a prompt": "root@n1:~# kubectl get nodes -o yaml\n",
    "another prompt": "[core@n1 ~]$ cat more.yaml\n",
    "an empty prompt": "me@host:~/x$\n",
    "PowerShell": "PS C:\\Users\\me> kubectl get nodes -o yaml\n",
    "a warning": "Warning: v1 Endpoints is deprecated in v1.33+\n",
    "klog": "W1120 10:00:00.123456   12 warnings.go:70] x\n",
    "a fence": "```\nkubectl get nodes -o yaml\n```yaml\n".replace("kubectl get nodes -o yaml\n", ""),
    "logs": f"{LOG}{LOG}---\n",
    "a log without a mark": LOG,
}


@pytest.mark.parametrize("noise", NOISE)
def test_what_stands_between_is_passed_over(noise: str) -> None:
    text = f"{service('a')}{NOISE[noise]}{listed('b', 'c')}{NOISE[noise]}{service('d')}"
    assert read(text) == (["a", "b", "c", "d"], ())
    documents = list(read_stream(text, "f.yaml"))
    assert list(dict.fromkeys(d.line for d in documents)) == [
        n for n, line in enumerate(text.split("\n"), 1) if line.startswith("apiVersion")
    ]
    content = Redaction(["cluster.yaml"]).stored("cluster.yaml", text.encode()).content or b""
    assert b"Secret" not in content
    assert [s.name for s in Snapshot.from_files({"cluster.yaml": content}).objects.services] == ["a", "b", "c", "d"]


@pytest.mark.parametrize("said", ["Error from server (Forbidden): nodes is forbidden: User x cannot list", "error: no such resource"])
def test_a_refusal_between_is_said_and_what_follows_is_read(said: str) -> None:
    names, (fault,) = read(f"{service('a')}{said}\n{service('b')}")
    assert names == ["a", "b"]
    assert (fault.line, said in fault.message) == (8, True)


def test_a_log_without_an_end_loses_what_is_behind_it_and_says_so() -> None:
    names, (fault,) = read(service("a") + LOG.partition("==== END")[0] + service("b"))
    assert (names, fault.line) == (["a"], 8)
    assert "has no end" in fault.message


def test_a_manifest_is_not_cut_at_its_comments_or_texts() -> None:
    text = service("a", "# kubectl apply -f this\n# Error from server\n").replace(
        "spec:", "data:\n  x: |\n    ---\n    $ kubectl get\n    apiVersion: v1\n    ==== START logs for container a ====\nspec:"
    )
    assert read(text) == (["a"], ())


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("services.json", listed("a", "b")),
        ("services.yaml", json.dumps({"kind": "List", "items": [{"kind": "Service", "metadata": {"name": n}} for n in "ab"]})),
        ("services.yaml", '{"kind": "Service", "metadata": {"name": "a"}}\n---\n' + service("b")),
        (
            "cluster.yaml",
            "$ kubectl get services -o json\n"
            + json.dumps({"kind": "List", "items": [{"kind": "Service", "metadata": {"name": n}} for n in "ab"]}),
        ),
        ("cluster.json", "$ kubectl get services -o yaml\n" + listed("a", "b")),
    ],
)
def test_a_text_is_read_as_what_it_is_whatever_it_is_called(path: str, text: str) -> None:
    assert read(text, path) == (["a", "b"], ())


def test_json_that_is_cut_keeps_what_came_before_under_a_yaml_name_too() -> None:
    text = json.dumps({"kind": "List", "items": [{"kind": "Service", "metadata": {"name": n}} for n in "ab"]})[:-20]
    names, faults = read(text, "cluster.yaml")
    assert (names, len(faults)) == (["a"], 1)


@pytest.mark.parametrize(
    "line",
    [
        "---\n",
        "# x\n",
        "x\n",
        "$ kubectl\n",
        "...\n",
        "apiVersion:\n",
        "a@b: \n",
        "Error from server\n",
        LOG.partition("==== END")[0],
        "%\n",
    ],
)
def test_no_stream_takes_long(line: str) -> None:
    text = line * (200_000 // len(line))
    begun = time.process_time()
    for _ in read_stream(text, "f.yaml"):
        pass
    assert time.process_time() - begun < 10


TEMPLATES = {
    "a name": "kind: Service\nmetadata:\n  name: {{ .Values.name }}\n",
    "a quoted name": "kind: Service\nmetadata: {name: '{{ .Values.name }}'}\n",
    "an if": "{{- if .Values.on }}\nkind: Service\n{{- end }}\n",
    "an include": 'kind: Service\nmetadata:\n  labels:\n    {{- include "x" . | nindent 4 }}\n    a: b\n',
}


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_template_is_said_and_its_neighbours_are_read(template: str) -> None:
    names, (fault,) = read(f"{service('a')}---\n{TEMPLATES[template]}---\n{service('b')}")
    assert (names, fault.message) == (["a", "b"], TEMPLATE_SAID)


def test_a_fault_far_from_a_template_in_a_string_is_no_template() -> None:
    names, (fault,) = read(
        f"kind: ConfigMap\ndata:\n  x: |\n    {{{{ .Values }}}}\n  y: z\n  z: z\n  a: z\n  b: z\n  c: d: e\n---\n{service('b')}"
    )
    assert names == ["b"]
    assert fault.message.startswith("not YAML")


def test_the_items_of_a_list_come_one_by_one_and_are_not_kept() -> None:
    documents = list(read_stream(listed(*"abcdef"), "f.yaml"))
    assert [len(d.value["items"]) for d in documents] == [1] * 6 + [0]  # type: ignore[index]
    assert len(documents[1].lines) <= 3


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("kind: ServiceList", ["a"]),
        ("kind: 'ServiceList'", ["a"]),
        ("kind: SecretList", []),
        ('"kind": SecretList', []),
        ("? kind\n: SecretList", []),
    ],
)
def test_items_have_the_kind_that_stands_behind_them(kind: str, names: list[str]) -> None:
    text = f"apiVersion: v1\nitems:\n- metadata: {{name: a}}\n  data: {{p: hidden}}\n  kinds: |\n    kind: List\n{kind}\n"
    objects = Snapshot.from_files({"cluster.yaml": text.encode()}).objects
    assert [s.name for s in objects.services] == names
    stored = Redaction(["cluster.yaml"]).stored("cluster.yaml", text.encode()).content or b""
    assert (b"hidden" in stored) is bool(names)


def test_a_list_that_says_two_kinds_is_a_fault() -> None:
    text = "apiVersion: v1\nitems:\n- metadata: {name: a}\n'kind': SecretList\nkind: ServiceList\n"
    _, faults = read(text)
    assert "stands twice" in faults[0].message
