"""Why a Service answers nobody: no ready endpoint, none on this node, a port that does not fit.

NO_READY_ENDPOINTS, PORT_NAME_MISMATCH, TARGET_PORT_UNPROVEN, ETP_LOCAL_NO_LOCAL_ENDPOINT, ITP_LOCAL_NO_LOCAL_ENDPOINT.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence

from tracer.explain.explanation import Severity
from tracer.explain.findings.asked_again import those_better
from tracer.explain.findings.case import Case, failed, finding, some
from tracer.explain.findings.passage import Passage
from tracer.explain.findings.subject import Subject, WayIn
from tracer.kube.endpoints import ready_of, state_text
from tracer.kube.endpointslice import Endpoint
from tracer.kube.pod import Pod
from tracer.trace import Disposition, Finding, Listener

_LOOK_AT_SLICES = (
    "Look at who keeps the EndpointSlice: the controller of kube-controller-manager, which may be behind, or somebody by hand "
    "(kubectl get endpointslices -o yaml: labels and managedFields); take the objects again to rule out a moment's delay."
)


def findings(case: Case, passage: Passage) -> Iterator[Finding]:
    """Yield what the endpoints explain of this outcome."""
    subject, outcome = case.subject, passage.outcome
    if outcome.disposition is Disposition.DELIVERED:
        yield from _unproven(case, passage)
    elif subject is not None and subject.port is not None and failed(outcome) and case.endpoints.known and not passage.dnats:
        if passage.last_node is None and not passage.through_load_balancer:
            return
        if passage.cause is not None and passage.cause.step.policy is None and not case.is_of_proxy(passage.cause):
            return  # somebody else's rule ended it, whatever stands behind the Service
        if not case.endpoints.usable():
            yield _nobody(case, subject, passage)
        elif _is_missing_here(case, subject, passage) and passage.last_node:
            yield _not_here(case, subject, passage, passage.last_node)


def _is_missing_here(case: Case, subject: Subject, passage: Passage) -> bool:
    """Whether the subject's own rule refused the packet on a node that its Local policy leaves without an endpoint."""
    return subject.is_local and case.is_about(passage.cause, subject) and not case.endpoints.usable(passage.last_node)


# -- nobody ---------------------------------------------------------------------------------------------------------------------------


def _nobody(case: Case, subject: Subject, passage: Passage) -> Finding:
    at = passage.cause
    seen = {"rejected": "is refused", "dropped": "times out"}.get(passage.outcome.disposition.value, "gets no answer")
    ending = f"{_sentence(case.client)} {seen}" + (f" by {at.where} on node {passage.last_node}" if at else "")
    mismatched = case.known.once(("mismatch", subject.name, subject.port), lambda: _misnamed(case, subject))
    if mismatched is not None:
        why, fix = mismatched
        return finding(code="PORT_NAME_MISMATCH", text=f"{ending}: {why}", fix=fix, at=at)
    why, fix = case.known.once(("nobody", subject.name, subject.port, subject.address.version), lambda: _reason(case, subject))
    return finding(code="NO_READY_ENDPOINTS", text=f"{ending}: {why}", fix=fix, at=at)


def _each(states: list[str]) -> str:
    return "; ".join(states[:3]) + (f"; and {len(states) - 3} more" if len(states) > 3 else "")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _misnamed(case: Case, subject: Subject) -> tuple[str, str] | None:
    """Why endpoints without a port are no endpoints, when that is it: the target port is a name that no container declares."""
    port, portless = subject.port, ready_of(case.endpoints.portless)
    if port is None or not portless or not isinstance(port.target_port, str):
        return None
    pods = [p for p in (_pod_of(case, subject, e) for e in portless) if p is not None]
    if any(p.port_named(port.target_port, port.protocol) for p in pods):
        return None
    declared = sorted({f"{c.name or 'unnamed'} {c.container_port}/{c.protocol.value}" for p in pods for c in p.ports})
    known = f"their containers declare {some(declared)}" if declared else "their containers declare no port"
    if not pods:
        known = "their Pod objects are not in the snapshot, so what they declare is not known"
    why = (
        f"Service {subject.name} sends port {port.port} to the container port named {port.target_port!r}, which none of its "
        f"{len(portless)} ready pods has ({known}), so its EndpointSlice gives the addresses no port"
    )
    # Only a name that a ready pod has for this protocol gives the Service an endpoint.
    fitting = sorted({c.name for p in pods for c in p.ports if c.name and p.port_named(c.name, port.protocol)})
    near = difflib.get_close_matches(port.target_port, fitting, n=1)
    hint = f" (perhaps {near[0]!r})" if near else ""
    return why, f"Set targetPort of Service {subject.name} to a declared name or number{hint}, or name the container's port so."


