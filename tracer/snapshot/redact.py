"""What of the files that are handed in is stored: recognised files only, and of their objects only what a trace may need.

Strategy: what a file is, its name says (``layout``); one that no layout knows is not stored, whatever it holds. Dumps of nodes are stored
byte for byte. Objects are decoded one by one and cut to what ``kept_parts`` keeps; a file in which nothing had to go stays the same bytes.
In every other one each object begins on the line on which it began, so that ``file:line`` still means something, and what cannot be
read is replaced by what cannot be read either: whoever reads the file later meets a fault there, and takes nothing for empty.
All of it is one pass over the text: no expression here runs over more than a line, or more than a few dozen characters, twice.
"""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import field

from tracer.errors import Fault, ParseError
from tracer.json_values import check_depth, decoder
from tracer.kube.configmap import is_wanted
from tracer.kube.item_spans import Spans, is_list, item_kind
from tracer.kube.json_text import decode_text, to_utf8
from tracer.kube.kept_parts import KEPT_KINDS, kept_parts
from tracer.kube.kinds import KINDS, group_of, is_namesake
from tracer.kube.object_file import UNREAD
from tracer.kube.other_policies import POLICY_KINDS
from tracer.patterns import pattern
from tracer.snapshot import node_files
from tracer.snapshot.layout import Layout, looks_like_objects, recognise
from tracer.snapshot.timeline import STEPS, file_after_step
from tracer.snapshot.yaml_documents import YamlDocument
from tracer.snapshot.yaml_stream import has_more, json_spans, read_stream
from tracer.values import dataclass

