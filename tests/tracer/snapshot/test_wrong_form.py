"""What people hand in instead of objects is called what it is, with what to type; objects, whatever is in them, are never called so."""

from __future__ import annotations

import gzip
import json
import time

import pytest

from tests.conftest import DEMO
from tracer.snapshot.wrong_form import wrong_form

_STATUS = {
    "kind": "Status",
    "apiVersion": "v1",
    "status": "Failure",
    "message": 'services is forbidden: User "dev" cannot list resource "services"',
    "reason": "Forbidden",
    "code": 403,
}
_SERVICE = {"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "shop", "name": "web"}, "spec": {"clusterIP": "10.96.7.7"}}


def _list(*items: dict[str, object]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items}, indent=1)


def _masked(address: str) -> str:
    return _list({**_SERVICE, "spec": {"clusterIP": address, "clusterIPs": [address]}})


INSTEAD: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "get": ("services.txt", "NAME   TYPE        CLUSTER-IP   EXTERNAL-IP   PORT(S)   AGE\nweb    ClusterIP   10.96.7.7    <none>        80/TCP    1d\n", ("table", "-o json")),
    "get -A -o wide": ("services.json", "NAMESPACE   NAME  TYPE   CLUSTER-IP  EXTERNAL-IP  PORT(S)  AGE  SELECTOR\nshop  web  ClusterIP  10.96.7.7  <none>  80/TCP  1d  app=web\n", ("table",)),
    "get behind a prompt": ("pods.txt", "$ kubectl get pods\nNAME    READY   STATUS    RESTARTS   AGE\nweb-1   1/1     Running   0          1d\n", ("table",)),
    "get nodes": ("nodes.txt", "NAME   STATUS   ROLES    AGE   VERSION\nn1     Ready    <none>   1d    v1.36.0\n", ("table",)),
    "get endpointslices": ("endpointslices.txt", "NAME       ADDRESSTYPE   PORTS   ENDPOINTS    AGE\nweb-abcde  IPv4          8080    10.244.2.2   1d\n", ("table",)),
    "describe": ("services.txt", "Name:              web\nNamespace:         shop\nLabels:            app=web\nSelector:          app=web\nType:  ClusterIP\n", ("describe", "-o json")),
    "a refusal": ("services.json", json.dumps(_STATUS), ("refusal", "Forbidden", "403", 'User "dev" cannot list')),
    "a refusal, indented": ("services.json", json.dumps(_STATUS, indent=2), ("refusal", "Forbidden")),
    "a refusal in YAML": ("services.yaml", "apiVersion: v1\nkind: Status\nmessage: services is forbidden\nreason: Forbidden\ncode: 403\n", ("refusal", "services is forbidden")),
    "Unauthorized": ("pods.json", json.dumps({**_STATUS, "reason": "Unauthorized", "code": 401, "message": "Unauthorized"}), ("Unauthorized", "401")),
    "what kubectl says": ("services.json", "Error from server (Forbidden): services is forbidden: User \"dev\" cannot list\n", ("Forbidden", "-o json")),
    "no connection": ("services.json", "Unable to connect to the server: dial tcp: lookup api: no such host\n", ("Unable to connect",)),
    "no rights": ("cluster.json", "error: You must be logged in to the server (Unauthorized)\n", ("logged in",)),
    "no kubectl": ("cluster.json", "bash: kubectl: command not found\n", ("command not found",)),
    "a page": ("services.json", "<html>\n<body>Sign in</body></html>\n", ("web page",)),
    "stars": ("services.json", _masked("***HIDDEN***"), ("masked", "HIDDEN")),
    "x": ("services.json", _masked("x.x.x.x"), ("masked",)),
    "brackets": ("services.json", _masked("[REDACTED]").replace('"[REDACTED]"', '"REDACTED"'), ("masked",)),
    "a word in angles": ("cluster.yaml", "kind: Service\nspec:\n  clusterIP: <masked>\n", ("masked",)),
    "a placeholder": ("services.json", _masked("x-ipv4-0000000001-x"), ("masked",)),
    "a hash": ("pods.json", _list({"kind": "Pod", "status": {"podIP": "d41d8cd98f00b204e9800998ecf8427e"}}), ("masked", "podIP")),
    "a template": ("web.yaml", "apiVersion: v1\nkind: Service\nmetadata:\n  name: {{ .Values.name }}\n", ("template", "helm get manifest")),
    "a template in ifs": ("templates/web.yaml", "{{- if .Values.on }}\n---\nkind: Service\nmetadata:\n  labels:\n    {{- include \"x\" . | nindent 4 }}\n    a: b\n{{- end }}\n", ("template",)),
    "a quoted template": ("web.yaml", "kind: Service\nmetadata: {name: '{{ .Release.Name }}-web'}\n", ("template",)),
    "ip -br": ("nodes.txt", "lo               UNKNOWN        127.0.0.1/8 ::1/128 \neth0@if2         UP             172.18.0.3/16 \n", ("ip -br", "ip addr")),
    "envsubst": ("web.yaml", "kind: Service\nmetadata: {name: '${NAME}'}\n", ("template",)),
}  # fmt: skip


