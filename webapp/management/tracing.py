"""``manage.py trace``: one question, or a batch of them, answered from a snapshot on disk. The contract is docs/trace-json.md.

Strategy: nothing here needs Django, so that a process that answers one question does not load it; ``commands/trace.py`` is Django's way in.
"""

from __future__ import annotations

import contextlib
import gc
import json
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, TextIO

from tracer.assumptions import assumption_words, parse_assumptions
from tracer.carriers_folded import carriers_folded
from tracer.errors import QueryError, TracerError
from tracer.explain.findings import diagnose
from tracer.kube.json_text import decode_text, to_utf8
from tracer.limits import SKETCH_NODES
from tracer.limits import Limits as QuestionLimits
from tracer.override_words import parse_overrides, parse_word
from tracer.query import Query, manifest_text, parse_destination, parse_port, parse_protocol, parse_source, query_from_dict
from tracer.simulate import trace
from tracer.snapshot import Snapshot
from tracer.snapshot.arranging import Arrangement
from tracer.snapshot.form import Form, form_of
from tracer.snapshot.told import said_of_faults, said_of_files
from tracer.topology.cluster import Cluster
from tracer.trace import Trace, Written
from tracer.unopened import items_of
from tracer.values import dataclass
from webapp import uploads
from webapp.bounds import NODES_HELP, QUESTION_LIMITS, UPLOAD_LIMITS
from webapp.uploads import LeftOut, Limits
from webapp.uploads.arranged import ArrangedFiles, arrangement_in

_PART = 1 << 16
_MOST_ASKED = 20
"""Of so many files of either kind is said what they are instead of objects."""


_SET = (
    "what if: one change of the cluster, may be repeated: svc/NS/NAME.spec.FIELD=VALUE, svc/NS/NAME=deleted, pod/NS/NAME=deleted, "
    "node/NAME=removed, mode=nftables … (docs/what-if.md)"
)


class UsageError(Exception):
    """Arguments that cannot be used, or a snapshot that cannot be read: exit code 2."""


class _NotPlain(Exception):
    """Arguments that are for Django to read: its own options, help, and what is wrong."""


class _PlainParser(ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _NotPlain(message)


def declare_arguments(parser: ArgumentParser) -> None:
    """Declare the arguments of the contract."""
    parser.add_argument("snapshot", metavar="SNAPSHOT", help="a snapshot: a folder or an archive")
    parser.add_argument("--from", dest="source", metavar="SOURCE", help="pod:NAMESPACE/NAME, node:NAME or external:IP")
    parser.add_argument("--to", metavar="DESTINATION", help="HOST:PORT, [IPv6]:PORT or svc:NAMESPACE/NAME[:PORT]")
    parser.add_argument("--protocol", default="tcp", help="tcp (default), udp, sctp, or icmp: an echo request, without a port")
    parser.add_argument("--source-port", default=None, help="1 to 65535; any when not given")
    words = f"set an assumption, may be repeated: {', '.join(assumption_words())}"
    parser.add_argument("--assume", action="append", default=[], metavar="WORD", help=words)
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="WORD", help=_SET)
    parser.add_argument("--apply", metavar="FILE", help="what if this manifest (YAML or JSON) were applied; - is standard input")
    parser.add_argument("--compare", action="store_true", help="with --set or --apply: the answer as it is, as it would be, what differs")
    parser.add_argument("--nodes", type=int, default=None, metavar="N", help=NODES_HELP)
    parser.add_argument("--steps", action="store_true", help="list every rule that matched")
    parser.add_argument(
        "--expand", action="store_true", help="tell all outcomes one by one, also those that differ in addresses and names only"
    )
    parser.add_argument("--plain", action="store_true", help="walk every way alone, also where they differ in addresses and names only")
    parser.add_argument("--verdicts", action="store_true", help="with --batch: only where packets end and what the client sees")
    parser.add_argument("--format", choices=["text", "json"], default="text")
    parser.add_argument("--batch", metavar="FILE", help="JSON Lines of queries; - is standard input")


@dataclass(frozen=True, slots=True, kw_only=True)
class Terminal:
    """Where an answer goes, and what is said beside it: each takes one text and ends its line, but *part*, which writes it as it is."""

    answer: Callable[[str], object]
    part: Callable[[str], object]
    say: Callable[[str], object]
    fail: Callable[[str], object]


