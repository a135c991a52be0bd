"""The example questions of a cluster as they are kept: in a snapshot's summary when it is stored, in a followed cluster's row when shown.

``{"engine": version, "at": Unix seconds, "found": [[title, shows, source, destination], …]}``. Finding them reads every Service and pod:
no page does it twice. Another version of the engine may find others.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from tracer.errors import QueryError, TracerError
from tracer.packet import Family
from tracer.query import parse_destination, parse_source
from tracer.snapshot.node_files import DUMPS, NFT_LISTINGS, names
from webapp import __version__

if TYPE_CHECKING:
    from tracer.explain.example_queries import ExampleQuery
    from tracer.kube.objects import Objects

_RULES = frozenset(names((*DUMPS[Family.IP], *NFT_LISTINGS)))


def find_examples(objects: Objects, node_files: Mapping[str, Iterable[str]]) -> dict[str, Any]:
    """Return the examples of the cluster that *objects* describe, to be kept; none where its objects cannot be read."""
    from tracer.explain.example_queries import example_queries

    recorded = {node for node, held in node_files.items() if not _RULES.isdisjoint(held)}
    try:
        examples = example_queries(objects, recorded=recorded or None)
    except TracerError:
        examples = ()
    found = [[e.title, e.shows, str(e.query.source), str(e.query.destination)] for e in examples if _can_be_asked(e)]
    return {"engine": __version__, "at": time.time(), "found": found}


def kept_examples(kept: object) -> list[list[str]] | None:
    """Return the examples in what is *kept*, None where there is nothing, or another version's."""
    if not isinstance(kept, dict) or kept.get("engine") != __version__:
        return None
    return list(kept["found"])


def _can_be_asked(example: ExampleQuery) -> bool:
    """Return whether the address bar's words can spell it; a file may name a pod in ways that no API server would allow."""
    try:
        parsed = parse_source(str(example.query.source)), parse_destination(str(example.query.destination))
    except QueryError:
        return False
    return parsed == (example.query.source, example.query.destination)