# A namespace may be called "secrets": folders count only where a bundle keeps Secrets in them.
_SECRET_PATH = pattern(
    r"(?:.*/)?(?:k8s-)?secrets?(?:-[0-9-]+)?\.(?:json|jsonl|ya?ml|txt)|(?:.*/)?cluster-resources/(?:image-pull-)?secrets/.+|secrets/[^/]+/.+",
    re.IGNORECASE,
)
_SMELL = pattern(r"kind\W{0,60}(?:!{0,4}str\W{1,20}|\w{1,30}\W{1,20})?(?:secret|configmap)(?:list)?\b|stringdata", re.IGNORECASE)
_SMELL_AT_LINE_START = pattern(r"^[ \t\"'{\[,-]*kind[\"']?[ \t]*:[ \t]*[\"']?(?:secret|configmap)", re.IGNORECASE | re.MULTILINE)
_ESCAPED = pattern(r"\\(?:u([0-9a-f]{4})|x([0-9a-f]{2})|U([0-9a-f]{8})|(\r?\n[ \t]*))", re.IGNORECASE)
_WORDS = (b"secret", b"configmap")
_ESCAPES = (b"\\u", b"\\x", b"\\\n", b"\\\r")
_CREDENTIALS = (b"PRIVATE KEY-----", b"client-key-data", b"client-certificate-data", b"certificate-authority-data")
_COMPRESSED = (b"\x1f\x8b", b"PK\x03\x04", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd", b"BZh", b"7z\xbc\xaf\x27\x1c", b"\x04\x22\x4d\x18")
_TAR_MAGIC_AT = 257
_PLURALS = {kind.plural: kind.name for kind in KINDS}
_ABOUT = frozenset({"collected_at", "collector", "kubernetes", "redacted", "sketched", "stale_since", "files"})
_ABOUT_FILE = frozenset({"read_at", "error"})
_STEP = frozenset({"step", "title", "at", "resource_version"})
_VERSION_KEYS = frozenset(
    {
        "major",
        "minor",
        "gitVersion",
        "gitCommit",
        "gitTreeState",
        "buildDate",
        "goVersion",
        "compiler",
        "platform",
        "info",
        "string",
        "clientVersion",
        "serverVersion",
        "kustomizeVersion",
        "emulationMajor",
        "emulationMinor",
        "minCompatibilityMajor",
        "minCompatibilityMinor",
    }
)
_VERSION_TEXT_MAX = 4096
_WRAPPER_KEYS = frozenset({"apiVersion", "kind", "items", "metadata"})
_LIST_METADATA = frozenset({"resourceVersion", "selfLink", "continue", "remainingItemCount"})
_NESTED_LISTS = 10
_OTHER_POLICIES = frozenset(kind.name for kind in POLICY_KINDS)
_KINDS_SAID = 12
_FAULTS_SAID = 3
_LONGEST_KIND = 63


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What is stored of one file: *content* (None: nothing), what is to be *said* of it, and the *faults* of what could not be read.

    *is_known* false: no layout knows the file.
    """

    content: bytes | None
    said: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = ()
    is_known: bool = True


class Redaction:
    """Says of each file of a source, one after the other, what is stored of it. *names* are those of all files."""

    def __init__(self, names: Collection[str]) -> None:
        heads = _Heads(names)
        self._roles = _roles(recognise(heads))
        self._by_looks = heads.asked

    def stored(self, path: str, raw: bytes) -> Stored:
        """Return what is stored of the file *path*."""
        role = self._roles.get(path)
        if _SECRET_PATH.fullmatch(path):
            return Stored(content=None, said=(f"{path}: left out, a file of Secrets",))
        if role is None or (path in self._by_looks and not looks_like_objects(raw)):
            return Stored(content=None, is_known=False)
        if raw.startswith(_COMPRESSED) or raw[_TAR_MAGIC_AT : _TAR_MAGIC_AT + 5] == b"ustar":
            said = f"{path}: left out, an archive inside a snapshot cannot be searched for Secrets (unpack it first)"
            return Stored(content=None, said=(said,))
        if role.is_dump:
            return _dump(path, raw)
        if role.is_text:
            return _text(path, raw)
        if role.keys is not None:
            return _own_file(path, raw, role.keys)
        return _Objects(path, raw, role.kind).stored()


def remove_secrets(files: Mapping[str, bytes]) -> tuple[dict[str, bytes], tuple[str, ...]]:
    """Return what is stored of *files*, and what was left out, in words. What is stored whole is the very same bytes."""
    redaction = Redaction(files)
    kept: dict[str, bytes] = {}
    said: list[str] = []
    for path, raw in files.items():
        stored = redaction.stored(path, raw)
        said += stored.said if stored.is_known else (f"{path}: left out, no layout knows this file",)
        if stored.content is not None:
            kept[path] = stored.content
    return kept, tuple(said)


# --- which file is what ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Role:
    """What a file is: a node's dump, a short text, JSON of ours with known keys, or else API objects (of a *kind*, if its place says)."""

    is_dump: bool = False
    is_text: bool = False
    keys: frozenset[str] | None = None
    kind: str | None = None


class _Heads(Mapping[str, bytes]):
    """Names as files that all look like API objects; *asked* are those whose look was asked for."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = frozenset(names)
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> bytes:
        self.asked.add(name)
        return b'{"kind": "List"'

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._names


def _roles(layout: Layout) -> dict[str, _Role]:
    roles = {
        path: _Role(is_dump=True)
        for files in (layout.node_files, layout.pod_files, layout.pod_stacks)
        for named in files.values()
        for path in named.values()
    }
    roles |= {path: _Role(is_dump=True) for path in layout.unplaced}
    roles |= {one.path: _Role(kind=one.kind) for one in layout.objects}
    roles |= {path: _Role(is_text=True) if path.endswith(".txt") else _Role(keys=_VERSION_KEYS) for path in layout.versions}
    for path in layout.recording:
        if path == STEPS:
            roles[path] = _Role(keys=_STEP)
        elif file_after_step(path, node_files.BY_NAME) is not None:
            roles[path] = _Role(is_dump=True)
        else:
            roles[path] = _Role(kind=_PLURALS.get(path.partition(".")[0]))
    if layout.about is not None:
        roles[layout.about] = _Role(keys=_ABOUT)
    return roles


# --- what is no objects --------------------------------------------------------------------------------------------------------


def _dump(path: str, raw: bytes) -> Stored:
    """Return a node's file as it is; what begins like a Secret or ConfigMap there was put in its place."""
    data = to_utf8(raw)
    if _may_hold_any(data) and _smells(data, is_dump=data.lstrip()[:1] not in (b"{", b"[")):
        return Stored(content=None, said=(f"{path}: left out, it may hold a Secret or ConfigMap and is no output of a program",))
    if any(word in data for word in _CREDENTIALS):
        return Stored(content=None, said=(f"{path}: left out, it holds a key or a kubeconfig and is no output of a program",))
    return Stored(content=raw)


def _text(path: str, raw: bytes) -> Stored:
    if len(raw) > _VERSION_TEXT_MAX or _smells(to_utf8(raw), is_dump=False):
        return Stored(content=None, said=(f"{path}: left out, it is not what its name says",))
    return Stored(content=raw)


def _own_file(path: str, raw: bytes, keys: frozenset[str]) -> Stored:
    """Return a file of ours, or of the API server's version, with its known keys only."""
    try:
        value = _value(to_utf8(raw), path)
    except (ParseError, ValueError, RecursionError) as error:
        fault = (
            error.faults[0]
            if isinstance(error, ParseError)
            else Fault(file=path, line=1, column=None, message=f"not JSON: {_reason(error)}")
        )
        return Stored(content=b"{", said=(f"{path}: left out, it cannot be read ({fault.message})",), faults=(fault,))
    kept = [_with(keys, one) for one in value] if isinstance(value, list) else _with(keys, value)
    if kept == value:
        return Stored(content=raw)
    return Stored(content=json.dumps(kept, indent=1).encode() + b"\n", said=(f"{path}: left out what is not documented",))


def _with(keys: frozenset[str], value: object) -> object:
    """Return *value* with these keys, and below them plain values, their own or a file's."""
    if not isinstance(value, dict):
        return None
    return {key: _plain(part, keys) for key, part in value.items() if key in keys}


def _plain(value: object, keys: frozenset[str]) -> object:
    if isinstance(value, list) and keys is _ABOUT:
        return [one for one in value if isinstance(one, str)]
    if not isinstance(value, dict):
        return value if isinstance(value, str | int | float | None) else None
    if keys is not _ABOUT:
        return {key: part for key, part in value.items() if key in keys and isinstance(part, str)}
    return {
        path: {key: part for key, part in file.items() if key in _ABOUT_FILE and isinstance(part, str)}
        for path, file in value.items()
        if isinstance(file, dict)
    }


def _may_hold_any(data: bytes) -> bool:
    """Return false only if the words that matter are nowhere in the text, plainly or in escapes."""
    text = (data.replace(b"\x00", b"") if b"\x00" in data else data).lower()
    return any(w in text for w in _WORDS) or any(e in text for e in _ESCAPES)


def _smells(data: bytes, *, is_dump: bool) -> bool:
    """Return whether text that is not parsed may hold a Secret, escapes undone."""
    text = data.replace(b"\x00", b"").decode(errors="replace")
    plain = _ESCAPED.sub(_unescaped, text) if "\\" in text else text
    # A comment of an iptables rule may say anything: there, only a line that begins like an object counts.
    return bool((_SMELL_AT_LINE_START if is_dump else _SMELL).search(plain))


def _unescaped(match: re.Match[str]) -> str:
    if match[4] is not None:
        return ""
    code = int(match[1] or match[2] or match[3], 16)
    return chr(code) if code <= 0x10FFFF else ""


class _TwiceError(ValueError):
    """A key stands twice in one object."""


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) != len(pairs):
        twice = next(k for k, n in Counter(k for k, _ in pairs).items() if n > 1)
        raise _TwiceError(f"the key {twice[:200]!r} stands twice in one object")
    return value