def run_alone(arguments: Sequence[str]) -> int | None:
    """Answer without Django and return the exit code; None where Django is to read the arguments, as it words help and errors.

    A trace needs no database, no pages and none of their settings, and Django alone would take as long as the answer.
    """
    parser = _PlainParser(add_help=False, allow_abbrev=False)
    declare_arguments(parser)
    try:
        options = vars(parser.parse_args(arguments))
    except _NotPlain:
        return None
    terminal = Terminal(answer=_line_to(sys.stdout), part=sys.stdout.write, say=_line_to(sys.stderr), fail=_line_to(sys.stderr))
    try:
        return 1 if run(options, terminal, limits=QUESTION_LIMITS, upload_limits=Limits(**UPLOAD_LIMITS)) else 0
    except UsageError as error:
        terminal.fail(f"CommandError: {error}")
        return 2


def _line_to(stream: TextIO) -> Callable[[str], object]:
    return lambda text: stream.write(text if text.endswith("\n") else f"{text}\n")


def run(options: Mapping[str, Any], terminal: Terminal, *, limits: QuestionLimits, upload_limits: Limits) -> bool:
    """Answer, and return whether an answer is an error. :raises UsageError: unusable arguments or snapshot."""
    _printable()
    try:
        if options["batch"] is not None and (options["source"] or options["to"]):
            raise UsageError("give --from and --to, or --batch FILE, not both")
        if options["verdicts"] and (options["batch"] is None or options["steps"]):
            raise UsageError("--verdicts goes with --batch FILE, and without --steps")
        _check_what_if(options)
        with few_collections(), _batch(options["batch"]) as lines:
            query = None if lines else _query(options)
            cluster, origins = _cluster(options["snapshot"], options["nodes"], partial(_tell, terminal), limits, upload_limits)
            failed = _answer_all(cluster, lines, options, terminal) if lines else _answer_one(cluster, query, options, terminal)
            _tell(terminal, _met(cluster, origins))
    except BrokenPipeError:
        sys.stderr.close()  # the reader went away (head, less): nothing is left to say
        return False
    return failed


def _check_what_if(options: Mapping[str, Any]) -> None:
    """:raises UsageError: a what-if is asked for where it is not answered."""
    is_what_if = bool(options["overrides"] or options["apply"])
    if is_what_if and options["batch"] is not None:
        raise UsageError("--set and --apply are for one question: those of a batch have “overrides” and “apply” of their own")
    if options["compare"] and not is_what_if:
        raise UsageError("--compare goes with --set WORD or --apply FILE: nothing else tells what would be otherwise")


def _tell(terminal: Terminal, lines: Sequence[str]) -> None:
    for line in lines:
        terminal.say(line)


def _answer_one(cluster: Cluster, query: Query | None, options: Mapping[str, Any], terminal: Terminal) -> bool:
    if query is None:
        raise UsageError("give --from and --to, or --batch FILE")
    try:
        answer = _diagnosed(cluster, query, options)
        before = _diagnosed(cluster, query.plain(), options) if options["compare"] else None
    except TracerError as error:
        if options["format"] == "json":
            terminal.answer(_line(_error(query.id, error)))
        else:
            terminal.fail(_sentence(error))
        return True
    if options["format"] == "json":
        told = _answer(answer, with_steps=options["steps"], expand=options["expand"])
        _write(told if before is None else _compared(before, answer, told, options), terminal)
    else:
        from webapp.exports.trace_text import comparison_text, trace_text

        told_as = partial(trace_text, with_steps=options["steps"], expand=options["expand"])
        terminal.answer(told_as(answer) if before is None else comparison_text(before, answer, told_as))
    return False


def _diagnosed(cluster: Cluster, query: Query, options: Mapping[str, Any]) -> Trace:
    return diagnose(cluster, trace(cluster, query, is_plain=options["plain"]))


def _compared(before: Trace, after: Trace, told: Mapping[str, object], options: Mapping[str, Any]) -> dict[str, object]:
    """Both answers, *told* being that of *after*, and what differs between them."""
    from webapp.answering.comparison import compared

    return compared(_answer(before, with_steps=options["steps"], expand=options["expand"]), told, before, after)


def _write(answer: Mapping[str, object], terminal: Terminal) -> None:
    """Write *answer* as it is encoded: all outcomes of a large one are more text than anybody needs at once."""
    texts: list[str] = []
    length = 0
    for text in json.JSONEncoder(indent=1).iterencode(answer):
        texts.append(text)
        length += len(text)
        if length > _PART:
            terminal.part("".join(texts))
            texts, length = [], 0
    terminal.answer("".join(texts))


