"""Where the files of an upload belong whose names are not all documented: each is looked at, and cut where it holds several things.

Strategy: one file's content at a time. Objects are read only where a node's file needs the nodes' names to be placed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from tracer import limits
from tracer.errors import TracerError
from tracer.kube.json_text import to_utf8
from tracer.patterns import pattern
from tracer.snapshot.arranging import Arrangement, arrange, wants_nodes
from tracer.snapshot.called import Called
from tracer.snapshot.contents import Glance, KnownNode, glance, known_nodes
from tracer.snapshot.layout import UNPLACED
from tracer.snapshot.node_files import BY_NAME
from tracer.snapshot.pieces import Part, asked_pods, cut, of_one, pieces
from webapp.uploads.limits import UploadError
from webapp.uploads.source import Source

_IN_NODES = pattern(r"nodes/(?P<node>[a-z0-9][a-z0-9.-]{0,252})/", re.ASCII)
"""A folder of the documented layout, which says whose the files in it are, whatever they are called."""


def looked_through(source: Source, known: Iterable[KnownNode]) -> Arrangement:
    """Return where each file of *source* belongs. *known*: nodes there are besides those it names.

    :raises UploadError: it is two snapshots.
    """
    glances: dict[str, Glance] = {}
    parts: dict[str, tuple[Part, ...]] = {}
    for path, content in source.files():
        glances[path] = glance(path, content)
        if not _is_one_thing(glances[path], content) and (found := cut(path, content)):
            parts[path] = found
        del content  # before the next one is read
    asked = (*glances.values(), *(part.glance for found in parts.values() for part in found))
    said = (KnownNode(name=match["node"]) for match in map(_IN_NODES.match, source.names) if match)
    by_name: dict[str, KnownNode] = {}
    for node in (*(_nodes(source.files(), glances, parts) if wants_nodes(asked) else ()), *known, *said):
        by_name.setdefault(node.name, node)
    nodes = tuple(by_name.values())
    called = Called(nodes)
    of = {path: made for path, found in parts.items() if (made := pieces(path, found, called))}
    whole = [of_one(one, parts[path], called) if path in parts else one for path, one in glances.items() if path not in of]
    try:
        arrangement = arrange((*whole, *(piece.glance for made in of.values() for piece in made)), nodes)
    except TracerError as error:
        raise UploadError(str(error)) from error
    return replace(arrangement, pieces=of)


def _is_one_thing(one: Glance, content: bytes) -> bool:
    """Whether a file is not asked for several things in it: by its name, as it was cut before, or as a large list of objects."""
    is_list = one.objects is not None and len(content) > limits.CUT_OBJECT_BYTES
    return is_list or one.path.rpartition("/")[2] in BY_NAME or f"/{UNPLACED}" in f"/{one.path}"


def _nodes(files: Iterable[tuple[str, bytes]], glances: Mapping[str, Glance], parts: Mapping[str, Sequence[Part]]) -> Iterator[KnownNode]:
    found: dict[str, KnownNode] = {}
    asked = asked_pods(part for one in parts.values() for part in one)
    for path, content in files:
        for data in _objects(content, glances[path], parts.get(path, ())):
            for node in known_nodes(data, asked):
                found[node.name] = node.merged(found.get(node.name, node))
        content = b""  # before the next one is read
    yield from found.values()


def _objects(content: bytes, one: Glance, parts: Sequence[Part]) -> Iterator[bytes]:
    """What of a file's *content* is API objects."""
    if not parts:
        yield from [content] if one.objects is not None else []
        return
    data = to_utf8(content)
    yield from (data[part.body : part.end] for part in parts if part.glance.objects is not None)
