"""SIDECAR: a pod at one of the ends has a proxy inside that takes its connections, by rules that seldom are in a snapshot."""

from __future__ import annotations

from collections.abc import Iterator

from tracer.explain.findings.case import Case, finding
from tracer.explain.findings.passage import Passage
from tracer.kube.pod import Pod
from tracer.packet import Family
from tracer.snapshot.told import stack_command
from tracer.trace import Finding


def findings(case: Case, passage: Passage) -> Iterator[Finding]:
    """Yield it for the pod that sends, and for the one that receives."""
    client, place = case.client_pod, passage.outcome.destination
    target = case.cluster.objects.pod(place.namespace or "", place.name or "") if place is not None and place.kind == "pod" else None
    if client is not None and client.mesh is not None:
        does = f"what it sends to its {client.mesh.proxy}, which opens a connection of its own, often to an endpoint that it chose itself"
        if _own_rules(case, client) is None:
            does += ": the way told here is the one of a packet that the proxy does not take, or sends itself"
        yield _finding(case, client, does)
    if target is not None and target.mesh is not None and (client is None or target.key != client.key):
        yield _finding(
            case, target, f"what comes in to its {target.mesh.proxy} first, which may refuse it or want TLS, and passes it on from inside"
        )


def _own_rules(case: Case, pod: Pod) -> str | None:
    """The file of the pod's own rules, None where none was recorded."""
    stack = case.cluster.pod_stack(pod)
    dumps = [dump.file for family in Family for dump in stack.dumps(family)] if stack is not None else []
    if stack is not None and stack.nft is not None:
        dumps.append(stack.nft.ruleset.file)
    return dumps[0] if dumps else None


def _finding(case: Case, pod: Pod, does: str) -> Finding:
    name = pod.mesh.name if pod.mesh is not None else ""
    file = _own_rules(case, pod)
    rules = f"its own rules ({file})" if file else "rules of its own, which are not in the snapshot,"
    text = f"Pod {pod.namespace}/{pod.name} is in a service mesh ({name}): {rules} hand {does}"
    fix = "Ask the proxy what it does with the connection (istioctl proxy-config endpoints POD, linkerd diagnostics endpoints NAME:PORT)"
    if file is None:
        fix += f", or collect the pod's own rules: {stack_command(pod.namespace, pod.name)}"
    return finding(code="SIDECAR", text=text, fix=fix, evidence=(pod.origin.file,) if pod.origin.file else ())