def _answer_all(cluster: Cluster, lines: TextIO, options: Mapping[str, Any], terminal: Terminal) -> bool:
    failed = False
    if options["verdicts"]:
        answers = _told(lines, _verdicts(cluster, is_plain=options["plain"]))
    else:
        answers = _told(lines, _answers(cluster, options))
    for line, is_error in answers:
        failed = failed or is_error
        terminal.answer(line)
    return failed


@contextlib.contextmanager
def few_collections() -> Iterator[None]:
    """Look for garbage rarely: reading a large dump makes many objects that stay, and each search walks through all of them.

    What is there in the end is set aside, so that the last search, at the process's end, leaves it alone.
    """
    before = gc.get_threshold()
    gc.set_threshold(200_000, 50, 100)
    try:
        yield
    finally:
        gc.freeze()
        gc.set_threshold(*before)


def _printable() -> None:
    """Let text through that the terminal cannot encode, as escapes: a name in a snapshot may hold anything that JSON can spell."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


@contextlib.contextmanager
def _batch(name: str | None) -> Iterator[TextIO | None]:
    if name is None:
        yield None
    elif name == "-":
        yield sys.stdin
    else:
        try:
            with Path(name).open(encoding="utf-8") as file:
                yield file
        except OSError as error:
            raise UsageError(f"{name}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise UsageError(f"{name}: not UTF-8 text") from None


def _query(options: Mapping[str, Any]) -> Query:
    if not options["source"] or not options["to"]:
        raise UsageError("give --from and --to, or --batch FILE")
    try:
        return Query(
            source=parse_source(options["source"]),
            destination=parse_destination(options["to"]),
            protocol=parse_protocol(options["protocol"]),
            source_port=None if options["source_port"] is None else parse_port(options["source_port"], "source_port"),
            assume=parse_assumptions(options["assume"]),
            overrides=_overrides(options["overrides"]),
            apply="" if options["apply"] is None else _manifest(options["apply"]),
        )
    except QueryError as error:
        raise UsageError(str(error)) from None


def _overrides(words: Sequence[str]) -> tuple[str, ...]:
    """The what-if words. :raises QueryError: some cannot be read, each of which is said, or contradict each other."""
    faults: list[str] = []
    for word in words:
        try:
            parse_word(word)
        except QueryError as error:
            faults.append(_sentence(error))
    if faults:
        raise QueryError("\n".join(faults), code="BAD_OVERRIDE", field="overrides")
    return parse_overrides(words)


def _manifest(name: str) -> str:
    """The manifest in the file *name*. :raises UsageError: it cannot be read, and every reason."""
    from tracer.snapshot.manifest import read_manifest

    try:
        raw = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        return manifest_text(list(read_manifest(decode_text(to_utf8(raw), name), name)))
    except OSError as error:
        raise UsageError(f"{name}: {error.strerror}") from None
    except TracerError as error:
        raise UsageError(str(error)) from None


def _cluster(
    name: str, nodes: int | None, tell: Callable[[Sequence[str]], None], limits: QuestionLimits, upload_limits: Limits
) -> tuple[Cluster, Mapping[str, str]]:
    """Return the cluster in the file or folder *name*, and which of its files were called otherwise; of manifests a sketch with *nodes*."""
    path = Path(name)
    if not path.exists():
        raise UsageError(f"{name}: no such file or folder")
    if nodes is not None and not 1 <= nodes <= SKETCH_NODES:
        raise UsageError(f"--nodes: a sketch has 1 to {SKETCH_NODES} nodes, not {nodes}")
    try:
        files, left_out = uploads.read_and_left_out(path, limits=upload_limits)
        arrangement = arrangement_in(files)
        snapshot = Snapshot.from_files(ArrangedFiles(files, arrangement), limits)
        form = form_of(snapshot)
        if form is Form.MANIFESTS and (made := _sketch(files, arrangement, nodes)) is not None:
            snapshot = Snapshot.from_files(made, limits)
            form = Form.RECORDED
        elif nodes is not None:
            raise UsageError(f"--nodes is for a sketch of manifests, and {name} is none")
        tell((*_of_sketch(snapshot), *_said(snapshot, form, arrangement, left_out)))
        return Cluster.from_snapshot(snapshot), arrangement.origins
    except (TracerError, uploads.UploadError, OSError) as error:
        raise UsageError(f"{name}: {error}") from None


def _met(cluster: Cluster, origins: Mapping[str, str]) -> tuple[str, ...]:
    """What could not be read of the objects that the answers asked for: without a word they would count as not there."""
    if not cluster.objects.faults:
        return ()
    from tracer.snapshot.summary import faults_by_file

    faults = faults_by_file(cluster.objects.faults)
    return said_of_faults({"faults": [file.to_dict() for file in faults], "from": origins})


def _sketch(files: Mapping[str, bytes], arrangement: Arrangement, nodes: int | None) -> Mapping[str, bytes] | None:
    # What makes sketches is loaded for manifests alone.
    from tracer.sketch import USUAL_NODES
    from webapp.uploads.sketched import sketch_of

    return sketch_of(files, arrangement, nodes or USUAL_NODES)


def _of_sketch(snapshot: Snapshot) -> tuple[str, ...]:
    return () if snapshot.sketched is None else ("A sketch: nothing of this cluster was recorded.", *snapshot.sketched)


def _said(snapshot: Snapshot, form: Form, arrangement: Arrangement, left_out: Sequence[LeftOut]) -> tuple[str, ...]:
    """What an answer cannot say of the files: which are not used, and which were taken for others. Nothing of a documented snapshot."""
    objects = [one.path for one in snapshot.layout.objects]
    asked = (*snapshot.layout.unknown[:_MOST_ASKED], *objects[:_MOST_ASKED])
    forms = [wrong for path in asked if (wrong := snapshot.wrong_form(path)) is not None]
    known = {wrong.path for wrong in forms}
    summary = {
        "forms": [wrong.to_dict() for wrong in forms],
        "form": form.value,
        "left_out": [{"path": path, "why": why} for path, why in (*((one.path, one.why) for one in left_out), *arrangement.said_of_aside)],
        "unplaced": [one.to_dict() for one in arrangement.unplaced],
        "assumed": list(arrangement.assumed.values()),
        "from": arrangement.origins,
        "unknown_files": [path for path in snapshot.layout.unknown if path not in known | arrangement.told],
    }
    return said_of_files(summary)


def _told(lines: Iterable[str], answered: Callable[[object], str]) -> Iterator[tuple[str, bool]]:
    """What is *answered* to each question, as a line, and whether it is an error."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        name = ""
        try:
            value = _decoded(line, number)
            name = str(value.get("id", "")) if isinstance(value, dict) else ""
            yield answered(value), False
        except TracerError as error:
            yield _line(_error(name, error)), True


