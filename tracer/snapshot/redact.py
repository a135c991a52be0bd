"""What must never be stored: Secrets, and ConfigMaps that are not kube-proxy's or the cluster DNS's.

Strategy: a file that cannot contain any is handed back as it is, byte for byte. Every other one is parsed (keys that stand twice are faults
here: which one counts would be anybody's guess), searched to the bottom, and written anew only when something was removed.
What cannot be parsed and smells of a Secret, or cannot be looked into (an archive in the archive), is left out whole, and that is said.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from tracer.errors import ParseError
from tracer.json_values import check_depth, decoder
from tracer.kube.configmap import is_wanted
from tracer.kube.json_text import decode_text, to_utf8
from tracer.snapshot.layout import is_node_text
from tracer.snapshot.yaml_documents import read_yaml

# A namespace may be called "secrets": folders count only where a bundle keeps Secrets in them.
_SECRET_PATH = re.compile(
    r"(?:.*/)?(?:k8s-)?secrets?(?:-[0-9-]+)?\.(?:json|jsonl|ya?ml|txt)|(?:.*/)?cluster-resources/(?:image-pull-)?secrets/.+|secrets/[^/]+/.+",
    re.IGNORECASE,
)
_WORDS = (b"secret", b"configmap")
_ESCAPES = (b"\\u", b"\\x", b"\\\n", b"\\\r")
_SMELL = re.compile(r"kind\W{0,60}(?:!*str\W{1,20}|\w{1,30}\W{1,20})?(?:secret|configmap)(?:list)?\b|stringdata", re.IGNORECASE)
_SMELL_AT_LINE_START = re.compile(
    r"^(?:[^\S\n]|[\"'{\[,-])*kind[\"']?[^\S\n]*:[^\S\n]*[\"']?(?:secret|configmap)", re.IGNORECASE | re.MULTILINE
)
_ESCAPED = re.compile(r"\\(?:u([0-9a-f]{4})|x([0-9a-f]{2})|U([0-9a-f]{8})|(\r?\n[ \t]*))", re.IGNORECASE)
_COMPRESSED = (b"\x1f\x8b", b"PK\x03\x04", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd", b"BZh", b"7z\xbc\xaf\x27\x1c", b"\x04\x22\x4d\x18")
_TAR_MAGIC_AT = 257
_OBJECT_FIELDS = frozenset({"data", "stringdata", "binarydata", "metadata", "items", "immutable"})


def remove_secrets(files: Mapping[str, bytes]) -> tuple[dict[str, bytes], tuple[str, ...]]:
    """Return *files* without Secrets and foreign ConfigMaps, and what was removed, in words.

    A file in which there was nothing to remove is the very same bytes.
    """
    kept: dict[str, bytes] = {}
    removed: list[str] = []
    for path, raw in files.items():
        if _SECRET_PATH.fullmatch(path):
            removed.append(f"{path}: left out, a file of Secrets")
        elif raw.startswith(_COMPRESSED) or raw[_TAR_MAGIC_AT : _TAR_MAGIC_AT + 5] == b"ustar":
            removed.append(f"{path}: left out, an archive inside a snapshot cannot be searched for Secrets (unpack it first)")
        else:
            content, said = _without_secrets(path, raw)
            if content is not None:
                kept[path] = content
            removed.extend(said)
    return kept, tuple(removed)


def _without_secrets(path: str, raw: bytes) -> tuple[bytes | None, tuple[str, ...]]:
    """Return the content to keep (None: nothing of it) and what to say."""
    data = to_utf8(raw)
    if not _may_hold_any(data) or not (_is_structured(path, data) or _smells(path, data)):
        return raw, ()
    try:
        values = _values(path, data)
        search = _Search()
        rest = [v for v in map(search.top, values) if v is not _GONE]
        if not search.removed:
            return raw, ()
        return (_written(path, rest) if rest else None), (f"{path}: removed {search.said()}",)
    except (ParseError, ValueError, RecursionError) as error:
        if not _smells(path, data):
            return raw, ()
        reason = str(error).partition("\n")[0][:200] if isinstance(error, ParseError | ValueError) else "nested too deeply"
        return None, (f"{path}: left out, it may hold a Secret or ConfigMap and cannot be parsed ({reason})",)


def _may_hold_any(data: bytes) -> bool:
    """Return false only if the words that matter are nowhere in the text, plainly or in escapes."""
    text = (data.replace(b"\x00", b"") if b"\x00" in data else data).lower()
    return any(w in text for w in _WORDS) or any(e in text for e in _ESCAPES)


def _is_structured(path: str, data: bytes) -> bool:
    return path.lower().endswith((".json", ".jsonl", ".yaml", ".yml")) or data.lstrip()[:1] in (b"{", b"[")


def _smells(path: str, data: bytes) -> bool:
    """Return whether text that cannot be parsed may hold a Secret, escapes undone."""
    text = data.replace(b"\x00", b"").decode(errors="replace")
    plain = _ESCAPED.sub(_unescaped, text) if "\\" in text else text
    # A comment of an iptables rule may say anything: there, only a line that begins like an object counts.
    is_dump = is_node_text(path) and not plain.lstrip().startswith(("{", "["))
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
        raise _TwiceError(f"the key {twice!r} stands twice in one object")
    return value


_DECODER = decoder(pairs=_unique)
_NOT_SPACE = re.compile(r"[^ \t\n\r]")


def _values(path: str, data: bytes) -> list[object]:
    """Return the values of a JSON or YAML text, one after the other. :raises ParseError, ValueError, RecursionError: it is neither."""
    text = decode_text(data, path)
    try:
        return _json_values(text)
    except ValueError:
        if path.lower().endswith((".json", ".jsonl")):
            raise
    return [d.value for d in read_yaml(text, path)]


def _json_values(text: str) -> list[object]:
    values: list[object] = []
    check_depth(text)
    match = _NOT_SPACE.search(text)
    while match:
        value, end = _DECODER.raw_decode(text, match.start())
        values.append(value)
        match = _NOT_SPACE.search(text, end)
    return values


def _written(path: str, values: list[object]) -> bytes:
    """Return *values* as JSON, which is YAML as well; several as lines, or as one list where the file is YAML."""
    if len(values) == 1:
        return json.dumps(values[0], indent=1, allow_nan=False).encode() + b"\n"
    if path.lower().endswith((".yaml", ".yml")):
        return json.dumps({"apiVersion": "v1", "kind": "List", "items": values}, indent=1, allow_nan=False).encode() + b"\n"
    return b"".join(json.dumps(v, allow_nan=False).encode() + b"\n" for v in values)


_GONE = object()


@dataclass(slots=True)
class _Search:
    """Walks one file's values; *removed* counts what was taken out, by kind."""

    removed: Counter[str] = field(default_factory=Counter)

    def said(self) -> str:
        """Return what was removed, in words."""
        return " and ".join(f"{n} {kind}{'' if n == 1 else 's'}" for kind, n in sorted(self.removed.items(), reverse=True))

    def top(self, value: object) -> object:
        """Return *value*, which stands at the top of a file, without what must go."""
        return self._clean(value, None, listed=True)

    def _clean(self, value: object, list_kind: str | None, *, listed: bool) -> object:
        """Return *value* without what must go, or _GONE. *listed*: it stands where API objects do, not where references may."""
        if isinstance(value, list):
            return [v for v in (self._clean(v, list_kind, listed=listed) for v in value) if v is not _GONE]
        if not isinstance(value, dict):
            return value
        kind = _kind(value) or list_kind or ""
        if self._must_go(kind, value, listed=listed):
            return _GONE
        inner = kind.removesuffix("list") if kind.endswith("list") else None
        cleaned = {k: self._clean(v, inner if k == "items" else None, listed=listed and k == "items") for k, v in value.items()}
        return {k: v for k, v in cleaned.items() if v is not _GONE}

    def _must_go(self, kind: str, value: dict[str, object], *, listed: bool) -> bool:
        is_object = listed or any(k.strip().casefold() in _OBJECT_FIELDS for k in value)
        if kind in ("secret", "secretlist") and is_object:
            items = value.get("items")
            self.removed["Secret"] += len(items) if isinstance(items, list) else 1
            return True
        if kind == "configmap" and is_object and not _is_wanted(value):
            self.removed["ConfigMap"] += 1
            return True
        return False


def _kind(value: dict[str, object]) -> str:
    """Return the object's kind in lower case without white space; Kubernetes would refuse other spellings, a leak would not."""
    said = [v for k, v in value.items() if isinstance(v, str) and k.strip().casefold() == "kind"]
    kinds = ["".join(s.split()).casefold() for s in said]
    return next((k for k in kinds if k.startswith("secret")), kinds[0] if kinds else "")


def _is_wanted(value: dict[str, object]) -> bool:
    metadata = value.get("metadata")
    return isinstance(metadata, dict) and is_wanted(metadata.get("namespace"), metadata.get("name"))
