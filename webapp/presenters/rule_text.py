"""A rule's text in parts: what to set in bold, what is only a comment, and what two or three of its words mean."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tracer.patterns import pattern
from tracer.values import dataclass

_PART = pattern(r" (?=-{1,2}[a-zA-Z]|! )")
_COUNTERS = pattern(r"\[[0-9]+:[0-9]+\] ", re.ASCII)
_CHAIN = pattern(r"-A (?P<chain>\S+)", re.ASCII)
_STRONG = ("-j ", "-g ", "--to-", "--probability", "--dport", "--reject-with", "--set-xmark")
_NFT_PART = pattern(
    r"((?:^|(?<= ))(?:(?:jump|goto) \S+|accept|drop|return|(?:dnat|snat)(?: ip6?)? to|masquerade(?: \S+)*|redirect(?: to :\S+)?"
    r"|reject(?: with .+)?|vmap @\S+|comment \"[^\"]*\")(?= |$))"
)
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


def tokens(text: str, element: str = "") -> tuple[Token, ...]:
    """Return *text* in parts; joined with blanks they are the text. *element* is what was taken of a map that stands in the rule."""
    if text.startswith(("-A -", "-a -")):
        return tuple(Token(text=part, css="tg tk" if part.startswith("-r ") else "tk") for part in _parts(text))
    if not text.startswith("-A"):
        return tuple(_nft_tokens(text, element))
    return tuple(_tokens(text))


def _nft_tokens(text: str, element: str) -> Iterator[Token]:
    """Yield an nft rule's parts: what acts in bold, the comment quiet, the element that was taken lit."""
    before, found, after = text.partition(element) if element else (text, "", "")
    for part in _NFT_PART.split(before.strip()):
        if part.strip():
            yield Token(text=part.strip(), css="cm" if part.startswith("comment ") else "tg" if _NFT_PART.fullmatch(part) else "")
    if found:
        close = after[: len(after) - len(after.lstrip(",]}"))]
        yield Token(text=found + close, css="tg el tk" if len(found) < SHORT else "tg el")
        after = after.removeprefix(close)
    if after.strip():
        yield Token(text=after.strip())


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


Words = tuple[tuple[re.Pattern[str], str, str], ...]
_WORDS: Words = tuple(
    (pattern(text, re.ASCII), word, meaning)
    for text, word, meaning in (
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


_IPVS_WORDS: Words = tuple(
    (pattern(text, re.ASCII), word, meaning)
    for text, word, meaning in (
        (r"^-A .* -s (\S+)", "-s {0}", "The scheduler: how the virtual server picks a real server."),
        (r"^-A .* -p ([0-9]+)", "-p {0}", "A client stays at its real server for that many seconds."),
        (r"^-a .* -r (\S+)", "-r {0}", "The real server that gets the connection."),
        (r" -m(?: |$)", "-m", "Masquerading: the destination is rewritten here, and the answer comes back this way."),
        (r" -w ([0-9]+)", "-w {0}", "Its weight. A real server of weight 0 gets no new connections."),
    )
)
_NFT_WORDS: Words = tuple(
    (pattern(text, re.ASCII), word, meaning)
    for text, word, meaning in (
        (r"\bnumgen random mod ([0-9]+)", "numgen random mod {0}", "A random draw: each of that many numbers is as likely."),
        (r"\bvmap @(\S+)", "vmap @{0}", "Look the values up in this map, and do what the element says."),
        (r"(?<!v)\bmap @(\S+)", "map @{0}", "Look the values up in this map, and use what the element says."),
        (r"\bdnat\b", "dnat", "Replace the destination and remember the original in conntrack."),
        (r"\bsnat\b", "snat", "Replace the source and remember the original in conntrack."),
        (r"\bmasquerade\b", "masquerade", "Use the address of the interface the packet leaves by as its source."),
        (r"\bfully-random\b", "fully-random", "Take a random free source port. The kernel draws it, so none is shown."),
        (r"\bmeta mark set meta mark \| (\S+)", "meta mark set … | {0}", "Set these bits of the mark. No header field changes."),
        (r"\bmeta mark set meta mark \^ (\S+)", "meta mark set … ^ {0}", "Flip these bits of the mark: set before, cleared now."),
        (r"\bct state (\S+)", "ct state {0}", "What connection tracking says about the packet."),
        (r"\breject\b", "reject", "Discard the packet and tell the sender."),
        (r"\bdrop\b", "drop", "Discard the packet. The sender hears nothing and waits until it gives up."),
        (r"\b(jump|goto) (\S+)", "{0} {1}", "Go on in this chain."),
    )
)


def meanings(text: str, most: int = 3) -> tuple[Meaning, ...]:
    """Return what up to *most* words of a rule mean, those that act first."""
    words = _IPVS_WORDS if text.startswith(("-A -", "-a -")) else _WORDS if text.startswith("-A ") else _NFT_WORDS
    bare = re.sub(r'--comment "(?:[^"\\]|\\.)*"|--comment \S+', "", text)
    found: list[Meaning] = []
    for sought, word, meaning in words:
        m = sought.search(bare)
        if m and len(found) < most and not any(have.word.split(" ")[:1] == word.split(" ")[:1] for have in found):
            found.append(Meaning(word=word.format(*m.groups()), text=meaning))
    return tuple(found)
