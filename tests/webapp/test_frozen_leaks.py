"""What a token opens: marked names stand everywhere in the database and in the cluster; everything reachable from a frozen page is read.

Two crawls. What lies under /t/TOKEN, with every part that htmx asks for, every file and every error, must hold no mark for anybody. All
that can be reached from there without a session must hold no mark of what belongs to a session, and with an access key none at all.
"""

from __future__ import annotations

import html
import json
import re
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from tests.frozen_links import made_document
from tests.made_traces import lb_trace
from tests.sizes import diagonal
from tests.webapp.conftest import SERVICE, write_cluster
from tests.webapp.live_rows import ASKED as ASKED_LIVE
from tests.webapp.live_rows import KeptCluster
from tests.webapp.made_rows import MINE, OTHER, client_of, made_link
from webapp.models import LiveSource, TraceLink, UploadJob
from webapp.storing import stored_snapshots
from webapp.views.trace import PARTS

pytestmark = pytest.mark.django_db
KEY = "correct horse battery staple"
ASKED = "from=node:node-a&to=10.96.0.10:80"
MOST_PAGES = 250
EVERYBODY = "mark-of-everybody"
OF_A_SESSION = ("mark-of-a-session", "mark-of-the-maker", "mark-beside")
BESIDE = "mark-beside"
NETWORK: dict[str, list[dict[str, Any]]] = {
    "ip-addr.json": [{"ifname": "eth0", "addr_info": [{"family": "inet", "local": "192.0.2.1", "prefixlen": 24, "scope": "global"}]}],
    "ip-link.json": [{"ifname": "eth0", "flags": ["UP"], "operstate": "UP", "link_type": "ether"}],
    "ip-rule.json": [{"priority": 32766, "src": "all", "table": "main"}],
    "ip-route.json": [{"dst": "default", "gateway": "192.0.2.254", "dev": "eth0", "prefsrc": "192.0.2.1", "flags": []}],
}
_ADDRESS = re.compile(r"""(?:href|src|action|hx-get|hx-post|data-[a-z-]+|content)=["'](/[^"']*)["']""")
_VISITORS: dict[str, Callable[[], Client]] = {
    "a stranger": Client,
    "another session": lambda: client_of(OTHER),
    "the session that made it": lambda: client_of(MINE),
}


@pytest.fixture
def marked(tmp_path: Path) -> str:
    """Freeze an answer of a cluster that has more than it needs, beside rows of everybody and of sessions; return its path."""
    row = stored_snapshots.store_snapshot(_cluster(tmp_path / "marked"), name="the frozen one", owner=MINE)
    other = write_cluster(tmp_path / "other")
    for owner, mark in (("", EVERYBODY), (OTHER, "mark-of-a-session"), (MINE, "mark-of-the-maker")):
        stored_snapshots.store_snapshot(other, name=f"{mark} snapshot", owner=owner)
        LiveSource.objects.create(name=f"{mark} cluster", owner=owner, kind=LiveSource.Kind.CONTEXT, context=f"{mark} context")
        if owner:
            UploadJob.objects.create(owner=owner, name=f"{mark} upload", text=f"{mark} text")
            asked = {"id": "", "from": {"kind": "node", "name": f"{mark}-node"}, "to": {"host": "10.0.0.1", "port": 80}, "protocol": "tcp"}
            link = made_link(owner, query={"text": f"from=node:{mark}-node", "query": asked | {"source_port": None}})
            link.document = made_document(lb_trace())
            link.save()
    return freeze(row.id, ASKED, without="neighbours")


