"""A snapshot: one moment of a cluster, as files that are read when they are needed.

Owns which node has which file and the texts in them; the API objects are ``tracer.kube.objects``.
Texts are kept in a bounded cache: the bytes are the truth and stay with whoever gave them.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cached_property, partial
from typing import TYPE_CHECKING

from tracer.errors import ParseError
from tracer.kube.json_text import decode_json, decode_text, to_utf8
from tracer.kube.object_file import Document, FoundText, ObjectFile
from tracer.kube.objects import Objects
from tracer.limits import DEFAULT, Limits
from tracer.packet import Address
from tracer.patterns import pattern
from tracer.snapshot.layout import Bundle, Layout, recognise
from tracer.snapshot.text_lines import TextLines
from tracer.snapshot.wrong_form import WrongForm, wrong_form
from tracer.snapshot.yaml_stream import json_spans, read_stream

if TYPE_CHECKING:
    from tracer.snapshot.yaml_documents import YamlDocument

_CHARACTERS_KEPT = 48_000_000
_LINES_KEPT = 8
_REMARKS_KEPT = 60
SKETCHED = "sketched"
"""The key of ``snapshot.json`` that says that all of it was made up."""
_FENCE = pattern(r"^```", re.MULTILINE)


class Snapshot:
    """The files of one moment, by their names in the documented layout or in a bundle's. *limits*: what a question about them may cost."""

    called: str = "snapshot"
    """What sentences call it: what it lacks may still be in the cluster."""

    def __init__(self, files: Mapping[str, bytes], layout: Layout, limits: Limits = DEFAULT) -> None:
        self.files = files
        self.layout = layout
        self.limits = limits
        self._wrong_forms: dict[str, WrongForm | None] = {}
        self._texts: OrderedDict[str, str] = OrderedDict()
        self._lines: OrderedDict[str, TextLines] = OrderedDict()

    @classmethod
    def from_files(cls, files: Mapping[str, bytes], limits: Limits = DEFAULT) -> Snapshot:
        """Return the snapshot that *files* (path → content, the archive's top folder left out) are. Parses nothing yet."""
        return cls(files, recognise(files), limits)

    @property
    def bundle(self) -> Bundle:
        """Return which of the known layouts this is."""
        return self.layout.bundle

    # -- nodes --------------------------------------------------------------------------------------------------------------------

    @cached_property
    def node_files(self) -> Mapping[str, Mapping[str, str]]:
        """Return node → documented name → path. A file that a bundle files under a pod goes to that pod's node."""
        files: dict[str, Mapping[str, str]] = dict(self.layout.node_files)
        for pod, named in self.layout.pod_files.items():
            node = self._node_of_pod(pod)
            files[node] = {**named, **files.get(node, {})}
        return files

    @property
    def pod_stacks(self) -> Mapping[str, Mapping[str, str]]:
        """Return NODE/pods/NAMESPACE_NAME → documented name → path: the files of pods' own stacks."""
        return self.layout.pod_stacks

    def held_files(self, stack: str) -> Mapping[str, str]:
        """Return documented name → path of the files of a node, or of a pod's own stack (see ``pod_stacks``)."""
        return self.node_files.get(stack) or self.pod_stacks.get(stack) or {}

    @cached_property
    def node_names(self) -> tuple[str, ...]:
        """Return the names of all nodes that have files or a Node object, sorted."""
        return tuple(sorted({*self.node_files, *(n.name for n in self.objects.nodes)}))

    def path_of(self, node: str, name: str) -> str:
        """Return the path to print for the file *name* of *node*, whether or not it is there."""
        return self.held_files(node).get(name, f"nodes/{node}/{name}")

    def has_node_file(self, node: str, name: str) -> bool:
        """Return whether the snapshot holds the file *name* of *node*."""
        return name in self.held_files(node)

    def node_file(self, node: str, name: str) -> str | None:
        """Return the text of the file *name* of *node*, or None. :raises ParseError: it is not UTF-8."""
        path = self.held_files(node).get(name)
        return None if path is None else self.text(path)

    def node_json(self, node: str, name: str) -> object | None:
        """Return the value of the JSON file *name* of *node*, or None when there is none. :raises ParseError: it is not JSON."""
        text = self.node_file(node, name)
        return None if text is None else decode_json(text, self.path_of(node, name))

    def asked_mode(self, node: str) -> str | None:
        """Return the mode of kube-proxy that a question puts *node* into; None: it is in that which the files say."""
        return None

    def _node_of_pod(self, pod: str) -> str:
        found = next((p.node_name for p in self.objects.pods if p.name == pod and p.node_name), None)
        return found or pod

    # -- texts --------------------------------------------------------------------------------------------------------------------

    def text(self, path: str) -> str:
        """Return the text of the file at *path*.

        :raises ParseError: the bytes are not UTF-8; the fault names the offset.
        :raises KeyError: there is no such file.
        """
        text = self._texts.get(path)
        if text is None:
            text = decode_text(to_utf8(self.files[path]), path)
            if path.endswith(".md"):
                text = _fenced(text)
            self._texts[path] = text
            while len(self._texts) > 1 and sum(map(len, self._texts.values())) > _CHARACTERS_KEPT:
                self._texts.popitem(last=False)
        self._texts.move_to_end(path)
        return text

    def mentions(self, path: str, pattern: re.Pattern[str]) -> bool:
        """Return whether *pattern* is found anywhere in the file at *path*. Raises as ``text``."""
        return pattern.search(self.text(path)) is not None

    def lines(self, path: str) -> Sequence[str]:
        """Return the lines of the file at *path*: line 1 is at index 0. Raises as ``text``."""
        lines = self._lines.get(path)
        if lines is None:
            lines = self._lines[path] = TextLines(self.text(path))
            while len(self._lines) > _LINES_KEPT:
                self._lines.popitem(last=False)
        self._lines.move_to_end(path)
        return lines

    def is_refusal(self, path: str) -> bool:
        """Return whether the file at *path*, which should hold objects, holds what somebody was told instead (a refusal, a table)."""
        return self.wrong_form(path) is not None

    def wrong_form(self, path: str) -> WrongForm | None:
        """Return what the file at *path* is instead of API objects that can be used, None where nothing of the kind is known of it."""
        if path not in self._wrong_forms:
            self._wrong_forms[path] = wrong_form(path, self.files[path])
        return self._wrong_forms[path]

    # -- times --------------------------------------------------------------------------------------------------------------------

    def read_at(self, node: str, name: str) -> float | None:
        """Return when the file *name* of *node* was read (Unix seconds), as snapshot.json says; None when nobody noted it."""
        return self._read_times.get(self.path_of(node, name))

    def objects_read_at(self, kind: str) -> float | None:
        """Return when the first file that may hold objects of *kind* was read (Unix seconds); None when nobody noted it."""
        times = (self._read_times.get(o.path) for o in self.layout.objects if o.kind in (kind, None))
        return next((t for t in times if t is not None), None)

    def rules_asked_for_at(self) -> float | None:
        """Return when an object that Services' rules follow was last seen to change (Unix seconds): only a follower can tell."""
        return None

    def endpoint_changed_at(self, namespace: str, service: str, address: Address) -> float | None:
        """Return when an endpoint of a Service was seen to come, go, or change its readiness (Unix seconds): only a follower can tell."""
        return None

    @cached_property
    def _about(self) -> Mapping[str, object]:
        try:
            about = decode_json(self.text(self.layout.about), self.layout.about) if self.layout.about else None
        except ParseError:
            about = None
        return about if isinstance(about, Mapping) else {}

    @property
    def sketched(self) -> tuple[str, ...] | None:
        """Return what is said of the sketch that the snapshot is, as snapshot.json says; None where it is none: something was recorded."""
        said = self._about.get(SKETCHED)
        return tuple(str(one) for one in said[:_REMARKS_KEPT]) if isinstance(said, list) else None

    @property
    def is_renamed(self) -> bool:
        """Return whether names and addresses were replaced before it was handed on, as snapshot.json says."""
        return self._about.get("redacted") is True

    @cached_property
    def _read_times(self) -> Mapping[str, float]:
        files = self._about.get("files")
        entries = files.items() if isinstance(files, Mapping) else ()
        times = {path: _seconds(entry.get("read_at")) for path, entry in entries if isinstance(entry, Mapping)}
        return {path: at for path, at in times.items() if at is not None}

    # -- objects ------------------------------------------------------------------------------------------------------------------

    @cached_property
    def objects(self) -> Objects:
        """Return the API objects; a file is read when something in it may be asked for."""
        return Objects(ObjectFile(o.path, partial(self._read_objects, o.path), kind=o.kind) for o in self.layout.objects)

    def _read_objects(self, path: str) -> FoundText | Iterator[Document]:
        return read_objects(self.files[path], path)


