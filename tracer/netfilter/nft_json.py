"""``nft -j list ruleset`` to the model, and to the same texts that the plain listing has.

Source: libnftables-json(5) 1.0.9.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from tracer.errors import Fault, ParseError
from tracer.json_values import load_json
from tracer.limits import OPERATIONS
from tracer.netfilter import nft_model as n
from tracer.netfilter.nft_deferred import Deferred
from tracer.netfilter.nft_expressions import typed_by
from tracer.netfilter.nft_json_words import TIMES, meter, metered, timed, with_quoted_names, without_model
from tracer.netfilter.nft_partial import listing_in, mark_what_is_left_out
from tracer.netfilter.nft_print import expression_text, rule_text, statement_text
from tracer.netfilter.nft_rule_line import FAMILIES
from tracer.netfilter.nft_statements import REJECT_CODES, REJECTS, parse_statements
from tracer.netfilter.nft_typing import typed, typed_elements, types_of
from tracer.netfilter.nft_words import DSCP, TCP_FLAGS, atom, number, port_word
from tracer.patterns import pattern

_UPDATED = pattern(r"(?:add|update|delete) @(\S+) \{", re.ASCII)
_NAMES = ("ifname", "iface_index")
_OPERATORS = {"&", "|", "^", "<<", ">>"}


_SKIPPED = frozenset(
    {"metainfo", "counter", "quota", "limit", "ct helper", "ct timeout", "ct expectation", "flowtable", "secmark", "synproxy", "tunnel"}
)


class _Unreadable(Exception):
    """A value of the JSON has a form that is not known."""


_ERRORS = (ParseError, KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError, RecursionError, _Unreadable)


def parse_json(text: str, file: str) -> n.NftRuleset:
    """Return the rule set that *text* holds; it keeps every fault. Rules and elements are read when they are asked for.

    :raises ParseError: the text is not JSON, or not a listing of nftables.
    """
    value, commands = _loaded(text, file)
    if not isinstance(value, dict) or not isinstance(value.get("nftables"), list):
        raise ParseError(Fault(file=file, line=None, column=None, message="not a listing of nftables"))
    reader = _Reader(n.NftRuleset(file))
    for item in value["nftables"]:
        reader.item(item)
    reader.mark_dynamic_sets()
    mark_what_is_left_out(reader.ruleset, commands)
    return reader.ruleset


def _loaded(text: str, file: str) -> tuple[object, list[tuple[int, str]]]:
    """The listing's value, and the commands typed around it. :raises ParseError: what is not around it is not JSON."""
    try:
        return load_json(text), []
    except ValueError:
        listing, commands = listing_in(text)
    try:
        return load_json(listing), commands
    except ValueError as error:
        message = "two listings in one file: which is the node's is not said" if "Extra data" in str(error) else f"not JSON: {error}"
        raise ParseError(Fault(file=file, line=getattr(error, "lineno", None), column=None, message=message)) from None