def _cluster(folder: Path) -> Path:
    """Write a cluster whose every kind of thing has one that is on no way, and is called so."""
    rules = [
        ":PREROUTING ACCEPT [0:0]",
        ":OUTPUT ACCEPT [0:0]",
        f'-A OUTPUT -d 10.96.0.77/32 -m comment --comment "{BESIDE}/before" -j RETURN',
        "-A OUTPUT -d 10.96.0.10/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.244.1.2:8080",
        f'-A OUTPUT -d 10.96.0.78/32 -m comment --comment "{BESIDE}/after" -j RETURN',
    ]
    meta = {"namespace": BESIDE, "name": f"{BESIDE}-object", "labels": {"app": BESIDE}}
    ports = [{"port": 80, "name": BESIDE, "protocol": "TCP"}]
    objects = {
        "services": [SERVICE, SERVICE | {"metadata": meta, "spec": {"clusterIP": "10.96.0.77", "type": "ClusterIP", "ports": ports}}],
        "pods": [
            {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {"nodeName": f"{BESIDE}-node"}, "status": {"podIP": "10.244.9.9"}}
        ],
        "nodes": [
            {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"topology.kubernetes.io/zone": zone}}}
            for name, zone in (("node-a", "zone-a"), (f"{BESIDE}-node", f"{BESIDE}-zone"))
        ],
        "namespaces": [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": BESIDE}}],
    }
    folder.mkdir()
    for kind, items in objects.items():
        (folder / f"{kind}.json").write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    for node in ("node-a", f"{BESIDE}-node"):
        (folder / "nodes" / node).mkdir(parents=True)
        (folder / "nodes" / node / "iptables-save.txt").write_text("\n".join(["*nat", *rules, "COMMIT", "*filter", "COMMIT", ""]))
        for name, text in NETWORK.items():
            (folder / "nodes" / node / name).write_text(json.dumps(text))
    return folder


def freeze(source: str, asked: str, **form: str) -> str:
    answer = client_of(MINE).post(f"/c/{source}/trace/freeze", {"query": asked, "expires": "", **form})
    assert answer.status_code == 302, answer.content
    return str(answer["Location"]).partition("?")[0]


def crawl(client: Client, start: str, within: str) -> Iterator[tuple[str, str]]:
    """Yield (request, everything that came back) for *start* and what can be reached from it by GET under *within*."""
    seen, waiting = {start}, deque([start])
    while waiting and len(seen) <= MOST_PAGES:
        path = waiting.popleft()
        for target in ("", *PARTS) if path.startswith("/t/") else ("",):
            headers = {"accept": "text/html"} | ({"hx-request": "true", "hx-target": target} if target else {})
            response = client.get(path, headers=headers)
            text = _text(response)
            yield f"{path} {target}", f"{response.items()} {response.cookies} {text}"
            found = [*_ADDRESS.findall(text), *([response["Location"]] if "Location" in response else [])]
            for address in (html.unescape(one).partition("#")[0] for one in found):
                if address.startswith(within) and not address.startswith("/static/") and address not in seen:
                    seen.add(address)
                    waiting.append(address)


def _text(response: Any) -> str:
    if response.streaming and response.is_async:
        return ""  # an archive of a snapshot, which holds what its page says
    content = b"".join(response.streaming_content) if response.streaming else response.content
    # What a picture says in words of its own is compressed.
    return content.decode("utf-8", "replace") + "".join(_inflated(content))


def _inflated(content: bytes) -> Iterator[str]:
    for start in re.finditer(rb"[\x78][\x01\x5e\x9c\xda]", content) if content.startswith(b"\x89PNG") else ():
        try:
            yield zlib.decompress(content[start.start() :]).decode("latin-1")
        except zlib.error:
            continue


def with_marks(pages: Iterable[tuple[str, str]], marks: Iterable[str]) -> tuple[list[str], int]:
    """Return the requests whose answers hold a mark, and how many were read."""
    read = [(asked, [mark for mark in marks if mark in text]) for asked, text in pages]
    return [f"{asked}: {found}" for asked, found in read if found], len(read)


@pytest.mark.parametrize(("visitor", "key"), diagonal(list(_VISITORS), ["", KEY], 2))
def test_a_frozen_page_names_nothing_but_its_answer(settings, marked: str, visitor: str, key: str) -> None:
    settings.ACCESS_KEY = key
    client = _VISITORS[visitor]()
    leaks, read = with_marks(crawl(client, marked, within="/t/"), (EVERYBODY, *OF_A_SESSION))
    assert leaks == []
    assert read > 30
    files = [f"{marked}/trace.{suffix}" for suffix in ("svg", "png", "dot", "mmd", "json")]
    lost = [
        f"{marked}/trace.exe",
        f"{marked}/",
        f"{marked}x",
        f"{marked}/mark",
        "/t/",
        f"{marked}?follow=x&find=mark&step=99&expand=all&detail=rules",
    ]
    for path in (*files, *lost):
        for method in (client.get, client.head, client.post):
            response = method(path, headers={"accept": "text/html"})
            assert with_marks([(path, _text(response))], (EVERYBODY, *OF_A_SESSION))[0] == []


