"""Credentials: found, used, refreshed, and never repeated: not in a message, a log, a repr, nor a traceback."""

from __future__ import annotations

import datetime
import http.server
import json
import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes.config import incluster_config

from tests.webapp.kubeconfigs import TOKEN, kubeconfig
from tests.webapp.recorded_api import shop
from webapp.cluster import credentials
from webapp.cluster.connection import Connection
from webapp.cluster.credentials import contexts
from webapp.cluster.errors import BadKubeconfig, ClusterError, Denied
from webapp.cluster.permissions import Permission
from webapp.recorded_api import Fault, RecordedApi, RunningServer, What, serve


@pytest.fixture
def guarded() -> Iterator[RunningServer]:
    """Return a server that wants the token."""
    with serve(RecordedApi(shop.timeline()), token=TOKEN) as server:
        yield server


def plugin(folder: Path, code: str, **more: Any) -> dict[str, Any]:
    """Return the user entry of a credential plugin that runs *code* and leaves a mark each time it does."""
    script = folder / "plugin.py"
    script.write_text(f"open({str(folder / 'ran')!r}, 'a').write('x')\nimport json, os, sys, time\n{code}\n")
    return {
        "exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": sys.executable,
            "args": [str(script)],
            "interactiveMode": "Never",
        }
        | more
    }


def printing(status: dict[str, Any]) -> str:
    credential = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}
    return f"print({json.dumps(json.dumps(credential))})"


def runs(folder: Path) -> int:
    return len((folder / "ran").read_text()) if (folder / "ran").exists() else 0


# -- contexts ---------------------------------------------------------------------------------------------------------------------------


def test_contexts_are_listed_without_running_or_connecting(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path, "https://nowhere.invalid", plugin(tmp_path, "sys.exit(1)"))
    found = contexts(path)
    assert (found.names, found.current) == (("here", "there"), "here")
    assert runs(tmp_path) == 0


def test_contexts_of_several_files_are_merged(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    one = kubeconfig(tmp_path / "a", "http://x", {})
    two = tmp_path / "two"
    two.write_text(json.dumps({"contexts": [{"name": "third", "context": {"cluster": "c"}}], "current-context": "gone"}))
    assert contexts(f"{one}{os.pathsep}{two}{os.pathsep}/none").names == ("here", "there", "third")
    assert contexts(two).current is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "cannot be read"),
        ("- 1\n", "cannot be read"),
        ("a: b: c\ntoken: " + TOKEN, "not YAML (line 1)"),
        ("contexts: [{token: " + TOKEN + "}]", ""),
        ("contexts: 5", ""),
        ("\x00\x01", ""),
    ],
)
def test_a_file_that_is_no_kubeconfig_is_refused_without_quoting_it(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "config").write_text(text)
    with pytest.raises(BadKubeconfig) as caught:
        contexts(tmp_path / "config")
    assert words in str(caught.value)
    assert TOKEN not in "".join(traceback.format_exception(caught.value))


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadKubeconfig, match="no kubeconfig"):
        contexts(tmp_path / "none")


# -- tokens -----------------------------------------------------------------------------------------------------------------------------


def test_a_token_opens_lists_watches_programs_and_reviews(tmp_path: Path, guarded: RunningServer) -> None:
    with Connection.from_context(kubeconfig(tmp_path, guarded.url, {"token": TOKEN}), "there") as connection:
        assert len(connection.list_page(shop.KINDS["nodes"]).items) == 4
        assert list(connection.watch(shop.KINDS["nodes"], "0", timeout_seconds=1))
        assert connection.exec("kube-system", "kube-proxy-shop-worker", None, ("iptables-save",)).stdout
        assert connection.is_allowed(Permission(verb="list", resource="nodes")).allowed


def test_a_token_file_is_found_beside_the_kubeconfig(tmp_path: Path, guarded: RunningServer) -> None:
    (tmp_path / "token").write_text(TOKEN)
    with Connection.from_context(kubeconfig(tmp_path, guarded.url, {"tokenFile": "token"}), "here") as connection:
        assert connection.list_page(shop.PODS).items


