"""API objects that are edited: a field set by its path, a manifest put over an object, and what of it then differs, in words.

Owns no object: what is edited is a copy that the caller made.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from tracer.override_words import Named, Segment, Word, refusal

Value = dict[str, object]
_MAPS_OF_TEXT = ("labels", "annotations", "selector", "matchLabels")
_TEXTS = ("name", "externalName", "loadBalancerClass", "loadBalancerIP", "appProtocol", "type", "clusterIP")
_SHOWN = 80


def copied(value: Mapping[str, object]) -> Value:
    """Return a copy of an API object of which every part may be changed."""
    found: Value = json.loads(json.dumps(value))
    return found


def set_field(value: Value, word: Word) -> None:
    """Set the field that *word* names, null takes it away. :raises QueryError: its path leads nowhere."""
    holder: object = value
    for place, segment in enumerate(word.path[:-1]):
        holder = _inner(holder, segment, word, word.path[place + 1])
    last = word.path[-1]
    new = word.raw if _is_text(word) else word.value
    if isinstance(holder, dict) and isinstance(last, str):
        if new is None:
            holder.pop(last, None)
        else:
            holder[last] = new
        return
    if isinstance(holder, list) and (at := _place(holder, last)) is not None:
        if new is None:
            del holder[at]
        else:
            holder[at] = new
        return
    raise _astray(word, last, holder)


def _is_text(word: Word) -> bool:
    """Whether what is set is text whatever it looks like: ``true`` is a label's value."""
    if word.value is None or isinstance(word.value, str | dict | list):
        return False
    last, before = word.path[-1], word.path[-2] if len(word.path) > 1 else ""
    return last in _TEXTS or (isinstance(last, str) and before in _MAPS_OF_TEXT)


def _inner(holder: object, segment: Segment, word: Word, following: Segment) -> object:
    """What *segment* leads to; a field that is not there is made where a field of it is set."""
    if isinstance(holder, dict) and isinstance(segment, str):
        if holder.get(segment) is None and isinstance(following, str):
            holder[segment] = {}
        if segment in holder and holder[segment] is not None:
            return holder[segment]
    if isinstance(holder, list) and (at := _place(holder, segment)) is not None:
        return holder[at]
    raise _astray(word, segment, holder)


def _place(holder: list[object], segment: Segment) -> int | None:
    if isinstance(segment, int):
        return segment if segment < len(holder) else None
    if isinstance(segment, Named):
        wanted = segment.value
        return next((i for i, one in enumerate(holder) if isinstance(one, dict) and str(one.get(segment.name)) == wanted), None)
    return None


def _astray(word: Word, segment: Segment, holder: object) -> Exception:
    shown = (
        segment
        if isinstance(segment, str)
        else "[" + (f"{segment.name}={segment.value}" if isinstance(segment, Named) else str(segment)) + "]"
    )
    if isinstance(holder, list):
        names = [str(one.get("name")) for one in holder if isinstance(one, dict) and one.get("name")]
        held = f"{len(holder)} items" + (f" ({', '.join(names[:5])})" if names else "")
        return refusal(word.text, f"there is no {shown} in a list of {held}")
    return refusal(word.text, f"there is no {shown} to set something in")


def applied(value: Value, manifest: Mapping[str, object]) -> Value:
    """Return *value* with what *manifest* gives: maps are put over each other, lists and texts replaced, null takes a field away."""
    for name, given in manifest.items():
        own = value.get(name)
        if given is None:
            value.pop(name, None)
        elif isinstance(given, Mapping) and isinstance(own, dict):
            applied(own, given)
        else:
            value[name] = json.loads(json.dumps(given))
    return value


def differing(before: object, after: object, where: str = "") -> Iterator[str]:
    """Yield what differs between two objects, a field each: ``spec.type NodePort (was ClusterIP)``."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in dict.fromkeys((*before, *after)):
            yield from differing(before.get(name), after.get(name), f"{where}.{name}" if where else str(name))
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after) and any(isinstance(x, dict) for x in before):
        for place, (was, now) in enumerate(zip(before, after, strict=True)):
            yield from differing(was, now, f"{where}[{place}]")
    elif before != after:
        if after is None:
            yield f"no {where} (was {_shown(before)})"
        else:
            yield f"{where} {_shown(after)}" + ("" if before is None else f" (was {_shown(before)})")


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    short = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
    return "".join(c if c.isprintable() else "?" for c in short) or '""'
