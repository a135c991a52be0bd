"""The answer as files: SVG, PNG, DOT, Mermaid, JSON. Each is made from the answer document alone, so frozen links export, too.

The exported SVG needs nothing but itself: colours are written out and the fonts it uses are inside. Names are quoted in every language.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Protocol

from django.conf import settings
from django.template.loader import render_to_string
from django.utils.html import escape

from tracer.carriers_folded import carriers_folded
from tracer.graph import Box, BoxKind, EdgeKind, Graph, build, named
from tracer.patterns import pattern
from webapp.answering.document import Answer, as_told
from webapp.drawing.graph_svg import LayoutError
from webapp.presenters.assumed import assumed_lines
from webapp.presenters.drawing import drawing
from webapp.presenters.journey import Moment, journey, side_text
from webapp.presenters.page import trace_page
from webapp.presenters.verdict import path_to_show, verdict
from webapp.questions.trace_query import TraceQuery

CONTENT_TYPES = {
    "svg": "image/svg+xml",
    "png": "image/png",
    "dot": "text/vnd.graphviz; charset=utf-8",
    "mmd": "text/plain; charset=utf-8",
    "json": "application/json",
}
PNG_SCALE = 2
LINE = 18
_TIMEOUT_SECONDS = 20.0
_PART = 1 << 16
_VAR = pattern(r"var\(--(?P<name>[A-Za-z0-9]+)\)", re.ASCII)
_TOKEN = pattern(r"--(?P<name>[A-Za-z0-9]+):\s*light-dark\((?P<light>#[0-9A-Fa-f]{6}),\s*(?P<dark>#[0-9A-Fa-f]{6})\)", re.ASCII)


class _Maker(Protocol):
    """One of the functions below: makes a file's text, or its bytes."""

    def __call__(self, answer: Answer, query: TraceQuery, /, *, dark: bool) -> str | bytes:
        """Return the file."""


class ExportError(Exception):
    """The file cannot be made; the message says why."""


def export(answer: Answer, query: TraceQuery, suffix: str, *, dark: bool = False) -> bytes:
    """Return the file of kind *suffix* for *answer* looked at as *query* says.

    :raises ExportError: the picture cannot be drawn here. :raises KeyError: there is no such kind of file.
    """
    makers: Mapping[str, _Maker] = {"svg": svg, "png": png, "dot": dot, "mmd": mermaid, "json": json_text}
    text = makers[suffix](answer, query, dark=dark)
    return text if isinstance(text, bytes) else text.encode()


def _shown(answer: Answer, query: TraceQuery) -> Answer:
    return answer if query.seed is None else answer.sample(query.seed)


def _graph(answer: Answer, query: TraceQuery) -> tuple[Graph, tuple[Moment, ...]]:
    paths = answer.paths
    followed = named(paths, query.follow) or path_to_show(answer.answer, paths)
    graph = build(
        answer.answer,
        paths=paths,
        follow=followed.id,
        detail=query.detail,
        group=query.group,
        expand=query.expand,
        zones=answer.zones,
        modes=answer.modes,
    )
    return graph, journey(answer.answer["outcomes"][followed.index], answer.answer.get("lookups") or ())


# --- pictures --------------------------------------------------------------------------------------------------------


def svg(answer: Answer, query: TraceQuery, *, dark: bool = False) -> str:
    """Return the picture as one self-contained SVG file. :raises ExportError: there is no layout."""
    shown = _shown(answer, query)
    graph, moments = _graph(shown, query)
    step = trace_page(shown, query.but(seed=None), "").step
    try:
        picture = drawing(graph, moments, query, lambda target: "", step, shown.owners)
    except LayoutError as error:
        raise ExportError(str(error)) from error
    assumed = assumed_lines(shown.answer)
    bottom = picture.top + picture.height
    picture = replace(picture, height=picture.height + LINE * len(assumed))
    drawn = render_to_string("trace/_graph.svg", {"d": picture})
    body = _unlinked(drawn)
    head = f"<style>{_styles(dark)}</style>"
    paper = f'<rect class="paper" x="{picture.left}" y="{picture.top}" width="{picture.width}" height="{picture.height}"/>'
    lines = [(bottom + LINE * number + 4, escape(_printable(line))) for number, line in enumerate(assumed)]
    notes = "".join(f'<text class="rl" x="0" y="{y}">{line}</text>' for y, line in lines)
    body = body.replace("</title>", "</title>" + head + paper, 1).replace("</svg>", notes + "</svg>", 1)
    return _resolved(f'<?xml version="1.0" encoding="UTF-8"?>\n{body}\n', dark)


def _unlinked(text: str) -> str:
    """Return the page's SVG as a file: its own namespace, and groups where the page has links that lead nowhere outside it."""
    text = text.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    text = re.sub(
        r' (?:href|data-part|data-steps|data-step|data-heads|data-from|tabindex|aria-current|aria-label|role|aria-labelledby)="[^"]*"',
        _kept_attribute,
        text,
    )
    return re.sub(r"<(/?)a(?=[ >])", r"<\1g", text)


