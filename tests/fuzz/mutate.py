"""Mutations: small damage of the kinds that real inputs have (cut, doubled, swapped, retyped), drawn from a seeded generator."""

from __future__ import annotations

import random

_WORDS = (
    "!", "-A", "-m", "-j", "--dport", "0x", "/33", "999999999999999999999", "-1", "::", "fe80::1%eth0", "\\", '"', "'", "{", "}", "[", "]", "\x00", "\u2028",
    "\ud800", "null", "true", "1e999", "NaN", "[[[[[[[[", "&a *a", "!!python/object:os.system", "..", "@", ":", ",", "=", "\t", "\r\n", " " * 300, "A" * 5000,
)  # fmt: skip


def mutated(text: str, chance: random.Random) -> str:
    """Return *text* with one to four pieces of damage."""
    for _ in range(chance.randint(1, 4)):
        text = chance.choice(_KINDS)(text, chance)
    return text


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


_KINDS = (_cut, _truncate, _insert, _replace, _repeat, _flip, _swap_lines, _swap_words)
