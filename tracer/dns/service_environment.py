"""The environment variables that a pod gets for Services: ``{SVC}_SERVICE_HOST``, ``{SVC}_SERVICE_PORT`` and Docker's older ones.

The kubelet writes them when it starts a container, from the Services it knows then: those made later are missing until the container starts
again. The pod's creation stands for that moment here.
Source: pkg/kubelet/kubelet_pods.go (getServiceEnvVarMap) and pkg/kubelet/envvars of Kubernetes 1.36.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tracer.kube.pod import Pod
from tracer.kube.service import Service
from tracer.packet import Address, endpoint_text
from tracer.values import dataclass

_ALWAYS = ("default", "kubernetes")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceVariables:
    """The variables for one Service. *missing* says why the pod does not have them, empty when it does."""

    service: Service
    variables: tuple[tuple[str, str], ...]
    missing: str = ""


def service_environment(pod: Pod, services: Iterable[Service]) -> tuple[ServiceVariables, ...]:
    """Return what *pod* has of the Services of its namespace and of default/kubernetes, in the order of their names.

    Services without a cluster IP have no variables and are left out.
    """
    mine = {s.name: s for s in services if s.cluster_ips and s.ports and (s.namespace == pod.namespace or s.key == _ALWAYS)}
    own = {s.name: s for s in mine.values() if s.namespace == pod.namespace}
    chosen = {**mine, **own} if pod.enable_service_links else mine
    return tuple(
        ServiceVariables(service=s, variables=tuple(_variables(s, s.cluster_ips[0])), missing=_why_missing(pod, s))
        for _, s in sorted(chosen.items())
    )


def _why_missing(pod: Pod, service: Service) -> str:
    if not pod.enable_service_links and service.key != _ALWAYS:
        return "enableServiceLinks is false"
    if pod.created is not None and service.created is not None and service.created > pod.created:
        return f"the Service was made after the pod ({service.created.isoformat()}); a container that has been restarted since has them"
    return ""


def _variables(service: Service, address: Address) -> Iterator[tuple[str, str]]:
    prefix = variable_name(service.name)
    yield f"{prefix}_SERVICE_HOST", str(address)
    yield f"{prefix}_SERVICE_PORT", str(service.ports[0].port)
    for port in service.ports:
        if port.name:
            yield f"{prefix}_SERVICE_PORT_{variable_name(port.name)}", str(port.port)
    for number, port in enumerate(service.ports):
        url = f"{port.protocol.value}://{endpoint_text(address, port.port)}"
        if number == 0:
            yield f"{prefix}_PORT", url
        own = f"{prefix}_PORT_{port.port}_{port.protocol.value.upper()}"
        yield own, url
        yield f"{own}_PROTO", port.protocol.value
        yield f"{own}_PORT", str(port.port)
        yield f"{own}_ADDR", str(address)


def variable_name(text: str) -> str:
    """Return *text* as the kubelet spells it in a variable's name."""
    return text.replace("-", "_").upper()
