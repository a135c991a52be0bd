"""A Kubernetes cluster, read-only: the only place that imports the official client.

``Connection`` lists, watches and runs programs in pods; ``permissions`` says what that needs; every error is a ``ClusterError``.
"""

from webapp.cluster.connection import Connection, Page
from webapp.cluster.credentials import Contexts, contexts
from webapp.cluster.errors import (
    BadAnswer,
    BadKubeconfig,
    Busy,
    ClusterError,
    Denied,
    Gone,
    NoSuchProgram,
    Refused,
    TimedOut,
    TooLarge,
    Unreachable,
)
from webapp.cluster.kinds import FOLLOWED_KINDS, SYSTEM_NAMESPACE, FollowedKind
from webapp.cluster.permissions import PERMISSIONS, Permission, Verdict, exec_permissions, permissions, rbac_manifest
from webapp.cluster.remote_program import Output
from webapp.cluster.served_kinds import served_kinds
from webapp.cluster.watch import Event, Watch

__all__ = [
    "FOLLOWED_KINDS",
    "PERMISSIONS",
    "SYSTEM_NAMESPACE",
    "BadAnswer",
    "BadKubeconfig",
    "Busy",
    "ClusterError",
    "Connection",
    "Contexts",
    "Denied",
    "Event",
    "FollowedKind",
    "Gone",
    "NoSuchProgram",
    "Output",
    "Page",
    "Permission",
    "Refused",
    "TimedOut",
    "TooLarge",
    "Unreachable",
    "Verdict",
    "Watch",
    "contexts",
    "exec_permissions",
    "permissions",
    "rbac_manifest",
    "served_kinds",
]
