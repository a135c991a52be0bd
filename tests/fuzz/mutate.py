"""Mutations: damage of the kinds that real inputs have (cut, doubled, swapped, retyped), drawn from a seeded generator.

JSON is also damaged as a value: any part of it may become a value of any other type, so that every field meets what it is not. And a piece
may be there hundreds of times, or in itself: what grows faster than its input shows then.
"""

from __future__ import annotations

import json
import random
from typing import Any

_WORDS = (
    "!", "-A", "-m", "-j", "--dport", "0x", "/33", "999999999999999999999", "-1", "::", "fe80::1%eth0", "\\", '"', "'", "{", "}", "[", "]", "\x00", "\u2028",
    "\ud800", "null", "true", "1e999", "NaN", "[[[[[[[[", "&a *a", "!!python/object:os.system", "9" * 5000, "-" * 40, "(" * 3000, "..", "@", ":", ",", "=", "\t", "\r\n", " " * 300, "A" * 5000,
)  # fmt: skip


def mutated(text: str, chance: random.Random) -> str:
    """Return *text* with one to four pieces of damage."""
    if text[:1] in ("{", "[") and chance.random() < 0.5:
        text = _retyped(text, chance)
        if chance.random() < 0.7:
            return text
    for _ in range(chance.randint(1, 4)):
        text = chance.choice(_KINDS)(text, chance)
    return text


_MOST_PLACES = 100_000
_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 10**39, 10**400, 0.5, -0.0, 1e300, float("inf"), float("nan"), "", "x", "10.0.0.1", "::1", "80", "é\ud800",
    "a/b", "\x00", "9" * 500, [], [[]], [None], ["x", 1], {}, {"": {}}, {"items": None}, {"kind": ["List"]}, {"name": {}}, "A" * 3000,
)  # fmt: skip


def _retyped(text: str, chance: random.Random) -> str:
    """Return JSON with one to three of its values of another type, taken away, or there many times; the text as it is where it is no JSON."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    for _ in range(chance.randint(1, 3)):
        holders = _holders(value)
        if not holders or len(holders) > _MOST_PLACES:
            break
        holder, key = chance.choice(holders)
        if not (key in holder if isinstance(holder, dict) else key < len(holder)):
            continue
        kind = chance.random()
        if kind < 0.1 and isinstance(holder, list):
            holder[key:] = [holder[key]] * chance.choice((0, 2, 300))
        elif kind < 0.2:
            del holder[key]
        elif kind < 0.3:
            other, place = chance.choice(holders)
            if place in other if isinstance(other, dict) else place < len(other):
                holder[key] = json.loads(json.dumps(other[place]))
        elif kind < 0.35:
            for _ in range(chance.choice((5, 90, 150))):
                holder[key] = [holder[key]] if chance.random() < 0.5 else {"x": holder[key]}
        else:
            holder[key] = chance.choice(_VALUES)
    if len(_holders(value)) > _MOST_PLACES:
        return text
    try:
        return json.dumps(value, indent=chance.choice((None, 1)))
    except (ValueError, RecursionError):
        return text


def _holders(value: Any) -> list[tuple[Any, Any]]:
    """Every place in *value*, as its list or object and the index or name there; not many more than ``_MOST_PLACES`` of them.

    What is there hundreds of times within what is there hundreds of times is one value in memory, and gigabytes as text.
    """
    found: list[tuple[Any, Any]] = []
    waiting = [value]
    while waiting and len(found) <= _MOST_PLACES:
        item = waiting.pop()
        places = list(item.items()) if isinstance(item, dict) else list(enumerate(item)) if isinstance(item, list) else []
        found += [(item, key) for key, _ in places]
        waiting += [inner for _, inner in places]
    return found


def _place(text: str, chance: random.Random) -> tuple[int, int]:
    start = chance.randrange(len(text) + 1)
    return start, min(len(text), start + chance.choice((1, 1, 2, 5, 20, 200)))


def _cut(text: str, chance: random.Random) -> str:
    start, end = _place(text, chance)
    return text[:start] + text[end:]


def _truncate(text: str, chance: random.Random) -> str:
    return text[: chance.randrange(len(text) + 1)]


def _insert(text: str, chance: random.Random) -> str:
    start, _ = _place(text, chance)
    return text[:start] + chance.choice(_WORDS) + text[start:]


def _replace(text: str, chance: random.Random) -> str:
    start, end = _place(text, chance)
    return text[:start] + chance.choice(_WORDS) + text[end:]


def _repeat(text: str, chance: random.Random) -> str:
    start, end = _place(text, chance)
    return text[:end] + text[start:end] * chance.randint(1, 5) + text[end:]


def _multiply(text: str, chance: random.Random) -> str:
    start, end = _place(text, chance)
    return text[:end] + text[start:end] * min(chance.choice((50, 300, 2000)), 60_000 // max(1, end - start)) + text[end:]


def _flip(text: str, chance: random.Random) -> str:
    if not text:
        return text
    at = chance.randrange(len(text))
    return text[:at] + chr(ord(text[at]) ^ (1 << chance.randrange(7))) + text[at + 1 :]


def _swap_lines(text: str, chance: random.Random) -> str:
    lines = text.split("\n")
    a, b = chance.randrange(len(lines)), chance.randrange(len(lines))
    lines[a], lines[b] = lines[b], lines[a]
    return "\n".join(lines)


def _swap_words(text: str, chance: random.Random) -> str:
    words = text.split(" ")
    a, b = chance.randrange(len(words)), chance.randrange(len(words))
    words[a], words[b] = words[b], words[a]
    return " ".join(words)


_KINDS = (_cut, _truncate, _insert, _replace, _repeat, _multiply, _flip, _swap_lines, _swap_words)
