"""One line of iptables-save to one Rule.

Strategy: cut the line into words (quotes as iptables-save writes them), then read options left to right. An option belongs to the target
once ``-j`` was read and the target has it, else to the latest loaded module that has it; ``!`` may stand before the option or, as old
versions print it, before the value. A module or target without a model is kept as text with its whole argument list, so that nothing
is dropped. Refuses, with a column: unbalanced quotes, options nobody owns, values of the wrong form.
"""

from __future__ import annotations

import re
from collections.abc import Container
from dataclasses import field

from tracer.errors import Fault, ParseError
from tracer.frozen import changed
from tracer.kept import Kept
from tracer.limits import KEPT_RULES
from tracer.netfilter import match_options, target_options
from tracer.netfilter import model as m
from tracer.netfilter.match_options import Option
from tracer.netfilter.rule_comments import spoken
from tracer.netfilter.scalars import BadValue, address_mask, protocol
from tracer.patterns import pattern
from tracer.values import dataclass

_WORD = pattern(r'\s*(?:"((?:[^"\\]|\\.)*)"(?=\s|$)|([^\s"]+)(?=\s|$))', re.ASCII)
_COUNTERS = pattern(r"\[[0-9]+:[0-9]+\] ", re.ASCII)
_ESCAPE = pattern(r"\\(.)")
_GENERAL = {
    "-s": "-s",
    "--source": "-s",
    "--src": "-s",
    "-d": "-d",
    "--destination": "-d",
    "--dst": "-d",
    "-i": "-i",
    "--in-interface": "-i",
    "-o": "-o",
    "--out-interface": "-o",
    "-p": "-p",
    "--protocol": "-p",
    "--proto": "-p",
}
_READ: Kept[str, tuple[m.Rule, str, bool]] = Kept(KEPT_RULES)
"""Text → the rule, and its target's name: whether that is a chain of the table is all that a reading asks beside the text."""
_IMPLICIT = {6: "tcp", 17: "udp", 33: "dccp", 132: "sctp", 136: "udplite", 1: "icmp", 58: "icmp6"}


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a line, unquoted, and the column it starts at."""

    text: str
    column: int
    quoted: bool = False


class _Fault(Exception):
    def __init__(self, column: int, message: str) -> None:
        super().__init__(message)
        self.column = column


def strip_counters(line: str) -> str:
    """Return *line* without the ``[packets:bytes]`` that ``iptables-save -c`` puts in front."""
    found = _COUNTERS.match(line)
    return line[found.end() :] if found else line


def after_counters(line: str) -> int:
    """Return where in *line* the rule begins, behind ``[packets:bytes]``; 0 where there is none."""
    found = _COUNTERS.match(line)
    return found.end() if found else 0


def words(text: str) -> list[Word]:
    """Return the words of *text*. :raises ParseError: a quote is not closed or stands in mid-word."""
    try:
        return _words(text)
    except _Fault as fault:
        raise ParseError(Fault(file="", line=None, column=fault.column, message=str(fault), text=text)) from None


def _words(text: str) -> list[Word]:
    found: list[Word] = []
    position = 0
    end = len(text.rstrip())
    while position < end:
        hit = _WORD.match(text, position)
        if not hit:
            start = position + len(text[position:]) - len(text[position:].lstrip())
            raise _Fault(start, "a quote is not closed, or stands in the middle of a word")
        quoted = hit[1] is not None
        word = _ESCAPE.sub(r"\1", hit[1]) if quoted else hit[2]
        found.append(Word(word, hit.start(1) - 1 if quoted else hit.start(2), quoted))
        position = hit.end()
    return found


@dataclass(slots=True)
class _Module:
    name: str
    column: int
    options: list[Option] = field(default_factory=list)
    raw: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Reader:
    """The state of reading one rule."""

    words: list[Word]
    chains: Container[str]
    position: int = 0
    matches: list[m.Match] = field(default_factory=list)
    modules: list[_Module] = field(default_factory=list)
    order: list[m.Match | _Module] = field(default_factory=list)
    target: Word | None = None
    goto: bool = False
    target_options: list[Option] = field(default_factory=list)
    target_raw: list[str] = field(default_factory=list)
    protocol: int = 0

    def take(self, what: str) -> Word:
        if self.position >= len(self.words):
            raise _Fault(self.words[-1].column + len(self.words[-1].text), f"{what} is missing")
        self.position += 1
        return self.words[self.position - 1]

    def value(self, option: Word) -> tuple[str, bool]:
        """The value of a general option, and whether ``!`` stands before it."""
        word = self.take(f"the value of {option.text}")
        if word.text == "!" and not word.quoted:
            return self.take(f"the value of {option.text}").text, True
        return word.text, False


def parse_rule(line: str, number: int, chains: Container[str], *, file: str = "") -> m.Rule:
    """Return the rule that one ``-A`` line of iptables-save stands for; *chains* are the user chains of its table.

    :raises ParseError: the line is no rule; the fault has *file*, *number* and the column.
    Source: iptables(8), iptables-extensions(8).
    """
    text = strip_counters(line).rstrip()
    kept = _READ.get(text)
    if kept is not None and (kept[1] in chains) is kept[2]:
        return changed(kept[0], line=number)
    try:
        return _parse(text, number, chains)
    except _Fault as fault:
        column = fault.column + len(line) - len(strip_counters(line))
        raise ParseError(Fault(file=file, line=number, column=column, message=str(fault), text=line)) from None


def _parse(text: str, number: int, chains: Container[str]) -> m.Rule:
    reader = _Reader(_words(text), chains)
    if not reader.words or reader.words[0].text not in ("-A", "--append"):
        raise _Fault(0, "not a rule: -A is missing")
    reader.position = 1
    chain = reader.take("the chain's name").text
    while reader.position < len(reader.words):
        _read_option(reader)
    matches = _built_matches(reader)
    comments = [x.text for x in matches if isinstance(x, m.CommentMatch)]
    comment = spoken(comments) if comments else None
    rule = m.Rule(text, number, chain, matches, _built_target(reader), comment=comment)
    target = reader.target.text if reader.target is not None else ""
    _READ.put(text, (rule, target, target in chains))
    return rule


def _read_option(reader: _Reader) -> None:
    word = reader.take("an option")
    negated = False
    if word.text == "!" and not word.quoted:
        negated = True
        word = reader.take("the option after !")
    if word.quoted or not word.text.startswith("-"):
        _stray(reader, word, negated)
    elif word.text in _GENERAL:
        _read_general(reader, word, negated)
    elif word.text in ("-m", "--match"):
        module = _Module(reader.take("the name of a match").text, word.column)
        reader.modules.append(module)
        reader.order.append(module)
    elif word.text in ("-j", "--jump", "-g", "--goto"):
        reader.target = reader.take("the target")
        reader.goto = word.text in ("-g", "--goto")
    elif word.text in ("-f", "--fragment"):
        reader.order.append(m.FragmentMatch(negated))
    elif word.text in ("-4", "--ipv4", "-6", "--ipv6"):
        pass  # restricts a shared file to one family; iptables-save never prints it
    elif word.text in ("-c", "--set-counters"):
        reader.take("packets"), reader.take("bytes")
    else:
        _read_extension(reader, word, negated)


def _stray(reader: _Reader, word: Word, negated: bool) -> None:
    """A word that is no option: an argument of something unmodelled, or a fault."""
    if _target_keeps_words(reader):
        reader.target_raw.append(("! " if negated else "") + word.text)
    elif reader.modules and reader.modules[-1].name not in match_options.MODULES:
        reader.modules[-1].raw.append(("! " if negated else "") + word.text)
    else:
        raise _Fault(word.column, f"{word.text!r} is not an option")


def _read_general(reader: _Reader, word: Word, negated: bool) -> None:
    value, inner = reader.value(word)
    negated = negated or inner
    try:
        match _GENERAL[word.text]:
            case "-s":
                reader.order.append(m.AddressMatch("source", address_mask(value), negated))
            case "-d":
                reader.order.append(m.AddressMatch("destination", address_mask(value), negated))
            case "-i":
                reader.order.append(m.InterfaceMatch("in", value, negated))
            case "-o":
                reader.order.append(m.InterfaceMatch("out", value, negated))
            case _:
                reader.protocol = protocol(value)
                reader.order.append(m.ProtocolMatch(reader.protocol, negated))
    except BadValue as error:
        raise _Fault(word.column, str(error)) from None


def _target_keeps_words(reader: _Reader) -> bool:
    """Whether a target without a model was read: all that follows is its own. A chain has no options, so behind it matches go on."""
    if reader.target is None or reader.goto:
        return False
    return reader.target.text not in target_options.TARGETS and reader.target.text not in reader.chains


def _target_arities(reader: _Reader) -> dict[str, int]:
    """The options of the modelled target that was read, and how many words each takes."""
    if reader.target is None or reader.goto or reader.target.text in reader.chains:
        return {}
    return target_options.TARGETS[reader.target.text][0] if reader.target.text in target_options.TARGETS else {}


def _read_extension(reader: _Reader, word: Word, negated: bool) -> None:
    """An option of the target, of a loaded module, or of the protocol's own module."""
    name, equals, inline = word.text.partition("=")
    if _target_keeps_words(reader):
        reader.target_raw.append(("! " if negated else "") + word.text)
        return
    if name in (arities := _target_arities(reader)):
        reader.target_options.append(Option(name, negated, _arguments(reader, word, arities[name], inline if equals else None)[0]))
        return
    module = _owner_of(reader, name)
    if module is None:
        if reader.modules and reader.modules[-1].name not in match_options.MODULES:
            reader.modules[-1].raw.append(("! " if negated else "") + word.text)
            return
        raise _Fault(word.column, f"nothing here has the option {name!r}")
    arity = match_options.MODULES[module.name][0][name]
    arguments, inner = _arguments(reader, word, arity, inline if equals else None)
    module.options.append(Option(name, negated or inner, arguments))


