"""Every regular expression of the code, found by reading it; and, for each, texts that make a bad one slow.

Strategy: the source's syntax tree names every call of ``re``, and of ``tracer.patterns``, which compiles later on. A pattern that is made while its module is loaded is taken from the module;
one that is written out is taken as written; one that is put together when it is used stands in ``BUILT``, with a sample of what it is put
together from. Whatever is none of these is an error of the test, so that no pattern is passed over.
The texts are made from the pattern itself: what it matches up to each of its repeats, then that repeat's own text many times, then
something that cannot follow.
"""

from __future__ import annotations

import ast
import contextlib
import importlib
import importlib.util
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tracer.patterns import pattern

parser: Any = re._parser  # type: ignore[attr-defined]

ROOT = Path(__file__).parents[2]
FOLDERS = ("tracer", "webapp", "deploy", "scripts")
_CALLS = frozenset({"compile", "match", "fullmatch", "search", "sub", "subn", "split", "findall", "finditer"})
_SEARCHING = frozenset({"search", "sub", "subn", "split", "findall", "finditer"})

_KINDS: tuple[Any, ...] = (re.Pattern, pattern)

# What is put together when it is used, by file and how the call is written: what its variables may hold.
BUILT: dict[tuple[str, str], dict[str, object]] = {
    ("tracer/conntrack_list.py", "compile"): {
        "address": "10.96.0.10",
        "source": "10.244.1.2",
        "destination": "10.96.0.10",
        "flow": SimpleNamespace(destination_port=80),
    },
    ("tracer/explain/dependencies/lines.py", "sub"): {"file": "nodes/n1/iptables-save.txt"},
    ("tracer/explain/findings/likewise.py", "compile"): {"marks": {"-A KUBE-SEP-A -j DNAT": "r", "nodes/n1/iptables-save.txt:9": "w"}},
    ("tracer/graph/paths.py", "sub"): {"port": 30080},
    ("tracer/kube/item_spans.py", "compile"): {"indent": b"    "},
    ("tracer/netfilter/nft_sets.py", "compile"): {"types": ("ipv6_addr", "inet_proto", "inet_service")},
    ("tracer/patterns.py", "compile"): {"self": SimpleNamespace(_text="a", _flags=0)},
    ("tracer/simulate/stencil.py", "compile"): {
        "own": SimpleNamespace(words=("default/web-1", "web-1"), addresses=(ip_address("10.244.1.2"), ip_address("fd00::2"))),
        "devices": (r"(?<![\w-])(veth1)(?![\w+-]|\.\d)",),
    },
    ("tracer/snapshot/rename/dumps.py", "compile"): {"chain": "KUBE-SVC-AAAAAAAAAAAAAAAA"},
    ("webapp/presenters/page.py", "split"): {"sides": {"10.96.0.10": 1, "10.96.0.1": 2, "client": 3}},
    ("webapp/questions/trace_query.py", "fullmatch"): {},
}


@dataclass(frozen=True, slots=True)
class Found:
    """One pattern: where it stands, and whether it is searched for (else it is matched from a text's start)."""

    where: str
    pattern: re.Pattern[Any]
    searched: bool = field(default=True)

    @property
    def text(self) -> str:
        """The pattern as it is written."""
        return self.pattern.pattern if isinstance(self.pattern.pattern, str) else self.pattern.pattern.decode("latin-1")


def sources() -> Iterator[Path]:
    """Yield every Python file of the code."""
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if "migrations" not in path.parts:
                yield path


def patterns() -> list[Found]:
    """Return every pattern of the code. :raises LookupError: one is made in a way that nobody here knows."""
    return [found for path in sources() for found in _of_file(path)]


def compiled_at_once() -> Iterator[str]:
    """Yield where ``re`` is called while a module is loaded."""
    for path in sources():
        tree = ast.parse(path.read_text())
        inside = _inside_functions(tree)
        for call in (n for n in ast.walk(tree) if isinstance(n, ast.Call) and id(n) not in inside):
            if _method(call, _names_of_re(tree), frozenset()) is not None:
                yield f"{path.relative_to(ROOT)}:{call.lineno}"


def _inside_functions(tree: ast.AST) -> set[int]:
    return {id(n) for f in ast.walk(tree) if isinstance(f, ast.FunctionDef | ast.Lambda) for n in ast.walk(f)}