class _Reader:
    def __init__(self, ruleset: n.NftRuleset) -> None:
        self.ruleset = ruleset
        self.tables: dict[tuple[str, str], n.NftTable] = {}
        self.rules: dict[tuple[str, str, str], list[Any]] = {}
        self.updated: set[tuple[str, str, str]] = set()

    def item(self, item: object) -> None:
        if not isinstance(item, dict) or len(item) != 1:
            self.lost("an entry of the listing is not an object with one key")
            return
        (kind, value), *_ = item.items()
        try:
            if kind == "table":
                self.table(value).comment = value.get("comment")
            elif kind == "chain":
                self.chain(value)
            elif kind in ("set", "map"):
                self.set(value)
            elif kind == "rule":
                self.rule(value)
            elif kind not in _SKIPPED:
                self.lost(f"an entry of the listing is a {str(kind)[:40]!r}, which is not known")
        except _ERRORS as error:
            self.lost(f"a {kind} cannot be read: {error!r}"[:200])

    def fault(self, message: str) -> Fault:
        found = Fault(file=self.ruleset.file, line=None, column=None, message=message)
        self.ruleset.faults.append(found)
        return found

    def lost(self, message: str) -> None:
        """Note a fault behind which a chain or a rule may be missing."""
        found = self.fault(message)
        self.ruleset.incomplete = self.ruleset.incomplete or found

    def table(self, value: dict[str, Any]) -> n.NftTable:
        key = (str(value["family"]), str(value.get("table") or value["name"]))
        found = self.tables.get(key)
        if key[0] not in FAMILIES:
            raise _Unreadable(f"{key[0]!r} is no family")
        if found is None:
            found = self.tables[key] = n.NftTable(*key)
            self.ruleset.tables.append(found)
        return found

    def chain(self, value: dict[str, Any]) -> None:
        table = self.table(value)
        chain = self.chain_of(table, str(value["name"]))
        chain.comment = value.get("comment")
        if "hook" in value:
            chain.type, chain.hook, chain.priority = str(value["type"]), str(value["hook"]), _integer(value["prio"])
            devices = value.get("dev", ())
            chain.devices = tuple(map(str, devices)) if isinstance(devices, list | tuple) else (str(devices),)
            chain.policy = str(value.get("policy", "accept"))

    def chain_of(self, table: n.NftTable, name: str) -> n.NftChain:
        found = table.chains.get(name)
        if found is None:
            rules = self.rules[table.family, table.name, name] = []
            found = table.chains[name] = n.NftChain(name, Deferred(lambda: tuple(self.read_rule(table, name, r) for r in rules)))
        return found

    def set(self, value: dict[str, Any]) -> None:
        found = n.NftSet(str(value["name"]), _types(value["type"]))
        found.value_type = " . ".join(_types(value["map"])).removeprefix("typeof ") if "map" in value else None
        flags = value.get("flags", ())
        found.flags = tuple(map(str, flags)) if isinstance(flags, list | tuple) else (str(flags),)
        found.timeout, found.size, found.comment = value.get("timeout"), value.get("size"), value.get("comment")
        found.auto_merge = bool(value.get("auto-merge"))
        self.table(value).sets[found.name] = found
        elements = value.get("elem", ())
        found.elements = Deferred(lambda: self.elements(found, elements)) if elements else []

    def elements(self, found: n.NftSet, elements: Any) -> tuple[n.Element, ...]:
        kinds = tuple("name" if t in _NAMES else "" for t in found.key_types)
        try:
            read = [_element(e, has_value=found.value_type is not None) for e in elements]
            if "name" in kinds:
                read = [e if isinstance(e.key, n.Wildcard) else replace(e, key=with_quoted_names(kinds, e.key)) for e in read]
            return typed_elements(found.key_types, read)
        except _ERRORS as error:
            found.unread = True
            self.fault(f"the elements of set {found.name} cannot be read: {error!r}"[:200])
            return ()

    def rule(self, value: dict[str, Any]) -> None:
        table, chain = self.table(value), str(value["chain"])
        self.chain_of(table, chain)
        self.rules[table.family, table.name, chain].append(value)
        for statement in value["expr"]:
            self.updated |= {(table.family, table.name, name) for name in _updates(statement)}

    def mark_dynamic_sets(self) -> None:
        """Give every set that a rule updates the flag ``dynamic``: this listing leaves it out. Source: nftables 1.0.9, json.c."""
        for family, table, name in self.updated:
            found = self.tables[family, table].sets.get(name)
            if found is not None:
                found.flags = tuple(sorted({*found.flags, "dynamic"}))

    def read_rule(self, table: n.NftTable, chain: str, value: dict[str, Any]) -> n.NftRule:
        comment, handle = value.get("comment"), value.get("handle")
        try:
            statements = tuple(_statements(value["expr"], table.family))
            text = rule_text(statements, comment, table.family)
        except _ERRORS as error:
            message = f"a rule of chain {chain} (handle {handle}) cannot be read: {error!r}"[:200]
            self.fault(message)
            return n.NftRule(f"rule with handle {handle}", (), comment, handle, fault=message)
        return n.NftRule(text, statements, comment, handle)


def _updates(statement: Any) -> Iterator[str]:
    """The sets and maps that a statement changes."""
    if isinstance(statement, str):
        yield from _UPDATED.findall(statement)
    elif isinstance(statement, dict):
        yield from (str(value.get(kind))[1:] for kind in ("set", "map") if isinstance(value := statement.get(kind), dict))


