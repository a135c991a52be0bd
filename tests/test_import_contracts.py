"""The contracts of pyproject.toml bite, and they speak of every library: a new one needs a line that says who imports it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import grimp
import pytest
from grimp import ImportGraph

from tests.live_server import PROJECT

ROOTS = ("tracer", "webapp")
LINT = "import sys; sys.path.insert(0, '.'); from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
CONTRACTS = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
FRAMEWORK = {"django", "channels", "asgiref"}
"""What the application is written in: every module of webapp/ may import these, and none of tracer/."""

# Distribution (requirements.in) -> the module it is imported as, or the setting that names it.
NAMED_IN_SETTINGS = {"channels-redis": "channels_redis", "django-csp": "csp", "django-htmx": "django_htmx", "whitenoise": "whitenoise"}
NOBODY_IMPORTS = {"psycopg": "Django's driver for DATABASE_URL=postgres://"}
MODULES = {"Django": "django", "PyYAML": "yaml", "dj-database-url": "dj_database_url"}


@pytest.fixture(scope="module")
def graph() -> ImportGraph:
    return grimp.build_graph(*ROOTS, include_external_packages=True, cache_dir=None)


def libraries(graph: ImportGraph) -> set[str]:
    """Return what the project imports and is neither its own nor the standard library's."""
    return {name for name in graph.modules if name.split(".")[0] not in {*ROOTS, *sys.stdlib_module_names}}


def test_every_library_has_a_contract_that_names_its_importers(graph: ImportGraph) -> None:
    protected = {name for contract in CONTRACTS if contract["type"] == "protected" for name in contract["protected_modules"]}
    assert libraries(graph) - FRAMEWORK - protected == set()


def test_what_is_installed_is_imported(graph: ImportGraph) -> None:
    """A line of requirements.in that nobody imports is a program that is updated, audited and shipped for nothing."""
    lines = (PROJECT / "requirements.in").read_text().splitlines()
    wanted = {re.match(r"[\w-]+", line)[0] for line in lines if line[:1].isalpha()}
    settings = (PROJECT / "webapp/settings.py").read_text()
    used = {name for name in wanted if MODULES.get(name, name) in libraries(graph)}
    used |= {name for name, module in NAMED_IN_SETTINGS.items() if f'"{module}' in settings}
    assert wanted - used - set(NOBODY_IMPORTS) == set()


def circles(graph: ImportGraph) -> set[frozenset[str]]:
    """Return each set of modules of which every one imports every other, be it by the others; what only a type checker reads counts."""
    reached = {name: graph.find_downstream_modules(name) for name in graph.modules if name.split(".")[0] in ROOTS}
    together = (frozenset({name, *(other for other in found if name in reached.get(other, ()))}) for name, found in reached.items())
    return {modules for modules in together if len(modules) > 1}


def test_no_modules_import_each_other_in_a_circle(graph: ImportGraph) -> None:
    assert circles(graph) == set()


def test_a_circle_is_seen_and_a_fork_is_none() -> None:
    made = ImportGraph()
    for importer, imported in (("a", "b"), ("b", "c"), ("c", "a"), ("d", "a"), ("e", "d"), ("e", "b"), ("f", "g"), ("g", "f")):
        made.add_import(importer=f"tracer.{importer}", imported=f"tracer.{imported}")
    assert circles(made) == {frozenset({"tracer.a", "tracer.b", "tracer.c"}), frozenset({"tracer.f", "tracer.g"})}


# One violation of each contract by itself: a file, and the line that is added to it.
VIOLATIONS = {
    "The engine's imports point one way": [("tracer/newcomer.py", "")],
    "No stack knows the fabric": [("tracer/simulate/process.py", "from tracer.simulate import fabric")],
    "The application's imports point one way": [("webapp/newcomer.py", "")],
    "The engine does no I/O": [("tracer/packet.py", "import asyncio")],
    "Two modules read YAML": [("webapp/storing/stored_snapshots.py", "import yaml")],
    "Only webapp.cluster speaks to an API server": [("webapp/live/stream.py", "import urllib3")],
    "WebSockets are spoken to an API server": [("webapp/routing.py", "import websockets")],
    "The policy of pages is put on refusals": [("webapp/models.py", "import csp")],
    "Servers are started in two places": [("webapp/asgi.py", "import uvicorn")],
    "Sockets are of the two ends": [("webapp/http/access.py", "import socket")],
    "Programs are run by those who draw": [("webapp/storing/stored_snapshots.py", "import subprocess")],
    "Only webapp.uploads opens archives of others": [("webapp/consumers.py", "import zipfile")],
    "Tar is read of uploads": [("webapp/models.py", "import tarfile")],
    "Zstandard is asked for uploads": [("webapp/models.py", "import zstandard")],
    "Deflate is asked for uploads": [("webapp/models.py", "import zlib")],
    "The C library is called": [("webapp/views/home.py", "import ctypes")],
    "Nobody reads what can run code": [("webapp/models.py", "import pickle")],
    "Settings are read from the environment": [("webapp/http/access.py", "from webapp import environment")],
    "One module knows the errors of Redis": [("webapp/consumers.py", "import redis")],
    "One module says what htmx asks for": [("webapp/views/home.py", "import django_htmx")],
}


def test_each_contract_is_broken_by_what_it_forbids(tmp_path: Path) -> None:
    """All at once in a copy of the tree, so that the check itself is asked once: none may stay kept, and in the project none is broken."""
    for root in ROOTS:
        shutil.copytree(PROJECT / root, tmp_path / root, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT / "pyproject.toml", tmp_path)
    for file, line in (change for changes in VIOLATIONS.values() for change in changes):
        path = tmp_path / file
        path.write_text((path.read_text() if path.exists() else "") + f"\n{line}\n")
    done = subprocess.run([sys.executable, "-c", LINT], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    said = " ".join(done.stdout.split())
    assert done.returncode == 1, done.stdout + done.stderr
    for contract in CONTRACTS:
        name = contract["name"]
        [start] = [start for start in VIOLATIONS if name.startswith(start)]
        assert f"{name} BROKEN" in said or f"{name}BROKEN" in said, f"{name}: {VIOLATIONS[start]} does not break it\n{done.stdout}"
    assert f"Contracts: 0 kept, {len(CONTRACTS)} broken." in said
