"""What can be done to a line of the engine: every mutation of a source file, by kind.

Strategy: the syntax tree says where a mutation may stand; the text of that place is replaced, so that everything else of the file stays as it
is. Left out is what no test could be asked to notice: docstrings, annotations, imports, the wording of messages, ``assert_never``.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

_OPPOSITE = {
    ast.Eq: "!=",
    ast.NotEq: "==",
    ast.Lt: ">=",
    ast.GtE: "<",
    ast.Gt: "<=",
    ast.LtE: ">",
    ast.In: "not in",
    ast.NotIn: "in",
    ast.Is: "is not",
    ast.IsNot: "is",
}
_BESIDE = {ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">"}
_OPERATORS = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}
_FAMILY_WORDS = (
    (re.compile(r"ip6tables"), "iptables"),
    (re.compile(r"\biptables"), "ip6tables"),
    (re.compile(r"ipv6-icmp|icmpv6|icmp6"), "icmp"),
    (re.compile(r"\bicmp\b"), "icmpv6"),
    (re.compile(r"inet6"), "inet"),
    (re.compile(r"\binet\b"), "inet6"),
    (re.compile(r"ipv4"), "ipv6"),
    (re.compile(r"ipv6"), "ipv4"),
    (re.compile(r"\bip6(?=\b|-|_)"), "ip"),
    (re.compile(r"\bip(?=\b|-|_)"), "ip6"),
)
_FAMILY_NAME = re.compile(r"(?<=[vV])[46](?![0-9])|(?<=ICMP)V?6|(?<=INET)6")
_OF_FAMILIES = re.compile(r"\b(version|family|families)\b|IPv[46]|max_prefixlen", re.ASCII)
_OTHER_NUMBER = {4: 6, 6: 4, 32: 128, 128: 32}
_LEAVES = (ast.Return, ast.Raise, ast.Continue, ast.Break)


class Kind(StrEnum):
    """What is done."""

    STATEMENT = "delete a statement"
    GUARD = "delete a guard"
    NEGATED = "negate a condition"
    DROPPED = "drop an operand"
    OFF_BY_ONE = "off by one"
    FAMILY = "swap the family"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutation:
    """One change of one *file*: the bytes from *start* to *end*, *old*, become *new*. *scope* is the function or class around it.

    *nth* tells mutations apart that read the same in one scope. A test meets the mutation when it runs one of *lines*; where Python counts
    none of them as a line of its own (a constant among others), when it runs *statement*, the first line of the statement around.
    *on_import* says that it stands in no function.
    """

    file: str
    kind: Kind
    scope: str
    old: str
    new: str
    nth: int
    start: int
    end: int
    lines: range
    statement: int
    on_import: bool

    @property
    def key(self) -> str:
        """Return what the mutation is known by, also after other lines of the file have changed."""
        said = "\0".join((self.file, self.kind, self.scope, self.old, self.new, str(self.nth)))
        return hashlib.sha256(said.encode()).hexdigest()[:12]

    def applied(self, source: bytes) -> bytes:
        """Return the file's text with the mutation."""
        return source[: self.start] + self.new.encode() + source[self.end :]


def mutations_of(file: str, source: bytes) -> tuple[Mutation, ...]:
    """Return every mutation of the source of *file*; some few are none that Python compiles."""
    found, seen = [], Counter[tuple[str, ...]]()
    for place in _Places(source).all():
        old = source[place.start : place.end].decode()
        said = (place.kind, place.scope, old, place.new)
        mutation = Mutation(
            file=file,
            kind=place.kind,
            scope=place.scope,
            old=old,
            new=place.new,
            nth=seen[said],
            start=place.start,
            end=place.end,
            lines=place.lines,
            statement=place.statement,
            on_import=place.on_import,
        )
        seen[said] += 1
        if old != place.new:
            found.append(mutation)
    return tuple(found)


