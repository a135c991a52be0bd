#!/usr/bin/env python3
"""Shows that a change of the engine or the application changes no answer: asks one batch in two trees, and compares what came back.

    python scripts/same_answers.py write OUT.jsonl [--questions 4000] [--pages 200] [--seed 11] [--processes 2] [--keep DIR]
    python scripts/same_answers.py write OUT.jsonl --questions-from OTHER.jsonl [--sample K] [--engine-only]
    python scripts/same_answers.py compare A.jsonl B.jsonl [--allow FILE] [--part]

*write* runs in the tree that is asked (its demo/, and ../shared where there is one), whichever tree this file is of: it goes in by
``manage.py trace`` and the pages' addresses only, so that it asks an older tree as well. A line is a question with a digest of each form
of its answer; DIR has the answers themselves, one file each. *compare* lists every question that is answered otherwise; in the file of
--allow a line begins with the name that *compare* gives a question, and ``#`` begins a reason. Exit code 1: something differs or is
missing that is not allowed, or the batch has too few of a kind.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent))

import asked_pages
from asked_questions import LEAST, SHARES, Asked, known_of, questions, recordings

Line = dict[str, Any]
FORMS = ("json", "text", "html")
_ASKED = ("recording", "inside", "without", "question", "page", "stored", "headers", "post")
# What the command's module calls the opening of a snapshot and the reading of its arguments: a batch opens each recording once.
_OPENS, _READS = "_cluster", "_query"
_IN_A_JOB = 60


def name_of(line: Line) -> str:
    """Return the name of what *line* asks: the same in every run and tree."""
    return _digest(_text_of(line))[:10]


def _text_of(line: Line) -> str:
    return json.dumps({name: line[name] for name in _ASKED if name in line}, ensure_ascii=False)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


# --- asking --------------------------------------------------------------------------------------------------------------


class TraceCommand:
    """``manage.py trace`` in this process, with one opened recording."""

    def __init__(self, folder: Path) -> None:
        from webapp.management.commands import trace

        # What Django's command calls stands in a module of its own, or, in an older tree, beside it.
        self._module, self._folder, self._opened = getattr(trace, "tracing", trace), str(folder), None
        self._command = trace.Command
        for name in (_OPENS, _READS):
            if not hasattr(self._module, name):
                raise SystemExit(f"{self._module.__name__} has no {name} any more: say in {__file__} what it is called now")
        self._open = getattr(self._module, _OPENS)

    def json(self, question: object) -> str:
        """Return the answer to *question* (or to a line that is no JSON) as one line with steps, or why there is none."""
        line = question if isinstance(question, str) else json.dumps(question)
        with mock.patch.object(sys, "stdin", io.StringIO(line + "\n")):
            return self._run("--batch=-", "--steps")

    def text(self, question: object) -> str:
        """Return the answer to *question* as text with steps, by the command's own words where it has words for all of it."""
        words = _words(question)
        if words is not None:
            return self._run(*words, "--steps")
        if not isinstance(question, dict):
            return ""
        with mock.patch.object(self._module, _READS, lambda _: _query(question)):
            return self._run("--steps")

    def _run(self, *words: str) -> str:
        from django.core.management import call_command

        out, err, end = io.StringIO(), io.StringIO(), ""
        with mock.patch.object(self._module, _OPENS, self._once), mock.patch("gc.freeze"):
            try:
                call_command(self._command(), self._folder, *words, stdout=out, stderr=err, no_color=True)
            except SystemExit as left:
                end = f"exit {left.code}"
            except Exception as error:
                end = f"{type(error).__name__}: {error}"
        return "\n".join(part for part in (out.getvalue(), err.getvalue(), end) if part).replace(self._folder, "SNAPSHOT")

    def _once(self, name: str, *more: object) -> object:
        self._opened = self._opened or self._open(name, *more)
        return self._opened


def _words(question: object) -> list[str] | None:
    """Return *question* as the command's arguments, None where it has no words for it."""
    options = {"from": "--from", "to": "--to", "protocol": "--protocol", "source_port": "--source-port"}
    if not isinstance(question, dict) or not {"from", "to"} <= question.keys() <= options.keys():
        return None
    if not all(type(value) in (str, int) for value in question.values()):
        return None
    return [f"{options[name]}={value}" for name, value in question.items()]


def _query(question: Line) -> object:
    from tracer.query import query_from_dict

    return query_from_dict(question)