def _types(value: Any) -> tuple[str, ...]:
    """The parts of a set's type: names, or (nftables 1.1) the expressions of a ``typeof``."""
    if isinstance(value, dict):
        found = _expression(value["typeof"])
        return types_of(found) or (f"typeof {expression_text(found)}",)
    return tuple(map(str, value)) if isinstance(value, list) else (str(value),)


def _statements(expressions: list[Any], family: str) -> Iterator[n.Statement]:
    for item in expressions:
        if isinstance(item, str):  # nft writes what it has no JSON for as the plain listing has it
            yield from parse_statements(item, family)[0]
        else:
            (kind, value), *_ = item.items()
            yield _statement(kind, value, family)


def _statement(kind: str, value: Any, family: str) -> n.Statement:
    if kind in ("accept", "drop", "continue", "return"):
        return n.Verdict(n.VerdictValue(kind))
    if kind in ("jump", "goto"):
        return n.Verdict(n.VerdictValue(kind, str(value["target"])))
    match kind:
        case "match":
            return _match(value)
        case "vmap":
            key, data = _expression(value["key"]), _set_or_reference(value["data"], has_value=True)
            return n.VerdictMap(key, _keyed(key, data))
        case "dnat" | "snat" | "masquerade" | "redirect":
            return _nat(kind, value or {})
        case "mangle":
            target = _expression(value["key"])
            return n.Assign(target, _expression(value["value"], typed_by(target)))
        case "reject":
            return _reject(value or {}, family)
        case "set":
            return _set_update(value)
        case "counter":
            return n.Counter(value if isinstance(value, str) else None)
        case "notrack":
            return n.NoTrack()
        case "meter":
            return meter(value, expression_text(_expression(value["key"])))
        case "ct helper" | "ct timeout" | "ct expectation" if isinstance(value, str):
            return n.Assign(n.Ct(kind.removeprefix("ct ")), n.Word(value, True))
    if (found := without_model(kind, value)) is not None:
        return found
    return n.UnmodelledStatement(kind, f"{kind} {json.dumps(value)}")


def _set_update(value: dict[str, Any]) -> n.Statement:
    """``add @set { key }``. NB: with a limit inside it is a meter, which may stop the rule."""
    operation, name = str(value["op"]), str(value["set"])[1:]
    key, timeout = _updated(value["elem"])
    update = n.SetUpdate(operation, name, key, timeout)
    inside = statement_text(update).partition("{ ")[2].removesuffix(" }")
    return metered(operation, name, inside, value.get("stmt") or []) or update


def _match(value: dict[str, Any]) -> n.Statement:
    left = _expression(value["left"])
    if isinstance(left, n.Meta) and left.key in TIMES:
        return timed(str(value["op"]), left.key, value["right"])
    right = _expression(value["right"], typed_by(left))
    if isinstance(right, n.SetLiteral):
        right = _named(left, right)
    return n.Compare(str(value["op"]), left, typed(left, right))


def _keyed(left: n.Expression, found: n.SetLiteral | n.SetReference) -> n.SetLiteral | n.SetReference:
    """A map beside *left*, the keys of its elements by the types of that."""
    if isinstance(found, n.SetReference):
        return found
    keys = typed(left, _named(left, found))
    return keys if isinstance(keys, n.SetLiteral) else found


def _named(left: n.Expression, found: n.SetLiteral) -> n.SetLiteral:
    """The elements of a set beside *left*, names of devices quoted."""
    kinds = tuple(typed_by(part) for part in (left.parts if isinstance(left, n.Concat) else (left,)))
    if "name" not in kinds:
        return found
    keyed = ((e, e.key if isinstance(e.key, n.Wildcard) else with_quoted_names(kinds, e.key)) for e in found.elements)
    return n.SetLiteral(tuple(replace(e, key=key) for e, key in keyed))