def _reason(case: Case, subject: Subject) -> tuple[str, str]:
    """Why nothing is ready behind the Service, pod by pod."""
    listed = [x.endpoint for x in case.endpoints.listed] or list(case.endpoints.portless)
    if listed:
        states = [_state(case, subject, e) for e in listed]
        why = (
            f"Service {subject.name} has {len(listed)} {'endpoint' if len(listed) == 1 else 'endpoints'} and none is ready: {_each(states)}"
        )
        if _is_contradicted(case, subject, listed):
            return f"{why}, and their EndpointSlice says that they are not", _LOOK_AT_SLICES
        return why, "Repair what keeps the pods from being ready: their readiness probe and their events say it (kubectl describe pod)."
    selector = subject.service.selector
    if not selector:
        return (
            f"Service {subject.name} has no selector, and no EndpointSlice lists an address for it",
            "Make an EndpointSlice for it with the right address family and port names, or give it a selector.",
        )
    return _unselected(case, subject, selector.items())


def _is_contradicted(case: Case, subject: Subject, listed: Sequence[Endpoint]) -> bool:
    """Return whether every pod says that it is ready, and the EndpointSlice that it is not."""
    pods = [_pod_of(case, subject, endpoint) for endpoint in listed]
    return all(pod is not None and pod.phase == "Running" and pod.ready and not pod.terminating for pod in pods)


def _unselected(case: Case, subject: Subject, wanted: object) -> tuple[str, str]:
    selector = dict(wanted)  # type: ignore[call-overload]
    shown = ", ".join(f"{k}={v}" for k, v in sorted(selector.items()))
    if not case.holds("Pod"):
        return (
            f"no endpoint is listed for Service {subject.name}; the pods are not in the snapshot, so whether {shown} selects any "
            "is not known",
            f"kubectl get pods -n {subject.service.namespace} -l {shown.replace(', ', ',')}",
        )
    pods = [p for p in case.objects.pods if p.namespace == subject.service.namespace and not p.has_ended]
    chosen = [p for p in pods if all(p.labels.get(k) == v for k, v in selector.items())]
    if chosen:
        states = [f"{p.name} {_pod_state(p)}" for p in chosen]
        return (
            f"no endpoint is listed for Service {subject.name}, although {shown} selects {len(chosen)} pods: {_each(states)}",
            "Pods without an address are not listed: see their events. Where they are ready, the endpoint controller is behind.",
        )
    near = _near(selector, pods)
    hint = f"; {near}" if near else ""
    return (
        f"the selector {shown} of Service {subject.name} matches no pod of namespace {subject.service.namespace}{hint}",
        "Correct the selector of the Service, or the labels of the pods.",
    )


def _near(selector: dict[str, str], pods: list[Pod]) -> str:
    """The label that pods of the namespace have and that looks like what was meant, where with it the selector matches some."""
    for key, value in sorted(selector.items()):
        values = {p.labels[key] for p in pods if key in p.labels}
        if value not in values and (close := difflib.get_close_matches(value, sorted(values), n=1, cutoff=0.6)):
            meant = selector | {key: close[0]}
            if count := sum(all(p.labels.get(k) == v for k, v in meant.items()) for p in pods):
                return f"{key}={close[0]} would match {count}"
    return ""


def _pod_of(case: Case, subject: Subject, endpoint: Endpoint) -> Pod | None:
    reference = endpoint.target_ref
    if reference is None or reference.kind != "Pod":
        return None
    return case.objects.pod(reference.namespace or subject.service.namespace, reference.name)


def _state(case: Case, subject: Subject, endpoint: Endpoint) -> str:
    pod = _pod_of(case, subject, endpoint)
    if pod is not None:
        return f"pod {pod.name} on {pod.node_name or 'no node'} {_pod_state(pod)}"
    address = str(endpoint.addresses[0]) if endpoint.addresses else "?"
    return f"{address} is listed as {state_text(endpoint)}"


def _pod_state(pod: Pod) -> str:
    if pod.terminating:
        return "is being deleted"
    if pod.phase == "Running":
        return "is running but not Ready: its readiness probe fails, or a container is not up" if not pod.ready else "is ready"
    return f"is {pod.phase or 'in no known phase'}" + ("" if pod.ips else " and has no address")


