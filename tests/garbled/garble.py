"""Ways in which a file that decided an answer may be damaged, from one option to all of it.

Each leaves a trace: what was done cannot be what a healthy node prints. A rule that is lost without one, or an address of which a digit is
wrong, nobody can see, and nobody is asked to.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_OPTION = re.compile(r"(?<= )--?[a-z][a-z-]+(?= )")
_LONG = re.compile(r"(?<= )--(?!comment)[a-z][a-z-]+ ")
# A word of nft's grammar: no quoted text, no name with a digit, nothing that names a device.
_WORD = re.compile(
    r'(?<![\w"@./-])(?:ip6?|saddr|daddr|tcp|udp|dport|meta|l4proto|jump|goto|accept|drop|return|dnat|snat|masquerade|numgen|vmap|mark|ct|state)(?![\w"./-])'
)
_VALUED = re.compile(r"(?<= )(--d?s?ports?|--to-destination|--to-ports|--ctstate|--mark|-d|-s|-r) \S+ ?")
_TARGET = re.compile(r"-j [A-Z]+(?:-[A-Z0-9]+)*")
ERRORS = (
    'Error from server (NotFound): pods "kube-proxy-x7k2p" not found\n',
    "iptables-save: command not found\n",
    "Permission denied (you must be root)\n",
    "error: unable to upgrade connection: container not found\n",
)
NOISE = ("--More--", "[... 12 lines skipped ...]", "W1130 10:00:00.000000 warning: retrying")
ROUTES = ("ip-rule.json", "ip-route.json", "ip-addr.json", "ip-link.json", "ip6-rule.json", "ip6-route.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """What was done: a way of the table below, to the file at *path*, at *line* (1-based)."""

    level: str
    way: str
    path: str
    line: int
    text: str


Way = Callable[[str, random.Random], str | None]


def _replaced(pattern: re.Pattern[str], change: Callable[[str, random.Random], str]) -> Way:
    def way(line: str, drawn: random.Random) -> str | None:
        spots = [m for m in pattern.finditer(line) if '"' not in line[: m.start()] or line[: m.start()].count('"') % 2 == 0]
        if not spots:
            return None
        spot = drawn.choice(spots)
        return line[: spot.start()] + change(spot.group(), drawn) + line[spot.end() :]

    return way


def _letter_lost(word: str, drawn: random.Random) -> str:
    letters = [n for n, c in enumerate(word) if c.isalpha()]
    at = drawn.choice(letters[1:] or letters)
    return word[:at] + word[at + 1 :]


def _letter_twice(word: str, drawn: random.Random) -> str:
    at = drawn.choice([n for n, c in enumerate(word) if c.isalpha()])
    return word[:at] + word[at] + word[at:]


def _value_lost(line: str, drawn: random.Random) -> str | None:
    spots = list(_VALUED.finditer(line))
    if not spots:
        return None
    spot = drawn.choice(spots)
    return (line[: spot.start()] + spot.group(1) + " " + line[spot.end() :]).rstrip()


def _quote_lost(line: str, drawn: random.Random) -> str | None:
    spots = [n for n, c in enumerate(line) if c == '"']
    return line[: (at := drawn.choice(spots))] + line[at + 1 :] if spots else None


OPTIONS: Mapping[str, Way] = {
    "a letter of an option is lost": _replaced(_OPTION, _letter_lost),
    "a letter of an option is there twice": _replaced(_OPTION, _letter_twice),
    "the blank behind an option is lost": _replaced(_LONG, lambda word, _: word.rstrip()),
    "the value of an option is lost": _value_lost,
    "a quotation mark is lost": _quote_lost,
    "a letter of a target is lost": _replaced(_TARGET, lambda word, drawn: "-j " + _letter_lost(word[3:], drawn)),
    "a letter of a word is lost": _replaced(_WORD, _letter_lost),
    "a letter of a word is there twice": _replaced(_WORD, _letter_twice),
}


def _wrapped(line: str, drawn: random.Random) -> str | None:
    spots = [m.start() for m in re.finditer(r"(?<=\S) (?=\S)", line)][2:]
    return line[: (at := drawn.choice(spots))] + "\n" + line[at + 1 :] if spots else None


LINES: Mapping[str, Way] = {
    "it is wrapped": _wrapped,
    "its first character is lost": lambda line, _: line.lstrip()[1:] if len(line.strip()) > 1 else None,
    "its first word is lost": lambda line, _: line.split(None, 1)[1] if " " in line.strip() else None,
    "the blank behind its second word is lost": lambda line, _: re.sub(r"^(\s*\S+ \S+) ", r"\1", line) if line.startswith("-") else None,
    "noise stands in its place": lambda line, drawn: drawn.choice(NOISE),
    "noise stands in it": lambda line, drawn: line[: len(line) // 2] + drawn.choice(NOISE) + line[len(line) // 2 :],
    "a log's time stands before it": lambda line, _: "2026-11-30T10:00:00Z stdout F " + line,
    "it is cut in a word": lambda line, drawn: (
        line[: drawn.choice([m.start() for m in re.finditer(r"(?<=[a-z])(?=[a-z])", line)] or [0])] or None
    ),
}


def _table(lines: list[str], at: int) -> tuple[int, int]:
    """Return the first and the last line (0-based) of the table that line *at* is in."""
    opens = re.compile(r"\*\w|table ")
    first = next((n for n in range(at, -1, -1) if opens.match(lines[n])), 0)
    last = next((n for n in range(at, len(lines)) if lines[n].startswith(("COMMIT", "}"))), len(lines) - 1)
    return first, last


Tables = Callable[[list[str], int, int, random.Random], list[str]]


def _mapped(change: Callable[[int, str], str]) -> Tables:
    def way(lines: list[str], first: int, last: int, drawn: random.Random) -> list[str]:
        return lines[:first] + [change(n, line) for n, line in enumerate(lines[first : last + 1], 1)] + lines[last + 1 :]

    return way


TABLES: Mapping[str, Tables] = {
    "its header is lost": lambda lines, first, last, drawn: lines[:first] + lines[first + 1 :],
    "its end is lost": lambda lines, first, last, drawn: lines[:last] + lines[last + 1 :],
    "its header is misspelt": lambda lines, first, last, drawn: [*lines[:first], _letter_lost(lines[first], drawn), *lines[first + 1 :]],
    "it is indented": _mapped(lambda n, line: "    " + line),
    "it is quoted": _mapped(lambda n, line: "> " + line),
    "its lines are numbered": _mapped(lambda n, line: f"{n:4d}  {line}"),
    "its chains are not declared": lambda lines, first, last, drawn: (
        lines[:first] + [text for text in lines[first : last + 1] if not text.startswith(":")] + lines[last + 1 :]
    ),
    "it is there twice, one without rules": lambda lines, first, last, drawn: (
        lines + [text for text in lines[first : last + 1] if not text.startswith(("-A", "\t\t"))]
    ),
    "nothing else is there": lambda lines, first, last, drawn: lines[first : last + 1],
}

Files = Callable[[str, int, str, random.Random], str | None]


def _cut(text: str, at: int, other: str, drawn: random.Random) -> str | None:
    lines = text.split("\n")
    return (
        "\n".join([*lines[: at - 1], lines[at - 1][: len(lines[at - 1]) // 2]]) if at else text[: int(len(text) * drawn.uniform(0.2, 0.9))]
    )


FILES: Mapping[str, Files] = {
    "it is cut": _cut,
    "it has 0 bytes": lambda text, at, other, drawn: "",
    "an error stands in its place": lambda text, at, other, drawn: drawn.choice(ERRORS),
    "an error stands behind what was read": lambda text, at, other, drawn: (
        None if (found := _cut(text, at, other, drawn)) is None else found + "\n" + drawn.choice(ERRORS)
    ),
    "another node's stands behind it": lambda text, at, other, drawn: text.rstrip("\n") + "\n" + other if other and other != text else None,
    "another node's stands before it": lambda text, at, other, drawn: other.rstrip("\n") + "\n" + text if other and other != text else None,
    "every line has a prefix": lambda text, at, other, drawn: "".join(f"dump.txt:{line}\n" for line in text.split("\n")),
    "its lines have lost their blanks": lambda text, at, other, drawn: text.replace(" ", ""),
    "it is a web page": lambda text, at, other, drawn: "<!DOCTYPE html>\n<html><body><h1>502 Bad Gateway</h1></body></html>\n",
}


def damaged(path: str, text: str, line: int, other: str, level: str, drawn: random.Random) -> Damage | None:
    """Return *text* damaged at *level* around *line* (0: none of it), or None when no way of that level fits."""
    lines = text.split("\n")
    ways: list[tuple[str, str | None]]
    if level == "file":
        ways = [(way, change(text, line, other, drawn)) for way, change in FILES.items()]
    elif not line or line > len(lines):
        return None
    elif level == "table":
        first, last = _table(lines, line - 1)
        ways = [(way, "\n".join(change(list(lines), first, last, drawn))) for way, change in TABLES.items()]
    else:
        table = OPTIONS if level == "option" else LINES
        changed = [(way, change(lines[line - 1], drawn)) for way, change in table.items()]
        ways = [(way, None if new is None else "\n".join([*lines[: line - 1], new, *lines[line:]])) for way, new in changed]
    fitting = [(way, new) for way, new in ways if new is not None and new != text]
    if not fitting:
        return None
    way, new = drawn.choice(fitting)
    return Damage(level=level, way=way, path=path, line=line, text=new)