def _nat(kind: str, value: dict[str, Any]) -> n.Nat:
    flags = value.get("flags", ())
    flags = [f for f in (flags if isinstance(flags, list) else [flags]) if f and f != "netmap"]  # netmap: what prefix says
    address = _expression(value["addr"]) if "addr" in value else None
    port = _expression(value["port"], "port") if "port" in value else None
    concatenated = isinstance(address, n.MapLookup) and isinstance(address.map, n.SetLiteral) and any(
        isinstance(e.value, n.Concat) for e in address.map.elements
    )  # fmt: skip
    return n.Nat(
        kind, address, port, value.get("family"), tuple(map(str, flags)), concatenated,
        "prefix" in value.get("type_flags", ()),
    )  # fmt: skip


def _reject(value: dict[str, Any], family: str) -> n.Reject:
    kind = str(value.get("type", "icmpx" if family == "inet" else "icmpv6" if family == "ip6" else "icmp"))
    if kind == "tcp reset":
        return n.Reject("tcp-reset", "with tcp reset")
    code = str(value.get("expr", "port-unreachable"))
    code = REJECT_CODES.get(kind, {}).get(code, code)
    spelled = REJECTS.get(kind, {}).get(code)
    if spelled is None:
        raise _Unreadable(f"reject with {kind} {code}")
    default = code == "port-unreachable" and (kind == "icmpx") == (family == "inet")
    return n.Reject(spelled, "" if default else f"with {kind} {code}")


def _updated(value: Any) -> tuple[n.Expression, int | None]:
    if isinstance(value, dict) and "elem" in value:
        return _expression(value["elem"]["val"]), value["elem"].get("timeout")
    return _expression(value), None


def _set_or_reference(value: Any, *, has_value: bool) -> n.SetLiteral | n.SetReference:
    if isinstance(value, str) and value.startswith("@"):
        return n.SetReference(value[1:])
    return n.SetLiteral(tuple(_element(e, has_value=has_value) for e in value["set"]))


def _element(item: Any, *, has_value: bool, kind: str = "") -> n.Element:
    key, value = item if has_value else (item, None)
    comment = timeout = expires = None
    counted = False
    if isinstance(key, dict) and "elem" in key:
        details = key["elem"]
        key = details["val"]
        comment, timeout, expires, counted = details.get("comment"), details.get("timeout"), details.get("expires"), "counter" in details
    shown: n.Expression | n.Wildcard = n.Wildcard() if key == "*" else _expression(key, kind)
    return n.Element(shown, _value(value) if has_value else None, comment, timeout, expires, counted)


def _value(value: Any) -> n.Expression | n.VerdictValue:
    if isinstance(value, dict):
        (kind, inner), *_ = value.items()
        if kind in ("accept", "drop", "continue", "return"):
            return n.VerdictValue(kind)
        if kind in ("jump", "goto"):
            return n.VerdictValue(kind, str(inner["target"]))
    return _expression(value)


def _expression(value: Any, kind: str = "") -> n.Expression:
    if isinstance(value, bool):
        return n.Word("exists" if value else "missing")
    if isinstance(value, int):
        return _whole(value)
    if isinstance(value, str):
        return _constant(value, kind)
    if isinstance(value, list):
        return _flags([_expression(v, kind) for v in value])
    (name, inner), *_ = value.items()
    return _operation(name, inner, kind)


def _constant(text: str, kind: str) -> n.Expression:
    if text.startswith("@"):
        return n.SetReference(text[1:])
    if kind == "tcp_flag" and text in TCP_FLAGS:
        return TCP_FLAGS[text]
    if kind == "dscp" and text in DSCP:
        return DSCP[text]
    if kind == "pkttype" and text == "unicast":
        return n.Word("host")
    found = atom(text)
    if kind == "name":
        return found if isinstance(found, int) else n.Word(text, True)  # index 0: no device
    return port_word(found) if kind == "port" else found