_DECODER = decoder(pairs=_unique)


def _value(data: bytes, path: str) -> object:
    """Return the one value of a JSON text. :raises ParseError, ValueError: it is none, or too deep."""
    text = decode_text(data, path)
    check_depth(text)
    return _DECODER.decode(text)


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return error.msg
    return "nested too deeply" if isinstance(error, RecursionError) else str(error).partition("\n")[0][:200]


# --- objects -------------------------------------------------------------------------------------------------------------------

_GONE = object()
_NO_OBJECT = {"kind": None}
"""What no reader takes for an object: it stands where something stood that was none."""


@dataclass(slots=True)
class _Objects:
    """Cuts the objects of one file; counts what was left out, by kind, and of how many objects a part was."""

    path: str
    raw: bytes
    kind: str | None
    left_out: Counter[str] = field(default_factory=Counter)
    cut: Counter[str] = field(default_factory=Counter)
    unreadable: int = 0
    has_more: bool = False
    is_cut: bool = False

    def stored(self) -> Stored:
        data = to_utf8(self.raw)
        try:
            content, faults = self._watched(data) if self.path.endswith(".jsonl") else self._content(data)
        except ParseError as error:
            content, faults, self.is_cut = _on_lines([], broken_at=error.faults[0].line or 1), error.faults, True
        said = (*self._said(), *self._said_of(faults))
        if content is None and not said:
            return Stored(content=self.raw)
        return Stored(content=content or None, said=said, faults=faults) if content is not None else Stored(content=self.raw, said=said)

    def _said(self) -> Iterator[str]:
        if self.left_out:
            kinds = [f"{n} {kind}{'' if n == 1 else 's'}" for kind, n in sorted(self.left_out.items(), reverse=True)]
            more = [f"{len(kinds) - _KINDS_SAID} kinds more"] if len(kinds) > _KINDS_SAID else []
            yield f"{self.path}: removed {' and '.join(kinds[:_KINDS_SAID] + more)}"
        if self.cut:
            kinds = [f"{n} {kind}{'' if n == 1 else 's'}" for kind, n in sorted(self.cut.items())]
            yield f"{self.path}: of {' and '.join(kinds)} left out what no trace needs"
        if self.has_more:
            yield f"{self.path}: left out what stands around its list"
        if self.unreadable:
            yield f"{self.path}: left out {self.unreadable} that cannot be read as objects"

    def _said_of(self, faults: tuple[Fault, ...]) -> Iterator[str]:
        for number, fault in enumerate(faults[:_FAULTS_SAID], 1):
            is_last = self.is_cut and number == len(faults)
            where = f"from line {fault.line or 1} on, it" if is_last else f"what is on line {fault.line or 1}: it"
            yield f"{self.path}: left out {where} cannot be read ({fault.message})"
        if len(faults) > _FAULTS_SAID:
            yield f"{self.path}: left out {len(faults) - _FAULTS_SAID} more parts that cannot be read"

    # -- one object -------------------------------------------------------------------------------------------------------------------

    def cleaned(self, value: object, kind: str | None, depth: int = 0) -> object:
        """Return *value*, which stands where an object does, as it is kept: _GONE if not at all, what no reader takes if it is none."""
        if not isinstance(value, dict):
            self.unreadable += 1
            return 0
        said = _kind(value) or kind
        if said is not None and said.endswith("List") and said != "SecretList" and value.get("items", value) is None:
            # What kubectl's dump of a namespace writes that has none.
            return {key: part for key, part in value.items() if key in ("apiVersion", "kind") and isinstance(part, str)} | {"items": []}
        if is_list(value) and not (said or "").startswith("Secret") and depth < _NESTED_LISTS:
            inner = item_kind(value.get("kind"))
            items = [self.cleaned(one, inner, depth + 1) for one in value["items"]]
            rest = {key: part for key, part in value.items() if key in ("apiVersion", "kind") and isinstance(part, str)}
            return rest | {"items": [one for one in items if one is not _GONE]}
        if said is None:
            self.unreadable += 1
            return dict(_NO_OBJECT)
        other = is_namesake(said, value)
        if said not in KEPT_KINDS or (said == "ConfigMap" and not _is_wanted(value)) or (other and said not in _OTHER_POLICIES):
            listed = value.get("items")
            word = f"{said[:_LONGEST_KIND]}{f' of {group_of(value)[:_LONGEST_KIND]}' if other else ''}"
            if isinstance(listed, list):
                self.left_out[word.removesuffix("List")] += len(listed)
            else:
                self.left_out[word] += 1
            return _GONE
        kept = self._without_nested(kept_parts(said, value))
        if kept != value:
            self.cut[said] += 1
        return kept

    def _without_nested(self, value: dict[str, object]) -> dict[str, object]:
        """Return an object without the Secrets and ConfigMaps that stand inside it, where no API server puts them."""
        if not any(map(_is_hidden, _parts(value))):
            return value
        copied: dict[str, object] = json.loads(json.dumps(value))
        for part in _parts(copied):
            if isinstance(part, dict):
                for key in [key for key, inner in part.items() if _is_hidden(inner)]:
                    self.left_out["Secret or ConfigMap inside"] += 1
                    del part[key]
            elif isinstance(part, list):
                self.left_out["Secret or ConfigMap inside"] += sum(map(_is_hidden, part))
                part[:] = [inner for inner in part if not _is_hidden(inner)]
        return copied

    # -- a file of events --------------------------------------------------------------------------------------------------------------

    def _watched(self, data: bytes) -> tuple[bytes | None, tuple[Fault, ...]]:
        """Return the lines of a watch, each an event with its object; None where nothing had to go."""
        lines = data.split(b"\n")
        kept: list[bytes] = []
        for line in lines:
            kept.append(self._event(line) if line.strip() else line)
        changed = [k for k, line in zip(kept, lines, strict=True) if k or not line.strip()]
        return (None if kept == lines else b"\n".join(changed)), ()

    def _event(self, line: bytes) -> bytes:
        try:
            value = _value(line, self.path)
        except (ParseError, ValueError, RecursionError):
            self.unreadable += 1
            return b"{"
        if not isinstance(value, dict) or not isinstance(value.get("object"), dict):
            self.unreadable += 1
            return b"{}"
        kept = self.cleaned(value["object"], self.kind)
        if kept is _GONE:
            return b""
        event = {"type": value.get("type") if isinstance(value.get("type"), str) else None, "object": kept}
        return line if event == value else _json(event)

    # -- a file of objects -------------------------------------------------------------------------------------------------------------

    def _content(self, data: bytes) -> tuple[bytes | None, tuple[Fault, ...]]:
        spans = json_spans(data, self.path)
        if spans is None:
            return self._from_yaml(data)
        pieces = _Pieces(data, spans)
        is_plain = spans.fault is None and pieces.is_plain
        changed: dict[int, bytes | None] = {}
        listed: list[tuple[int, bytes]] = []
        for i, text in enumerate(pieces.items):
            # NB: one object at a time; all of them together would take ten times the file's size.
            value, kept = self._decoded(text, spans.kinds[i])
            if not is_plain and kept is not _GONE:
                listed.append((pieces.line_of(i), _json(_said(kept, spans.kinds[i]))))
            elif is_plain and (kept is _GONE or kept != value):
                changed[i] = None if kept is _GONE else _written(kept, text, pieces.indent(i))
        if is_plain:
            return (pieces.with_changed(changed) if changed else None), ()
        if spans.unread:
            listed = sorted((*listed, *((fault.line or 1, UNREAD) for fault in spans.unread)), key=lambda one: one[0])
        if spans.fault is None:
            # Something stands around the lists that no list of objects has.
            self.has_more = True
            return _on_lines(listed), spans.unread
        self.is_cut = True
        return _on_lines(listed, broken_at=spans.fault.line or 1), (*spans.unread, spans.fault)

    def _decoded(self, text: bytes, kind: str | None) -> tuple[object, object]:
        """Return an object as it was, and as it is kept."""
        try:
            value = _value(text, self.path)
        except (ParseError, ValueError, RecursionError):
            # NB: a key that stands twice: which one counts would be anybody's guess, and the other one would be stored.
            self.unreadable += 1
            return None, dict(_NO_OBJECT)
        return value, self.cleaned(value, kind or self.kind)

    def _from_yaml(self, data: bytes) -> tuple[bytes | None, tuple[Fault, ...]]:
        text = decode_text(data, self.path)
        self.has_more = has_more(text)
        listed = _OnLines()
        faults: list[Fault] = []
        changed = False
        for document in read_stream(text, self.path):
            if self.is_cut:
                listed.add(faults[-1].line or document.line, UNREAD)
            self.is_cut = document.fault is not None
            if document.value is not None:
                changed |= self._add_document(document, listed)
            if document.fault is not None:
                faults.append(document.fault)
        if self.is_cut:
            return listed.content(broken_at=faults[-1].line or 1), tuple(faults)
        return (listed.content() if changed or faults or self.has_more else None), tuple(faults)

    def _add_document(self, document: YamlDocument, listed: _OnLines) -> bool:
        """Add what is kept of a document's objects to *listed*; return whether that is not all."""
        value = document.value
        items = value["items"] if isinstance(value, dict) and is_list(value) else value
        inner = item_kind(value.get("kind")) if isinstance(value, dict) else None
        self.has_more |= isinstance(value, dict) and is_list(value) and not _is_wrapper(value)
        # NB: what a merge key does not bring, because it stands there already, is in the text all the same.
        changed = document.has_aliases
        for one in items if isinstance(items, list) else [value]:
            kept = self.cleaned(one, inner if isinstance(items, list) else self.kind)
            changed |= kept is _GONE or kept != one
            if kept is not _GONE:
                listed.add(document.lines.get(id(one), document.line), _json(_said(kept, inner)))
        return changed


