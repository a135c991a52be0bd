"""Hooks and their tables stand once, in the kernel's order; the page of theory is drawn from there."""

from __future__ import annotations

import ast

from scripts import hook_order as drawing
from tests.live_server import PROJECT
from tracer.netfilter.hook_order import BUILT_IN_CHAINS, CHAINS_OF_TABLE, HOOKS, TRACKS, TRANSLATES
from tracer.netfilter.model import Hook


def test_tables_are_asked_by_priority() -> None:
    assert tuple(HOOKS) == tuple(Hook)
    for asked in HOOKS.values():
        assert [priority for priority, _ in asked] == sorted({priority for priority, _ in asked})


def test_a_hook_that_translates_has_a_nat_table() -> None:
    assert set(TRANSLATES) == {hook for hook, asked in HOOKS.items() if "nat" in [table for _, table in asked]}
    assert set(TRACKS) < set(HOOKS)
    assert CHAINS_OF_TABLE["mangle"] == BUILT_IN_CHAINS
    assert CHAINS_OF_TABLE["filter"] == ("INPUT", "FORWARD", "OUTPUT")


def test_the_page_of_theory_is_drawn_from_the_table() -> None:
    assert drawing.main(["--check"]) == 0
    text = drawing.PAGE.read_text()
    assert drawing.page(text.replace("| FORWARD | | | ✓ |", "| FORWARD | ✓ | | ✓ |")) == text


def test_no_other_module_lists_the_hooks() -> None:
    for module in (*PROJECT.glob("tracer/**/*.py"), *PROJECT.glob("webapp/**/*.py")):
        for node in ast.walk(ast.parse(module.read_text())):
            elements = node.keys if isinstance(node, ast.Dict) else getattr(node, "elts", ())
            named = [e.value for e in elements if isinstance(e, ast.Constant) and str(e.value).upper() in BUILT_IN_CHAINS]
            hooks = [e.attr for e in elements if isinstance(e, ast.Attribute) and e.attr in BUILT_IN_CHAINS]
            assert module.name == "hook_order.py" or len(named) + len(hooks) < 4, f"{module}:{node.lineno}"
