"""A manifest that is applied in a what-if question: a text of YAML documents or JSON, as ``kubectl apply -f`` takes it.

Owns only that it can be read and that each object says what it is. What a field may be is asked where it is applied (``tracer.overrides``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tracer.errors import Fault, Faults, ParseError
from tracer.kube.json_text import decode_json
from tracer.limits import APPLIED
from tracer.snapshot.yaml_documents import read_yaml

Json = dict[str, Any]


def read_manifest(text: str, file: str) -> tuple[Json, ...]:
    """Return the objects of *text* in their order, those of lists one by one; *file* is what faults call it.

    :raises ParseError: it is no YAML and no JSON, too long, holds nothing, or an object does not say its apiVersion, kind and name: all
    such objects are named.
    """
    if len(text) > APPLIED:
        raise ParseError(_fault(file, None, f"a manifest may have {APPLIED:,} characters (limit APPLIED)"))
    faults = Faults()
    found: list[Json] = []
    for number, (value, line) in enumerate(_documents(text, file), 1):
        for place, one in enumerate(_objects(value), 1):
            where = f"document {number}" if one is value else f"item {place} of document {number}"
            if problem := _problem(one):
                faults.append(_fault(file, line, f"{where}: {problem}"))
            elif isinstance(one, dict):
                found.append(one)
    if not found and not faults:
        faults.append(_fault(file, None, "there is no object in it"))
    if faults:
        raise ParseError(*faults)
    return tuple(found)


def _documents(text: str, file: str) -> Iterator[tuple[object, int]]:
    if text.lstrip("\ufeff \t\r\n")[:1] in ("{", "["):
        yield decode_json(text.lstrip("\ufeff"), file), 1
    else:
        yield from ((document.value, document.line) for document in read_yaml(text, file))


def _objects(value: object) -> Iterator[object]:
    """The objects that one document is: itself, or the items of a list."""
    if isinstance(value, list):
        yield from value
    elif isinstance(value, Mapping) and str(value.get("kind", "")).endswith("List") and isinstance(value.get("items"), list):
        yield from value["items"]
    else:
        yield value


def _problem(value: object) -> str:
    """What is wrong with an object, "" where nothing is."""
    if not isinstance(value, Mapping):
        return "it is no object: give apiVersion, kind and metadata.name"
    metadata = value.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    said = {"apiVersion": value.get("apiVersion"), "kind": value.get("kind"), "metadata.name": name}
    wrong = [field for field, one in said.items() if not isinstance(one, str) or not one]
    if not wrong:
        return ""
    called = " ".join(str(one) for field in ("kind", "metadata.name") if isinstance(one := said[field], str) and one)
    return f"{called or 'the object'} does not say its {' and '.join(wrong)}"


def _fault(file: str, line: int | None, message: str) -> Fault:
    return Fault(file=file, line=line, column=None, message=message)
