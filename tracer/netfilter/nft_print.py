"""The model of native nftables rules back to text, as ``nft list ruleset`` prints it (counters without their values).

Source: nft(8) 1.0.9; expression.c, statement.c, meta.c, datatype.c of nftables.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from typing import assert_never

from tracer.netfilter import nft_model as n
from tracer.netfilter.nft_words import DSCP, TCP_FLAGS
from tracer.packet import Address, host_text

_BARE_META = frozenset({"iif", "oif", "iifname", "oifname", "iifgroup", "oifgroup"})
_DSCP_NAMES = {value: name for name, value in reversed(DSCP.items()) if name != "be"}
_FLAG_NAMES = {value: name for name, value in TCP_FLAGS.items()}


def rule_text(statements: tuple[n.Statement, ...], comment: str | None, family: str) -> str:
    """Return one rule's line; *family* is its table's."""
    parts = [statement_text(s) for s in statements]
    if comment is not None:
        parts.append(f'comment "{comment}"')
    return " ".join(parts)


def to_text(ruleset: n.NftRuleset) -> str:
    """Return the whole rule set, so that ``nft -f`` loads it."""
    return "\n".join(line for table in ruleset.tables for line in _table(table)) + "\n"


def _table(table: n.NftTable) -> Iterator[str]:
    yield f"table {table.family} {table.name} {{"
    if table.comment is not None:
        yield f'\tcomment "{table.comment}"'
    if table.flags:
        yield f"\tflags {','.join(table.flags)}"
    for found in table.sets.values():
        yield from ("\t" + line for line in _set(found))
    for chain in table.chains.values():
        yield from ("\t" + line for line in _chain(chain, table.family))
    yield "}"


def _set(found: n.NftSet) -> Iterator[str]:
    kind = "set" if found.value_type is None else "map"
    types = " . ".join(found.key_types)
    spelled = types if types.startswith("typeof") else f"type {types}"
    yield f"{kind} {found.name} {{"
    if found.typeof is not None:
        yield f"\ttypeof {found.typeof}"
    else:
        yield f"\t{spelled}" + (f" : {found.value_type}" if found.value_type else "")
    if found.size is not None:
        yield f"\tsize {found.size}"
    if found.flags:
        yield f"\tflags {','.join(found.flags)}"
    if found.timeout is not None:
        yield f"\ttimeout {_time(found.timeout)}"
    if found.auto_merge:
        yield "\tauto-merge"
    if found.comment is not None:
        yield f'\tcomment "{found.comment}"'
    if found.elements:
        yield f"\telements = {{ {', '.join(element_text(e) for e in found.elements)} }}"
    yield "}"


def _chain(chain: n.NftChain, family: str) -> Iterator[str]:
    yield f"chain {chain.name} {{"
    if chain.comment is not None:
        yield f'\tcomment "{chain.comment}"'
    if chain.hook is not None:
        device = _devices(chain.devices)
        yield f"\ttype {chain.type} hook {chain.hook}{device} priority {chain.priority or 0}; policy {chain.policy};"
    for rule in chain.rules:
        yield f"\t{rule_text(rule.statements, rule.comment, family) if rule.fault is None else rule.text}"
    yield "}"


def _devices(names: tuple[str, ...]) -> str:
    if len(names) < 2:
        return "".join(f' device "{name}"' for name in names)
    return f" devices = {{ {', '.join(names)} }}"


def _time(value: int) -> str:
    parts = [(value // 86400, "d"), (value // 3600 % 24, "h"), (value // 60 % 60, "m"), (value % 60, "s")]
    return "".join(f"{count}{unit}" for count, unit in parts if count) or "0s"


# -- statements -------------------------------------------------------------------------------------------------------------------


def statement_text(statement: n.Statement) -> str:
    """Return one statement as it is printed."""
    match statement:
        case n.Compare():
            return _compare(statement)
        case n.Verdict(value=value):
            return _verdict(value)
        case n.VerdictMap(key=key, map=found):
            return f"{expression_text(key)} vmap {expression_text(found)}"
        case n.Nat():
            return _nat(statement)
        case n.Assign(target=n.Ct() as target, value=n.Binary(operator="|", left=n.Word()) as value):
            return f"{expression_text(target)} set {_flag_words(value)}"
        case n.Assign(target=target, value=value):
            return f"{expression_text(target)} set {expression_text(value, _type(target))}"
        case n.Reject(text=text):
            return f"reject {text}".rstrip()
        case n.SetUpdate(operation=operation, set=name, key=key, timeout=timeout):
            wait = f" timeout {_time(timeout)}" if timeout is not None else ""
            return f"{operation} @{name} {{ {expression_text(key)}{wait} }}"
        case n.Counter(name=name):
            return "counter" if name is None else f'counter name "{name}"'
        case n.NoTrack():
            return "notrack"
        case n.Harmless(text=text) | n.UnmodelledMatch(text=text) | n.UnmodelledStatement(text=text):
            return text
        case _:
            assert_never(statement)


def _compare(statement: n.Compare) -> str:
    left, right, kind = statement.left, statement.right, _type(statement.left)
    if kind == "tcp_flag" and isinstance(left, n.Binary) and left.operator == "&":
        sign = "!= " if statement.operator == "!=" else ""
        return f"{expression_text(left.left)} {sign}{_flag_words(right)} / {_flag_words(left.right)}"
    flags = kind in ("tcp_flag", "flags") and not isinstance(right, n.SetLiteral | n.SetReference)
    unsaid = "in" if flags else "=="
    sign = "" if statement.operator in (unsaid, "in") and not isinstance(left, n.Binary) else f"{statement.operator} "
    shown = _flag_words(right, "," if statement.operator in ("in", "!") else " | ") if flags else expression_text(right, kind)
    return f"{expression_text(left)} {sign}{shown}"


def _flag_words(value: n.Expression, sign: str = ",") -> str:
    if isinstance(value, n.Binary) and value.operator == "|":
        return f"{_flag_words(value.left, sign)}{sign}{_flag_words(value.right, sign)}"
    if isinstance(value, int) and not isinstance(value, bool):
        return sign.join(name for bit, name in _FLAG_NAMES.items() if value & bit) or hex(value)
    return expression_text(value)


def _verdict(value: n.VerdictValue) -> str:
    return value.kind if value.chain is None else f"{value.kind} {value.chain}"


def _nat(statement: n.Nat) -> str:
    words = [statement.kind]
    if statement.family:
        words.append(statement.family)
    if statement.prefix:
        words.append("prefix")
    if statement.address is not None or statement.port is not None:
        words += ["to", _nat_target(statement)]
    if statement.flags:
        words.append(",".join(statement.flags))
    return " ".join(words)


def _nat_target(statement: n.Nat) -> str:
    address = "" if statement.address is None else expression_text(statement.address)
    if statement.port is None:
        return address
    if isinstance(statement.address, IPv6Address):
        address = host_text(address)
    elif isinstance(statement.address, n.Interval) and isinstance(statement.address.low, IPv6Address):
        address = f"{host_text(statement.address.low)}-{host_text(statement.address.high)}"
    return f"{address}:{expression_text(statement.port)}"


# -- expressions ------------------------------------------------------------------------------------------------------------------


def expression_text(expression: n.Expression | n.Wildcard, kind: str = "") -> str:
    """Return an expression as it is printed; *kind* is the type of what it is compared with (marks are printed in hexadecimal)."""
    match expression:
        case n.Concat(parts=parts):
            return " . ".join(expression_text(p) for p in parts)
        case n.SetLiteral(elements=elements):
            return f"{{ {', '.join(element_text(e, kind) for e in elements)} }}"
        case n.SetReference(name=name):
            return f"@{name}"
        case n.Payload(protocol=protocol, field=name):
            return f"{protocol} {name}"
        case n.Meta(key=key):
            return key if key in _BARE_META else f"meta {key}"
        case n.Ct(key=key, direction=direction, family=family):
            return " ".join(w for w in ("ct", direction, family, key) if w)
        case n.Fib(keys=keys, result=result):
            return f"fib {' . '.join(keys)} {result}"
        case n.Numgen(mode=mode, mod=mod, offset=offset):
            return f"numgen {mode} mod {mod}" + (f" offset {offset}" if offset else "")
        case n.Hash():
            return _hash(expression)
        case n.Binary(operator=operator, left=left, right=right):
            inner = kind or _type(left)
            shown = expression_text(right, inner)
            return f"{expression_text(left, inner)} {operator} " + (f"({shown})" if isinstance(right, n.Binary) else shown)
        case n.MapLookup(key=key_, map=found):
            shown = (
                "{ " + ", ".join(element_text(e, _type(key_), kind) for e in found.elements) + " }"
                if isinstance(found, n.SetLiteral)
                else ""
            )
            return f"{expression_text(key_)} map {shown or expression_text(found)}"
        case n.UnmodelledExpression(text=text):
            return text
        case n.Wildcard():
            return "*"
        case _:
            return _atom(expression, kind)


def _hash(expression: n.Hash) -> str:
    head = "symhash" if expression.key is None else f"jhash {expression_text(expression.key)}"
    seed = f" seed {expression.seed:#x}" if expression.seed is not None else ""
    return f"{head} mod {expression.mod}{seed}" + (f" offset {expression.offset}" if expression.offset else "")


def _atom(value: n.Atom, kind: str) -> str:
    match value:
        case n.Word(text=text, quoted=quoted):
            return f'"{text}"' if quoted else text
        case n.Prefix(address=address, length=length):
            return f"{_address(address)}/{length}"
        case n.Interval(low=low, high=high):
            return f"{_atom(low, kind)}-{_atom(high, kind)}"
        case IPv4Address() | IPv6Address():
            return _address(value)
        case _:
            return _number(value, kind)


def _number(value: int, kind: str) -> str:
    if kind == "tcp_flag":
        return " | ".join(name for bit, name in _FLAG_NAMES.items() if value & bit) or hex(value)
    if kind == "dscp":
        return _DSCP_NAMES.get(value, f"{value:#04x}")
    return f"{value:#010x}" if kind == "mark" else f"{value:#x}" if kind == "hex" else str(value)


def _address(address: Address) -> str:
    """As inet_ntop prints it: an IPv4 address within an IPv6 one keeps its dots."""
    value = int(address)
    if isinstance(address, IPv6Address) and value > 0xFFFF and value >> 32 in (0, 0xFFFF):
        return f"::{'ffff:' if value >> 32 else ''}{IPv4Address(value & 0xFFFFFFFF)}"
    return str(address)


def element_text(element: n.Element, kind: str = "", of_value: str = "") -> str:
    """Return an element of a set or map as it is printed, its counter without values; *kind* and *of_value* are types, as above."""
    words = [expression_text(element.key, kind)]
    if element.has_counter:
        words.append("counter")
    if element.timeout is not None:
        words.append(f"timeout {_time(element.timeout)}")
    if element.expires is not None:
        words.append(f"expires {_time(element.expires)}")
    if element.comment is not None:
        words.append(f'comment "{element.comment}"')
    if isinstance(element.value, n.VerdictValue):
        words.append(f": {_verdict(element.value)}")
    elif element.value is not None:
        words.append(f": {expression_text(element.value, of_value)}")
    return " ".join(words)


def _type(left: n.Expression) -> str:
    match left:
        case n.Binary(left=inner):
            return _type(inner)
        case n.UnmodelledExpression(kind="payload"):
            return "hex"
        case n.Meta(key="mark") | n.Ct(key="mark") | n.UnmodelledExpression(kind="socket", text="socket mark"):
            return "mark"
        case n.Payload(field="flags"):
            return "tcp_flag"
        case n.Payload(field="dscp"):
            return "dscp"
        case n.Ct(key="state" | "status"):
            return "flags"
    return ""