def _of_file(path: Path) -> Iterator[Found]:
    tree = ast.parse(path.read_text())
    shown = str(path.relative_to(ROOT))
    names, lazy = _names_of_re(tree), _names_of_lazy(tree)
    if not names | lazy:
        return
    _refuse_unseen(tree, shown, names, lazy)
    inside = _inside_functions(tree)
    used = _used(tree)
    module: Any = None
    for call in (n for n in ast.walk(tree) if isinstance(n, ast.Call)):
        method = _method(call, names, lazy)
        if method is None:
            continue
        where, searched = f"{shown}:{call.lineno}", method in _SEARCHING or method == "compile"
        if method == "compile" and id(call) not in inside:
            module = module or _loaded(path)
            made = [_evaluated(call, module)] if _is_written_out(call.args[0], module) else _in_tables(module)
            yield from (Found(where, p, bool(used.get(_name_of(tree, call), {"search"}) & _SEARCHING)) for p in made)
        elif isinstance(call.args[0], ast.Constant):
            yield Found(where, re.compile(call.args[0].value, _flags(call)), searched)
        elif (shown, method) in BUILT:
            module = module or _loaded(path)
            yield Found(where, re.compile(_put_together(tree, call, module, BUILT[shown, method]), _flags(call)), searched)
        else:
            raise LookupError(f"{where}: {ast.unparse(call)}: give the pattern a name at the top of its module, or a sample in BUILT")


def _names_of_re(tree: ast.AST) -> frozenset[str]:
    return frozenset(a.asname or a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names if a.name == "re")


def _names_of_lazy(tree: ast.AST) -> frozenset[str]:
    """What the file calls ``tracer.patterns.pattern``. :raises LookupError: it gets at it in a way that nobody here knows."""
    named: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "tracer.patterns":
            named |= {alias.asname or alias.name for alias in node.names}
        elif (isinstance(node, ast.Import) and any(a.name == "tracer.patterns" for a in node.names)) or (
            isinstance(node, ast.ImportFrom) and node.module == "tracer" and any(a.name == "patterns" for a in node.names)
        ):
            raise LookupError("import pattern from tracer.patterns, so that its calls are found")
    return frozenset(named)


def _refuse_unseen(tree: ast.AST, shown: str, names: frozenset[str], lazy: frozenset[str]) -> None:
    """Look for what makes patterns without being called here by name. :raises LookupError: ``map(re.compile, …)`` and the like."""
    called = {id(n.func) for n in ast.walk(tree) if isinstance(n, ast.Call)}
    for node in ast.walk(tree):
        if id(node) in called or shown == "tracer/patterns.py":
            continue
        is_re = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in names and node.attr in _CALLS
        is_lazy = isinstance(node, ast.Name) and node.id in lazy and isinstance(node.ctx, ast.Load)
        if is_re or (is_lazy and id(node) not in _names_of_parameters(tree)):
            raise LookupError(f"{shown}:{node.lineno}: {ast.unparse(node)} is handed on: call it with each text")


def _names_of_parameters(tree: ast.AST) -> set[int]:
    """Where a name is a parameter of the function around it, and not what the file imports."""
    found: set[int] = set()
    for function in (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.Lambda)):
        own = {a.arg for a in (*function.args.args, *function.args.kwonlyargs)}
        own |= {n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        found |= {id(n) for n in ast.walk(function) if isinstance(n, ast.Name) and n.id in own}
    return found


def _method(call: ast.Call, names: frozenset[str], lazy: frozenset[str]) -> str | None:
    called = call.func
    if isinstance(called, ast.Name) and called.id in lazy:
        return "compile"
    if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name) and called.value.id in names and called.attr in _CALLS:
        return called.attr
    return None


def _used(tree: ast.AST) -> dict[str, set[str]]:
    """Name → the methods that are called of it; a name that is handed on counts as searched for."""
    found: dict[str, set[str]] = {}
    attributed = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found.setdefault(node.value.id, set()).add(node.attr)
            attributed.add(id(node.value))
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and id(node) not in attributed:
            found.setdefault(node.id, set()).add("search")
    return found