def compiles(source: bytes) -> bool:
    """Return whether Python takes a source."""
    try:
        compile(source, "mutant", "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return False
    return True


@dataclass(frozen=True, slots=True)
class _Place:
    kind: Kind
    scope: str
    start: int
    end: int
    new: str
    lines: range
    statement: int
    on_import: bool


class _Places:
    """Goes through a syntax tree and says where something can be done."""

    def __init__(self, source: bytes) -> None:
        self._source = source
        self._tree = ast.parse(source)
        self._line_starts = [0]
        for line in source.splitlines(keepends=True):
            self._line_starts.append(self._line_starts[-1] + len(line))
        self._names = {n.id for n in ast.walk(self._tree) if isinstance(n, ast.Name)}
        self._names |= {n.attr for n in ast.walk(self._tree) if isinstance(n, ast.Attribute)}
        self._scope: list[str] = []
        self._statement: ast.stmt | None = None
        self._functions = 0

    def all(self) -> Iterator[_Place]:
        """Yield every place, in the order of the file."""
        for statement in self._tree.body:
            yield from self._of(statement)

    # -- places -----------------------------------------------------------------------------------------------------------------------

    def _span(self, node: ast.expr | ast.stmt | ast.pattern) -> tuple[int, int]:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self._line_starts[node.lineno - 1] + node.col_offset, self._line_starts[node.end_lineno - 1] + node.end_col_offset

    def _text(self, node: ast.expr | ast.stmt) -> str:
        start, end = self._span(node)
        return self._source[start:end].decode()

    def _place(self, kind: Kind, node: ast.expr | ast.stmt, new: str, span: tuple[int, int] | None = None) -> _Place:
        start, end = span or self._span(node)
        lines = range(node.lineno, (node.end_lineno or node.lineno) + 1)
        statement = self._statement.lineno if self._statement else node.lineno
        return _Place(kind, ".".join(self._scope), start, end, new, lines, statement, self._functions == 0)

    # -- the walk ---------------------------------------------------------------------------------------------------------------------

    def _of(self, node: ast.AST) -> Iterator[_Place]:
        if isinstance(node, ast.Import | ast.ImportFrom | ast.JoinedStr | ast.AnnAssign) and not getattr(node, "value", None):
            return
        if isinstance(node, ast.JoinedStr) or _is_docstring(node) or _is_never(node) or _is_typing(node):
            return
        outer = self._statement
        if isinstance(node, ast.stmt):
            self._statement = node
            yield from self._of_statement(node)
        elif isinstance(node, ast.expr):
            yield from self._of_expression(node)
        elif isinstance(node, ast.comprehension):
            yield from self._of_filters(node)
        elif isinstance(node, ast.match_case) and node.guard is not None:
            yield from self._of_case(node.guard)
        yield from self._inside(node)
        self._statement = outer

    def _inside(self, node: ast.AST) -> Iterator[_Place]:
        named = isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef)
        function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        self._functions += function
        if named:
            self._scope.append(node.name)
        for field, value in ast.iter_fields(node):
            if field in ("annotation", "returns", "decorator_list", "bases", "keywords") and (named or field != "keywords"):
                continue
            if isinstance(node, ast.Raise | ast.Assert) and field != "test":
                continue  # the wording of a message
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from self._of(child)
        self._functions -= function
        if named:
            self._scope.pop()

    def _of_statement(self, node: ast.stmt) -> Iterator[_Place]:
        if self._scope and _can_go(node):
            yield self._place(Kind.STATEMENT, node, "pass")
        if isinstance(node, ast.If):
            yield from self._of_condition(node.test)
            if isinstance(node.body[-1], _LEAVES) and not node.orelse:
                span = self._span(node)
                if self._source[span[0] : span[0] + 2] == b"if":
                    yield replace(self._place(Kind.GUARD, node, "pass"), lines=range(node.lineno, node.lineno + 1))
        elif isinstance(node, ast.While):
            yield from self._of_condition(node.test)

    def _of_expression(self, node: ast.expr) -> Iterator[_Place]:
        match node:
            case ast.IfExp(test=test):
                yield from self._of_condition(test)
            case ast.BoolOp(values=values):
                yield from self._of_operands(node, values)
            case ast.Compare(ops=[operator], left=left, comparators=[right]) if type(operator) in _BESIDE:
                between = self._span(left)[1], self._span(right)[0]
                text = self._source[slice(*between)].decode()
                new = text.replace(_OPERATORS[type(operator)], _BESIDE[type(operator)], 1)
                yield self._place(Kind.OFF_BY_ONE, node, new, between)
            case ast.Constant(value=bool() | None):
                return
            case ast.Constant(value=int(number)):
                yield self._place(Kind.OFF_BY_ONE, node, str(number + 1))
                if number in _OTHER_NUMBER and self._statement is not None and _OF_FAMILIES.search(self._header()):
                    yield self._place(Kind.FAMILY, node, str(_OTHER_NUMBER[number]))
            case ast.Constant(value=str(text)) if " " not in text:
                new = next((p.sub(other, text, count=1) for p, other in _FAMILY_WORDS if p.search(text)), text)
                if new != text and self._text(node).count(text) == 1:
                    yield self._place(Kind.FAMILY, node, self._text(node).replace(text, new))
            case ast.Name(id=name, ctx=ast.Load()) | ast.Attribute(attr=name, ctx=ast.Load()):
                other = _other_family(name)
                if other != name and other in self._names:
                    end = self._span(node)[1]
                    yield self._place(Kind.FAMILY, node, other, (end - len(name.encode()), end))

    def _header(self) -> str:
        """Return the text of the statement around, without the statements in it."""
        assert self._statement is not None
        body = getattr(self._statement, "body", None)
        start, end = self._span(self._statement)
        if body:
            end = self._span(body[0])[0]
        return self._source[start:end].decode()

    def _of_condition(self, test: ast.expr) -> Iterator[_Place]:
        """A condition, or each operand of one that has several, the other way round."""
        match test:
            case ast.BoolOp(values=values):
                for value in values:
                    yield from self._of_condition(value)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                yield self._place(Kind.NEGATED, test, self._text(operand))
            case ast.Compare(ops=[operator], left=left, comparators=[right]):
                between = self._span(left)[1], self._span(right)[0]
                opposite = f" {_OPPOSITE[type(operator)]} "
                text = self._source[slice(*between)].decode()
                # NB: brackets around an operand stand between the two.
                before, after = text[: len(text) - len(text.lstrip(" )"))].rstrip(), text[len(text.rstrip(" (")) :].lstrip()
                yield self._place(Kind.NEGATED, test, before + opposite + after, between)
            case _:
                yield self._place(Kind.NEGATED, test, f"(not ({self._text(test)}))")

    def _of_operands(self, node: ast.BoolOp, values: list[ast.expr]) -> Iterator[_Place]:
        """The whole without one of its operands."""
        word = " and " if isinstance(node.op, ast.And) else " or "
        for left_out in values:
            kept = word.join(f"({self._text(value)})" for value in values if value is not left_out)
            yield self._place(Kind.DROPPED, node, f"({kept})")

    def _of_filters(self, node: ast.comprehension) -> Iterator[_Place]:
        for test in node.ifs:
            yield from self._of_condition(test)
            yield self._place(Kind.GUARD, test, "True")

    def _of_case(self, guard: ast.expr) -> Iterator[_Place]:
        yield from self._of_condition(guard)
        yield self._place(Kind.GUARD, guard, "True")