def _kept_attribute(match: re.Match[str]) -> str:
    """Return what the file keeps of an attribute: the current step becomes a class of its own, names stay as labels."""
    text = match[0]
    if text.startswith((" aria-label=", " role=", " aria-labelledby=")):
        return text
    return ' data-current="step"' if text.startswith(" aria-current") else ""


@lru_cache(maxsize=2)
def _styles(dark: bool) -> str:
    css = (settings.BASE_DIR / "static" / "css" / "graph.css").read_text()
    css = re.sub(r"/\*.*?\*/", "", css, flags=re.DOTALL).replace("[aria-current]", "[data-current]")
    fonts = "".join(
        f'@font-face{{font-family:"{name}";src:url(data:font/woff2;base64,{_font(file)}) format("woff2");font-weight:200 800}}'
        for name, file in (("Atkinson Next", "next"), ("Atkinson Mono", "mono"))
    )
    return _resolved(fonts + ".paper{fill:var(--paper)}" + re.sub(r"\s+", " ", css), dark)


def _font(file: str) -> str:
    """Return the Latin subset of a font, the only letters the interface is set in, as base64."""
    data = (settings.BASE_DIR / "static" / "fonts" / f"atkinson-hyperlegible-{file}-latin-wght-normal.woff2").read_bytes()
    return base64.b64encode(data).decode()


@lru_cache(maxsize=2)
def tokens(dark: bool) -> dict[str, str]:
    """Return the colour tokens' values in one theme."""
    css = (settings.BASE_DIR / "static" / "css" / "tokens.css").read_text()
    return {m["name"]: m["dark" if dark else "light"] for m in _TOKEN.finditer(css)} | {
        "ui": '"Atkinson Next",sans-serif',
        "mono": '"Atkinson Mono",monospace',
    }


def _resolved(text: str, dark: bool) -> str:
    values = tokens(dark)
    return _VAR.sub(lambda m: values[m["name"]], text)


def png(answer: Answer, query: TraceQuery, *, dark: bool = False) -> bytes:
    """Return the picture at twice its size. :raises ExportError: there is no layout, or no rsvg-convert."""
    source = svg(answer, query, dark=dark).encode()
    try:
        done = subprocess.run(
            ["rsvg-convert", f"--zoom={PNG_SCALE}"], input=source, capture_output=True, check=True, timeout=_TIMEOUT_SECONDS
        )
    except FileNotFoundError:
        raise ExportError("PNG needs rsvg-convert: install the package “librsvg2-bin”.") from None
    except (subprocess.TimeoutExpired, subprocess.CalledProcessError) as error:
        raise ExportError("rsvg-convert could not draw this picture; the SVG has the same content.") from error
    return done.stdout


# --- text ------------------------------------------------------------------------------------------------------------


def json_text(answer: Answer, query: TraceQuery, *, dark: bool = False) -> bytes:
    """Return the answer as trace-json.md writes it, steps and stations included."""
    return b"".join(json_parts(answer, query))


def json_parts(answer: Answer, query: TraceQuery) -> Iterator[bytes]:
    """Yield what ``json_text`` returns, part by part: with many outcomes it is some 30 MB, which need not be there at once.

    NB: of more than a thousand outcomes the first of each class is told, unless the page shows the list of all paths.
    """
    waiting: list[str] = []
    size = 0
    told = as_told(_shown(answer, query).answer, expand="all" in query.expand)
    for word in json.JSONEncoder(ensure_ascii=False, indent=1).iterencode(carriers_folded(told)):
        waiting.append(word)
        size += len(word)
        if size >= _PART:
            yield "".join(waiting).encode()
            waiting, size = [], 0
    yield "".join([*waiting, "\n"]).encode()


_SHAPES = {
    BoxKind.CLIENT: "oval",
    BoxKind.OUTSIDE: "oval",
    BoxKind.LOAD_BALANCER: "hexagon",
    BoxKind.DNS: "parallelogram",
    BoxKind.PICK: "cds",
    BoxKind.DROP: "octagon",
    BoxKind.REJECT: "octagon",
    BoxKind.HOST: "box3d",
    BoxKind.SERVICE: "component",
}


def dot(answer: Answer, query: TraceQuery, *, dark: bool = False) -> str:
    """Return the graph as DOT with its real names, every one of them quoted."""
    shown = _shown(answer, query)
    graph, _ = _graph(shown, query)
    lines = ["digraph trace {", *_dot_label(assumed_lines(shown.answer)), "  rankdir=LR;", '  node [fontname="monospace", shape=box];']
    for number, region in enumerate(graph.regions):
        inside = [box for box in graph.boxes if box.region == region.id]
        lines += [
            f"  subgraph cluster_{number} {{",
            f"    label={_quoted(region.title)};",
            *(f"    {_dot_box(box)}" for box in inside),
            "  }",
        ]
    known = {region.id for region in graph.regions}
    lines += [f"  {_dot_box(box)}" for box in graph.boxes if box.region not in known]
    for edge in graph.edges:
        options = [f"label={_quoted(edge.odds)}"] if edge.odds else []
        options += ["style=dashed"] if edge.kind is EdgeKind.REPLY else ["penwidth=2"] if edge.on else []
        lines.append(f"  {_quoted(edge.tail)} -> {_quoted(edge.head)} [{', '.join(options)}];")
    return "\n".join([*lines, "}", ""])


