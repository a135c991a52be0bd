"""Pods that are made to read nodes in, one on each node, and removed again: after success, failure and Ctrl-C.

They are what ``kubectl debug node/NODE`` makes (k8s.io/kubectl/pkg/cmd/debug, profiles sysadmin and netadmin): the node's network and
processes, and its file system under ``/host``. The name is chosen before one is asked for, so that it can be removed however its making
ended; one that could not be removed ends by itself.
"""

from __future__ import annotations

import contextlib
import secrets
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any, Self

from tracer.values import dataclass
from webapp.cluster.errors import ClusterError, NoSuchProgram
from webapp.cluster.pod_making import PodMaker
from webapp.cluster.remote_program import Output
from webapp.collecting.cluster_objects import Say, why
from webapp.reading.node_reader import ReadFrom, Runs

CONTAINER = "debugger"
PROFILES = ("sysadmin", "netadmin")
IMAGE = "docker.io/nicolaka/netshoot:v0.13"
NAMESPACE = "default"
_START_SECONDS = 60.0
_LIFE_SECONDS = 900
_LOOK_SECONDS = 0.5
_CHROOT = ("chroot", "/host")
_NOT_RUN = frozenset({126, 127})
"""How chroot ends where the program is not there, or cannot be run. Source: coreutils, "chroot: Exit status"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DebugHow:
    """What kind of pods, and where."""

    image: str = IMAGE
    profile: str = PROFILES[0]
    namespace: str = NAMESPACE


class NoPod(Exception):
    """No pod runs on the node; the text says why."""


class OnNode:
    """Runs the node's own programs (``chroot /host``), and the image's where the node has none."""

    def __init__(self, connection: Runs) -> None:
        self._connection = connection

    def exec(self, namespace: str, pod: str, container: str | None, argv: tuple[str, ...], *, timeout: float, most_bytes: int) -> Output:
        """Return what *argv* printed. :raises ClusterError: as a connection's own."""
        try:
            output = self._connection.exec(namespace, pod, container, (*_CHROOT, *argv), timeout=timeout, most_bytes=most_bytes)
            if output.exit_code not in _NOT_RUN:
                return output
        except NoSuchProgram:
            pass
        return self._connection.exec(namespace, pod, container, argv, timeout=timeout, most_bytes=most_bytes)


class DebugPods:
    """The pods of one run. Safe to use from several threads; leaving the context removes what is left of them."""

    def __init__(self, maker: PodMaker, how: DebugHow, say: Say, start_seconds: float = _START_SECONDS) -> None:
        self._maker, self._how, self._say, self._start_seconds = maker, how, say, start_seconds
        self._lock = threading.Lock()
        self._left: set[str] = set()
        self._run = secrets.token_hex(4)
        self._made = 0
        self._stopped = threading.Event()

    def __enter__(self) -> Self:
        how = self._how
        self._say(
            f"  A pod is made on each node that is read, with {how.image} (profile {how.profile}, namespace {how.namespace}), "
            "and removed again."
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with _undisturbed():
            for name in sorted(self._left):
                self.remove(name)

    def stop(self) -> None:
        """Have whoever waits for a pod wait no longer."""
        self._stopped.set()

    def make(self, node: str) -> ReadFrom:
        """Make a pod on *node* and return it when it runs. :raises NoPod: it does not; there is none then."""
        with self._lock:
            self._made += 1
            name = f"hopline-debug-{self._run}-{self._made}"
            self._left.add(name)
        try:
            self._maker.make_pod(self._how.namespace, _pod(name, node, self._how))
            self._wait(name)
        except (ClusterError, NoPod) as error:
            self.remove(name)
            raise NoPod(f"No debug pod runs there: {why(error)}") from None
        return ReadFrom(namespace=self._how.namespace, pod=name, container=CONTAINER)

    def remove(self, name: str) -> None:
        """Remove a pod; where that fails, say what to type."""
        try:
            self._maker.remove_pod(self._how.namespace, name)
        except ClusterError as error:
            self._say(
                f"  The debug pod {name} could not be removed ({error}); it ends by itself after 15 minutes: "
                f"kubectl delete pod {name} -n {self._how.namespace}"
            )
        with self._lock:
            self._left.discard(name)

    def _wait(self, name: str) -> None:
        until = time.monotonic() + self._start_seconds
        while True:
            status = self._maker.pod(self._how.namespace, name).get("status")
            phase, reason = _state(status if isinstance(status, Mapping) else {})
            if phase == "Running":
                return
            if phase in ("Succeeded", "Failed"):
                raise NoPod(f"It ended ({reason or phase}).")
            if self._stopped.wait(_LOOK_SECONDS) or time.monotonic() > until:
                raise NoPod(f"It did not run within {self._start_seconds:g} s ({reason or phase}).")


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Within the context a second Ctrl-C changes nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _state(status: Mapping[str, Any]) -> tuple[str, str]:
    """Return a pod's phase, and what its container waits for."""
    waiting = [
        str(((one.get("state") or {}).get("waiting") or {}).get("reason") or "")
        for one in status.get("containerStatuses") or ()
        if isinstance(one, Mapping)
    ]
    return str(status.get("phase") or "Pending"), str(next(filter(None, waiting), status.get("reason") or ""))[:100]


def _pod(name: str, node: str, how: DebugHow) -> dict[str, object]:
    rights: dict[str, object] = {"privileged": True} if how.profile == "sysadmin" else {"capabilities": {"add": ["NET_ADMIN", "NET_RAW"]}}
    container = {
        "name": CONTAINER,
        "image": how.image,
        "command": ["sh", "-c", f"sleep {_LIFE_SECONDS}"],
        "securityContext": rights,
        "volumeMounts": [{"name": "host-root", "mountPath": "/host"}],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": how.namespace, "labels": {"app.kubernetes.io/managed-by": "hopline"}},
        "spec": {
            "nodeName": node,
            "hostNetwork": True,
            "hostPID": True,
            "hostIPC": True,
            "restartPolicy": "Never",
            "activeDeadlineSeconds": _LIFE_SECONDS,
            "automountServiceAccountToken": False,
            "tolerations": [{"operator": "Exists"}],
            "containers": [container],
            "volumes": [{"name": "host-root", "hostPath": {"path": "/"}}],
        },
    }
