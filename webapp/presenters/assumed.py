"""The assumptions of an answer as a small panel: what is taken for granted, whether it matters, and links that ask with another setting.

What is not assumed, because both ways are told, and could be, has a row too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tracer.assumptions import KINDS, parse_assumptions
from tracer.graph import modelled_nodes
from tracer.trace import ASSUME
from tracer.values import dataclass
from webapp.presenters.verdict import sentence
from webapp.questions.trace_query import TraceQuery

Json = Mapping[str, Any]
_CHANGES = {
    True: "Another setting changes the answer:",
    False: "No other setting changes the answer:",
    None: "Whether another setting changes the answer was not looked at:",
}
MODELLED = "modelled"
NOT_MET = "Nothing on the way asks for it."
NOT_SET = "Not assumed: each way is told, with its condition."
ONE_OF_THEM = "Only one of them:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Assumed:
    """One assumption: its *word*, the *text* that says what it means here, what another setting *changes*, and (word, address) of each."""

    word: str
    text: str
    changes: str
    others: tuple[tuple[str, str], ...]


def assumed(answer: Json, query: TraceQuery, path: str) -> tuple[Assumed, ...]:
    """Return the panel's rows: what is modelled, what the walk met, what it could have been told, then what was set and nothing met.

    A frozen answer is not asked again.
    """
    live = not path.startswith("/t/")
    others = (_met(answer, query, path, live=live), _not_set(answer, query, path, live=live), _not_met(answer, query, path, live=live))
    return (*_modelled(answer), *(row for rows in others for row in rows))


def _modelled(answer: Json) -> Iterator[Assumed]:
    """What stands in for the rules of nodes of which none were recorded, each once."""
    for text in modelled_texts(answer):
        yield Assumed(word=MODELLED, text=text, changes="", others=())


def modelled_texts(answer: Json) -> tuple[str, ...]:
    """Return a sentence for each program whose rules stand in for those of nodes of which none were recorded."""
    by: dict[str, list[str]] = {}
    for node, maker in modelled_nodes(answer).items():
        by.setdefault(maker, []).append(node)
    said = _changed_text if answer.get("what_if") else _modelled_text
    return tuple(said(maker, nodes) for maker, nodes in by.items())


def _changed_text(maker: str, nodes: Sequence[str]) -> str:
    """What stands for rules that no recording of the cluster as it is can have."""
    rules = f"rules of {'nodes' if len(nodes) > 1 else 'node'} {some(nodes)}"
    return f"The {rules} that the change brings are those that {maker or 'kube-proxy'} would program; all others are as recorded."


def _modelled_text(maker: str, nodes: Sequence[str]) -> str:
    shown = f"what is shown is what {maker or 'kube-proxy'} would program for the objects"
    return f"No rules of {'nodes' if len(nodes) > 1 else 'node'} {some(nodes)} were recorded: {shown}."


def some(names: Sequence[str], most: int = 4) -> str:
    """Return up to *most* of *names*, and how many more there are."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def _met(answer: Json, query: TraceQuery, path: str, *, live: bool) -> Iterator[Assumed]:
    for item in answer.get("assumptions") or ():
        others = tuple((word, _address(query, word, path) if live else "") for word in item["other"])
        text = item["text"]
        yield Assumed(word=item["code"], text=sentence(text[:1].upper() + text[1:]), changes=_CHANGES[item["changes"]], others=others)


def _not_set(answer: Json, query: TraceQuery, path: str, *, live: bool) -> Iterator[Assumed]:
    """What is told both ways and an assumption would settle, each kind once."""
    found = {words[0].partition(":")[0]: words for item in answer.get("unknowns") or () if (words := item["at"].get(ASSUME))}
    for name, words in found.items():
        others = tuple((word, _address(query, word, path) if live else "") for word in words)
        text = KINDS[name].about.partition(";")[0]
        yield Assumed(word=name, text=f"{sentence(text[:1].upper() + text[1:])} {NOT_SET}", changes=ONE_OF_THEM, others=others)


def _not_met(answer: Json, query: TraceQuery, path: str, *, live: bool) -> Iterator[Assumed]:
    met = {item["code"] for item in answer.get("assumptions") or ()}
    for word in answer["query"].get("assume") or ():
        if word not in met:
            kept = tuple(other for other in query.assume if other != word)
            others = (("without it", _again(query, kept, path)),) if live else ()
            yield Assumed(word=word, text=NOT_MET, changes="", others=others)


def _address(query: TraceQuery, word: str, path: str) -> str:
    """The same question with the assumption *word* in place of its other settings."""
    kept = (other for other in query.assume if other.partition(":")[0] != word.partition(":")[0])
    return _again(query, parse_assumptions((*kept, word)), path)


def _again(query: TraceQuery, assume: tuple[str, ...], path: str) -> str:
    return query.but(assume=assume, follow="", step=None, expand=()).url(path)


def assumed_lines(answer: Json) -> tuple[str, ...]:
    """Return what is otherwise than it is, and the assumptions that an answer rests on, one line each, for files."""
    what_if = (f"What if: {word}" for word in what_if_words(answer))
    modelled = (f"Modelled: {text}" for text in modelled_texts(answer))
    return (*what_if, *modelled, *(f"Assumed: {item['text']} ({item['code']})" for item in answer.get("assumptions") or ()))


def what_if_words(answer: Json) -> tuple[str, ...]:
    """Return the words by which the cluster of an answer is another than the one that is there."""
    asked = answer["query"]
    return (*(asked.get("overrides") or ()), *(["a manifest applied"] if asked.get("apply") else ()))
