"""Draws the pages that scripts/same_answers.py asks for, and asks for them with Django's test client.

What is never twice the same on a page is taken out in one place, :func:`steady`; the clock stands still.

A page's line has its address, in which ``{it}`` stands for the name of a recording that is stored for it (and deleted afterwards, as lists
of snapshots name it), further headers, and what is posted.
"""

from __future__ import annotations

import io
import json
import random
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from asked_questions import ERRORS, KINDS, Asked, Known

SHARES = {"traces": 0.55, "parts": 0.08, "exports": 0.08, "frozen": 0.03, "connections": 0.05, "names": 0.07, "stored": 0.1, "faults": 0.04}
_ONCE = (
    "/",
    "/snapshots",
    "/snapshots/new",
    "/reasons",
    "/clusters",
    "/links",
    "/collect.sh",
    "/access",
    "/trace",
    "/nothing-here",
    "/c/shop/trace",
)
_REASONS = (
    "CLIENT_IP_LOST",
    "RULE_DROP",
    "LB_NO_HEALTHY_NODES",
    "DNS_NXDOMAIN",
    "NOT_OWNED",
    "EBPF_NOT_REPLAYED",
    "NODEPORT_NOT_PROGRAMMED",
    "NO_SUCH",
)
_LOOKS: tuple[dict[str, str], ...] = (
    *({}, {}, {"view": "graph"}, {"view": "rules"}, {"detail": "rules"}, {"detail": "objects"}, {"group": "zone"}, {"sort": "node"}),
    *({"group": "node", "expand": "all"}, {"step": "3"}, {"step": "9", "detail": "rules"}, {"find": "KUBE", "view": "rules"}),
    *({"paths": "one", "seed": "7"}, {"expand": "nodes"}, {"view": "graph", "detail": "rules", "step": "5"}),
)
_WORDS = ("from", "to", "protocol", "source_port", "state", "resolver")
_NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
_MOST_TRIES = 30
_SLOW = "large-iptables"


# --- which pages ---------------------------------------------------------------------------------------------------------


