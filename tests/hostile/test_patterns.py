"""No pattern of the code takes more than linear time, and none has white space that runs over lines where it is searched for."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytest

from tests.hostile.patterns import BUILT, ROOT, Found, compiled_at_once, patterns, runs_over_lines, slow_texts, takes_numbers_without_end
from tests.hostile.slowness import slowness

# A linear pattern takes well under a millisecond for this many characters; one that is quadratic fifty milliseconds and more.
SIZE, MOST_SECONDS = 6_000, 0.025
_TRIES = 3

# Where a pattern in a table is only ever matched from a place on, never searched for.
ANCHORED = frozenset({"tracer/dns/label_expression.py"})
# Patterns whose white space may run over lines, each with the reason why that is right and cannot be slow.
OVER_LINES = {
    "tracer/kube/kept_parts.py": "a run begins behind a word, and every letter ends it, so no run is walked twice",
    "tracer/kube/object_file.py": "JSON has white space between its tokens; each pattern begins with a name in quotes, so no run is walked twice",
    "tracer/snapshot/rename/addresses.py": "the same, in what ip -j prints",
    "tracer/snapshot/layout.py": "only the first 4,096 bytes of a file are looked at",
    "webapp/exports/formats.py": "our own style sheets, and one run that is replaced as a whole",
}
# Numbers without a bound, each with the reason why that is right.
ENDLESS = {
    "tracer/probability.py": "odds of thousands of digits are read in pieces",
    "tracer/query.py": "a port is checked digit by digit before it is a number",
    "tracer/snapshot/rename/words.py": "digits that stay text",
    "tracer/netfilter/ipset_save.py": "read by scalars.number, to which what Python does not read is no number",
    "webapp/presenters/rule_text.py": "words of a rule that are told, never reckoned with",
    "webapp/uploads/tar_entries.py": "a field of twelve bytes; octal, of which Python reads any length",
}
# Texts that only we write.
OURS = frozenset({"webapp/exports/formats.py", "scripts/dead_code.py"})


def _file(found: Found) -> str:
    return found.where.partition(":")[0]


FOUND = patterns()


@pytest.mark.parametrize("found", [f for f in FOUND if _file(f) not in OURS], ids=lambda f: f.where)
def test_no_text_makes_a_pattern_slow(found: Found) -> None:
    searched = found.searched and _file(found) not in ANCHORED
    is_bytes = isinstance(found.pattern.pattern, bytes)
    for text in slow_texts(found.pattern, SIZE):
        given: Any = text.encode() if is_bytes else text
        # The best of a few: what another process does to the cache or the clock of the processor is no fault of the pattern.
        if all(_seconds(found.pattern, given, searched) > MOST_SECONDS * slowness() for _ in range(_TRIES)):
            pytest.fail(
                f"{found.where}: {found.text!r} takes more than {MOST_SECONDS} s for {len(text)} characters: {text[:60]!r}…{text[-5:]!r}"
            )


@pytest.mark.parametrize("found", FOUND, ids=lambda f: f.where)
def test_white_space_does_not_run_over_lines(found: Found) -> None:
    if not found.searched or _file(found) in ANCHORED or not runs_over_lines(found.pattern):
        return
    assert _file(found) in OVER_LINES, f"{found.where}: {found.text!r}: write [ \\t] where line breaks are not meant"


@pytest.mark.parametrize("found", FOUND, ids=lambda f: f.where)
def test_a_number_has_an_end(found: Found) -> None:
    """What reads 5,000 digits as a number ends in Python's own error, not in ours."""
    if takes_numbers_without_end(found.pattern):
        assert _file(found) in ENDLESS, f"{found.where}: {found.text!r}: write [0-9]{{1,10}}, or say why it may be endless"


@pytest.mark.parametrize(
    ("pattern", "is_endless"),
    [
        (r"metric (?P<metric>[0-9]+)", True),
        (r"[0-9]+", True),
        (r"(-|\d*)x", True),
        (r"(?P<first>[0-9-]+)", True),
        (r"metric (?P<metric>[0-9]{1,10})", False),
        (r"(?P<host>[^:]+)", False),
        (r"\[[0-9]+:[0-9]+\] ", False),
        (r"([0-9.]+)", False),
    ],
)
def test_numbers_without_end_are_found(pattern: str, is_endless: bool) -> None:
    assert takes_numbers_without_end(re.compile(pattern, re.ASCII)) is is_endless


def test_exceptions_are_needed() -> None:
    assert set(ENDLESS) == {_file(f) for f in FOUND if takes_numbers_without_end(f.pattern)}
    files = {_file(f) for f in FOUND if f.searched and runs_over_lines(f.pattern)}
    assert set(OVER_LINES) <= files
    assert {file for file, _ in BUILT} <= {_file(f) for f in FOUND}
    for file in ANCHORED:
        assert not re.search(r"\.(?:search|finditer|findall|sub|split)\((?!\")", (ROOT / file).read_text())


# Patterns that are compiled when their module is loaded: each process pays for them, whatever it is asked.
COMPILED_AT_ONCE: frozenset[str] = frozenset()


def test_patterns_are_compiled_when_they_are_asked() -> None:
    at_once = {where.partition(":")[0] for where in compiled_at_once() if where.startswith(("tracer/", "webapp/"))}
    assert at_once == COMPILED_AT_ONCE, "write pattern(…) of tracer.patterns instead of re.compile(…)"


def test_many_are_found() -> None:
    assert len(FOUND) > 250


@pytest.mark.parametrize(
    ("pattern", "searched"),
    [
        (re.compile(r"^[\s\"'{\[,-]*kind", re.MULTILINE), True),  # what an archive of empty lines once kept busy for a day
        (re.compile(r"(a+)+b"), False),
        (re.compile(r"[0-9a-f:]*:[0-9a-f:]* x"), False),
        (re.compile(r"(?:^|\s)# .*\bpackets"), True),
        (re.compile(r"[a-z]+://"), True),
    ],
    ids=str,
)
def test_the_texts_find_slow_patterns(pattern: re.Pattern[str], searched: bool) -> None:
    assert any(_seconds(pattern, text, searched) > MOST_SECONDS * slowness() for text in slow_texts(pattern, SIZE))


@pytest.mark.parametrize(
    ("text", "runs"), [(r"a\s+b", True), (r"[ \n]*x", True), (r"[ \t]+x", False), (r"[^\s]+", False), (r"\s{0,9}", False), (r".*", False)]
)
def test_runs_over_lines(text: str, runs: bool) -> None:
    assert runs_over_lines(re.compile(text)) is runs


class _TooLongError(Exception):
    pass


def _seconds(pattern: re.Pattern[Any], text: Any, searched: bool) -> float:
    """The processor time that *pattern* takes for *text*, cut off where it is plainly too much."""
    begin = time.process_time()
    try:
        with _cut_off(MOST_SECONDS * slowness() * 2):
            if searched:
                for _ in pattern.finditer(text):
                    pass
            else:
                pattern.match(text)
                pattern.fullmatch(text)
    except _TooLongError:
        return MOST_SECONDS * slowness() * 2
    return time.process_time() - begin


@contextmanager
def _cut_off(seconds: float) -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        raise _TooLongError

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