def _observed(text: str) -> list[str]:
    """Return which kinds an answer is of, whatever was drawn: unknown, errors."""
    try:
        answer = json.loads(text.partition("\n")[0])
    except ValueError:
        return ["errors"]
    if "error" in answer:
        return ["errors"]
    return ["unknown"] if any(outcome["disposition"] == "unknown" for outcome in answer["outcomes"]) else []


def _forms(key: str, lines: Sequence[Line]) -> Iterator[dict[str, str]]:
    """Yield the answer to each of *lines* in its forms; *key* is what they have in common."""
    if "page" in lines[0]:
        _demonstrations_once()
        yield from ({"html": text} for text in asked_pages.texts(lines[0].get("stored"), lines))
        return
    with tempfile.TemporaryDirectory(prefix="hopline-answers-") as folder:
        command = TraceCommand(Asked.from_dict(lines[0]).unpacked(Path(folder)))
        for line in lines:
            yield {"json": command.json(line["question"]), "text": command.text(line["question"])}


def _answer(key: str, lines: Sequence[Line], keep: str | None) -> list[Line]:
    """Return *lines* with their answers' digests; what is kept of the answers is written below *keep*."""
    done = []
    for line, forms in zip(lines, _forms(key, lines), strict=True):
        observed = _observed(forms["json"]) if "json" in forms else []
        done.append(line | {"seen": observed} | {form: _digest(text)[:32] for form, text in forms.items()})
        for form, text in forms.items() if keep else ():
            Path(keep, f"{name_of(line)}.{form}").write_text(text, errors="backslashreplace")
    return done


_process: dict[str, Any] = {}


def _begin() -> None:
    """Set this process up: the tree's own settings with data of its own, and a clock that stands still."""
    for name in [n for n in os.environ if n.startswith("HOPLINE_") or n in ("DATABASE_URL", "REDIS_URL")]:
        del os.environ[name]
    _process["data"] = tempfile.TemporaryDirectory(prefix="hopline-answers-")
    os.environ["HOPLINE_DATA"] = _process["data"].name
    settings = re.search(r'"DJANGO_SETTINGS_MODULE", "([\w.]+)"', Path("manage.py").read_text())
    os.environ["DJANGO_SETTINGS_MODULE"] = settings[1] if settings else "webapp.settings"
    sys.path.insert(0, str(Path.cwd()))
    import django

    asked_pages.frozen_clock()
    django.setup()


def _demonstrations_once() -> None:
    if "loaded" not in _process:
        asked_pages.load_demonstrations()
        _process["loaded"] = True


# --- write ---------------------------------------------------------------------------------------------------------------


def write(options: argparse.Namespace) -> int:
    """Ask the batch and write its lines. Returns the exit code."""
    asked = _given(options) if options.questions_from else _drawn(options)
    if options.engine_only:
        asked = [line for line in asked if "question" in line]
    asked = asked[:: options.sample]
    if options.keep:
        Path(options.keep).mkdir(parents=True, exist_ok=True)
    done = sorted(_all_answers(asked, options.processes, options.keep), key=lambda line: line["n"])
    Path(options.out).write_text("".join(json.dumps(line) + "\n" for line in done))
    counts = Counter(kind for line in done for kind in _kinds(line))
    print(", ".join(f"{count} {kind}" for kind, count in sorted(counts.items())) + f": {len(done)} in all")
    least = 0 if options.questions_from or options.sample > 1 else options.questions * LEAST[0] // LEAST[1]
    few = [kind for kind in SHARES if kind != "ordinary" and counts[kind] < least]
    print(f"fewer than {least}: {', '.join(few)}" if few else f"at least {least} of each kind")
    return 1 if few else 0


def _given(options: argparse.Namespace) -> list[Line]:
    kept = ("n", "kinds", *_ASKED)
    return [{name: line[name] for name in kept if name in line} for line in _lines(options.questions_from)]


def _drawn(options: argparse.Namespace) -> list[Line]:
    tree, read = Path.cwd(), {}
    for asked, _ in recordings(tree):
        with tempfile.TemporaryDirectory(prefix="hopline-answers-") as folder:
            read[asked] = known_of(asked.unpacked(Path(folder)))
    drawn = [*questions(tree, read, options.questions, options.seed)]
    if not options.engine_only:
        drawn += asked_pages.pages(tree, read, options.pages, options.seed)
    return [{"n": number} | line for number, line in enumerate(drawn)]


