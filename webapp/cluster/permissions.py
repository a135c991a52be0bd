"""What Hopline may do in a cluster: the permissions it uses, nothing more, and the manifest that grants exactly these."""

from __future__ import annotations

from tracer.values import dataclass
from webapp.cluster.kinds import FOLLOWED_KINDS, SYSTEM_NAMESPACE

READINGS = ("exec", "daemonset", "none")


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """One *verb* on one resource. Without *namespace*: in all of them, or on what has none. With *name*: on that object only."""

    verb: str
    resource: str
    group: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""

    def to_text(self) -> str:
        """Return it as a person says it: ``list endpointslices.discovery.k8s.io``, ``create pods/exec in kube-system``."""
        what = self.resource + (f"/{self.subresource}" if self.subresource else "") + (f".{self.group}" if self.group else "")
        return f"{self.verb} {what}{f' “{self.name}”' if self.name else ''}{f' in {self.namespace}' if self.namespace else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether something is *allowed* (None: the server could not tell) and the *reason* the server gave, often empty."""

    allowed: bool | None
    reason: str = ""


PERMISSIONS = tuple(
    Permission(verb=verb, resource=kind.plural, group=kind.group, namespace=kind.namespace or "", name=kind.name or "")
    for kind in FOLLOWED_KINDS
    for verb in ("list", "watch")
)
"""What following the objects needs. Reading nodes needs ``exec_permissions`` on top."""


def exec_permissions(namespace: str = SYSTEM_NAMESPACE) -> tuple[Permission, ...]:
    """Return what running programs in the pods of *namespace* needs.

    A WebSocket is opened with GET: that alone was asked for until Kubernetes 1.34; from 1.35 on ``create`` is as well.
    Source: kubernetes.io, "Authorization of WebSocket upgrades" (feature AuthorizePodWebsocketUpgradeCreatePermission).
    """
    return tuple(Permission(verb=verb, resource="pods", subresource="exec", namespace=namespace) for verb in ("get", "create"))


def permissions(readings: str, namespace: str = SYSTEM_NAMESPACE) -> tuple[Permission, ...]:
    """Return all that is used with *readings*: ``exec`` (into kube-proxy's pods), ``daemonset`` (into ours, in *namespace*) or ``none``.

    :raises ValueError: *readings* is none of these.
    """
    if readings not in READINGS:
        raise ValueError(f"no way to read nodes is called {readings!r}")
    if readings == "none":
        return PERMISSIONS
    return PERMISSIONS + exec_permissions(SYSTEM_NAMESPACE if readings == "exec" else namespace)


def rbac_manifest(readings: str, namespace: str = "hopline") -> str:
    """Return the YAML that grants the service account ``hopline`` in *namespace* exactly ``permissions(readings, namespace)``.

    Nobody is granted Secrets, logs, or a verb that writes: ``create pods/exec`` starts a program in the pods of one namespace, and what
    Hopline starts only prints.
    :raises ValueError: *readings* is not known.
    """
    parts = [_account(namespace), _cluster_role(), _binding("ClusterRole", "hopline", namespace)]
    needed = permissions(readings, namespace)
    for where in dict.fromkeys(p.namespace for p in needed if p.namespace):
        rules = _rules(tuple(p for p in needed if p.namespace == where))
        parts += [_role(where, rules), _binding("Role", "hopline", namespace, where=where)]
    return "---\n".join(parts)


def _account(namespace: str) -> str:
    return f"apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: hopline\n  namespace: {namespace}\n"


def _cluster_role() -> str:
    rules = _rules(tuple(p for p in PERMISSIONS if not p.namespace))
    return f"apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata:\n  name: hopline\nrules:\n{rules}"


def _role(where: str, rules: str) -> str:
    return f"apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata:\n  name: hopline\n  namespace: {where}\nrules:\n{rules}"


def _binding(kind: str, role: str, namespace: str, *, where: str | None = None) -> str:
    place = f"\n  namespace: {where}" if where else ""
    return (
        f"apiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}Binding\nmetadata:\n  name: hopline{place}\n"
        f"roleRef:\n  apiGroup: rbac.authorization.k8s.io\n  kind: {kind}\n  name: {role}\n"
        f"subjects:\n  - kind: ServiceAccount\n    name: hopline\n    namespace: {namespace}\n"
    )


def _rules(needed: tuple[Permission, ...]) -> str:
    """Return one rule for all resources of a group that need the same verbs on the same names."""
    verbs: dict[tuple[str, str], list[str]] = {}
    names: dict[tuple[str, str], list[str]] = {}
    for p in needed:
        key = (p.group, f"{p.resource}/{p.subresource}" if p.subresource else p.resource)
        verbs.setdefault(key, []).append(p.verb)
        names.setdefault(key, []).append(p.name)
    rules: dict[tuple[str, tuple[str, ...], tuple[str, ...]], list[str]] = {}
    for (group, resource), said in verbs.items():
        named = tuple(dict.fromkeys(n for n in names[group, resource] if n))
        rules.setdefault((group, tuple(dict.fromkeys(said)), named), []).append(resource)
    return "".join(_rule(group, resources, said, named) for (group, said, named), resources in rules.items())


def _rule(group: str, resources: list[str], verbs: tuple[str, ...], names: tuple[str, ...]) -> str:
    text = f'  - apiGroups: ["{group}"]\n    resources: [{_listed(resources)}]\n'
    if names:
        text += f"    resourceNames: [{_listed(names)}]\n"
    return text + f"    verbs: [{_listed(verbs)}]\n"


def _listed(words: list[str] | tuple[str, ...]) -> str:
    return ", ".join(f'"{word}"' for word in words)