def read_objects(content: bytes, path: str) -> FoundText | Iterator[Document]:
    """Return the JSON of a file of objects, or its YAML documents. :raises ParseError: it is not UTF-8."""
    data = to_utf8(content)
    spans = json_spans(data, path)
    if spans is not None:
        return FoundText(data, spans)
    return _items(read_stream(decode_text(data, path), path))


def _seconds(value: object) -> float | None:
    """Return an RFC 3339 time as Unix seconds, None for anything else."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return moment.timestamp() if moment is not None and moment.tzinfo is not None else None


def _fenced(text: str) -> str:
    """Return what stands between the first two Markdown fences, every line in its place; the whole text without fences."""
    fences = [m.start() for m in _FENCE.finditer(text)]
    if len(fences) < 2:
        return text
    begin = text.find("\n", fences[0]) + 1
    return "\n" * text.count("\n", 0, begin) + text[begin : fences[1]]


def _items(documents: Iterable[YamlDocument]) -> Iterator[Document]:
    """Yield every API object of every document, lists taken apart so that each keeps its own line."""
    for document in documents:
        value = document.value
        if document.fault is not None:
            yield Document(value=None, line=document.line, fault=document.fault)
            if value is None:
                continue
        items = value.get("items") if isinstance(value, dict) else value
        kind = value.get("kind") if isinstance(value, dict) else None
        if isinstance(items, list) and (kind is None or (isinstance(kind, str) and kind.endswith("List"))):
            inner = kind[:-4] or None if isinstance(kind, str) else None
            for item in items:
                yield Document(value=item, line=document.lines.get(id(item), document.line), kind=inner)
        else:
            yield Document(value=value, line=document.line)