def _all_answers(asked: Sequence[Line], processes: int, keep: str | None) -> Iterator[Line]:
    jobs = sorted(_jobs(asked), key=lambda job: -len(job[1]))
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=_begin) as pool:
        for number, future in enumerate(as_completed([pool.submit(_answer, *job, keep) for job in jobs]), 1):
            yield from future.result()
            if sys.stderr.isatty():
                print(f"{number} of {len(jobs)} parts", end="\r", file=sys.stderr, flush=True)


def _jobs(asked: Sequence[Line]) -> Iterator[tuple[str, list[Line]]]:
    """Yield *asked* in parts of one recording each, none of them long."""
    by_place: dict[str, list[Line]] = {}
    for line in asked:
        place = line.get("stored", "") if "page" in line else [line.get(name) for name in ("recording", "inside", "without")]
        by_place.setdefault(json.dumps(["page" in line, place]), []).append(line)
    for key, lines in by_place.items():
        yield from ((key, lines[at : at + _IN_A_JOB]) for at in range(0, len(lines), _IN_A_JOB))


def _kinds(line: Line) -> list[str]:
    """Return the kinds that *line* counts for: what was drawn, but unknown answers and errors as they came."""
    return [kind for kind in line["kinds"] if kind not in ("unknown", "errors")] + line["seen"]


# --- compare -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A question that two runs answer otherwise, in which *forms*; or that one of them has no answer to."""

    name: str
    forms: tuple[str, ...]
    line: Line

    def __str__(self) -> str:
        return f"{self.name} {','.join(self.forms)} {_text_of(self.line)}"


def compare(options: argparse.Namespace) -> int:
    """Compare two runs and print what differs. Returns the exit code."""
    a, b = ({name_of(line): line for line in _lines(path)} for path in (options.a, options.b))
    if options.part:
        a, b = ({name: line for name, line in run.items() if name in a and name in b} for run in (a, b))
    found = list(differences(a, b))
    allowed = _allowed(options.allow)
    for kind, count in sorted(Counter(kind for line in a.values() for kind in _kinds(line)).items()):
        others = sum(kind in _kinds(one.line) for one in found)
        print(f"{kind}: {count - others} of {count} equal")
    print(f"all: {len(a.keys() | b.keys()) - len(found)} of {len(a.keys() | b.keys())} equal byte for byte")
    for one in found:
        print("allowed" if one.name in allowed else "DIFFERS", one)
    for name in sorted(allowed - {one.name for one in found}):
        print(f"allowed, but equal or not asked: {name}")
    return 1 if any(one.name not in allowed for one in found) or not a else 0


def differences(a: dict[str, Line], b: dict[str, Line]) -> Iterator[Difference]:
    """Yield what two runs, by the questions' names, do not have in common."""
    for name in sorted(a.keys() | b.keys(), key=lambda name: (a.get(name) or b[name])["n"]):
        if name not in a or name not in b:
            yield Difference(name=name, forms=("only in the first" if name in a else "only in the second",), line=a.get(name) or b[name])
        elif forms := tuple(form for form in FORMS if a[name].get(form) != b[name].get(form)):
            yield Difference(name=name, forms=forms, line=a[name])


def _allowed(path: str | None) -> set[str]:
    lines = Path(path).read_text().splitlines() if path else []
    return {words[0] for line in lines if (words := line.partition("#")[0].split())}


def _lines(path: str) -> Iterable[Line]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def main(arguments: Sequence[str]) -> int:
    """Run the command that *arguments* name. Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    asks = commands.add_parser("write")
    asks.set_defaults(run=write)
    asks.add_argument("out")
    for name, number in (("--questions", 4000), ("--pages", 200), ("--seed", 11), ("--processes", 2), ("--sample", 1)):
        asks.add_argument(name, type=int, default=number)
    asks.add_argument("--questions-from", metavar="FILE")
    asks.add_argument("--engine-only", action="store_true")
    asks.add_argument("--keep", metavar="DIR")
    compares = commands.add_parser("compare")
    compares.set_defaults(run=compare)
    compares.add_argument("a")
    compares.add_argument("b")
    compares.add_argument("--allow", metavar="FILE")
    compares.add_argument("--part", action="store_true", help="only what both runs asked")
    options = parser.parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    return run(options)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