def pages(tree: Path, read: dict[Asked, Known], count: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield some *count* pages as lines: of each kind its share or what there is, then those that are there once."""
    sources = [one for one in _sources(read) if one[2].services]
    for kind, share in SHARES.items():
        drawn = random.Random(f"{seed} pages {kind}")
        had: list[dict[str, Any]] = []
        for _ in range(round(count * share) * _MOST_TRIES):
            line = _line(kind, drawn.choice(sources), tree, drawn)
            if line not in had and len(had) < round(count * share):
                had.append(line)
        yield from had
    once = [*_ONCE, *(f"/reasons/{code}" for code in _REASONS)]
    yield from ({"page": path, "kinds": ["pages: once"]} for path in once[: round(count * 0.1)])


def _sources(read: dict[Asked, Known]) -> Iterator[tuple[str, dict[str, str], Known]]:
    """Yield the name in the address, what a line says beside it, and what is known, of each demonstration cluster and other recording."""
    for asked, known in read.items():
        parts = asked.place.split("/")
        if parts[0] == "demo":
            yield parts[1].removesuffix(".tar.gz"), {}, known
        elif parts[2] == "recordings":
            yield "{it}", {"stored": asked.place}, known


def _line(kind: str, source: tuple[str, dict[str, str], Known], tree: Path, drawn: random.Random) -> dict[str, Any]:
    name, beside, known = source
    if kind == "stored" and drawn.random() < 0.7 and (cases := sorted((tree.parent / "shared").glob("cases/*/snapshot"))):
        place = f"../shared/cases/{drawn.choice(cases).parent.name}/snapshot"
        return {"page": "/snapshots/{it}", "stored": place, "kinds": ["pages: stored"]}
    return _ADDRESSES[kind](name, known, drawn) | beside | {"kinds": [f"pages: {kind}"]}


def _asked(known: Known, drawn: random.Random) -> str:
    made = None
    while not isinstance(made, dict):
        made = KINDS[drawn.choice(("ordinary", "ordinary", "ipv6", "names", "returning", "connections"))](known, drawn)
    if "connection" in made:
        return "connection={node}:{line}".format(**made["connection"])
    return "&".join(f"{word}={quote(str(made[word]), safe=':/[],=')}" for word in _WORDS if word in made)


def _trace(name: str, known: Known, drawn: random.Random) -> dict[str, Any]:
    look = "".join(f"&{word}={value}" for word, value in drawn.choice(_LOOKS).items())
    return {"page": f"/c/{name}/trace?{_asked(known, drawn)}{look}"}


def _part(name: str, known: Known, drawn: random.Random) -> dict[str, Any]:
    target = drawn.choice(("inspector", "graph-box", "trace"))
    return _trace(name, known, drawn) | {"headers": {"HX-Request": "true", "HX-Target": target}}


def _export(name: str, known: Known, drawn: random.Random) -> dict[str, Any]:
    return {"page": f"/c/{name}/trace.{drawn.choice(('svg', 'dot', 'mmd', 'json'))}?{_asked(known, drawn)}"}


def _frozen(name: str, known: Known, drawn: random.Random) -> dict[str, Any]:
    return {"page": f"/c/{name}/trace/freeze", "post": {"query": _asked(known, drawn), "without": drawn.choice(("", "neighbours"))}}


def _connections(name: str, known: Known, drawn: random.Random) -> dict[str, Any]:
    find = drawn.choice(("", "", "&find=ESTABLISHED", "&find=10.96", "&find=nobody"))
    return {"page": f"/c/{name}/connections?node={drawn.choice(known.nodes)}{find}"}


def _names(name: str, known: Known, drawn: random.Random) -> dict[str, Any]:
    word = drawn.choice(known.names).rpartition(":")[0].partition("=")[0]
    if drawn.random() < 0.2:
        return {"page": f"/c/{name}/names?to={quote(word[:3])}"}
    more = drawn.choice(("", "", "&resolver=musl", "&type=AAAA", "&type=SRV", "&type=PTR"))
    return {"page": f"/c/{name}/dns?from={drawn.choice(known.pods or ('node:x',))}&name={quote(word)}{more}"}


def _stored(name: str, known: Known, drawn: random.Random) -> dict[str, Any]:
    return {"page": f"/snapshots/{name}{drawn.choice(('', '/examples'))}" if name != _SLOW else f"/snapshots/{name}"}


def _fault(name: str, known: Known, drawn: random.Random) -> dict[str, Any]:
    good = KINDS["ordinary"](known, drawn)
    made = drawn.choice(ERRORS)(good, known, drawn) if isinstance(good, dict) else good
    words = made if isinstance(made, dict) else {"from": made}
    return {"page": f"/c/{name}/trace?" + "&".join(f"{word}={quote(str(value)[:80])}" for word, value in words.items())}


_ADDRESSES = {
    "traces": _trace,
    "parts": _part,
    "exports": _export,
    "frozen": _frozen,
    "connections": _connections,
    "names": _names,
    "stored": _stored,
    "faults": _fault,
}


# --- asking --------------------------------------------------------------------------------------------------------------


def steady(text: str, slug: str | None) -> str:
    """Return the page *text* without what is never twice the same: tokens of forms, the name of a stored recording, that of a frozen link.

    What depends on the time does not: the clock stands still while pages are asked for (:func:`frozen_clock`).
    """
    text = re.sub(r'(csrfmiddlewaretoken" value="|x-csrftoken": ")[A-Za-z0-9]+', r"\1TOKEN", text)
    text = re.sub(r"/t/[1-9A-HJ-NP-Za-km-z]{26}", "/t/TOKEN", text)
    return text.replace(slug, "{it}") if slug else text


def frozen_clock() -> None:
    """Let Django's clock stand still, before the application is read, which takes the function over in places."""
    from django.utils import timezone

    timezone.now = lambda: _NOW


def load_demonstrations() -> None:
    """Make the database and store the demonstration clusters."""
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    call_command("load_demo", verbosity=0)


def texts(stored: str | None, lines: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield the page of each of *lines*, all of which are of the recording *stored*, or of none."""
    with _stored_for(stored) as slug:
        for line in lines:
            yield slug if slug and slug.startswith("refused") else steady(_page(line, slug or ""), slug)


@contextmanager
def _stored_for(place: str | None) -> Iterator[str | None]:
    """Store the recording *place* for as long as the block runs; its name, or that it was refused and why."""
    from django.core.management import CommandError, call_command

    if place is None:
        yield None
        return
    out = io.StringIO()
    try:
        call_command("import_snapshot", place, name="stored", verbosity=0, stdout=out)
    except CommandError as error:
        yield f"refused: {error}"
        return
    slug = out.getvalue().strip()
    yield slug
    call_command("delete_snapshot", slug, verbosity=0, stdout=io.StringIO())


def _page(line: dict[str, Any], slug: str) -> str:
    from django.test import Client

    client = Client(SERVER_NAME="localhost", raise_request_exception=False)
    path, headers = line["page"].replace("{it}", slug), line.get("headers", {})
    response = client.post(path, line["post"], follow=True) if "post" in line else client.get(path, headers=headers)
    shown = {name: response[name] for name in ("Content-Type", "Location", "Content-Disposition", "Vary") if name in response}
    return f"{response.status_code} {json.dumps(shown)}\n{response.getvalue().decode(errors='replace')}"