# -- not on this node -----------------------------------------------------------------------------------------------------------------


def _not_here(case: Case, subject: Subject, passage: Passage, node: str) -> Finding:
    at, port = passage.cause, subject.port
    green = sorted({x.endpoint.node_name for x in case.endpoints.usable() if x.endpoint.node_name})
    ending = "times out" if passage.outcome.disposition is Disposition.DROPPED else "is refused"
    by = at.where if at else "no rule"
    if at is not None and passage.decided is not None and passage.decided != at:
        by = f"{passage.decided.where}, which drops what {at.where} marks"
    lead = f"{_sentence(case.client)} {ending} at node {node} by {by}: Service {subject.name} has {subject.policy_field} Local"
    if subject.way is WayIn.CLUSTER:
        text = f"{lead}, and node {node} runs no ready endpoint of it; ready ones are on {some(green) or 'no node'}"
        fix = f"Run an endpoint on node {node} (a DaemonSet), or set internalTrafficPolicy: Cluster on Service {subject.name}."
        return finding(code="ITP_LOCAL_NO_LOCAL_ENDPOINT", text=text, fix=fix, at=at)
    red = sorted({n for n in case.cluster.node_names if n not in green})
    check = subject.service.health_check_node_port
    health = (
        f"The load balancer's health check (port {check}, /healthz) should be answered with 200 by the former and 503 by the latter"
        if check
        else "A Service without a load balancer has no health check, so clients must know which nodes answer"
    )
    text = f"{lead}, and no ready endpoint runs there. These nodes answer: {some(green)}; these do not: {some(red)}. {health}"
    fix = (
        f"{_send(case, subject, green)}un an endpoint on every node, or set externalTrafficPolicy: Cluster "
        f"(port {port.node_port if port else '?'} then answers on every node, and pods see a node's address)."
    )
    return finding(code="ETP_LOCAL_NO_LOCAL_ENDPOINT", text=text, fix=fix, at=at)


def _send(case: Case, subject: Subject, green: list[str]) -> str:
    """How the advice begins: with the nodes that answer this client at the node port, where it dials one."""
    if subject.way is WayIn.NODE_PORT and subject.port is not None:
        nodes = [(name, node) for name in green[:3] if (node := case.cluster.node(name)) is not None]
        version = subject.address.version
        green = [
            name for name, node in nodes if those_better(case, [a for a in node.ips if a.version == version][:1], subject.port.node_port)
        ]
    return f"Send clients to {some(green)} only, r" if green else "R"


# -- delivered, and perhaps not heard -------------------------------------------------------------------------------------------------


def _unproven(case: Case, passage: Passage) -> Iterator[Finding]:
    """TARGET_PORT_UNPROVEN for a pod that declares other ports, or none."""
    outcome = passage.outcome
    place = outcome.destination
    if outcome.listener is not Listener.UNDECLARED or place is None or place.kind != "pod" or case.sent is None:
        return
    pod = case.objects.pod(place.namespace or "", place.name or "")
    if pod is None or any(step.rewrote for hop in outcome.hops[-1:] for step in hop.steps):
        return  # the pod's own rules made it another port
    declared = sorted({f"{c.container_port}/{c.protocol.value}" + (f" ({c.name})" if c.name else "") for c in pod.ports})
    says = f"its containers declare {some(declared)}" if declared else "its containers declare no port at all"
    subject, at = case.subject, passage.dnats[-1] if passage.dnats else None
    asked = f"{place.port}/{case.sent.protocol.value}"
    via = ""
    if subject is not None and subject.port is not None:
        via = f" by Service {subject.name}, whose targetPort is {subject.port.target_port}" + (f" (rule {at.where})" if at else "")
    text = (
        f"The packet is handed to pod {place.namespace}/{place.name} on port {asked}{via}, but {says}. "
        f"If nothing listens there, the client is refused; without the pod's socket list that cannot be proven"
    )
    fix = (
        f"kubectl exec -n {place.namespace} {place.name} -- ss -ltnu shows who listens; "
        + (f"correct targetPort of Service {subject.name}." if subject is not None else "dial a port that the pod serves.")
    )  # fmt: skip
    yield finding(code="TARGET_PORT_UNPROVEN", text=text, fix=fix, severity=None if declared else Severity.NOTICE, at=at)