def _other_family(name: str) -> str:
    swapped = _FAMILY_NAME.sub(lambda found: {"4": "6", "6": "4", "V6": "", "V4": ""}[found.group()], name, count=1)
    if swapped.endswith(("ICMP4", "INET4")):
        return swapped[:-1]
    return {"ICMP": "ICMPV6", "INET": "INET6"}.get(name, swapped)


def _can_go(node: ast.stmt) -> bool:
    """Whether a statement may be missing: an assignment to a plain name may not, Python itself would notice."""
    match node:
        case ast.Expr(value=ast.Call() | ast.Yield() | ast.YieldFrom()) | ast.AugAssign() | ast.Delete() | ast.Continue() | ast.Break():
            return not _is_never(node)
        case ast.Assign(targets=targets):
            return any(isinstance(target, ast.Attribute | ast.Subscript) for target in targets)
        case ast.Raise():
            return True
    return False


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _is_never(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and getattr(node.value.func, "id", "") == "assert_never"


def _is_typing(node: ast.AST) -> bool:
    """Whether the node only says something about types."""
    if isinstance(node, ast.If):
        return getattr(node.test, "id", "") == "TYPE_CHECKING"
    if isinstance(node, ast.Subscript):
        return getattr(node.value, "id", "") in ("Literal", "Callable", "Annotated", "Mapping", "OrderedDict", "WeakKeyDictionary")
    if isinstance(node, ast.Assign):
        called = node.value.func if isinstance(node.value, ast.Call) else None
        return getattr(called, "id", "") in ("NewType", "TypeVar") or getattr(node.targets[0], "id", "") == "__all__"
    return False
