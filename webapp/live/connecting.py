"""What could be connected: the contexts of the server's kubeconfig, the cluster Hopline runs in, and what either would allow.

The kubeconfig is read when it is needed and kept nowhere; no text that leaves this module holds anything of it but context names.
"""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from django.conf import settings

from tracer.values import dataclass
from webapp.models import LiveSource

if TYPE_CHECKING:
    from webapp.cluster.connection import Connection
    from webapp.cluster.permissions import Permission, Verdict


CHECK_SECONDS = 20.0
"""How long a check may take in all: the credential plugin, the version and every permission."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contexts:
    """The *names* that the server's kubeconfig offers and which of them is *current*; *error*: why there are none.

    *in_cluster*: Hopline itself runs in a pod.
    """

    names: tuple[str, ...] = ()
    current: str | None = None
    error: str = ""
    in_cluster: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What the API server said: its *version* (None: it was not reached, *error* says why) and a verdict for each permission."""

    version: dict[str, Any] | None
    verdicts: tuple[tuple[Permission, Verdict], ...] = ()
    error: str = ""


def contexts() -> Contexts:
    """Return what may be connected. Reads the kubeconfig; runs nothing and asks nobody."""
    from webapp.cluster.credentials import contexts
    from webapp.cluster.errors import ClusterError

    in_cluster = bool(os.environ.get("KUBERNETES_SERVICE_HOST"))
    if not settings.KUBECONFIG:
        return Contexts(error="HOPLINE_KUBECONFIG is not set.", in_cluster=in_cluster)
    try:
        found = contexts(settings.KUBECONFIG)
    except ClusterError as error:
        return Contexts(error=str(error), in_cluster=in_cluster)
    return Contexts(names=found.names, current=found.current, in_cluster=in_cluster)


def connection_to(context: str | None) -> Connection:
    """Return a connection to the cluster of *context* (None: the one Hopline runs in).

    :raises ClusterError: the credentials cannot be used.
    """
    from webapp.cluster.connection import Connection
    from webapp.cluster.errors import BadKubeconfig

    if context is None:
        return Connection.in_cluster()
    if not settings.KUBECONFIG:
        raise BadKubeconfig("HOPLINE_KUBECONFIG is not set.")
    return Connection.from_context(settings.KUBECONFIG, context)


def connection_of(row: LiveSource) -> Connection:
    """Return a connection to the cluster of *row* (no timeline). :raises ClusterError: the credentials are unusable."""
    return connection_to(None if row.kind == LiveSource.Kind.IN_CLUSTER else row.context)


def _used() -> tuple[Permission, ...]:
    """Return all that following may use, however nodes are read."""
    from webapp.cluster.permissions import permissions

    ways = (permissions("exec"), permissions("daemonset", settings.READER_NAMESPACE))
    return tuple(dict.fromkeys(permission for way in ways for permission in way))


def check(context: str | None) -> Check:
    """Return what the API server allows, permission by permission, for every way to read nodes. Returns after CHECK_SECONDS at the latest.

    NB: the credential plugin and the cluster's client have longer limits of their own: what has not ended by then ends unheard.
    """
    found: Future[Check] = Future()
    deadline = time.monotonic() + CHECK_SECONDS
    threading.Thread(target=_put_check, args=(found, context, deadline), name="check", daemon=True).start()
    try:
        return found.result(timeout=CHECK_SECONDS)
    except TimeoutError:
        return Check(version=None, error=f"The cluster did not answer within {CHECK_SECONDS:g} seconds.")


def _put_check(found: Future[Check], context: str | None, deadline: float) -> None:
    try:
        found.set_result(_check(context, deadline))
    except Exception as error:
        found.set_exception(error)


def _check(context: str | None, deadline: float) -> Check:
    from webapp.cluster.errors import ClusterError

    try:
        connection = connection_to(context)
    except ClusterError as error:
        return Check(version=None, error=str(error))
    try:
        version = connection.version()
        # Nobody waits any more after the deadline: then nothing more is asked.
        verdicts = tuple((permission, connection.is_allowed(permission)) for permission in _used() if time.monotonic() < deadline)
    except ClusterError as error:
        return Check(version=None, error=str(error))
    finally:
        connection.close()
    return Check(version=version, verdicts=verdicts)