_OPEN_LIST = b'{"apiVersion": "v1", "kind": "List", "items": ['


def _kind(value: Mapping[str, object]) -> str | None:
    """Return the object's kind; one that is spelled as a Secret or ConfigMap would not be is one all the same: a leak would not mind."""
    said = [v for k, v in value.items() if isinstance(v, str) and k.strip().casefold() == "kind"]
    plain = {"".join(one.split()).casefold(): one for one in said}
    for kind in ("Secret", "SecretList", "ConfigMap", "ConfigMapList"):
        if kind.casefold() in plain:
            return kind
    return said[0] if said else None


def _is_wanted(value: Mapping[str, object]) -> bool:
    metadata = value.get("metadata")
    return isinstance(metadata, dict) and is_wanted(metadata.get("namespace"), metadata.get("name"))


def _parts(value: object) -> Iterator[object]:
    """Yield the objects and lists inside *value*, each before what is inside it is looked for."""
    pending = [value]
    while pending:
        part = pending.pop()
        yield part
        inner = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
        pending.extend(one for one in inner if isinstance(one, dict | list))


def _is_hidden(value: object) -> bool:
    """Return whether *value* is a Secret or ConfigMap, and no reference to one."""
    if not isinstance(value, dict) or _kind(value) not in ("Secret", "SecretList", "ConfigMap", "ConfigMapList"):
        return False
    return any(key.strip().casefold() in _OBJECT_FIELDS for key in value)