def _loaded(path: Path) -> Any:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    if path.relative_to(ROOT).parts[0] in ("tracer", "webapp"):
        return importlib.import_module(name)
    spec = importlib.util.spec_from_file_location(f"_hostile_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise LookupError(f"{path} cannot be loaded")
    module = sys.modules.setdefault(f"_hostile_{path.stem}", importlib.util.module_from_spec(spec))
    spec.loader.exec_module(module)
    return module


def _is_written_out(text: ast.expr, module: Any) -> bool:
    """Whether a pattern's text stands in its call, or has a name of its module's; else a loop goes through a table of texts."""
    return isinstance(text, ast.Constant | ast.JoinedStr | ast.BinOp) or (isinstance(text, ast.Name) and hasattr(module, text.id))


def _evaluated(call: ast.Call, module: Any) -> re.Pattern[Any]:
    """What the call gives in its module: our own code, run as the module runs it."""
    made = eval(compile(ast.Expression(call), "pattern", "eval"), vars(module))
    if not isinstance(made, _KINDS):
        raise LookupError(f"{ast.unparse(call)} is no pattern")
    return _compiled(made)


def _compiled(made: Any) -> re.Pattern[Any]:
    return re.compile(made.pattern, made.flags)


def _put_together(tree: ast.AST, call: ast.Call, module: Any, values: dict[str, object]) -> str:
    """The text of a pattern, as the code puts it together of *values*: names that its function gives a value first included."""
    known = vars(module) | values
    function = next(f for f in ast.walk(tree) if isinstance(f, ast.FunctionDef) and any(n is call for n in ast.walk(f)))
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id not in known:
            with contextlib.suppress(Exception):  # what depends on more than *values* is not what the pattern is made of
                known[node.targets[0].id] = eval(compile(ast.Expression(node.value), "value", "eval"), known)
    text: str = eval(compile(ast.Expression(call.args[0]), "pattern", "eval"), known)
    return text


def _in_tables(module: Any) -> list[re.Pattern[Any]]:
    """The patterns in tables of *module*, which a loop over their texts made."""
    waiting, found = [v for v in vars(module).values() if isinstance(v, tuple | list | dict)], []
    while waiting:
        item = waiting.pop()
        found += [_compiled(item)] if isinstance(item, _KINDS) else []
        waiting += item.values() if isinstance(item, dict) else item if isinstance(item, tuple | list) else ()
    return found


def _name_of(tree: ast.AST, call: ast.Call) -> str:
    """The name that the call's result is given; nothing where it is part of a table."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and node.value is call and isinstance(node.targets[0], ast.Name):
            return node.targets[0].id
    return ""


def _flags(call: ast.Call) -> re.RegexFlag:
    flags = re.NOFLAG
    for node in [*call.args[1:], *[k.value for k in call.keywords]]:
        for inner in ast.walk(node):
            if isinstance(inner, ast.Attribute) and isinstance(value := getattr(re, inner.attr, None), re.RegexFlag):
                flags |= value
    return flags


# -- white space ----------------------------------------------------------------------------------------------------------------------


def runs_over_lines(pattern: re.Pattern[Any]) -> bool:
    """Return whether the pattern has a repeat of white space, without a bound, that takes line breaks as well."""
    return any(_takes_newline_as_space(body) for body, most in _repeats(parser.parse(pattern.pattern, pattern.flags)) if most > 100)


_MOST_DIGITS = 4_300


def takes_numbers_without_end(pattern: re.Pattern[Any]) -> bool:
    """Return whether a group of the pattern, or all of it, is a run of digits without a bound: Python refuses to read more than 4,300."""
    tree = list(parser.parse(pattern.pattern, pattern.flags))
    bodies = [tree, *(value[3] for kind, value in _all(tree) if str(kind) == "SUBPATTERN" and value[0] is not None)]
    return any(_is_endless_number(list(body)) for body in bodies)


def _all(tree: Any) -> Iterator[tuple[Any, Any]]:
    for kind, value in tree:
        yield kind, value
        yield from (found for inner in _inner(str(kind), value) for found in _all(inner))


def _is_endless_number(body: list[Any]) -> bool:
    if len(body) == 1 and str(body[0][0]) == "BRANCH":
        return any(_is_endless_number(list(way)) for way in body[0][1][1])
    runs = [value[2] for kind, value in body if "REPEAT" in str(kind) and value[1] > _MOST_DIGITS]
    return len(body) == 1 and len(runs) == 1 and _takes_digits_alone(runs[0])


def _takes_digits_alone(inner: Any) -> bool:
    items = list(inner)
    members = items[0][1] if len(items) == 1 and str(items[0][0]) == "IN" else items
    return _in_class(members, "5") and not any(_in_class(members, c) for c in "gz. /")


def _takes_newline_as_space(body: Sequence[Any]) -> bool:
    items = list(body)
    if len(items) != 1:
        return False
    kind, value = items[0]
    members = value if str(kind) == "IN" else [(kind, value)]
    return all(_in_class(members, c) for c in " \n") and not _in_class(members, "a")


def _repeats(tree: Any) -> Iterator[tuple[Any, int]]:
    for kind, value in tree:
        name = str(kind)
        if name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
            yield value[2], value[1] if isinstance(value[1], int) else 1 << 31
        yield from (found for inner in _inner(name, value) for found in _repeats(inner))


def _inner(name: str, value: Any) -> list[Any]:
    match name:
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            return [value[2]]
        case "SUBPATTERN":
            return [value[3]]
        case "BRANCH":
            return list(value[1])
        case "ASSERT" | "ASSERT_NOT":
            return [value[1]]
        case "ATOMIC_GROUP":
            return [value]
        case "GROUPREF_EXISTS":
            return [v for v in value[1:] if v is not None]
    return []


# -- texts ----------------------------------------------------------------------------------------------------------------------------

_PLAIN = ("\n", " ", "\t", "a", "0", "A", ".", ":", "-", '"', "\\", "{", "[", "/", ",", "a.", "a-", "a/", "0:", " \n", "src=", "# ", "\r\n")
_ENDS = ("", "!", "\n")


def slow_texts(pattern: re.Pattern[Any], size: int) -> Iterator[str]:
    """Yield texts of about *size* characters that make a pattern slow if anything does."""
    tree = parser.parse(pattern.pattern, pattern.flags)
    for unit in _PLAIN:
        yield unit * (size // len(unit)) + "!"
    seen = set()
    for before, body in _pumps(tree):
        for unit in dict.fromkeys((body, before + body)):
            for start in dict.fromkeys((before, "")):
                if unit and (start, unit) not in seen:
                    seen.add((start, unit))
                    for end in _ENDS:
                        yield start + unit * (size // len(unit)) + end


def _pumps(tree: Any, before: str = "") -> Iterator[tuple[str, str]]:
    """Yield each repeat's own text, with what the pattern matches in front of it."""
    for kind, value in tree:
        name = str(kind)
        if name in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT") and (not isinstance(value[1], int) or value[1] > 3):
            for sample in _samples(value[2]):
                yield before, sample
        for inner in _inner(name, value):
            yield from _pumps(inner, before)
        before += _sample(kind, value)


def _samples(tree: Any) -> list[str]:
    """A few texts that *tree* matches: one of each branch, and of each kind of character that a class takes."""
    found = ["".join(_sample(k, v) for k, v in tree)]
    if len(tree) == 1:
        kind, value = tree[0]
        if str(kind) == "BRANCH":
            found += [s for branch in value[1] for s in _samples(branch)]
        elif str(kind) == "IN":
            found += [c for c in ("a", "0", " ", "\n", "-", ".", ":", "/", "A", "f") if _in_class(value, c)]
        elif str(kind) == "SUBPATTERN":
            found += _samples(value[3])
    return list(dict.fromkeys(found))


def _sample(kind: Any, value: Any) -> str:
    match str(kind):
        case "LITERAL":
            return chr(value)
        case "NOT_LITERAL":
            return "a" if value != ord("a") else "b"
        case "ANY":
            return "a"
        case "IN":
            return next((c for c in "a0A-. :/\n\t\"'{[\\,=!#%&" if _in_class(value, c)), "")
        case "BRANCH":
            return "".join(_sample(k, v) for k, v in value[1][0])
        case "SUBPATTERN":
            return "".join(_sample(k, v) for k, v in value[3])
        case "ATOMIC_GROUP":
            return "".join(_sample(k, v) for k, v in value)
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            once = "".join(_sample(k, v) for k, v in value[2])
            return once * min(max(value[0], 1), 40)
    return ""


def _in_class(members: Sequence[tuple[Any, Any]], character: str) -> bool:
    negated, found = False, False
    for kind, value in members:
        match str(kind):
            case "NEGATE":
                negated = True
            case "LITERAL":
                found = found or chr(value) == character
            case "RANGE":
                found = found or value[0] <= ord(character) <= value[1]
            case "CATEGORY":
                found = found or _in_category(str(value), character)
    return found is not negated


def _in_category(name: str, character: str) -> bool:
    word = character.isalnum() or character == "_"
    plain = {"DIGIT": character.isdigit(), "SPACE": character.isspace(), "WORD": word}
    for kind, answer in plain.items():
        if name.endswith(f"NOT_{kind}"):
            return not answer
        if name.endswith(kind):
            return answer
    return False