def test_without_the_token_nothing_opens(tmp_path: Path, guarded: RunningServer) -> None:
    for user in ({}, {"token": "wrong"}, {"username": "u", "password": TOKEN}):
        with Connection.from_context(kubeconfig(tmp_path, guarded.url, user), "here") as connection:
            for ask in (lambda c=connection: c.list_page(shop.PODS), lambda c=connection: c.exec("a", "b", None, ("c",))):
                with pytest.raises(Denied) as caught:
                    ask()
                assert caught.value.status == 401


def test_the_service_account_of_a_pod(tmp_path: Path, guarded: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadKubeconfig, match="does not run in a cluster"):
        Connection.in_cluster()
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "ca.crt").write_text("PEM")
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(tmp_path / "ca.crt"))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "1")
    configuration = credentials.in_cluster()
    assert (configuration.host, configuration.ssl_ca_cert) == ("https://127.0.0.1:1", str(tmp_path / "ca.crt"))
    assert credentials.authorization(configuration) == {"Authorization": f"bearer {TOKEN}"}


# -- plugins ----------------------------------------------------------------------------------------------------------------------------


def test_a_plugin_runs_once_and_only_on_connecting(tmp_path: Path, guarded: RunningServer) -> None:
    path = kubeconfig(tmp_path, guarded.url, plugin(tmp_path, printing({"token": TOKEN})))
    contexts(path)
    assert runs(tmp_path) == 0
    with Connection.from_context(path, "here") as connection:
        for _ in range(3):
            assert connection.list_page(shop.PODS).items
    assert runs(tmp_path) == 1


def test_a_plugin_runs_again_when_its_token_is_about_to_expire(tmp_path: Path, guarded: RunningServer) -> None:
    soon = (datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    path = kubeconfig(tmp_path, guarded.url, plugin(tmp_path, printing({"token": TOKEN, "expirationTimestamp": soon})))
    with Connection.from_context(path, "here") as connection:
        assert runs(tmp_path) == 1
        assert connection.list_page(shop.PODS).items
        assert runs(tmp_path) == 2
        (tmp_path / "plugin.py").write_text("raise SystemExit(3)")
        with pytest.raises(BadKubeconfig, match="exit code 3"):
            connection.list_page(shop.PODS)


def test_a_plugin_gets_its_environment_and_the_cluster(tmp_path: Path, guarded: RunningServer) -> None:
    code = "info = json.loads(os.environ['KUBERNETES_EXEC_INFO'])\nassert info['spec']['cluster']['server'] and not info['spec']['interactive']\n"
    code += printing({"token": TOKEN}) + "\nassert os.environ['EXTRA'] == 'yes' and sys.stdin.read() == ''"
    user = plugin(tmp_path, code, provideClusterInfo=True, env=[{"name": "EXTRA", "value": "yes"}])
    with Connection.from_context(kubeconfig(tmp_path, guarded.url, user), "here") as connection:
        assert connection.list_page(shop.PODS).items


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (f"print('{TOKEN}', file=sys.stderr); sys.exit(7)", "exit code 7"),
        (f"print('{TOKEN}')", "did not print an ExecCredential"),
        ("print(json.dumps({'status': {}}))", "neither a token nor a certificate"),
        ("print(json.dumps({'status': {'token': 'x' * 2_000_000}}))", "did not print"),
        ("time.sleep(60)", "did not end within"),
    ],
)
def test_a_plugin_that_fails_is_said_without_its_words(
    tmp_path: Path, code: str, words: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(credentials, "_PLUGIN_SECONDS", 1)
    path = kubeconfig(tmp_path, "http://127.0.0.1:1", plugin(tmp_path, code))
    began = time.monotonic()
    with pytest.raises(BadKubeconfig, match=words) as caught:
        Connection.from_context(path, "here")
    assert time.monotonic() - began < 10
    assert TOKEN not in "".join(traceback.format_exception(caught.value)) + caplog.text


def test_a_plugin_that_is_not_there_is_said(tmp_path: Path) -> None:
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "/none/such-plugin", "args": [TOKEN]}}
    with pytest.raises(BadKubeconfig, match="such-plugin cannot be started: No such file") as caught:
        Connection.from_context(kubeconfig(tmp_path, "http://127.0.0.1:1", user), "here")
    assert TOKEN not in "".join(traceback.format_exception(caught.value))