_OBJECT_FIELDS = frozenset({"data", "stringdata", "binarydata", "metadata", "items", "immutable"})


def _is_wrapper(value: Mapping[str, object]) -> bool:
    """Return whether a list holds nothing but its items, a kind, and what the API server says of lists."""
    metadata = value.get("metadata", {})
    said = [value.get(key, "") for key in ("apiVersion", "kind")]
    if set(value) - _WRAPPER_KEYS or not all(isinstance(one, str) and len(one) < 100 for one in said):
        return False
    if not isinstance(metadata, dict) or set(metadata) - _LIST_METADATA:
        return False
    return not any(isinstance(part, dict | list) for part in metadata.values())


def _said(value: object, kind: str | None) -> object:
    """Return *value*, taken out of a list of *kind*, with the kind that the list said for it."""
    return {"kind": kind} | value if kind is not None and isinstance(value, dict) and value else value


def _on_lines(listed: list[tuple[int, bytes]], broken_at: int | None = None) -> bytes:
    """Return a list of objects, each beginning on its line; with *broken_at* it is left open, to end in a fault on that line."""
    found = _OnLines()
    for line, text in listed:
        found.add(line, text)
    return found.content(broken_at=broken_at)


class _OnLines:
    """A list of objects that is written as they come, each beginning on its line."""

    def __init__(self) -> None:
        self._written = io.BytesIO()
        self._written.write(_OPEN_LIST)
        self._line, self._is_first = 1, True

    def add(self, line: int, text: bytes) -> None:
        """Write one more object."""
        self._written.write((b"" if self._is_first else b",") + b"\n" * max(0, line - self._line))
        self._written.write(text)
        self._line, self._is_first = max(self._line, line), False

    def content(self, broken_at: int | None = None) -> bytes:
        """Return the list; with *broken_at* it is left open, to end in a fault on that line."""
        self._written.write(b"]}\n" if broken_at is None else b"\n" * max(0, broken_at - self._line))
        return self._written.getvalue()


