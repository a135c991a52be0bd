"""A whole snapshot under other names: which files it becomes, and what a question about it becomes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

from tracer.errors import ParseError
from tracer.query import Destination, Query, Source
from tracer.snapshot.layout import KINDS
from tracer.snapshot.rename.addresses import Addresses
from tracer.snapshot.rename.dumps import HEXADECIMAL, TAKEN, Dumps
from tracer.snapshot.rename.objects import Cleaner
from tracer.snapshot.rename.words import Words
from tracer.snapshot.snapshot import Snapshot
from tracer.snapshot.taken_at import kubernetes_version, read_errors, taken_at


class Renaming:
    """*snapshot* under the names that *key* gives. *left_out* fills while ``files`` is read: what was not taken over, and why."""

    def __init__(self, snapshot: Snapshot, key: bytes) -> None:
        if len(key) < 16:
            raise ValueError("a key has at least 16 bytes")
        self._snapshot = snapshot
        self.addresses = Addresses(key)
        self.words = Words(key)
        self.left_out: list[str] = []
        self._cleaner = Cleaner(self.addresses, self.words)
        self._dumps = Dumps(key, self.addresses, self.words)

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Yield the documented files of the renamed snapshot, one at a time, whatever layout the snapshot has."""
        yield from self._objects()
        for node, named in sorted(self._snapshot.node_files.items()):
            for name in sorted(named):
                if (content := self._node_file(node, name)) is not None:
                    yield f"nodes/{self.words.in_name(node)}/{name}", content.encode()
        for stack, named in sorted(self._snapshot.pod_stacks.items()):
            folder = self._path(f"nodes/{stack}")
            for name in sorted(named):
                if (content := self._node_file(stack, name)) is not None:
                    yield f"{folder}/{name}", content.encode()
        if version := kubernetes_version(self._snapshot):
            yield "version.json", _json({"gitVersion": version})
        yield "snapshot.json", _json(self._about())
        self.left_out += [f"{path}: not one of the documented files" for path in self._snapshot.layout.unknown]
        self.left_out += [f"{path}: whose file it is nobody knows yet" for path in self._snapshot.layout.unplaced]
        if self._snapshot.layout.recording:
            self.left_out.append("the recording of the timeline: only its first moment is taken over")

    def query(self, query: Query) -> Query:
        """Return what *query* becomes: the same question about the renamed snapshot."""
        return replace(query, source=self._source(query.source), destination=self._destination(query.destination))

    def _source(self, source: Source) -> Source:
        return replace(
            source,
            namespace=None if source.namespace is None else self.words.in_name(source.namespace),
            name=None if source.name is None else self.words.in_name(source.name),
            ip=None if source.ip is None else self.addresses.in_address(source.ip),
        )

    def _destination(self, destination: Destination) -> Destination:
        service = destination.service
        return replace(
            destination,
            host=self.words.in_name(destination.host) if destination.address is None else self.addresses.in_text(destination.host),
            service=None if service is None else (self.words.in_name(service[0]), self.words.in_name(service[1])),
            given=None if destination.given is None else self.addresses.in_address(destination.given),
        )

    def _objects(self) -> Iterator[tuple[str, bytes]]:
        for plural, kind in KINDS.items():
            found = [raw.value for raw, _ in self._snapshot.objects.others(kind)]
            items = [item for value in found if (item := self._cleaner.cleaned(kind, value)) is not None]
            if items or any(o.kind == kind for o in self._snapshot.layout.objects):
                if found and not items:
                    self.left_out.append(f"{plural}: {kind} objects are not taken over")
                    continue
                yield f"{plural}.json", _json({"apiVersion": "v1", "kind": "List", "items": items})
        self.left_out += [f"{fault.file}: cannot be read ({fault.message})" for fault in self._snapshot.objects.faults]

    def _node_file(self, node: str, name: str) -> str | None:
        path = self._snapshot.path_of(node, name)
        if {name, path.rpartition("/")[2]} & HEXADECIMAL:  # by its path too: it may stand in for a file of another name
            self.left_out.append(f"{path}: its addresses are in hexadecimal")
            return None
        if name not in TAKEN:
            self.left_out.append(f"{path}: names stand in too many places of it")
            return None
        try:
            text = self._snapshot.node_file(node, name)
        except ParseError as error:
            self.left_out.append(f"{path}: cannot be read ({error.faults[0].message})")
            return None
        return None if text is None else self._dumps.renamed(name, text)

    def _about(self) -> dict[str, object]:
        """Return snapshot.json: when, of which Kubernetes, and which files could not be read (why, may have held names)."""
        moment, _ = taken_at(self._snapshot)
        paths = (path for path in read_errors(self._snapshot) if path.startswith("nodes/") or "/" not in path)
        files = {self._path(path): {"error": "it could not be read"} for path in paths}
        return {
            "collected_at": moment.isoformat() if moment else None,
            "collector": "hopline redact",
            "kubernetes": kubernetes_version(self._snapshot),
            "redacted": True,
            "files": files,
        }

    def _path(self, path: str) -> str:
        match path.split("/"):
            case ["nodes", node, "pods", pod, *rest]:
                own = "_".join(map(self.words.in_name, pod.split("_")))
                return "/".join(("nodes", self.words.in_name(node), "pods", own, *rest))
            case ["nodes", node, *rest]:
                return "/".join(("nodes", self.words.in_name(node), *rest))
        return path


def _json(value: object) -> bytes:
    """*value* as UTF-8, and with escapes where it holds half of a surrogate pair, which has none."""
    try:
        return json.dumps(value, ensure_ascii=False, indent=1).encode() + b"\n"
    except UnicodeEncodeError:
        return json.dumps(value, indent=1).encode() + b"\n"
