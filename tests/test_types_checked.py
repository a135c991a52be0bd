"""What the type checker is told to overlook: nothing of our own."""

from __future__ import annotations

import tomllib
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent
_OVERLOOKING = ("ignore_errors", "disable_error_code", "exclude", "allow_untyped_defs", "disallow_untyped_defs")
_OWN = ("tracer", "webapp", "*")


def test_all_code_is_checked_and_no_module_of_ours_is_let_off() -> None:
    mypy = tomllib.loads((_ROOT / "pyproject.toml").read_text())["tool"]["mypy"]
    assert mypy["strict"] is True
    assert set(mypy["files"]) == {path.parent.name for path in _ROOT.glob("*/__init__.py") if path.parent.name != "tests"}
    assert not [option for option in _OVERLOOKING if option in mypy]
    named = [mypy.get("untyped_calls_exclude", []), *(override["module"] for override in mypy.get("overrides", ()))]
    modules = [name for names in named for name in ([names] if isinstance(names, str) else names)]
    assert not [name for name in modules if name.split(".")[0] in _OWN]


def test_the_checker_leaves_nothing_where_the_application_keeps_its_data() -> None:
    settings = tomllib.loads((_ROOT / "pyproject.toml").read_text())["tool"]["django-stubs"]["django_settings_module"]
    text = (_ROOT / settings.replace(".", "/")).with_suffix(".py").read_text()
    assert text.index('os.environ["HOPLINE_DATA"]') < text.index("from webapp.settings import")
    assert ".mypy_cache" in text and ".mypy_cache/" in (_ROOT / ".gitignore").read_text().splitlines()
