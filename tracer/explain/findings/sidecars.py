"""SIDECAR: a pod at one of the ends has a proxy inside that takes its connections, by rules that no file of the snapshot holds."""

from __future__ import annotations

from collections.abc import Iterator

from tracer.explain.findings.case import Case, finding
from tracer.explain.findings.passage import Passage
from tracer.kube.pod import Pod
from tracer.trace import Finding


def findings(case: Case, passage: Passage) -> Iterator[Finding]:
    """Yield it for the pod that sends, and for the one that receives."""
    client, place = case.client_pod, passage.outcome.destination
    target = case.cluster.objects.pod(place.namespace or "", place.name or "") if place is not None and place.kind == "pod" else None
    if client is not None and client.mesh is not None:
        does = f"what it sends to its {client.mesh.proxy}, which opens a connection of its own, often to an endpoint that it chose itself"
        yield _finding(client, f"{does}: the way told here is the one of a packet that the proxy does not take, or sends itself")
    if target is not None and target.mesh is not None and (client is None or target.key != client.key):
        yield _finding(
            target, f"what comes in to its {target.mesh.proxy} first, which may refuse it or want TLS, and passes it on from inside"
        )


def _finding(pod: Pod, does: str) -> Finding:
    name = pod.mesh.name if pod.mesh is not None else ""
    text = f"Pod {pod.namespace}/{pod.name} is in a service mesh ({name}): rules of its own, which are not in the snapshot, hand {does}"
    fix = (
        "Ask the proxy what it does with the connection (istioctl proxy-config endpoints POD, linkerd diagnostics endpoints NAME:PORT), "
        "or look at the pod's own rules: kubectl debug -it POD --profile=netadmin --image=IMAGE -- iptables-save"
    )
    return finding(code="SIDECAR", text=text, fix=fix, evidence=(pod.origin.file,) if pod.origin.file else ())