def _integer(value: Any) -> int:
    """A whole number, as JSON writes one or as its text. :raises _Unreadable: it is something else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    found = number(value.removeprefix("-")) if isinstance(value, str) else None
    if found is None:
        raise _Unreadable(f"{str(value)[:40]} where a whole number is due")
    return -found if value.startswith("-") else found


def _whole(value: int) -> int:
    if not 0 <= value < 1 << 128:
        raise _Unreadable(f"the number {value}")
    return value


def _modulus(inner: dict[str, Any]) -> int:
    found = _integer(inner["mod"])
    if found < 1:
        raise _Unreadable("a modulus that is not positive")
    return found


def _flags(parts: list[n.Expression]) -> n.Expression:
    joined = parts[0]
    for part in parts[1:]:
        joined = _binary("|", joined, part)
    return joined


def _binary(operator: str, left: n.Expression, right: n.Expression) -> n.Binary:
    """NB: a chain of operators is a tree as deep as it is long, which everybody who walks it would have to go down."""
    found, waiting = 0, [left, right]
    while waiting:
        item = waiting.pop()
        if isinstance(item, n.Binary):
            found += 1
            waiting += (item.left, item.right)
        if found >= OPERATIONS:
            raise _Unreadable(f"an expression of more than {OPERATIONS} operations")
    return n.Binary(operator, left, right)


def _operation(name: str, inner: Any, kind: str) -> n.Expression:
    match name:
        case "payload" if "protocol" in inner:
            return n.Payload(str(inner["protocol"]), str(inner["field"]))
        case "meta":
            return n.Meta(str(inner["key"]))
        case "ct":
            *family, key = str(inner["key"]).split()  # "ip saddr"
            return n.Ct(key, inner.get("dir"), family[0] if family else inner.get("family"))
        case "fib":
            flags = inner["flags"]
            return n.Fib(tuple(flags) if isinstance(flags, list) else (str(flags),), str(inner["result"]))
        case "numgen":
            return n.Numgen(str(inner["mode"]), _modulus(inner), _integer(inner.get("offset", 0)))
        case "jhash":
            return n.Hash(_expression(inner["expr"]), _modulus(inner), inner.get("seed"), _integer(inner.get("offset", 0)))
        case "symhash":
            return n.Hash(None, _modulus(inner), None, _integer(inner.get("offset", 0)))
        case "concat":
            return n.Concat(tuple(_expression(p) for p in inner))
        case "prefix":
            found = atom(f"{inner['addr']}/{inner['len']}")
            if not isinstance(found, n.Prefix):
                raise _Unreadable("a prefix that is no network")
            return found
        case "range":
            low, high = (_expression(v, kind) for v in inner)
            if isinstance(low, n.Word | n.SetLiteral) or isinstance(high, n.Word | n.SetLiteral):
                raise _Unreadable("a range of words")
            return n.Interval(low, high)  # type: ignore[arg-type]
        case "set":
            return n.SetLiteral(tuple(_element(e, has_value=False, kind=kind) for e in (inner if isinstance(inner, list) else [inner])))
        case "map":
            looked_up, data = _expression(inner["key"]), _set_or_reference(inner["data"], has_value=True)
            return n.MapLookup(looked_up, _keyed(looked_up, data))
        case _ if name in _OPERATORS:
            first, *others = inner
            found_left = _expression(first, kind)
            for other in others:
                found_left = _binary(name, found_left, _expression(other, kind or typed_by(found_left)))
            return found_left
    return _unmodelled(name, inner)


def _unmodelled(name: str, inner: Any) -> n.UnmodelledExpression:
    """What has no model, in the words of the text where they can be told."""
    if not isinstance(inner, dict):
        return n.UnmodelledExpression(name, f"{name} {json.dumps(inner)}")
    words = {k: str(v) for k, v in inner.items()}
    match name:
        case "payload" if {"base", "offset", "len"} <= words.keys():
            return n.UnmodelledExpression("payload", f"@{words['base']},{words['offset']},{words['len']}")
        case "tcp option" | "ip option" | "sctp chunk":
            return n.UnmodelledExpression("exthdr", " ".join((name, words.get("name", ""), words.get("field", ""))).strip())
        case "exthdr":
            return n.UnmodelledExpression(words.get("name", name), " ".join((words.get("name", ""), words.get("field", ""))).strip())
        case "ipsec":
            return n.UnmodelledExpression(name, f"ipsec {words.get('dir', 'in')} {words.get('key', '')}")
        case "socket" | "rt" | "osf":
            return n.UnmodelledExpression(name, " ".join(w for w in (name, words.get("family"), words.get("key", "name")) if w))
    return n.UnmodelledExpression(name, f"{name} {json.dumps(inner)}")
