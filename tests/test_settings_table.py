"""Every variable that the code reads from its environment stands in a table with its true default, and none that nobody reads.

What an operator may set stands in docs/operations.md, what sets the size of a check in CONTRIBUTING.md. The variables are found in the code:
``os.environ`` and ``webapp.environment`` in Python, ``$NAME`` in shell and in the compose file, ``?=`` in the Makefile.
"""

from __future__ import annotations

import ast
import functools
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.live_server import PROJECT, environment

UNKNOWN = object()
PASSES_ALL_ON = {"webapp/cluster/credentials.py"}
"""Gives its whole environment to a program, and reads none of it."""
READS_BY_PARAMETER = {"webapp/environment.py"}
"""Functions whose callers name the variable: the calls are what is counted."""
SAID_IN_WORDS = {
    "HOPLINE_SECRET_KEY": "made once, kept in the data folder (mode 0600)",
    "DATABASE_URL": "SQLite (WAL) in the data folder",
    "HOPLINE_SNAPSHOT_STORAGE": "a folder in the data folder",
    "KUBECONFIG": "~/.kube/config",
    "HOPLINE_ACCESS_KEY": "none",
    "DJANGO_SETTINGS_MODULE": "webapp.settings",
}
"""Defaults that are no literal, as the table says them; ``test_the_defaults_said_in_words`` looks at them in a started program."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """One place that reads a variable; *default* is a literal as the table spells it, or UNKNOWN where it is worked out."""

    name: str
    place: str
    default: object = UNKNOWN


def literal(node: ast.expr | None, function: str = "") -> object:
    """Return a default as the table spells it: ``none``, digits, words with commas, a folder below the project with its slash."""
    match node:
        case None:
            return {"flag": "0", "words": "none", "pods": "none", "get": "none"}.get(function, UNKNOWN)
        case ast.Constant(value=bool() as value):
            return "1" if value else "0"
        case ast.Constant(value="" | None):
            return "none"
        case ast.Constant(value=value):
            return str(value)
        case ast.Tuple(elts=elements) if all(isinstance(e, ast.Constant) for e in elements):
            return ",".join(str(ast.literal_eval(e)) for e in elements) or "none"
        case ast.BinOp(left=ast.Name(id="BASE_DIR"), op=ast.Div(), right=ast.Constant(value=value)):
            return f"{value}/"
        case _:
            return UNKNOWN


def is_environ(node: ast.AST) -> bool:
    return (isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv")) or (
        isinstance(node, ast.Name) and node.id in ("environ", "getenv")
    )


def python_reads(path: Path) -> Iterator[Read]:
    """Yield what a Python file reads. :raises AssertionError: it uses its environment in a way that cannot be counted."""
    text = path.read_text()
    if not re.search(r"environ|getenv|dj_database_url", text):
        return
    place, tree = str(path.relative_to(PROJECT)), ast.parse(text)
    counted: set[ast.AST] = set()
    instead = {  # os.environ.get("X") or DEFAULT
        node.values[0]: node.values[1] for node in ast.walk(tree) if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.Or)
    }
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="environment"), attr=function), args=[ast.Constant(value=str(name)), *rest]):
                given = rest[0] if rest else next((k.value for k in node.keywords if k.arg == "default"), None)
                yield Read(name=name, place=place, default=literal(given, function))
            case ast.Call(func=ast.Attribute(value=source, attr="get" | "setdefault" as function), args=[key, *rest]) if is_environ(source):
                counted.add(source)
                if isinstance(key, ast.Constant):
                    given = instead.get(node) or (rest[0] if rest else None)
                    yield Read(name=key.value, place=place, default=literal(given, "get"))
                else:
                    assert place in READS_BY_PARAMETER, f"{place}:{node.lineno} reads a variable whose name is worked out"
            case ast.Subscript(value=source, slice=ast.Constant(value=str(name))) if is_environ(source):
                counted.add(source)
                if isinstance(node.ctx, ast.Load):
                    yield Read(name=name, place=place)
            case ast.Call(func=ast.Attribute(value=ast.Name(id="dj_database_url"))):
                yield Read(name="DATABASE_URL", place=place)
    left = [node.lineno for node in ast.walk(tree) if is_environ(node) and node not in counted]
    assert not left or place in PASSES_ALL_ON or place.startswith(("tests/", "benchmarks/", "scripts/same_answers")), (
        f"{place}: lines {left}"
    )


def shell_reads(path: Path) -> Iterator[Read]:
    """Yield the variables in capitals that a shell script, or the compose file, uses and does not set itself."""
    place = str(path.relative_to(PROJECT))
    text = re.sub(r"(?m)(?:^|\s)#.*$", "", path.read_text())
    assigned = set(re.findall(r"(?m)(?:^|[\s;(])([A-Z][A-Z0-9_]*)=", text)) | {"PATH"}
    for name, default in re.findall(r"\$\{([A-Z][A-Z0-9_]*)(?::?-([^}]*))?", text):
        yield Read(name=name, place=place, default=default or "none")
    for name in re.findall(r"\$([A-Z][A-Z0-9_]*)", text):
        if name not in assigned:
            yield Read(name=name, place=place)


def makefile_reads() -> Iterator[Read]:
    text = (PROJECT / "Makefile").read_text()
    given = dict(re.findall(r"(?m)^([A-Z_]+) \?= (.*)$", text))
    for name, default in given.items():
        yield Read(name=name, place="Makefile", default=default)
    assigned = set(re.findall(r"(?m)^([A-Z_]+) [?:]?= ", text)) | {"MAKE"}
    for name in set(re.findall(r"\$\(([A-Z_]+)\)", text)) - assigned:
        yield Read(name=name, place="Makefile", default="none")


def files(*patterns: str) -> list[Path]:
    """Return the files of the project that git knows or would take, those of other people left out."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns]
    names = subprocess.run(listed, cwd=PROJECT, capture_output=True, text=True, check=True).stdout.splitlines()
    return [PROJECT / name for name in names if "vendor/" not in name and (PROJECT / name).is_file()]


