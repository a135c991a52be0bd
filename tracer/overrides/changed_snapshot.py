"""A snapshot of which objects are others: nodes and pods that are gone have no files, all other files are the recorded ones."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property

from tracer.kube.objects import Objects
from tracer.overrides.what_if import Overridden
from tracer.packet import Address
from tracer.snapshot.snapshot import Snapshot
from tracer.snapshot.wrong_form import WrongForm


class ChangedSnapshot(Snapshot):
    """*base* as *what* makes it. Not to be used any longer when the base changes."""

    def __init__(self, base: Snapshot, what: Overridden) -> None:
        super().__init__(base.files, base.layout, base.limits)
        self.called = base.called
        self._base = base
        self._what = what

    @cached_property
    def objects(self) -> Objects:
        """Return the API objects, the changed ones among them."""
        return self._what.objects

    @cached_property
    def node_files(self) -> Mapping[str, Mapping[str, str]]:
        """Return node → documented name → path, of the nodes that are left."""
        return {node: held for node, held in self._base.node_files.items() if node not in self._what.removed}

    @cached_property
    def pod_stacks(self) -> Mapping[str, Mapping[str, str]]:
        """Return the files of pods' own stacks, of the pods that are left."""
        gone = {f"{pod.node_name}/pods/{pod.namespace}_{pod.name}" for pod in self._what.gone}
        return {name: held for name, held in self._base.pod_stacks.items() if name not in gone}

    def asked_mode(self, node: str) -> str | None:
        """Return the mode that the question puts *node* into, None where it does not."""
        return self._what.modes.get(node) or self._base.asked_mode(node)

    def text(self, path: str) -> str:
        """Return the text of the file at *path*, as it was recorded."""
        return self._base.text(path)

    def mentions(self, path: str, pattern: re.Pattern[str]) -> bool:
        """Return whether *pattern* is found anywhere in the file at *path*."""
        return self._base.mentions(path, pattern)

    def lines(self, path: str) -> Sequence[str]:
        """Return the lines of the file at *path*."""
        return self._base.lines(path)

    def wrong_form(self, path: str) -> WrongForm | None:
        """Return what the file at *path* is instead of API objects."""
        return self._base.wrong_form(path)

    def read_at(self, node: str, name: str) -> float | None:
        """Return when the file *name* of *node* was read."""
        return self._base.read_at(node, name)

    def objects_read_at(self, kind: str) -> float | None:
        """Return when the objects of *kind* were read."""
        return self._base.objects_read_at(kind)

    def rules_asked_for_at(self) -> float | None:
        """Return when an object that Services' rules follow was last seen to change."""
        return self._base.rules_asked_for_at()

    def endpoint_changed_at(self, namespace: str, service: str, address: Address) -> float | None:
        """Return when an endpoint of a Service was seen to come, go, or change its readiness."""
        return self._base.endpoint_changed_at(namespace, service, address)
