"""The cluster as some words and a manifest would make it: which objects are others then, and what else is said of it.

Owns the order in which changes are made: manifest, fields, states, then what controllers make of them (EndpointSlices), then conditions of
single endpoints. Everything that the API would refuse is refused, all of it at once. Nodes' rules are the business of ``node_rules``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field
from functools import cached_property

from tracer.errors import ParseError, QueryError
from tracer.kube.endpointslice import EndpointSlice
from tracer.kube.fields import Origin
from tracer.kube.kinds import BY_NAME, KINDS, Model
from tracer.kube.near import nearest
from tracer.kube.object_file import RawObject
from tracer.kube.objects import Objects, name_of, read_object
from tracer.kube.pod import Pod
from tracer.override_words import FIELD, MODES, On, Word, parse_word, refusal
from tracer.overrides.changed_objects import Changed, ChangedObjects, Key
from tracer.overrides.drawn_numbers import Drawn
from tracer.overrides.editing import Value, applied, copied, differing, set_field
from tracer.overrides.endpoint_changes import ServiceChange, changed_slices
from tracer.overrides.endpoint_words import came_and_went, with_conditions
from tracer.overrides.pod_changes import added_pod, is_settable, made_terminating, with_readiness
from tracer.overrides.service_changes import completed
from tracer.overrides.service_fields import NODE_PORTS, refusals
from tracer.snapshot.proxy_mode import proxy_mode
from tracer.snapshot.snapshot import Snapshot
from tracer.values import dataclass

_KIND_OF = {kind.word: kind.name for kind in KINDS} | {"endpointslice": "EndpointSlice"}
_TOLD = 8
_POLICY_FIELDS = ("podSelector", "policyTypes", "ingress", "egress")
_NODE_FIELDS = (("metadata", "labels"), ("metadata", "annotations"), ("spec", "unschedulable"))
_PODS_MADE_BY = ("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job", "CronJob")


@dataclass(frozen=True, slots=True, kw_only=True)
class Overridden:
    """A changed cluster: its *objects*; *services* whose rules may be others; *modes* of nodes that are switched; nodes that are *removed*.

    *gone* and *added* are pods, *nodes* those whose own object is another. *changes* say in words what is changed and what follows from
    it, *notes* what is not changed, or stands for something that nobody knows.
    """

    objects: Objects
    services: frozenset[Key] = frozenset()
    modes: Mapping[str, str] = field(default_factory=dict)
    removed: frozenset[str] = frozenset()
    nodes: frozenset[str] = frozenset()
    gone: tuple[Pod, ...] = ()
    added: tuple[Pod, ...] = ()
    changes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def is_nothing(self) -> bool:
        """Return whether everything is so already."""
        return not self.changes


def what_if(snapshot: Snapshot, overrides: Iterable[str], apply: str = "") -> Overridden:
    """Return the cluster of *snapshot* with the words *overrides* and the objects of *apply*, a JSON list.

    :raises QueryError: something that is named is not there, or the API would refuse a change; every such thing is said.
    """
    changing = _Changing(snapshot, [parse_word(text) for text in overrides])
    changing.manifest(json.loads(apply) if apply else [])
    changing.words()
    changing.check()
    return changing.finished()


class _Changing:
    """The changes under way: *_values* are objects that are others, by kind and name, None for those that go."""

    def __init__(self, snapshot: Snapshot, words: list[Word]) -> None:
        self._snapshot = snapshot
        self._base = snapshot.objects
        self._words = words
        self._values: dict[str, dict[Key, Value | None]] = {}
        self._errors: list[QueryError] = []
        self._modes: dict[str, str] = {}
        self._changes: list[str] = []
        self._notes: list[str] = []

    @cached_property
    def _drawn(self) -> Drawn:
        return Drawn(self._base.services)

    # -- what is asked for ----------------------------------------------------------------------------------------------------------

    def manifest(self, objects: Iterable[Mapping[str, object]]) -> None:
        """Put the objects of a manifest over those that are there, as ``kubectl apply`` does."""
        for one in objects:
            kind = str(one.get("kind") or "")
            namespace, name = name_of(one)
            if kind not in BY_NAME or not name:
                self._not_applied(kind, namespace, name)
                continue
            key = (namespace or "default", name) if BY_NAME[kind].namespaced else ("", name)
            own = self._value(kind, key)
            if own is None:
                own = {"apiVersion": one.get("apiVersion"), "kind": kind, "metadata": {"namespace": key[0], "name": name}}
            self._put(kind, key, applied(own, {k: v for k, v in one.items() if k != "status"}))

    def _not_applied(self, kind: str, namespace: str, name: str) -> None:
        if not kind or not name:
            self._refuse("an object of the manifest has no kind or no name")
        elif kind in _PODS_MADE_BY:
            self._notes.append(f"{kind} {namespace or 'default'}/{name} is not applied: pods stay as they are")
        else:
            self._notes.append(f"{kind} {name} is not applied: nothing that is traced follows from it")

    def words(self) -> None:
        """Make the changes of the words: fields first, then states."""
        for word in sorted(self._words, key=lambda w: (w.state != "added", bool(w.state), w.text)):
            try:
                self._word(word)
            except QueryError as error:
                self._errors.append(error)

    def _word(self, word: Word) -> None:
        if word.on is On.MODE or word.state in MODES:
            self._mode(word)
        elif word.on is On.ENDPOINT:
            pass  # when the slices are known
        elif word.on is On.POD:
            self._pod(word)
        else:
            self._object(word)

    def _object(self, word: Word) -> None:
        kind = _KIND_OF[word.on.value]
        value = self._there(word, kind)
        if word.state in ("deleted", "removed"):
            self._put(kind, word.key, None)
        elif word.state == "cordoned":
            spec = value.setdefault("spec", {})
            if isinstance(spec, dict):
                spec["unschedulable"] = True
            self._put(kind, word.key, value)
        else:
            if kind == "Node" and not any(word.path[: len(path)] == path for path in _NODE_FIELDS):
                raise refusal(word.text, "of a node its labels, annotations and spec.unschedulable can be set")
            self._set(word, kind, value)

    def _set(self, word: Word, kind: str, value: Value) -> None:
        if kind != "Service" and word.path[0] not in ("metadata", "spec", "endpoints", "ports"):
            raise refusal(word.text, f"the {kind}'s metadata or spec can be set")
        if word.on is On.POLICY and word.path[0] == "spec" and len(word.path) > 1 and word.path[1] not in _POLICY_FIELDS:
            raise refusal(word.text, f"spec.{word.path[1]} is no field of it: a policy has {', '.join(_POLICY_FIELDS)}")
        set_field(value, word)
        self._put(kind, word.key, value)

    def _pod(self, word: Word) -> None:
        if word.state == "added":
            self._put("Pod", word.key, added_pod(self._view(), word, self._notes))
            return
        value = self._there(word, "Pod")
        if word.state == "deleted":
            self._put("Pod", word.key, None)
        elif word.state == "terminating":
            self._put("Pod", word.key, made_terminating(value))
        elif word.path == ("ready",):
            self._put("Pod", word.key, with_readiness(value, is_ready=bool(word.value)))
        elif is_settable(word.path):
            set_field(value, word)
            self._put("Pod", word.key, value)
        else:
            raise refusal(word.text, "of a pod its labels, annotations and readiness can be set: its spec stays as it was made")

    def _mode(self, word: Word) -> None:
        names = (word.name,) if word.on is On.NODE else self._snapshot.node_names
        if word.on is On.NODE and word.name not in self._snapshot.node_names:
            raise refusal(word.text, f"there is no node {word.name}", near=nearest(word.name, self._snapshot.node_names))
        for name in names:
            said = proxy_mode(self._snapshot, name)
            if said is not None and said.mode == "kernelspace":
                self._notes.append(f"node {name} runs Windows, where kube-proxy has no other mode: it stays as it is")
            elif said is None or said.mode != word.state:
                self._modes[name] = word.state

    # -- values ---------------------------------------------------------------------------------------------------------------------

    def _value(self, kind: str, key: Key) -> Value | None:
        """A copy of an object as it is by now, None where it is not there."""
        held = self._values.get(kind, {})
        found = held[key] if key in held else self._base.raw(kind, *key)
        return None if found is None else copied(found)

    def _there(self, word: Word, kind: str) -> Value:
        found = self._value(kind, word.key)
        if found is not None:
            return found
        named = "/".join(part for part in word.key if part)
        near = self._base.near_names(kind, named) if kind in ("Service", "Pod", "Node") else ()
        raise refusal(word.text, f"there is no {kind} {named}", near=near)

    def _put(self, kind: str, key: Key, value: Value | None) -> None:
        self._values.setdefault(kind, {})[key] = value

    def _refuse(self, message: str) -> None:
        self._errors.append(QueryError(message, code="BAD_OVERRIDE", field=FIELD))

    # -- what follows ---------------------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Let the API server complete Services, and refuse what it would. :raises QueryError: it would refuse something."""
        for key, value in self._values.get("Service", {}).items():
            if value is None:
                continue
            before, whose = self._base.raw("Service", *key), f"Service {key[0]}/{key[1]}"
            if before is None or copied(before) != value:
                done = completed(before, copied(value), self._drawn, whose)
                found = [*refusals(done, before), *self._taken(key, done)]
                for one in found:
                    self._refuse(f"{whose}: {one}")
                if not found:
                    self._put("Service", key, done)
        if len(self._errors) == 1:
            raise self._errors[0]
        if self._errors:
            raise QueryError("\n".join(map(str, self._errors)), code="BAD_OVERRIDE", field=FIELD)

    def _taken(self, key: Key, value: Mapping[str, object]) -> Iterator[str]:
        """Yield which new node port of a Service another one has, or is none that the API server gives."""
        was = self._base.service(*key)
        old = {port.node_port for port in was.ports} if was is not None else set()
        spec = value.get("spec")
        listed = spec.get("ports") if isinstance(spec, Mapping) else None
        ports = [port for port in listed if isinstance(port, Mapping)] if isinstance(listed, list) else []
        numbers = [(port.get("protocol"), port.get("nodePort")) for port in ports]
        # What is no number, or no word, is refused as such.
        asked = {(word, n) for word, n in numbers if isinstance(word, str) and isinstance(n, int) and n and n not in old}
        if asked and all(port.node_port in NODE_PORTS for other in self._base.services for port in other.ports if port.node_port):
            far = sorted(number for _, number in asked if number not in NODE_PORTS)
            yield from (f"node port {number} is not from {NODE_PORTS[0]} to {NODE_PORTS[-1]}" for number in far)
        for other in self._base.services if asked else ():
            is_gone = self._values.get("Service", {}).get(other.key, {}) is None
            for port in other.ports if other.key != key and not is_gone else ():
                if port.node_port and (port.protocol.value.upper(), port.node_port) in asked:
                    yield f"node port {port.node_port} is taken by Service {other.namespace}/{other.name}"

    def finished(self) -> Overridden:
        """Return what comes of it. :raises QueryError: an object cannot be read as it was made, or an endpoint is not there."""
        removed = frozenset(name for (_, name), value in self._values.get("Node", {}).items() if value is None)
        for pod in self._base.pods if removed else ():
            if pod.node_name in removed:
                self._put("Pod", pod.key, None)
        changes = {kind: dict(self._read(kind, held)) for kind, held in self._values.items()}
        self._say(changes)
        services = self._endpoints(changes)
        for name, mode in self._modes.items():
            self._changes.append(f"kube-proxy on node {name} runs in {mode} mode")
        changes = {kind: held for kind, held in changes.items() if held}
        pods = changes.get("Pod", {})
        gone = tuple(old for key, one in pods.items() if not one.models and (old := self._base.pod(*key)) is not None)
        added = tuple(m for one in pods.values() if not one.existed for m in one.models if isinstance(m, Pod))
        return Overridden(
            objects=ChangedObjects(self._base, changes) if changes else self._base,
            services=frozenset(services),
            modes={name: mode for name, mode in self._modes.items() if name not in removed},
            removed=removed,
            nodes=frozenset(name for _, name in changes.get("Node", {})) - removed,
            gone=gone,
            added=added,
            changes=tuple(self._changes),
            notes=tuple(dict.fromkeys((*self._drawn.notes, *self._notes) if "_drawn" in self.__dict__ else self._notes)),
        )

    def _read(self, kind: str, held: Mapping[Key, Value | None]) -> Iterator[tuple[Key, Changed]]:
        """Yield what the engine reads of each object that is another than before."""
        for key, value in held.items():
            before = self._base.raw(kind, *key)
            if before == value:
                continue
            models = self._models(kind, key, value)
            if before is not None and value is not None and models and models == self._models(kind, key, before):
                continue  # so already, or nothing that is traced follows from it
            yield key, Changed(value=value, models=models, existed=before is not None)

    def _models(self, kind: str, key: Key, value: Mapping[str, object] | None) -> tuple[Model, ...]:
        if value is None:
            return ()
        try:
            return read_object(RawObject(kind=kind, value=value), Origin())
        except ParseError as error:
            message = f"{kind} {'/'.join(filter(None, key))}: {error.faults[0].message}"
            raise QueryError(message, code="BAD_OVERRIDE", field=FIELD) from None

    def _view(self) -> ChangedObjects:
        return ChangedObjects(self._base, {kind: dict(self._read(kind, held)) for kind, held in self._values.items()})

    def _say(self, changes: Mapping[str, Mapping[Key, Changed]]) -> None:
        for key in changes.get(_KIND_OF[On.POLICY], {}):
            named = "/".join(key)
            self._notes.append(
                f"what a network plugin programmed on nodes for policy {named} is not kube-proxy's: recorded rules stay as they are"
            )
        for kind, held in changes.items():
            for key, one in held.items():
                named = f"{kind} {'/'.join(filter(None, key))}"
                before = self._base.raw(kind, *key)
                if one.value is None:
                    self._changes.append(f"{named} is gone")
                elif before is None:
                    self._changes.append(f"{named} is new")
                else:
                    told = [_plain(text) for text in differing(before, one.value)]
                    self._changes.append(
                        f"{named}: {', '.join(told[:_TOLD])}" + (f", and {len(told) - _TOLD} more" if len(told) > _TOLD else "")
                    )

    # -- EndpointSlices ---------------------------------------------------------------------------------------------------------------

    def _endpoints(self, changes: dict[str, dict[Key, Changed]]) -> set[Key]:
        """Put what becomes of EndpointSlices into *changes*. Return the Services whose rules may be others."""
        view = ChangedObjects(self._base, changes)
        kind = "Endpoints" if self._base.uses_legacy_endpoints else "EndpointSlice"
        held = changes.setdefault(kind, {})
        every = (*self._base.slices, *view.slices) if held else ()
        touched = {(one.namespace, one.service) for one in every if one.key in held and one.service}
        touched |= set(changes.get("Service", {}))
        said = [word for word in self._words if word.on is On.ENDPOINT]
        asked = touched | set(self._selecting(changes.get("Pod", {}), view)) | {word.key for word in said}
        asked |= set(self._on_nodes({name for _, name in changes.get("Node", {})}))
        for key in sorted(asked):
            slices = view.slices_of(*key)
            made = self._slices(key, view)
            after = () if made is None else with_conditions(made, [word for word in said if word.key == key])
            if after == slices:
                continue
            touched.add(key)
            self._changes += came_and_went(key, slices, after)
            kept = {one.key: one for one in after}
            for one in slices:
                if one.key not in kept:
                    held[one.key] = Changed()
            existing = {one.key for one in slices}
            held |= {name: Changed(models=(one,), existed=name in existing) for name, one in kept.items() if one not in slices}
        return touched

    def _slices(self, key: Key, view: Objects) -> tuple[EndpointSlice, ...] | None:
        """The EndpointSlices of a Service as the controller would have them; None where the Service goes."""
        if self._base.service(*key) is None and view.service(*key) is None:
            return view.slices_of(*key)
        change = ServiceChange(
            before=self._base.service(*key),
            after=view.service(*key),
            pods_before=[pod for pod in self._base.pods if pod.namespace == key[0]],
            pods_after=[pod for pod in view.pods if pod.namespace == key[0]],
            node_before=self._base.node,
            node_after=view.node,
        )
        return changed_slices(change, view.slices_of(*key))

    def _on_nodes(self, nodes: set[str]) -> Iterator[Key]:
        """Yield the Services with endpoints on *nodes*, whose zones may be others."""
        for one in self._base.slices if nodes else ():
            if one.service and any(endpoint.node_name in nodes for endpoint in one.endpoints):
                yield (one.namespace, one.service)

    def _selecting(self, pods: Mapping[Key, Changed], view: Objects) -> Iterator[Key]:
        """Yield the Services that select one of the pods that are others, or did."""
        every = ((key[0], model) for key, one in pods.items() for model in (*one.models, self._base.pod(*key)))
        labels = [(namespace, model.labels) for namespace, model in every if isinstance(model, Pod)]
        for service in (*self._base.services, *view.services) if labels else ():
            selector = service.selector
            if selector and any(ns == service.namespace and selector.items() <= dict(held).items() for ns, held in labels):
                yield service.key


def _plain(text: str) -> str:
    return text.removeprefix("spec.")
