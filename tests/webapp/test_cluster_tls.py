"""TLS and proxies: verified, for requests and for programs alike."""

from __future__ import annotations

import base64
import contextlib
import logging
import socket
import subprocess
import threading
import time
import traceback
from pathlib import Path

import pytest

from tests.webapp.kubeconfigs import TOKEN, kubeconfig
from tests.webapp.recorded_api import shop
from webapp.cluster.connection import Connection
from webapp.cluster.errors import ClusterError
from webapp.recorded_api import RecordedApi, serve

pytestmark = pytest.mark.filterwarnings("ignore:Unverified HTTPS request")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a certificate for the name recorded.invalid, its own authority, and the key."""
    folder = tmp_path_factory.mktemp("tls")
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=recorded",
    ]
    command += ["-addext", "subjectAltName=DNS:recorded.invalid", "-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=30)
    except FileNotFoundError:
        pytest.skip("needs openssl")
    return folder / "cert.pem", folder / "key.pem"


def use(connection: Connection) -> None:
    assert connection.list_page(shop.PODS).items
    assert connection.exec("kube-system", "kube-proxy-shop-worker", None, ("iptables-save",)).stdout
    assert list(connection.watch(shop.PODS, "0", timeout_seconds=1))


def test_tls_is_verified_for_requests_and_programs(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    data = base64.b64encode(certificate[0].read_bytes()).decode()
    trusted = {"certificate-authority-data": data, "tls-server-name": "recorded.invalid"}
    with serve(RecordedApi(shop.timeline()), token=TOKEN, certificate=certificate) as server:
        for more in (trusted, {"insecure-skip-tls-verify": True}):
            with Connection.from_context(kubeconfig(tmp_path, server.url, {"token": TOKEN}, **more), "here") as connection:
                use(connection)
        for more in ({}, {"certificate-authority-data": data}, {"tls-server-name": "recorded.invalid"}):
            with Connection.from_context(kubeconfig(tmp_path, server.url, {"token": TOKEN}, **more), "here") as connection:
                for ask in (lambda c=connection: c.list_page(shop.PODS), lambda c=connection: c.exec("a", "b", None, ("c",))):
                    with pytest.raises(ClusterError, match="TLS to the API server failed"):
                        ask()


def test_a_proxy_is_used_with_its_password_which_nobody_sees(
    tmp_path: Path, certificate: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    wanted = "Basic " + base64.b64encode(f"me:{TOKEN}".encode()).decode()
    with serve(RecordedApi(shop.timeline()), certificate=certificate) as server, socket.create_server(("127.0.0.1", 0)) as proxy:
        asked: list[str] = []
        threading.Thread(target=_proxy, args=(proxy, wanted, asked), daemon=True).start()
        for password, works in ((TOKEN, True), ("wrong", False)):
            address = f"http://me:{password}@127.0.0.1:{proxy.getsockname()[1]}"
            path = kubeconfig(tmp_path, server.url, {}, **{"insecure-skip-tls-verify": True, "proxy-url": address})
            with Connection.from_context(path, "here") as connection:
                if works:
                    use(connection)
                    continue
                for ask in (connection.version, lambda c=connection: c.exec("a", "b", None, ("c",))):
                    with pytest.raises(ClusterError) as caught:
                        ask()
                    assert "wrong" not in "".join(traceback.format_exception(caught.value))
        assert len(asked) >= 4
        assert {tuple(line.split()[:2]) for line in asked} == {("CONNECT", server.url.split("/")[2])}
    assert TOKEN not in caplog.text


def _proxy(listening: socket.socket, wanted: str, asked: list[str]) -> None:
    """Tunnel for those who know the password; one thread each way."""
    while True:
        try:
            client, _ = listening.accept()
        except OSError:
            return
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(4096)
        lines = head.decode().split("\r\n")
        asked.append(lines[0])
        if not any(line.lower() == f"proxy-authorization: {wanted}".lower() for line in lines):
            client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            client.close()
            continue
        host, _, port = lines[0].split()[1].rpartition(":")
        upstream = socket.create_connection((host, int(port)), timeout=10)
        client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        for one, other in ((client, upstream), (upstream, client)):
            threading.Thread(target=_copy, args=(one, other), daemon=True).start()


def _copy(one: socket.socket, other: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := one.recv(65_536):
            other.sendall(data)
        other.shutdown(socket.SHUT_WR)


def test_a_watch_over_tls_ends_when_closed(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    with serve(RecordedApi(shop.timeline()), certificate=certificate) as server:
        path = kubeconfig(tmp_path, server.url, {}, **{"insecure-skip-tls-verify": True})
        with Connection.from_context(path, "here") as connection:
            watch = connection.watch(shop.PODS, "830", timeout_seconds=60)
            threading.Timer(0.4, watch.close).start()
            began = time.monotonic()
            assert list(watch) == []
            assert time.monotonic() - began < 15