class _Pieces:
    """A text as its objects and what stands between them."""

    def __init__(self, data: bytes, spans: Spans) -> None:
        self._data, self._spans = data, spans
        starts, ends = spans.starts, spans.ends
        self._gaps = [data[end:start] for end, start in zip([0, *ends], [*starts, len(data)], strict=True)]
        self._line, self._lines = 1, list[int]()

    @property
    def items(self) -> Iterator[bytes]:
        """Yield the text of each object."""
        return (self._data[start:end] for start, end in zip(self._spans.starts, self._spans.ends, strict=True))

    @property
    def is_plain(self) -> bool:
        """Return whether between the objects there is nothing but lists that hold nothing else."""
        text = b"0".join(self._gaps)
        if b"\\" in text:
            return False
        try:
            values = _values(text.decode())
        except (ValueError, RecursionError):
            return False
        return all(
            one == 0 or _are_zeros(one) or (isinstance(one, dict) and _are_zeros(one.get("items")) and _is_wrapper(one)) for one in values
        )

    def line_of(self, item: int) -> int:
        """Return the line on which object *item* begins; asked in order."""
        if not self._lines:
            counted = 0
            for start in (*self._spans.starts, len(self._data)):
                self._line += self._data.count(b"\n", counted, start)
                self._lines.append(self._line)
                counted = start
        return self._lines[item]

    def with_changed(self, changed: Mapping[int, bytes | None]) -> bytes:
        """Return the text with other texts for some objects, None for those that are gone; b"" if nothing is left.

        Every object that stays begins on the line where it began.
        """
        out: list[bytes] = [self._gaps[0]]
        last: int | None = None  # the place in *out* of the last object that was kept in this list
        for i, text in enumerate(self.items):
            lines = text.count(b"\n")
            kept = changed.get(i, text)
            gap = self._gaps[i + 1]
            is_between = gap.strip() == b","
            if kept is not None:
                out.append(_padded(kept, lines - kept.count(b"\n")))
                last = len(out) - 1
            elif last is not None and is_between:
                # Its comma goes with it, and its lines into the object before.
                out[last] = _padded(out[last], lines + gap.count(b"\n"))
                continue
            else:
                out.append(b"\n" * (lines + (gap.count(b"\n") if is_between else 0)))
                if is_between:
                    continue
                if last is not None:
                    _drop_comma(out, last)
            out.append(gap)
            if not is_between:
                last = None
        text = b"".join(out)
        return text if text.strip() else b""

    def indent(self, item: int) -> bytes:
        """Return the white space before object *item* on its line, b"" where something else stands there."""
        before = self._gaps[item].rpartition(b"\n")[2]
        return before if not before.strip() else b""