def _dot_label(lines: Sequence[str]) -> list[str]:
    """Return what is assumed as the graph's own label, in words."""
    text = "\n".join(lines)
    return [f"  label={_quoted(text)}; labelloc=b; labeljust=l;"] if lines else []


def _dot_box(box: Box) -> str:
    label = "\n".join(_label_lines(box))
    options = [f"label={_quoted(label)}"]
    if box.kind in _SHAPES:
        options.append(f"shape={_SHAPES[box.kind]}")
    if box.kind is BoxKind.POD:
        options.append('style="rounded"')
    if box.on:
        options.append("penwidth=2")
    return f"{_quoted(box.id)} [{', '.join(options)}];"


def _label_lines(box: Box) -> list[str]:
    number = f"{box.badge} " if box.badge else ""
    chips = " ".join(chip.upper() for chip in box.chips)
    return [line for line in (f"{number}{box.title}", " ".join(filter(None, (chips, box.subtitle)))) if line]


def _quoted(text: str) -> str:
    """Return *text* as a DOT string. Backslashes are doubled, so that no escape of a name's own means anything."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{_printable(escaped)}"'


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)


def mermaid(answer: Answer, query: TraceQuery, *, dark: bool = False) -> str:
    """Return the graph as a Mermaid flowchart, or one sampled path as a sequence diagram."""
    shown = _shown(answer, query)
    graph, moments = _graph(shown, query)
    if query.seed is not None or len(shown.paths) == 1:
        return _sequence(shown, moments)
    lines = ["flowchart LR"]
    known = {region.id: number for number, region in enumerate(graph.regions)}
    for box in graph.boxes:
        if box.region not in known:
            lines.append(f"  {_mermaid_box(box)}")
    for region in graph.regions:
        lines.append(f"  subgraph r{known[region.id]}[{_mermaid(region.title)}]")
        lines += [f"    {_mermaid_box(box)}" for box in graph.boxes if box.region == region.id]
        lines.append("  end")
    for edge in graph.edges:
        arrow = "-.->" if edge.kind is EdgeKind.REPLY else "==>" if edge.on else "-->"
        label = f"|{_mermaid(edge.odds)}|" if edge.odds else ""
        lines.append(f"  {_plain(edge.tail)} {arrow}{label} {_plain(edge.head)}")
    lines += [f"  assumed{n}[{_mermaid(line)}]" for n, line in enumerate(assumed_lines(shown.answer))]
    return "\n".join([*lines, ""])


def _mermaid_box(box: Box) -> str:
    text = _mermaid("<br/>".join(_mermaid_text(line) for line in _label_lines(box)), ready=True)
    left, right = {
        BoxKind.CLIENT: ("([", "])"),
        BoxKind.LOAD_BALANCER: ("{{", "}}"),
        BoxKind.POD: ("(", ")"),
        BoxKind.PICK: ("[/", "/]"),
    }.get(box.kind, ("[", "]"))
    return f"{_plain(box.id)}{left}{text}{right}"


def _plain(identifier: str) -> str:
    return identifier.replace("-", "_")


def _mermaid(text: str, *, ready: bool = False) -> str:
    return f'"{text if ready else _mermaid_text(text)}"'


def _mermaid_text(text: str) -> str:
    """Return *text* with everything but letters, digits and harmless signs as Mermaid's entity codes."""
    return "".join(letter if letter.isalnum() or letter in " .:/-_,()≈%…–" else f"#{ord(letter)};" for letter in _printable(text))


def _sequence(answer: Answer, moments: tuple[Moment, ...]) -> str:
    """Return one path as a sequence diagram: one lifeline for each stack, a note for each rewrite."""
    outcome: Any = answer.answer["outcomes"][0]
    names: dict[str, str] = {}
    for moment in moments:
        names.setdefault(f"{moment.stack.get('kind')}|{moment.stack.get('name')}", f"s{len(names)}")
    lines = ["sequenceDiagram"]
    for key, short in names.items():
        lines.append(f"  participant {short} as {_mermaid_text(key.partition('|')[2])}")
    before: str | None = None
    for moment in moments:
        here = names[f"{moment.stack.get('kind')}|{moment.stack.get('name')}"]
        if before and before != here:
            flow = f"{side_text(moment.before, 'source')} to {side_text(moment.before, 'destination')}"
            lines.append(f"  {before}{'-->>' if moment.reply else '->>'}{here}: {_mermaid_text(flow)}")
        if moment.kind not in ("send", "receive"):
            lines.append(f"  Note over {here}: {moment.n} {_mermaid_text(moment.title)}")
        before = here
    said = verdict(answer.answer, answer.paths, answer.paths[0]) if outcome else None
    if before and said:
        lines.append(f"  Note over {before}: {_mermaid_text(said.whole)}")
    lines += [f"  Note over {before}: {_mermaid_text(line)}" for line in assumed_lines(answer.answer) if before]
    return "\n".join([*lines, ""])
