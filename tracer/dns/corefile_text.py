"""The Corefile's text: words, lines and blocks in braces, with imports of snippets and of other files put in.

Owns the form only; what a plugin's words mean is corefile.py's business.
Source: coredns/caddy caddyfile/{lexer,parse,dispenser}.go.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import NoReturn

from tracer.errors import Fault, ParseError
from tracer.values import dataclass

_MOST_IMPORTS = 50
_MOST_DEPTH = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """One word: *line* counts from 1; *first* is whether it begins its line."""

    text: str
    line: int
    first: bool
    quoted: bool = False
    file: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of words with the block that it opens, if any."""

    words: tuple[str, ...]
    line: int
    file: str = ""
    block: tuple[Line, ...] = ()

    @property
    def name(self) -> str:
        """Return the first word."""
        return self.words[0]

    @property
    def args(self) -> tuple[str, ...]:
        """Return the words after the first."""
        return self.words[1:]

    def fault(self, message: str) -> ParseError:
        """Return the error that says what is wrong with this line."""
        return ParseError(Fault(file=self.file, line=self.line, column=None, message=message, text=" ".join(self.words)))

    def refuse(self, message: str) -> NoReturn:
        """Raise the ParseError that says what is wrong with this line."""
        raise self.fault(message)

    def wrong_count(self) -> NoReturn:
        """Raise the ParseError for too few or too many words, as CoreDNS words it."""
        self.refuse(f"Wrong argument count or unexpected line ending after '{self.words[-1]}'")


@dataclass(frozen=True, slots=True, kw_only=True)
class RawBlock:
    """One server block: its keys as written and its lines."""

    keys: tuple[str, ...]
    lines: tuple[Line, ...]
    line: int
    file: str = ""


def words_of(text: str, file: str) -> Iterator[Word]:
    """Yield the words of *text*: quoted ones without their quotes, comments left out."""
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), start=1):
        first = True
        position = 0
        while position < len(line):
            if line[position].isspace():
                position += 1
                continue
            if line[position] == "#":
                break
            word, position, quoted = _word(line, position)
            yield Word(text=word, line=number, first=first, quoted=quoted, file=file)
            first = False


def _word(line: str, start: int) -> tuple[str, int, bool]:
    """Return a word, where it ends and whether it was quoted. NB: a quote left open ends with its line here."""
    if line[start] != '"':
        end = start
        while end < len(line) and not line[end].isspace():
            end += 1
        return line[start:end], end, False
    found = []
    position = start + 1
    while position < len(line) and line[position] != '"':
        if line[position] == "\\" and line[position + 1 : position + 2] == '"':
            position += 1
        found.append(line[position])
        position += 1
    return "".join(found), position + 1, True


def parse_blocks(text: str, *, file: str = "Corefile", files: Mapping[str, str] | None = None) -> tuple[RawBlock, ...]:
    """Return the server blocks of a Corefile. *files* are those it may import, by name.

    :raises ParseError: braces do not match, or an import does not end.
    """
    return tuple(_Reader(file, files or {}).blocks(text))


class _Reader:
    """Reads one Corefile (mutable: snippets are known once they have been read)."""

    def __init__(self, file: str, files: Mapping[str, str]) -> None:
        self._file = file
        self._files = files
        self._snippets: dict[str, tuple[Word, ...]] = {}
        self._imports = 0

    def blocks(self, text: str) -> Iterator[RawBlock]:
        words = list(words_of(text, self._file))
        position = 0
        while position < len(words):
            word = words[position]
            if word.first and word.text == "import":
                end = _line_end(words, position)
                words[position:end] = self._imported([w.text for w in words[position + 1 : end]], word)
                continue
            position, block = self._block(words, position)
            if block is not None:
                yield block

    def _block(self, words: list[Word], position: int) -> tuple[int, RawBlock | None]:
        start = words[position]
        keys: list[str] = []
        opened = False
        while position < len(words):
            word = words[position]
            # NB: keys go on over a line's end only after a comma.
            if keys and word.first and not words[position - 1].text.endswith(",") and word.text != "{":
                break
            position += 1
            if word.text == "{" and not word.quoted:
                opened = True
                break
            if word.text == "}" and not word.quoted:
                _refuse(word, "unexpected '}'")
            keys += [k for k in word.text.split(",") if k]
        if not keys:
            _refuse(start, "a server block without a zone")
        end = _closing(words, position, start) if opened else len(words)
        inside = words[position:end]
        after = end + 1 if opened else end
        if len(keys) == 1 and keys[0].startswith("(") and keys[0].endswith(")"):
            self._snippets[keys[0][1:-1]] = tuple(inside)
            return after, None
        lines = tuple(self._lines(self._expanded(inside), 0))
        return after, RawBlock(keys=tuple(keys), lines=lines, line=start.line, file=start.file)

    def _expanded(self, words: list[Word]) -> list[Word]:
        """Return *words* with imports put in."""
        found: list[Word] = []
        position = 0
        words = list(words)
        while position < len(words):
            if words[position].first and words[position].text == "import":
                end = _line_end(words, position)
                words[position:end] = self._imported([w.text for w in words[position + 1 : end]], words[position])
                continue
            found.append(words[position])
            position += 1
        return found

    def _imported(self, args: list[str], at: Word) -> list[Word]:
        """Return the words of a snippet or of the files that a pattern names; nothing where no file fits, as CoreDNS has it."""
        self._imports += 1
        if len(args) != 1:
            _refuse(at, "import takes one file, pattern or snippet")
        if self._imports > _MOST_IMPORTS:
            _refuse(at, "imports do not end")
        if args[0] in self._snippets:
            return list(self._snippets[args[0]])
        pattern = args[0].rpartition("/")[2]
        names = sorted(n for n in self._files if fnmatchcase(n, pattern))
        return [word for name in names for word in words_of(self._files[name], name)]

    def _lines(self, words: list[Word], depth: int) -> Iterator[Line]:
        if depth > _MOST_DEPTH:
            _refuse(words[0], "blocks are nested too deeply")
        position = 0
        while position < len(words):
            start = words[position]
            found: list[str] = []
            block: tuple[Line, ...] = ()
            while position < len(words) and (not found or not words[position].first):
                word = words[position]
                position += 1
                if word.text == "{" and not word.quoted and found:
                    end = _closing(words, position, word)
                    block = tuple(self._lines(words[position:end], depth + 1)) if end > position else ()
                    position = end + 1
                    break
                if word.text in ("{", "}") and not word.quoted:
                    _refuse(word, f"unexpected {word.text!r}")
                found.append(word.text)
            yield Line(words=tuple(found), line=start.line, file=start.file, block=block)


def _line_end(words: list[Word], position: int) -> int:
    end = position + 1
    while end < len(words) and not words[end].first:
        end += 1
    return end


def _closing(words: list[Word], position: int, opened: Word) -> int:
    """Return where the brace that closes the block stands. :raises ParseError: nowhere."""
    depth = 1
    for index in range(position, len(words)):
        word = words[index]
        if not word.quoted and word.text == "{":
            depth += 1
        elif not word.quoted and word.text == "}":
            depth -= 1
            if depth == 0:
                return index
    raise _fault(opened, "a block is not closed: '}' is missing")


def _fault(word: Word, message: str) -> ParseError:
    return ParseError(Fault(file=word.file, line=word.line, column=None, message=message, text=word.text))


def _refuse(word: Word, message: str) -> NoReturn:
    raise _fault(word, message)