def _drop_comma(out: list[bytes], last: int) -> None:
    """Take the comma away that stood behind the last object kept: nothing follows it in its list any more."""
    if last + 1 < len(out) and out[last + 1].strip() == b",":
        out[last + 1] = out[last + 1].replace(b",", b"", 1)


def _written(value: object, before: bytes, indent: bytes) -> bytes:
    """Return *value* as JSON on no more lines than it stood on *before*."""
    lines = before.count(b"\n")
    if lines and indent:
        text = _json(value, indent=4).replace(b"\n", b"\n" + indent)
        if text.count(b"\n") <= lines:
            return text
    return _json(value)


def _json(value: object, indent: int | None = None) -> bytes:
    """Return *value* as JSON. Half a surrogate pair, which JSON can only write as an escape, stays one."""
    try:
        return json.dumps(value, ensure_ascii=False, indent=indent).encode()
    except UnicodeEncodeError:
        return json.dumps(value, indent=indent).encode()


def _padded(text: bytes, lines: int) -> bytes:
    """Return an object's text with that many more lines, before its last brace."""
    if lines <= 0 or not text.endswith(b"}"):
        return text + b"\n" * max(0, lines)
    body = text[:-1].rstrip()
    return body + b"\n" * lines + text[len(body) :]


def _are_zeros(value: object) -> bool:
    return isinstance(value, list) and not any(one != 0 or one is False for one in value)


_NOT_SPACE = pattern(r"[^ \t\n\r]")


def _values(text: str) -> list[object]:
    """Return the values of a JSON text, one after the other. :raises ValueError, RecursionError: it is none."""
    check_depth(text)
    values: list[object] = []
    match = _NOT_SPACE.search(text)
    while match:
        value, end = _DECODER.raw_decode(text, match.start())
        values.append(value)
        match = _NOT_SPACE.search(text, end)
    return values