@pytest.mark.parametrize("kind", INSTEAD)
def test_it_is_called_what_it_is(kind: str) -> None:
    path, text, words = INSTEAD[kind]
    for encoding in ("utf-8", "utf-16"):
        found = wrong_form(path, text.encode(encoding))
        if encoding == "utf-16" and "masked" in words:
            continue
        assert found is not None
        assert str(found).startswith(f"{path}: ")
        assert all(word in found.sentence for word in words), found.sentence


def test_an_archive_in_an_archive() -> None:
    found = wrong_form("report/must-gather.tar.gz", gzip.compress(b"data"))
    assert found is not None
    assert "Take must-gather.tar.gz out" in found.sentence
    assert not found.is_object_file


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("services.json", _list(_SERVICE)),
        ("services.json", _masked("None")),
        ("services.json", _masked("")),
        ("services.json", _masked("fd00::1")),
        ("services.yaml", "kind: Service\nspec:\n  clusterIP: null\n  clusterIPs:\n"),
        ("services.yaml", "kind: Service\nspec:\n  clusterIP: ${CLUSTER_IP}\n"),
        (
            "pods.json",
            _list({"kind": "Pod", "spec": {"containers": [{"env": [{"valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]}]}}),
        ),
        ("configmaps.json", _list({"kind": "ConfigMap", "data": {"notes": "Error from server: NAME READY STATUS AGE <html> Name: x"}})),
        ("nodes/n1/iptables-save.txt", "Error from server (Forbidden)\n"),
        ("events.json", _list({"kind": "Event", "involvedObject": {"kind": "Status"}})),
        ("cluster.txt", _list(_SERVICE)),
        ("cluster", _list(_SERVICE)),
        ("web.yaml", "kind: Service\nmetadata: {name: '{{ .Release.Name }}-web'}\n---\nkind: Service\nmetadata: {name: web}\n"),
        ("web.yaml", "kind: ConfigMap\nmetadata: {name: mail}\ndata:\n  text: |\n    {{ range .Alerts }}\n    {{ end }}\n"),
        ("README.txt", "Names of things, and what they are.\n"),
        ("log.txt", ""),
    ],
)
def test_objects_and_other_files_are_not(path: str, text: str) -> None:
    assert wrong_form(path, text.encode()) is None


def test_no_file_of_the_demonstrations_is() -> None:
    files = [path for path in DEMO.glob("*/**/*") if path.is_file()]
    assert files
    assert [str(form) for path in files if (form := wrong_form(path.name, path.read_bytes())) is not None] == []


@pytest.mark.parametrize("text", ["NAME " + "A" * 500_000, "NAME " + "A " * 250_000, '"clusterIP":"' * 200_000, 'kind: Status "message": "' + "\\" * 500_000, "Name: x\n" * 200_000])  # fmt: skip
def test_no_text_takes_long(text: str) -> None:
    begun = time.process_time()
    wrong_form("services.json", text.encode())
    assert time.process_time() - begun < 2