@functools.cache
def operator_reads() -> list[Read]:
    found = [read for path in files("webapp/*.py", "tracer/*.py", "manage.py", "deploy/*.py") for read in python_reads(path)]
    found += [read for path in files("collect.sh", "docker-compose.yml") for read in shell_reads(path)]
    found += [read for read in makefile_reads() if read.name in ("PYTHON", "HOST", "PORT")]
    return found


def check_reads() -> list[Read]:
    plumbing = {"tests/webapp/collecting/stub_kubectl.py", "tests/webapp/collecting/stub_cluster.py"}
    python = [path for path in files("tests/*.py", "benchmarks/*.py", "scripts/*.py") if str(path.relative_to(PROJECT)) not in plumbing]
    found = [read for path in python for read in python_reads(path)]
    found += [read for path in files(".ci/run", "scripts/*-*") for read in shell_reads(path)]
    known = {read.name for read in operator_reads()}
    return [read for read in [*found, *makefile_reads()] if read.name not in known]


def table(page: str) -> dict[str, str]:
    """Return variable → default, as the tables of *page* say it; several variables of a row have their defaults with commas between."""
    rows = re.findall(r"(?m)^\| (`[A-Z][A-Z0-9_]*`(?: `[A-Z][A-Z0-9_]*`)*) \| ([^|]*) \|", (PROJECT / page).read_text())
    found: dict[str, str] = {}
    for cell, default in rows:
        names = re.findall(r"`(\w+)`", cell)
        defaults = [default.strip()] if len(names) == 1 else [part.strip() for part in default.split(", ")]
        assert len(defaults) == len(names) and not found.keys() & set(names), f"{page}: {cell}"
        found |= dict(zip(names, defaults, strict=True))
    return found


def as_said(default: str) -> str:
    """Return a cell's default without marks; ``none: what then`` is none."""
    return "none" if default.startswith("none") else default.replace("`", "")


