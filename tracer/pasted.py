"""A tool's output as people paste it: what a terminal, a mail, a web page or a script puts around it, recognised and taken away.

Owns what can stand around a listing and is no part of it: colours, carriage returns, a margin that every line has (quotation marks,
indentation, a label, line numbers), fences, headings, prompts with the command that was typed, and what kubectl says before it begins.
Every line keeps its number. Refuses to guess: a line that is not known to be around a listing stays, and whoever reads the listing says
that it cannot be placed. NB: ask ``is_around`` only of lines where the listing's own cannot stand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tracer.patterns import pattern
from tracer.values import dataclass

_COLOUR = pattern(r"\x1b(?:\[[0-9;?]{0,40}[ -/]?[@-~]|[()][0-9A-Za-z]|\][^\x07\x1b\n]{0,200}(?:\x07|\x1b\\)|[=>])", re.ASCII)
_MARGIN = pattern(r"(?:[ \t]|> ?|\| ?|\u2502 ?|[\w./\[\]@-]{1,80}(?:: | \| |\| )){1,8}", re.ASCII)
_NUMBERED = pattern(r"[ \t]{0,8}[0-9]{1,8}(?:[:\t]|  )", re.ASCII)
_FENCE = pattern(r"(?:```|~~~)[\w-]{0,40}", re.ASCII)
_HEADING = pattern(r"([=\-#_~+*])\1{2,}(?:[^{}]{0,200})", re.ASCII)
_FILE_HEADING = pattern(r"==> ?(?P<file>\S.{0,200}?) ?<==", re.ASCII)
_SUMMARY = pattern(r"(?:<details>)?[ \t]{0,4}<summary>(?P<said>[^<\n]{0,200})</summary>.{0,40}", re.ASCII)
_PROMPT = pattern(
    r"(?:[\[(]?[\w.-]{1,64}@(?P<host>[\w.-]{1,64})[^#$%>]{0,80}[#$%>]|(?P<alone>[\w.-]{1,63}):[~/][\w./-]{0,80} ?[#$%>]"
    r"|(?:ba|da|z)?sh-[0-9.]{1,8}[#$]|[~/\w.-]{0,60} ?[#$]|[+>%])(?=\s|$)",
    re.ASCII,
)
_TABLES = ("iptables", "ip6tables")
_PROGRAMS = frozenset(
    {
        "nft",
        "ipset",
        "ipvsadm",
        "ip",
        "ss",
        "sysctl",
        "conntrack",
        "cat",
        "bridge",
        "netstat",
        "route",
        "ifconfig",
        "grep",
        "cilium-dbg",
    }
    | {f"{name}{end}" for name in _TABLES for end in ("", "-save", "-nft", "-nft-save", "-legacy", "-legacy-save")}
)
_WRAPPERS = frozenset(
    {"sudo", "ssh", "kubectl", "oc", "docker", "podman", "nerdctl", "crictl", "nsenter", "chroot", "talosctl", "minikube", "command:"}
)
_BANNERS = (
    "Defaulted container ",
    "Defaulting debug container ",
    "Creating debugging pod ",
    "If you don't see a command prompt",
    "Starting pod/",
    "To use host binaries, run ",
    "Removing debug pod",
    "Temporary namespace ",
    "Pod IP: ",
    "All commands and output from this session",
    "Unable to use a TTY",
    "Last login: ",
    "Script started on ",
    "Script done on ",
    "Connection to ",
    "Warning: Permanently added ",
)
_SIGNS = ("#", "$", "%", ">", "+")
"""How prompts end."""
_FIRST_WORDS = 12
_LONGEST = 1_000
"""No line that stands around a listing is longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Typed:
    """A line of a terminal: the *words* of the command, if any. *host*: what the prompt calls the host. *is_wrapped*: it runs another."""

    words: tuple[str, ...]
    host: str | None
    is_wrapped: bool


def plain(text: str) -> str:
    """Return *text* without colours and carriage returns."""
    if "\x1b" in text:
        text = _COLOUR.sub("", text)
    return text.replace("\r\n", "\n").removesuffix("\r") if "\r" in text else text


def without_margin(text: str, own: re.Pattern[str] | None = None) -> str:
    """Return *text* without colours, carriage returns, and what stands in front of every line. The lines keep their numbers.

    *own*: what a listing's first lines begin with. Where one does, nothing is taken from the lines: numbers may be theirs.
    """
    lines = plain(text).split("\n")
    first = next((line for line in lines if line.strip() and not is_around(line)), "")
    return "\n".join(lines if own is not None and own.match(first) else _without_margin(lines))


