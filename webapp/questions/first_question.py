"""The question that a timeline is opened with: the Service whose endpoints change first, asked by a pod that stays."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from django.core.cache import cache

from tracer.errors import QueryError, TracerError
from tracer.query import parse_destination, parse_source
from webapp import __version__
from webapp.models import Snapshot
from webapp.questions.examples import example_links
from webapp.questions.trace_query import TraceQuery, parse
from webapp.storing import stored_snapshots
from webapp.storing.snapshot_store import open_container

if TYPE_CHECKING:
    from tracer.kube.objects import Objects
    from tracer.kube.pod import Pod

_KEPT_SECONDS = 86_400
_SLICES, _PODS = "endpointslices.watch.jsonl", "pods.watch.jsonl"
_SERVICE_NAME = "kubernetes.io/service-name"
_SYSTEM = "kube-system"


def first_question(timeline: Snapshot) -> TraceQuery | None:
    """Return what to ask of *timeline* while it plays, its first example where no endpoint changes; None when there is nothing to ask."""
    key = f"first-question:{__version__}:{timeline.digest}"
    found = cache.get(key)
    if found is None:
        found = _found(timeline)
        cache.set(key, found, _KEPT_SECONDS)
    query = parse(found)
    return None if query.errors or query.is_empty else query


def _found(timeline: Snapshot) -> str:
    try:
        question = _of_what_changes(timeline)
    except (TracerError, ValueError):
        question = None
    if question is not None:
        return str(question)
    examples = example_links(timeline)
    return examples[0].url.partition("?")[2] if examples else ""


def _of_what_changes(timeline: Snapshot) -> TraceQuery | None:
    unsteady = {(_named(pod, "namespace"), _named(pod, "name")) for pod in _watched(timeline, _PODS)}
    changed = dict.fromkeys((_named(slice_, "namespace"), _service_of(slice_)) for slice_ in _watched(timeline, _SLICES))
    with stored_snapshots.using_cluster(timeline) as cluster:
        for namespace, name in changed:
            service = cluster.objects.service(namespace, name)
            if service is None or service.headless or namespace == _SYSTEM or not service.ports:
                continue
            pod = _steady_pod(cluster.objects, namespace, name, unsteady)
            if pod is not None:
                return _question(pod, f"svc:{namespace}/{name}:{service.ports[0].port}")
    return None


def _question(pod: Pod, destination: str) -> TraceQuery | None:
    try:
        return TraceQuery(source=parse_source(f"pod:{pod.namespace}/{pod.name}"), destination=parse_destination(destination))
    except QueryError:
        return None


def _steady_pod(objects: Objects, namespace: str, service: str, unsteady: set[tuple[str, str]]) -> Pod | None:
    """Return a pod that is no endpoint of the Service and of which the timeline says nothing, one of the same namespace if there is one."""
    ends = (endpoint.target_ref for slice_ in objects.slices_of(namespace, service) for endpoint in slice_.endpoints)
    others = unsteady | {(namespace, end.name) for end in ends if end}
    fit = (pod for pod in objects.pods if not pod.host_network and not pod.has_ended and pod.namespace != _SYSTEM)
    found = (pod for pod in fit if (pod.namespace, pod.name) not in others)
    return min(found, key=lambda pod: (pod.namespace != namespace, pod.namespace, pod.name), default=None)


def _watched(timeline: Snapshot, name: str) -> Iterator[dict[str, Any]]:
    container = open_container(timeline)
    try:
        text = container.get(name, b"")
    finally:
        container.close()
    for line in text.splitlines():
        yield json.loads(line)["object"]


def _named(value: dict[str, Any], field: str) -> str:
    return str(value.get("metadata", {}).get(field, ""))


def _service_of(value: dict[str, Any]) -> str:
    return str(value.get("metadata", {}).get("labels", {}).get(_SERVICE_NAME, ""))
