"""The rewrite plugin: names (exact, prefix, suffix, substring) and types rewritten on the way in, names of records on the way out.

Rules by regular expression, and those that look at class, EDNS or TTL in ways that change what is found, are not modelled: whether one
matches is then unknown. Source: plugin/rewrite/{rewrite,name,type,ttl,rcode}.go of CoreDNS 1.14.
"""

from __future__ import annotations

from dataclasses import replace

from tracer.dns.corefile_text import Line
from tracer.dns.message import Answer, Question, Record
from tracer.dns.names import absolute
from tracer.values import dataclass

_MATCHES = ("exact", "prefix", "suffix", "substring", "regex")
_HARMLESS = ("class", "edns0", "ttl", "cname", "rcode")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewrite:
    """One rule. *field* is name or type; *match* how *before* is compared. *answers* are (from, to) suffixes for the way out.

    *auto* puts the name that was asked back into the answer. *goes_on*: later rules are tried too. *line* is where it stands.
    """

    field: str
    match: str
    before: str
    after: str
    answers: tuple[tuple[str, str], ...] = ()
    auto: bool = False
    goes_on: bool = False
    line: int = 0

    def applied(self, question: Question) -> Question | None:
        """Return the question as the rule leaves it, None when it does not match."""
        if self.field == "type":
            return replace(question, rdtype=self.after) if question.rdtype == self.before else None
        name = question.name.lower()
        match self.match:
            case "exact" if name == self.before:
                changed = self.after
            case "prefix" if name.startswith(self.before):
                changed = self.after + name[len(self.before) :]
            case "suffix" if name.endswith(self.before):
                changed = name[: len(name) - len(self.before)] + self.after
            case "substring" if self.before in name:
                changed = name.replace(self.before, self.after, 1)
            case _:
                return None
        return replace(question, name=absolute(changed))


def parse_rewrites(lines: tuple[Line, ...]) -> tuple[Rewrite, ...]:
    """Return the rules of ``rewrite`` lines, in order. :raises ParseError: a rule lacks words."""
    return tuple(rule for line in lines for rule in _rules(line))


def unread_rewrites(lines: tuple[Line, ...]) -> tuple[Line, ...]:
    """Return the ``rewrite`` lines whose kind of rule Hopline does not know: what they change is not known either."""
    return tuple(line for line in lines if (words := _words(line)[0]) and words[0].lower() not in ("type", "name", *_HARMLESS))


def _words(line: Line) -> tuple[list[str], bool]:
    """The words of a rule, and whether the next one is asked too. The long form writes the same words on the lines of a block."""
    words = [*line.args, *(word for inner in line.block for word in inner.words)]
    return (words[1:], words[0] == "continue") if words[:1] in (["continue"], ["stop"]) else (words, False)


def _rules(line: Line) -> list[Rewrite]:
    words, goes_on = _words(line)
    if not words:
        line.wrong_count()
    match words[0].lower():
        case "type":
            return [_type_rule(line, words, goes_on=goes_on)]
        case "name":
            return [_name_rule(line, words[1:], goes_on=goes_on)]
    return []  # no name and no type changes, or nobody knows what: unread_rewrites


def _type_rule(line: Line, args: list[str], *, goes_on: bool) -> Rewrite:
    if len(args) != 3:
        line.wrong_count()
    return Rewrite(field="type", match="exact", before=args[1].upper(), after=args[2].upper(), goes_on=goes_on, line=line.line)


def _name_rule(line: Line, args: list[str], *, goes_on: bool) -> Rewrite:
    kind = args[0].lower() if args and args[0].lower() in _MATCHES else "exact"
    words = args[1:] if args and args[0].lower() in _MATCHES else args
    if len(words) < 2:
        line.wrong_count()
    before, after = (absolute(w.lower()) if kind in ("exact", "suffix") else w.lower() for w in words[:2])
    if kind == "suffix" and words[0].startswith("."):
        before = absolute(words[0].lower())
    answers, auto = _answer_rules(line, words[2:])
    return Rewrite(
        field="name",
        match=kind,
        before=before,
        after=after,
        answers=answers,
        auto=auto or (kind == "exact" and not answers),
        goes_on=goes_on,
        line=line.line,
    )


def _answer_rules(line: Line, words: list[str]) -> tuple[tuple[tuple[str, str], ...], bool]:
    """Return the (from, to) pairs of ``answer name``, and whether ``answer auto`` is there."""
    found: list[tuple[str, str]] = []
    auto = False
    position = 0
    while position < len(words) and words[position] == "answer":
        kind = words[position + 1 : position + 2]
        if kind == ["auto"]:
            auto, position = True, position + 2
            continue
        size = 4 if kind and kind[0] in ("name", "value") else 3
        pair = words[position + size - 2 : position + size]
        if len(pair) != 2:
            line.wrong_count()
        if not kind or kind[0] != "value":
            found.append((pair[0].lower(), pair[1].lower()))
        position += size
    return tuple(found), auto


def rewritten_back(answer: Answer, asked: Question, sent: Question, rules: tuple[Rewrite, ...]) -> Answer:
    """Return *answer* with the owner names of its records as the rules put them back."""
    return replace(answer, answer=tuple(_renamed(r, asked, sent, rules) for r in answer.answer))


def _renamed(record: Record, asked: Question, sent: Question, rules: tuple[Rewrite, ...]) -> Record:
    name = record.name
    for rule in rules:
        if rule.auto and name.lower() == sent.name.lower():
            name = asked.name
        for before, after in rule.answers:
            name = _answered(name, before, after)
    return replace(record, name=name)


def _answered(name: str, before: str, after: str) -> str:
    """Return *name* as ``answer name BEFORE AFTER`` leaves it: BEFORE is a regular expression, of which only the plain forms are read."""
    plain = before.replace("\\.", ".").removeprefix("(.*)").removesuffix("$")
    target = after.replace("{1}", "")
    ending = absolute(plain)
    if before.startswith("(.*)"):
        return name[: len(name) - len(ending)] + absolute(target) if name.lower().endswith(ending) else name
    return absolute(target) if name.lower() == ending else name
