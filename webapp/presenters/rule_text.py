"""A rule's text in parts: what to set in bold, what is only a comment, and what two or three of its words mean."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_PART = re.compile(r" (?=-{1,2}[a-zA-Z]|! )")
_COUNTERS = re.compile(r"\[[0-9]+:[0-9]+\] ", re.ASCII)
_CHAIN = re.compile(r"-A (?P<chain>\S+)", re.ASCII)
_STRONG = ("-j ", "-g ", "--to-", "--probability", "--dport", "--reject-with", "--set-xmark")
SHORT = 34


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A part of a rule; *css* is its classes: ``tg`` for what acts, ``cm`` for a comment, ``tk`` for what must not break."""

    text: str
    css: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """One word of a rule and what it means."""

    word: str
    text: str


def without_counters(text: str) -> str:
    """Return a dump's line without its packet and byte counters."""
    return _COUNTERS.sub("", text, count=1) if text.startswith("[") else text


def chain_of(text: str) -> str:
    """Return the chain that a dump's line appends to, or ""."""
    m = _CHAIN.match(without_counters(text))
    return m["chain"] if m else ""


def tokens(text: str) -> tuple[Token, ...]:
    """Return *text* in parts; joined with blanks they are the text."""
    if not text.startswith("-A"):
        return (Token(text=text),)
    return tuple(_tokens(text))


def _tokens(text: str) -> Iterator[Token]:
    for part in _parts(text):
        keep = " tk" if len(part) < SHORT else ""
        if part.startswith("--comment"):
            yield Token(text="--comment", css="cm tk")
            yield Token(text=part.removeprefix("--comment").lstrip(), css="cm")
        elif part.startswith(_STRONG):
            yield Token(text=part, css=f"tg{keep}")
        else:
            yield Token(text=part, css=keep.strip())


def _parts(text: str) -> Iterator[str]:
    """Yield the options of a rule, quoted comments kept whole."""
    start = 0
    quoted = False
    cuts = [m.start() for m in _PART.finditer(text)]
    marks = [i for i, letter in enumerate(text) if letter == '"' and text[i - 1] != "\\"]
    for cut in cuts:
        quoted = sum(1 for mark in marks if mark < cut) % 2 == 1
        if not quoted:
            yield text[start:cut]
            start = cut + 1
    yield text[start:]


_WORDS: tuple[tuple[re.Pattern[str], str, str], ...] = tuple(
    (re.compile(pattern, re.ASCII), word, meaning)
    for pattern, word, meaning in (
        (r"-j MASQUERADE", "MASQUERADE", "Use the address of the interface the packet leaves by as its source."),
        (r"-j SNAT", "SNAT", "Replace the source and remember the original in conntrack."),
        (r"--random-fully", "--random-fully", "Take a random free source port. The kernel draws it, so none is shown."),
        (r"-j DNAT", "DNAT", "Replace the destination and remember the original in conntrack."),
        (r"--to-destination (\S+)", "--to-destination", "The address and port that the packet gets."),
        (r"--probability (\S+)", "--probability {0}", "A random draw: this rule takes that part of what reaches it."),
        (r"--dst-type LOCAL", "--dst-type LOCAL", "True when the destination address belongs to this node."),
        (r"--src-type LOCAL", "--src-type LOCAL", "True when the source address belongs to this node."),
        (r"--set-xmark (\S+)/0x0\b", "--set-xmark {0}/0x0", "Flip these bits of the mark: set before, cleared now."),
        (r"--set-xmark (\S+)", "--set-xmark {0}", "Set these bits of the mark. No header field changes."),
        (r"! --mark (\S+)", "! --mark {0}", "True when these bits of the mark are not set."),
        (r"(?<!! )--mark (\S+)", "--mark {0}", "True when these bits of the mark are set."),
        (r"--ctstate (\S+)", "--ctstate {0}", "What connection tracking says about the packet."),
        (r"-j REJECT", "REJECT", "Discard the packet and tell the sender."),
        (r"-j DROP", "DROP", "Discard the packet. The sender hears nothing and waits until it gives up."),
        (r"--dport (\S+)", "--dport {0}", "Matches the destination port."),
        (r"! -s (\S+)", "! -s {0}", "True when the source is not in this network."),
        (r"(?<!! )-s (\S+)", "-s {0}", "True when the source is in this network."),
        (r"-j (KUBE-\S+|[A-Z0-9-]+-\S+)", "-j {0}", "Go on in this chain."),
    )
)


def meanings(text: str, most: int = 3) -> tuple[Meaning, ...]:
    """Return what up to *most* words of a rule mean, those that act first."""
    bare = re.sub(r'--comment "(?:[^"\\]|\\.)*"|--comment \S+', "", text)
    found: list[Meaning] = []
    for pattern, word, meaning in _WORDS:
        m = pattern.search(bare)
        if m and len(found) < most and not any(have.word.split(" ")[:1] == word.split(" ")[:1] for have in found):
            found.append(Meaning(word=word.format(*m.groups()), text=meaning))
    return tuple(found)
