"""Finds code that nothing uses: what vulture reports, less what templates, Django's settings or a line of used_elsewhere.txt names.

Such a line is a file or folder, a name, and after ``#`` the reason. One that spares nothing any more is a fault, too.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from django.conf import global_settings
from vulture import Vulture

LIST = "scripts/used_elsewhere.txt"
_PATHS = ("tracer", "webapp")
_TAG = re.compile(r"\{\{(.*?)\}\}|\{%(.*?)%\}", re.DOTALL)
_DOTTED = re.compile(r"""["'][a-z_]+(?:\.[A-Za-z_]+)+["']""")
_LINE = re.compile(r"(?P<path>\S+) (?P<name>\w+) +# (?P<reason>.+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spared:
    """A line of the list: *name* in a file below *path* is used where vulture does not look."""

    path: str
    name: str

    def fits(self, file: str, name: str) -> bool:
        """Return whether this line is about *name* in *file*."""
        return name == self.name and (file == self.path or file.startswith(f"{self.path}/"))


def faults(root: Path) -> list[str]:
    """Return what is dead below *root*, and the lines of the list that are not needed or not understood, a sentence each."""
    spared, said = _read_list(root / LIST)
    known, needed = _words_of_templates(root) | _named_in_settings(root), set()
    for file, line, kind, name in _unused(root):
        fitting = {one for one in spared if one.fits(file, name)}
        needed |= fitting
        if not fitting and name not in known and not (file == "webapp/settings.py" and hasattr(global_settings, name)):
            said.append(f"{file}:{line}: nothing uses the {kind} {name}")
    return said + [f"{LIST}: {one.path} {one.name} is not needed" for one in spared if one not in needed]


def _unused(root: Path) -> Iterator[tuple[str, int, str, str]]:
    vulture = Vulture()
    vulture.scavenge([root / path for path in _PATHS], exclude=["*/migrations/*"])
    for item in vulture.get_unused_code(min_confidence=60):
        yield Path(item.filename).resolve().relative_to(root.resolve()).as_posix(), item.first_lineno, item.typ, item.name


def _words_of_templates(root: Path) -> set[str]:
    found: set[str] = set()
    for path in sorted((root / "templates").rglob("*.*")):
        for tag in _TAG.finditer(path.read_text()):
            found.update(re.findall(r"[A-Za-z_]\w*", tag[1] or tag[2] or ""))
    return found


def _named_in_settings(root: Path) -> set[str]:
    path = root / "webapp/settings.py"
    text = path.read_text() if path.exists() else ""
    return {dotted[1:-1].rpartition(".")[2] for dotted in _DOTTED.findall(text)}


def _read_list(path: Path) -> tuple[list[Spared], list[str]]:
    spared, said = [], []
    for number, line in enumerate(path.read_text().splitlines() if path.exists() else (), start=1):
        if match := _LINE.fullmatch(line):
            spared.append(Spared(path=match["path"], name=match["name"]))
        elif line and not line.startswith("#"):
            said.append(f"{LIST}:{number}: not a path, a name and # a reason")
    return spared, said


def main(found: Iterable[str]) -> int:
    """Print *found* and return the exit code."""
    lines = list(found)
    print(*(lines or ["No dead code."]), sep="\n")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main(faults(Path(__file__).resolve().parent.parent)))