def _answers(cluster: Cluster, options: Mapping[str, Any]) -> Callable[[object], str]:
    """Return what writes the whole answer to a question."""
    from webapp.answering.answer_lines import AnswerLines

    written = AnswerLines()

    def answered(value: object) -> str:
        found = diagnose(cluster, trace(cluster, query_from_dict(value), is_plain=options["plain"]))
        return written.line(partial(_answer, found, with_steps=options["steps"], expand=options["expand"]))

    return answered


def _verdicts(cluster: Cluster, *, is_plain: bool) -> Callable[[object], str]:
    """Return what writes the verdict alone."""
    from webapp.answering.verdicts import verdict_of

    return lambda value: _line(verdict_of(trace(cluster, query_from_dict(value), is_plain=is_plain, is_verdict=True)))


def _answer(found: Trace, written: Written | None = None, *, with_steps: bool, expand: bool) -> dict[str, object]:
    """The contract's answer; with the steps also the stations that number them, and the sample when a seed asks for one."""
    answer = found.to_dict(with_steps=with_steps, written=written, expand=expand)
    if with_steps:
        from tracer.stations import Numbering

        numbering = Numbering(found)
        for told, outcome in zip(answer["outcomes"], found.told(expand=expand), strict=True):
            told["stations"] = [station.to_dict() for station in numbering.of(outcome)]
    if found.query.seed is not None:
        from webapp.answering.sample import place_of_sample

        answer["sample"] = found.outcomes[place_of_sample([item.probability for item in items_of(found.outcomes)], found.query.seed)].id
    return carriers_folded(answer)


def _decoded(line: str, number: int) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise QueryError(f"line {number} is not JSON: {error}", code="BAD_QUERY") from None


def _error(name: str, error: TracerError) -> dict[str, object]:
    return {"id": name, "error": {"code": error.code, "message": _sentence(error)}}


def _sentence(error: TracerError) -> str:
    near = error.near if isinstance(error, QueryError) else ()
    return f"{error}. Did you mean {' or '.join(near)}?" if near else str(error)


def _line(answer: dict[str, object]) -> str:
    # ASCII, so that every reader can decode it, and every id, half a surrogate pair too, comes back as it was given.
    return json.dumps(answer, separators=(",", ":"))
