"""What a stored snapshot holds, as its pages show it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from webapp import demonstrations
from webapp.examples import ExampleLink, example_links, is_quick, trace_url
from webapp.models import Snapshot

MODELLED_MODES = frozenset({"iptables"})
"""The kube-proxy modes whose rules the engine evaluates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """One snapshot's summary, ready for a template. *owner* is who looks at it."""

    row: Snapshot
    owner: str = ""

    @property
    def summary(self) -> dict[str, Any]:
        """Return the summary that was stored with the snapshot."""
        return self.row.summary

    @property
    def may_delete(self) -> bool:
        """Return whether the viewer may delete the snapshot."""
        return self.row.is_deletable_by(self.owner)

    @property
    def trace_url(self) -> str:
        """Return the address of the trace form for this snapshot, or "" while there is none."""
        return trace_url(self.row)

    @property
    def sentence(self) -> str:
        """Return what a demonstration cluster is for."""
        return demonstrations.SENTENCES.get(self.row.id, "") if self.row.is_demo else ""

    @property
    def modes(self) -> tuple[str, ...]:
        """Return the kube-proxy modes of its nodes."""
        return tuple(self.summary.get("modes", ()))

    @property
    def is_modelled(self) -> bool:
        """Return whether every known mode is one that the engine evaluates."""
        return set(self.modes) <= MODELLED_MODES

    @property
    def examples_wait(self) -> bool:
        """Return whether finding the examples takes longer than a page should wait."""
        return not is_quick(self.row)

    @property
    def examples(self) -> tuple[ExampleLink, ...]:
        """Return the traces to try."""
        return example_links(self.row)