@pytest.mark.parametrize(("reads", "page"), [(operator_reads, "docs/operations.md"), (check_reads, "CONTRIBUTING.md")])
def test_the_table_names_what_is_read_and_nothing_else(reads, page: str) -> None:
    read: dict[str, set[str]] = {}
    for one in reads():
        read.setdefault(one.name, set()).add(one.place)
    listed = table(page)
    assert {name: places for name, places in read.items() if name not in listed} == {}, f"not in {page}"
    assert set(listed) - read.keys() == set(), f"{page} lists what nobody reads"


def test_every_default_is_the_codes() -> None:
    """Each place that has a default has the table's; where none is a literal, the words are among those that are looked at below."""
    listed = table("docs/operations.md")
    reads = operator_reads()
    wrong = {
        (read.name, read.place): (read.default, listed[read.name])
        for read in reads
        if read.default is not UNKNOWN and read.name not in SAID_IN_WORDS and read.default != as_said(listed[read.name])
    }
    assert wrong == {}
    worked_out = {read.name for read in reads} - {read.name for read in reads if read.default is not UNKNOWN}
    assert worked_out <= set(SAID_IN_WORDS)
    assert {name: as_said(listed[name]) for name in SAID_IN_WORDS} == SAID_IN_WORDS


_SHOW = """
from django.conf import settings as s
print(s.DATABASES["default"]["NAME"], s.DATABASES["default"]["OPTIONS"]["init_command"].split(";")[0],
      s.STORAGES["snapshots"]["OPTIONS"]["location"], (s.DATA_DIR / "secret-key").stat().st_mode & 0o777, repr(s.ACCESS_KEY), sep="|")
"""


def test_the_defaults_said_in_words(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _SHOW]
    done = subprocess.run(command, cwd=PROJECT, env=environment(tmp_path), capture_output=True, text=True, timeout=60, check=True)
    database, mode, snapshots, key, access = done.stdout.strip().split("|")
    assert (Path(database).parent, Path(snapshots).parent) == (tmp_path, tmp_path)
    assert (mode, int(key), access) == ("PRAGMA journal_mode=WAL", 0o600, "''")


def test_what_the_image_sets_is_read() -> None:
    text = (PROJECT / "Dockerfile").read_text()
    instructions = re.findall(r"(?m)^ENV ((?:.*\\\n)*.*)$", text)
    names = {name for rest in instructions for name in re.findall(r"(\w+)=", rest)}
    assert "HOPLINE_DATA" in names
    assert {name for name in names if not name.startswith("PYTHON")} <= set(table("docs/operations.md"))


# --- the finders themselves ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ('import os\nX = os.environ.get("A_B", "c")', [("A_B", "c")]),
        ('import os\nX = os.environ.get("A_B") or "c"', [("A_B", "c")]),
        ('import os\nX = os.environ["A_B"]', [("A_B", UNKNOWN)]),
        ('from webapp import environment\nX = environment.flag("A_B", default=True)', [("A_B", "1")]),
        ('from webapp import environment\nX = environment.number("A_B", 20_000)', [("A_B", "20000")]),
        ('from webapp import environment\nX = environment.words("A_B", ("a", "b"))', [("A_B", "a,b")]),
    ],
)
def test_a_read_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, expected: list[tuple[str, object]]) -> None:
    monkeypatch.setattr(f"{__name__}.PROJECT", tmp_path)
    (tmp_path / "a.py").write_text(code)
    assert [(read.name, read.default) for read in python_reads(tmp_path / "a.py")] == expected


@pytest.mark.parametrize(
    "code", ["import os\nX = dict(os.environ)", "import os\nX = os.getenv('A')", "from os import environ\nX = [*environ]"]
)
def test_a_read_that_cannot_be_counted_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    monkeypatch.setattr(f"{__name__}.PROJECT", tmp_path)
    (tmp_path / "a.py").write_text(code)
    with pytest.raises(AssertionError):
        list(python_reads(tmp_path / "a.py"))