def _owner_of(reader: _Reader, option: str) -> _Module | None:
    if reader.modules and reader.modules[-1].name not in match_options.MODULES:
        return None  # the arguments of an unmodelled module are its own
    for module in reversed(reader.modules):
        if option in match_options.MODULES.get(module.name, ({}, None))[0]:
            if module.name == "set" and option in ("--match-set", "--set") and any(o.name == option for o in module.options):
                continue
            return module
    implicit = _IMPLICIT.get(reader.protocol)
    if implicit and option in match_options.MODULES[implicit][0]:
        module = _Module(implicit, 0)
        reader.modules.append(module)
        reader.order.append(module)
        return module
    return None


def _arguments(reader: _Reader, option: Word, arity: int, inline: str | None) -> tuple[tuple[str, ...], bool]:
    if inline is not None:
        return (inline,), False
    found: list[str] = []
    negated = False
    while len(found) < arity:
        word = reader.take(f"the value of {option.text}")
        if word.text == "!" and not word.quoted and not found:
            negated = True
            continue
        found.append(word.text)
    return tuple(found), negated


def _built_matches(reader: _Reader) -> tuple[m.Match, ...]:
    built: list[m.Match] = []
    for item in reader.order:
        if not isinstance(item, _Module):
            built.append(item)
        elif item.name in match_options.MODULES:
            try:
                built.extend(match_options.build(item.name, tuple(item.options)))
            except BadValue as error:
                raise _Fault(item.column, str(error)) from None
        else:
            built.append(m.UnmodelledMatch(item.name, " ".join(item.raw), item.name in match_options.RECOGNISED))
    return tuple(built)


def _built_target(reader: _Reader) -> m.Target:
    if reader.target is None:
        strange = next((x for x in reader.modules if x.name not in match_options.MODULES and x.name not in match_options.RECOGNISED), None)
        if strange is not None and not strange.raw and strange is reader.order[-1]:
            raise _Fault(strange.column, f"no known match is called {strange.name!r}, and no target follows: the line may be cut off")
        return m.NoTarget()
    name = reader.target.text
    if name in reader.chains or reader.goto:
        if name not in reader.chains:
            raise _Fault(reader.target.column, f"no chain {name!r} in this table")
        return m.Jump(name, reader.goto)
    if name in target_options.TARGETS:
        try:
            return target_options.build(name, tuple(reader.target_options))
        except (BadValue, KeyError, IndexError) as error:
            raise _Fault(reader.target.column, f"{name}: {error}") from None
    if name in target_options.RECOGNISED:
        return m.UnmodelledTarget(name, " ".join(reader.target_raw))
    raise _Fault(reader.target.column, f"neither a chain of this table nor a known target: {name!r}")