def test_without_a_session_nothing_of_a_session_is_in_reach(marked: str) -> None:
    leaks, read = with_marks(crawl(Client(), marked, within="/"), OF_A_SESSION)
    assert leaks == []
    assert read > 50


def test_with_a_key_nothing_at_all_is_in_reach(settings, marked: str) -> None:
    settings.ACCESS_KEY = KEY
    leaks, read = with_marks(crawl(Client(), marked, within="/"), (EVERYBODY, *OF_A_SESSION))
    assert leaks == []
    assert read > 30


def test_the_crawl_finds_a_mark_where_there_is_one(marked: str) -> None:
    """The same crawl, from the list of the session's snapshots, meets the marks that it may see: it can fail."""
    leaks, _ = with_marks(crawl(client_of(MINE), "/snapshots", within="/"), (EVERYBODY, "mark-of-the-maker", BESIDE))
    assert {mark for leak in leaks for mark in (EVERYBODY, "mark-of-the-maker", BESIDE) if mark in leak} == {
        EVERYBODY,
        "mark-of-the-maker",
        BESIDE,
    }


# --- the lines beside the rules ----------------------------------------------------------------------------------------


def test_the_lines_beside_are_kept_unless_they_are_left_out(tmp_path: Path) -> None:
    row = stored_snapshots.store_snapshot(_cluster(tmp_path / "c"), name="c", owner=MINE)
    with_them, without = freeze(row.id, ASKED), freeze(row.id, ASKED, without="neighbours")
    pages = ["".join(Client().get(f"{path}?step={n}").content.decode() for n in (1, 2, 3)) for path in (with_them, without)]
    assert [BESIDE in page for page in pages] == [True, False]
    assert ["What stands beside its rules was left out" in page for page in pages] == [False, True]
    assert all("--to-destination" in html.unescape(re.sub(r"<[^>]+>", "", page)) for page in pages)
    kept = [TraceLink.objects.get(token=path.rpartition("/")[2]).document for path in (with_them, without)]
    assert [BESIDE in json.dumps(document) for document in kept] == [True, False]
    assert kept[0]["answer"] == kept[1]["answer"]


def test_the_form_says_what_a_link_holds(tmp_path: Path) -> None:
    row = stored_snapshots.store_snapshot(_cluster(tmp_path / "c"), name="c", owner=MINE)
    page = client_of(MINE).get(f"/c/{row.id}/trace?{ASKED}").content.decode()
    form = re.search(r'<form[^>]*/trace/freeze".*?</form>', page, re.DOTALL)[0]
    assert re.search(r'<input type="checkbox" name="without" value="neighbours">', form)
    for said in ("without the access key", "names, addresses, nodes and zones", "may name other Services"):
        assert said in form
    assert client_of(MINE).post(f"/c/{row.id}/trace/freeze", {"query": ASKED, "without": "everything"}).status_code == 400


def test_of_a_followed_cluster_no_name_is_kept_that_is_on_no_way() -> None:
    row = KeptCluster().row
    document = TraceLink.objects.get(token=freeze(row.id, ASKED_LIVE, without="neighbours").rpartition("/")[2]).document
    assert "generation" in document["live"]
    assert "depends" not in document["live"]


def test_who_may_see_the_source_is_led_to_it_and_nobody_else(settings, marked: str) -> None:
    leads = ["Open in the frozen one" in make().get(marked).content.decode() for make in _VISITORS.values()]
    assert leads == [False, False, True]
    settings.ACCESS_KEY = KEY
    assert "Open in" not in client_of(MINE).get(marked).content.decode()
