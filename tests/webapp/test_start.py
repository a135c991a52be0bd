"""A process that answers one question imports what the question and its snapshot need: no framework, no page, no reader of other formats."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.conftest import DEMO, PROJECT
from tests.live_server import environment, of_an_operator

SEES = """
import runpy, sys
try:
    runpy.run_path("manage.py", run_name="__main__")
except SystemExit as left:
    assert not left.code, left.code
print(*sys.modules, file=sys.stderr)
"""
NEVER = ("django", "channels", "asgiref", "asyncio", "kubernetes", "webapp.views", "webapp.presenters", "webapp.serving", "webapp.live")
"""What no plain question needs."""
NFT, IPVS, DNS = "tracer.netfilter.nft_rules", "tracer.ipvs.ipvsadm_save", "tracer.dns.resolver"
YAML, ARCHIVES, LOOKS = "yaml", "webapp.uploads.checked", "tracer.snapshot.looks"
STATIONS, TEXT = "tracer.stations.stations", "webapp.exports.trace_text"
NFT_DRIFT, IPVS_DRIFT = "tracer.kubeproxy.drift.nftables", "tracer.kubeproxy.drift.ipvs"
ONLY_WHERE_NEEDED = frozenset({NFT, NFT_DRIFT, IPVS_DRIFT, IPVS, DNS, YAML, ARCHIVES, LOOKS, STATIONS, TEXT})


def modules(*arguments: str | Path) -> set[str]:
    """Return what a process has imported that ran ``manage.py trace`` with *arguments*."""
    done = subprocess.run(
        [sys.executable, "-c", SEES, "trace", *map(str, arguments)],
        cwd=PROJECT,
        env=of_an_operator(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stderr.splitlines()[-1].split())


def begins(found: set[str], *names: str) -> list[str]:
    return sorted(one for one in found if any(f"{one}.".startswith(f"{name}.") for name in names))


def packed(folder: Path, into: Path) -> Path:
    with tarfile.open(into, "w:gz") as archive:
        archive.add(folder, arcname="shop")
    return into


def renamed(folder: Path, into: Path) -> Path:
    """Return a copy of a recording in which one file of a node is called otherwise."""
    for path in folder.rglob("*"):
        if path.is_file():
            name = str(path.relative_to(folder)).replace("shop-worker/iptables-save.txt", "shop-worker/rules")
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            (into / name).write_bytes(path.read_bytes())
    return into


ADDRESS = ("--from", "external:203.0.113.10", "--to", "10.96.0.10:53")


@pytest.mark.parametrize(
    ("recording", "more", "needed"),
    [
        ("shop-iptables", ("--format", "json"), {YAML}),
        ("shop-iptables", ("--format", "json", "--steps"), {YAML, STATIONS}),
        ("shop-iptables", ("--format", "text"), {YAML, TEXT}),
        ("shop-nftables", ("--format", "json"), {YAML, NFT, NFT_DRIFT}),
        ("shop-ipvs", ("--format", "json"), {YAML, IPVS, IPVS_DRIFT}),
    ],
)
def test_only_what_the_snapshot_has_is_imported(recording: str, more: tuple[str, ...], needed: set[str]) -> None:
    """kube-proxy's settings, with which the rules on the way are compared, are YAML in a ConfigMap."""
    found = modules(DEMO / recording, "--from", "node:shop-worker", "--to", "svc:kube-system/kube-dns:53", *more)
    assert begins(found, *NEVER) == []
    assert ONLY_WHERE_NEEDED & found == needed


def test_a_name_needs_the_resolver() -> None:
    found = modules(
        DEMO / "shop-iptables", "--from", "node:shop-worker", "--to", "kubernetes.default.svc.cluster.local:443", "--format=json"
    )
    assert ONLY_WHERE_NEEDED & found >= {DNS}


def test_an_archive_needs_what_opens_it(tmp_path: Path) -> None:
    packed_up = packed(DEMO / "shop-iptables", tmp_path / "shop.tar.gz")
    assert ONLY_WHERE_NEEDED & modules(packed_up, *ADDRESS, "--format=json") == {ARCHIVES}


def test_other_names_need_a_look_at_the_contents(tmp_path: Path) -> None:
    found = modules(renamed(DEMO / "shop-iptables", tmp_path / "shop"), *ADDRESS, "--format=json")
    assert ONLY_WHERE_NEEDED & found >= {LOOKS}


@pytest.mark.parametrize("words", [("--help",), (DEMO / "shop-iptables", *ADDRESS, "--traceback")])
def test_djangos_own_options_go_djangos_way(words: tuple[str | Path, ...]) -> None:
    assert "django.core.management" in modules(*words)


def test_both_ways_answer_alike() -> None:
    question = [sys.executable, "manage.py", "trace", DEMO / "shop-iptables", *ADDRESS, "--format=json", "--steps"]
    alone, with_django = (
        subprocess.run([*question, *more], cwd=PROJECT, env=of_an_operator(), capture_output=True, timeout=120, check=True)
        for more in ([], ["--traceback"])
    )
    assert (alone.stdout, alone.stderr) == (with_django.stdout, with_django.stderr)


COMPILES = """
import re, sys, traceback
made, compiled = [], re._compiler.compile
def noted(text, *more):
    names = (frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_stack(None))
    caller = next((name for name in names if name not in ("__main__", "re", "tracer.patterns")), "")
    if caller.partition(".")[0] in ("tracer", "webapp"):
        made.append(f"{caller}: {text}")
    return compiled(text, *more)
re._compiler.compile = noted
import webapp.management.tracing
print(*made, sep="\\n", end="")
"""


def test_no_pattern_is_compiled_by_loading_the_program() -> None:
    """``tracer.patterns`` compiles a pattern when it is first asked; a trace asks a tenth of those that the program has."""
    done = subprocess.run([sys.executable, "-c", COMPILES], cwd=PROJECT, env=of_an_operator(), capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == []


PAGES = """
import os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "webapp.settings"
import django
django.setup()
import webapp.asgi, webapp.urls
print(*sys.modules)
"""


def test_the_pages_load_no_client_of_what_they_may_not_need(tmp_path: Path) -> None:
    """The clients of an API server and of Redis take as long to load as all pages: they are imported where one is spoken to."""
    done = subprocess.run([sys.executable, "-c", PAGES], cwd=PROJECT, env=environment(tmp_path), capture_output=True, text=True, check=True)
    assert begins(set(done.stdout.split()), "kubernetes", "urllib3", "redis", "websockets", "uvicorn", "requests") == []