def is_around(line: str) -> bool:
    """Return whether *line* is known to stand around a listing: a fence, a heading, a prompt, a typed command, what kubectl says."""
    shown = line.strip()
    if not shown or len(shown) > _LONGEST:
        return False
    if shown in ("exit", "logout") or shown.startswith(_BANNERS) or _FENCE.fullmatch(shown) or _HEADING.fullmatch(shown):
        return True
    return _is_typed(shown) or command(shown) is not None


def command(line: str) -> str | None:
    """Return the command that *line* says was typed (``nft list ruleset``), without prompt and wrappers; None where it is none."""
    shown = line.strip()
    if len(shown) > _LONGEST or shown[:1] in ("-", ":", "*"):
        return None
    words = shown.split()
    for place, word in enumerate(words):
        name = word.rpartition("/")[2]
        if name in _PROGRAMS and _introduces(words[:place]) and (name not in ("ip", "ss", "cat") or place):
            return " ".join((name, *words[place + 1 :]))
    return None


def is_fence(line: str) -> bool:
    """Return whether *line* is one around a code block of Markdown."""
    return _FENCE.fullmatch(line.strip()) is not None


def prompt(line: str) -> re.Match[str] | None:
    """Return the prompt that *line* begins with. NB: a comment of a file begins like root's; ask ``typed`` where there are such."""
    return _PROMPT.match(line)


def typed(line: str) -> Typed | None:
    """Return what was typed in *line*: behind a prompt that is no comment's beginning, or a known program's command."""
    shown = line.strip()
    if not shown or len(shown) > _LONGEST:
        return None
    found = _PROMPT.match(shown)
    sure = found is not None and (found["host"] or found["alone"] or found[0] not in ("#", "+", ">", "%") or found.end() == len(shown))
    if not sure and command(shown) is None:
        return None
    words = tuple((shown[found.end() :] if found else shown).split())
    is_wrapped = any(word.rpartition("/")[2] in _WRAPPERS - {"sudo"} for word in words[:_FIRST_WORDS])
    return Typed(words=words, host=(found["host"] or found["alone"]) if found else None, is_wrapped=is_wrapped)


def heading(line: str) -> str | None:
    """Return what the heading *line* says (``=== n1 ===``, ``==> file <==``, ``<summary>n1</summary>``), "" of a mere line, else None."""
    shown = line.strip()
    if len(shown) > _LONGEST:
        return None
    if found := _FILE_HEADING.fullmatch(shown):
        return found["file"]
    if found := _SUMMARY.fullmatch(shown):
        return found["said"].strip()
    return shown.strip("=-#_~+* \t") if _HEADING.fullmatch(shown) else None


def names_program(text: str) -> bool:
    """Return whether a program that prints listings is named among the words of *text*."""
    return any(word.rpartition("/")[2] in _PROGRAMS | _WRAPPERS for word in text.split())


def _introduces(words: list[str]) -> bool:
    """Whether a program's name may follow *words*: nothing, a prompt, or a command that runs another one."""
    if not words or words[-1] == "--" or words[-1].endswith(_SIGNS):
        return True
    first = ("", *words)
    return any(
        word.lower().rpartition("/")[2] in _WRAPPERS and (not before or before.endswith(_SIGNS))
        for before, word in zip(first, words, strict=False)
    )


def _is_typed(line: str) -> bool:
    """Whether *line* is a prompt with a user and a host, or a prompt alone."""
    found = _PROMPT.match(line)
    return found is not None and ("@" in found[0] or found.end() == len(line))


def _without_margin(lines: list[str]) -> list[str]:
    """The lines without what stands in front of each of them."""
    written = [line for line in lines if line.strip() and not is_around(line)]
    if len(written) < 2:
        return lines
    if all(_NUMBERED.match(line) for line in written):
        return list(_cut(lines, _NUMBERED))
    first = written[0]  # a blank line has no more than the margin, or less
    fuller = [first, *(line for line in written if not first.startswith(line.rstrip()))]
    found = _MARGIN.match(_shared(min(fuller), max(fuller)))
    if found is None:
        return lines
    margin, bare = found[0], found[0].rstrip()
    return [line[len(margin) :] if line.startswith(margin) else "" if line.rstrip() == bare else line for line in lines]


def _shared(one: str, other: str) -> str:
    """What two lines begin with."""
    length = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    return one[:length]


def _cut(lines: list[str], front: re.Pattern[str]) -> Iterator[str]:
    for line in lines:
        found = front.match(line)
        yield line[found.end() :] if found else line
