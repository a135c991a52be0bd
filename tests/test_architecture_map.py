"""docs/architecture.md is true: each recipe is followed for its example, every room is on the map, and every link of every page works."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from tests.live_server import PROJECT

MAP = (PROJECT / "docs/architecture.md").read_text()
PROGRAM = ("tracer/", "webapp/", "templates/", "static/")
RECIPES = {"a match", "an nft expression", "an API kind", "a node file", "a finding", "a data path", "a page"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What is added, the *pattern* that finds its example, and the files in their order, each with its own word where it has one."""

    title: str
    pattern: str
    files: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        return self.title


def recipes(text: str) -> tuple[Recipe, ...]:
    """Return the recipes of a page: a heading ``### Add …``, ``found by `PATTERN``` and a numbered list of `` `file` `` or `` `file` (`word`) ``."""
    found = []
    for section in re.split(r"(?m)^### Add ", text)[1:]:
        section = re.split(r"(?m)^##? ", section)[0]
        [pattern] = re.findall(r"found by `([^`]+)`", section)
        numbered = re.findall(r"(?m)^([0-9]+)\. (.*)$", section)
        assert [int(number) for number, _ in numbered] == list(range(1, len(numbered) + 1))
        files = tuple(re.match(r"`([^`]+)`(?: \(`([^`]+)`\))?: \S", line).groups(default="") for _, line in numbered)
        found.append(Recipe(title=section.splitlines()[0], pattern=pattern, files=files))
    return tuple(found)


@cache
def program() -> dict[str, str]:
    """Return path → text of every file of the program that git knows or would take; other people's left out."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *PROGRAM]
    names = subprocess.run(listed, cwd=PROJECT, capture_output=True, text=True, check=True).stdout.splitlines()
    kept = [n for n in names if "vendor/" not in n and n.endswith((".py", ".html", ".svg", ".js", ".css")) and (PROJECT / n).is_file()]
    return {name: (PROJECT / name).read_text() for name in kept}


def not_followed(recipe: Recipe, files: dict[str, str]) -> list[str]:
    """Return what is wrong with *recipe*, given the program's *files*; a file's own name counts as a mention."""
    wrong = []
    for file, word in recipe.files:
        if not (PROJECT / file).is_file():
            wrong.append(f"{file} does not exist")
        elif not re.search(re.escape(word) if word else recipe.pattern, f"/{file}\n{(PROJECT / file).read_text()}"):
            wrong.append(f"{file} does not hold the example")
    listed = {file for file, _ in recipe.files}
    holding = {name for name, text in files.items() if re.search(recipe.pattern, text)}
    return wrong + [f"{name} holds the example, and the recipe does not name it" for name in sorted(holding - listed)]


def test_there_is_a_recipe_for_each_thing_that_is_often_added() -> None:
    assert {recipe.title for recipe in recipes(MAP)} == RECIPES


@pytest.mark.parametrize("recipe", recipes(MAP), ids=str)
def test_a_recipe_is_followed_for_its_example(recipe: Recipe) -> None:
    assert not_followed(recipe, program()) == []
    assert any(file.startswith("tests/") for file, _ in recipe.files), "a recipe ends in a test"


@pytest.mark.parametrize("recipe", recipes(MAP), ids=str)
def test_a_recipe_that_leaves_out_a_file_is_noticed(recipe: Recipe) -> None:
    """Every file of the program that holds the example by the pattern itself: without its line the recipe fails."""
    holding = [file for file, _ in recipe.files if file in program() and re.search(recipe.pattern, program()[file])]
    assert len(holding) >= 3
    for gone in holding:
        shorter = Recipe(title=recipe.title, pattern=recipe.pattern, files=tuple(f for f in recipe.files if f[0] != gone))
        assert f"{gone} holds the example, and the recipe does not name it" in not_followed(shorter, program())


def rooms(root: str) -> set[str]:
    """Return the packages and modules right below *root*, as the map spells them."""
    children = (PROJECT / root).iterdir()
    named = {p.name + "/" if p.is_dir() else p.stem for p in children if p.suffix == ".py" or (p / "__init__.py").is_file()}
    return named - {"__init__"}


def test_every_room_of_the_engine_is_on_the_map() -> None:
    section = MAP.split("## The rooms of the engine")[1].split("\n## ")[0]
    assert rooms("tracer") - set(re.findall(r"`([a-z_]+/?)`", section)) == set()


def test_every_room_of_the_application_is_on_the_map() -> None:
    section = MAP.split("## The rooms of the application")[1].split("\n## ")[0]
    named = set(re.findall(r"`([a-z_]+/?)`", section))
    assert rooms("webapp") - {"migrations/"} == named


# --- every page ---------------------------------------------------------------------------------------------------------------------

PAGES = sorted(
    p.relative_to(PROJECT).as_posix() for p in (*PROJECT.glob("*.md"), *PROJECT.glob("docs/*.md"), *PROJECT.glob("benchmarks/*.md"))
)
FOLDERS = ("tracer", "webapp", "tests", "scripts", "deploy", "docs", "demo", "benchmarks", "templates", "static")
SPOKEN_OF_AS_A_KIND = re.compile(r"[*<>{}…]|NAME|XX")


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub makes of a page's headings."""
    titles = re.findall(r"(?m)^#+ (.*)$", page.read_text())
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES)
def test_every_link_within_the_project_works(page: str) -> None:
    text = re.sub(r"(?s)```.*?```", "", (PROJECT / page).read_text())
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        linked = (PROJECT / page).parent / path if path else PROJECT / page
        assert linked.exists(), f"{page}: {target}"
        assert not anchor or anchor in anchors(linked), f"{page}: {target}"


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_a_page_names_exists(page: str) -> None:
    """What stands in backticks and begins with a folder of the project is a file or a folder there, test functions behind ``::`` included."""
    text = re.sub(r"(?s)```.*?```", "", (PROJECT / page).read_text())
    for named in re.findall(rf"`((?:{'|'.join(FOLDERS)})/[^`\s]*)`", text):
        path, _, function = named.partition("::")
        if SPOKEN_OF_AS_A_KIND.search(path):
            continue
        assert (PROJECT / path).exists(), f"{page}: {named}"
        assert not function or f"def {function}(" in (PROJECT / path).read_text(), f"{page}: {named}"


COMING = {"mutants"}
"""Named before it is there."""


@pytest.mark.parametrize("page", PAGES)
def test_every_make_target_that_a_page_names_exists(page: str) -> None:
    targets = set(re.findall(r"(?m)^([a-z][\w-]*):", (PROJECT / "Makefile").read_text()))
    text = (PROJECT / page).read_text()
    named = set(re.findall(r"`make ([a-z][\w-]*)", text)) | set(re.findall(r"(?m)^make ([a-z][\w-]*)", text))
    assert named - targets - COMING == set()