# -- silence ----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "user",
    [
        {"token": TOKEN, "auth-provider": {"name": "gcp"}},
        {"token": TOKEN, "auth-provider": {"name": "oidc", "config": {"id-token": 5}}},
        {"client-certificate-data": TOKEN, "token": TOKEN},
        {"client-certificate": f"{TOKEN}.pem", "token": TOKEN},
        {"tokenFile": "none", "x": TOKEN},
        {"exec": {"x": TOKEN}},
        [TOKEN],
        TOKEN,
    ],
)
def test_a_broken_entry_is_refused_without_quoting_it(tmp_path: Path, user: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    path = kubeconfig(tmp_path, "https://127.0.0.1:1", user)
    said = ""
    try:
        with Connection.from_context(path, "here") as connection:
            connection.version()
    except ClusterError as error:
        said = "".join(traceback.format_exception(error))
    assert said
    assert TOKEN not in said + caplog.text


def test_a_context_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadKubeconfig, match="no context “elsewhere”"):
        Connection.from_context(kubeconfig(tmp_path, "http://127.0.0.1:1", {}), "elsewhere")


def test_nothing_that_is_printed_or_logged_has_the_token(tmp_path: Path, guarded: RunningServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("urllib3", "websockets", "websockets.client", "kubernetes"):
        caplog.set_level(logging.DEBUG, logger=name)
    faults = guarded.faults
    with Connection.from_context(kubeconfig(tmp_path, guarded.url, {"token": TOKEN}), "here") as connection:
        said = [repr(connection), str(connection)]
        page = connection.list_page(shop.PODS)
        output = connection.exec("kube-system", "kube-proxy-shop-worker", None, ("iptables-save",))
        event = next(iter(connection.watch(shop.PODS, "0")))
        said += [repr(page), repr(output), repr(event), repr(connection.watch(shop.PODS, "0"))]
        for what in (Fault(what=What.STATUS, status=500, times=3), Fault(what=What.CUT, times=2)):
            faults.add(what)
            for ask in (
                lambda: connection.list_page(shop.PODS),
                lambda: list(connection.watch(shop.PODS, "0")),
                lambda: connection.exec("kube-system", "kube-proxy-shop-worker", None, ("iptables-save",)),
            ):
                try:
                    ask()
                except ClusterError as error:
                    said.append("".join(traceback.format_exception(error)))
            faults.clear()
    assert len(said) >= 10
    assert TOKEN not in "\n".join(said)
    # Our own logs; the server in this process logs nothing of its clients either.
    assert TOKEN not in caplog.text
    assert guarded.url.rpartition("/")[2] not in "".join(
        r.getMessage() for r in caplog.records if r.name.startswith(("websockets", "webapp"))
    )


def test_a_server_that_repeats_the_token_is_cut_short(tmp_path: Path) -> None:
    class Echo(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = json.dumps({"kind": "Status", "code": 403, "message": f"no {self.headers['Authorization']} here"}).encode()
            self.send_response(403)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        path = kubeconfig(tmp_path, f"http://127.0.0.1:{server.server_port}", {"token": TOKEN})
        with Connection.from_context(path, "here") as connection:
            for ask in (lambda: connection.list_page(shop.PODS), lambda: connection.exec("a", "b", None, ("c",))):
                with pytest.raises(Denied, match=r"no \[hidden\] here"):
                    ask()
        server.shutdown()
