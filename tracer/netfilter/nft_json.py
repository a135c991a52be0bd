"""``nft -j list ruleset`` to the model, and to the same texts that the plain listing has.

Source: libnftables-json(5) 1.0.9.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tracer.errors import Fault, ParseError
from tracer.netfilter import nft_model as n
from tracer.netfilter.nft_print import rule_text
from tracer.netfilter.nft_statements import REJECTS, typed_by
from tracer.netfilter.nft_words import TCP_FLAGS, atom, port_word

_OPERATORS = {"&", "|", "^", "<<", ">>"}


class _Unreadable(Exception):
    """A value of the JSON has a form that is not known."""


def parse_json(text: str, file: str) -> tuple[n.NftRuleset, tuple[Fault, ...]]:
    """Return the rule set that *text* holds, and every fault.

    :raises ParseError: the text is not JSON, or not a listing of nftables.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", None)
        raise ParseError(Fault(file=file, line=line, column=None, message=f"not JSON: {error}")) from None
    if not isinstance(value, dict) or not isinstance(value.get("nftables"), list):
        raise ParseError(Fault(file=file, line=None, column=None, message="not a listing of nftables"))
    reader = _Reader(file)
    for item in value["nftables"]:
        reader.item(item)
    ruleset = n.NftRuleset(file, list(reader.tables.values()))
    ruleset.mark_dynamic_sets()
    return ruleset, tuple(reader.faults)


class _Reader:
    def __init__(self, file: str) -> None:
        self.file = file
        self.tables: dict[tuple[str, str], n.NftTable] = {}
        self.faults: list[Fault] = []

    def item(self, item: object) -> None:
        if not isinstance(item, dict) or len(item) != 1:
            self.fault("an entry of the listing is not an object with one key")
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
        except (KeyError, TypeError, ValueError, AttributeError, _Unreadable) as error:
            self.fault(f"a {kind} cannot be read: {error!r}"[:200])

    def fault(self, message: str) -> None:
        self.faults.append(Fault(file=self.file, line=None, column=None, message=message))

    def table(self, value: dict[str, Any]) -> n.NftTable:
        key = (str(value["family"]), str(value.get("table") or value["name"]))
        return self.tables.setdefault(key, n.NftTable(*key))

    def chain(self, value: dict[str, Any]) -> None:
        chain = n.NftChain(str(value["name"]), comment=value.get("comment"))
        if "hook" in value:
            chain.type, chain.hook, chain.priority = str(value["type"]), str(value["hook"]), int(value["prio"])
            chain.policy, chain.device = str(value.get("policy", "accept")), value.get("dev")
        self.table(value).chains[chain.name] = chain

    def set(self, value: dict[str, Any]) -> None:
        types = value["type"]
        found = n.NftSet(str(value["name"]), tuple(map(str, types)) if isinstance(types, list) else (str(types),))
        mapped = value.get("map")
        found.value_type = " . ".join(map(str, mapped)) if isinstance(mapped, list) else mapped
        flags = value.get("flags", ())
        found.flags = tuple(flags) if isinstance(flags, list | tuple) else (str(flags),)
        found.timeout, found.size, found.comment = value.get("timeout"), value.get("size"), value.get("comment")
        found.auto_merge = bool(value.get("auto-merge"))
        self.table(value).sets[found.name] = found
        try:
            found.elements = [
                _element(e, has_value=found.value_type is not None, kind="name" if found.key_types == ("ifname",) else "")
                for e in value.get("elem", ())
            ]
        except (KeyError, TypeError, ValueError, _Unreadable) as error:
            found.unread = True
            self.fault(f"the elements of set {found.name} cannot be read: {error!r}"[:200])

    def rule(self, value: dict[str, Any]) -> None:
        table = self.table(value)
        chain = table.chains.setdefault(str(value["chain"]), n.NftChain(str(value["chain"])))
        comment, handle = value.get("comment"), value.get("handle")
        try:
            statements = tuple(_statements(value["expr"], table.family))
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError, _Unreadable) as error:
            message = f"a rule of chain {chain.name} (handle {handle}) cannot be read: {error!r}"[:200]
            self.fault(message)
            chain.rules.append(n.NftRule(f"rule with handle {handle}", (), comment, handle, fault=message))
            return
        chain.rules.append(n.NftRule(rule_text(statements, comment, table.family), statements, comment, handle))


def _statements(expressions: list[Any], family: str) -> Iterator[n.Statement]:
    for item in expressions:
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
            return n.VerdictMap(_expression(value["key"]), _set_or_reference(value["data"], has_value=True))
        case "dnat" | "snat" | "masquerade" | "redirect":
            return _nat(kind, value or {})
        case "mangle":
            target = _expression(value["key"])
            return n.Assign(target, _expression(value["value"], typed_by(target)))
        case "reject":
            return _reject(value or {}, family)
        case "set":
            return n.SetUpdate(str(value["op"]), str(value["set"])[1:], *_updated(value["elem"]))
        case "counter":
            return n.Counter(value if isinstance(value, str) else None)
        case "notrack":
            return n.NoTrack()
        case "log":
            return n.Harmless("log" + "".join(f" {k} {_quoted(v)}" for k, v in (value or {}).items()))
        case "limit":
            return n.UnmodelledMatch("limit", _limit_text(value))
        case "xt":
            text = f'xt {value.get("type")} "{value.get("name")}"'
            return n.UnmodelledStatement("xt", text) if value.get("type") == "target" else n.UnmodelledMatch("xt", text)
        case "quota" | "ct count" | "last" | "connlimit":
            return n.UnmodelledMatch(kind, f"{kind} {json.dumps(value)}")
    return n.UnmodelledStatement(kind, f"{kind} {json.dumps(value)}")


def _quoted(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def _limit_text(value: Any) -> str:
    if not isinstance(value, dict) or "rate" not in value:
        return f"limit name {value}"
    over = "over " if value.get("inv") else ""
    burst = f" burst {value['burst']} packets" if value.get("burst") else ""
    return f"limit rate {over}{value['rate']}/{value.get('per', 'second')}{burst}"


def _match(value: dict[str, Any]) -> n.Compare:
    left = _expression(value["left"])
    return n.Compare(str(value["op"]), left, _expression(value["right"], typed_by(left)))


def _nat(kind: str, value: dict[str, Any]) -> n.Nat:
    flags = value.get("flags", ())
    address = _expression(value["addr"]) if "addr" in value else None
    port = _expression(value["port"], "port") if "port" in value else None
    concatenated = isinstance(address, n.MapLookup) and isinstance(address.map, n.SetLiteral) and any(
        isinstance(e.value, n.Concat) for e in address.map.elements
    )  # fmt: skip
    return n.Nat(
        kind, address, port, value.get("family"), tuple(flags) if isinstance(flags, list) else (str(flags),) if flags else (), concatenated,
        "prefix" in value.get("type_flags", ()),
    )  # fmt: skip


def _reject(value: dict[str, Any], family: str) -> n.Reject:
    kind = str(value.get("type", "icmpx" if family == "inet" else "icmpv6" if family == "ip6" else "icmp"))
    if kind == "tcp reset":
        return n.Reject("tcp-reset", "with tcp reset")
    code = str(value.get("expr", "port-unreachable"))
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
        return value
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
    found = atom(text)
    if kind == "name":
        return n.Word(text, True)
    return port_word(found) if kind == "port" else found


def _flags(parts: list[n.Expression]) -> n.Expression:
    joined = parts[0]
    for part in parts[1:]:
        joined = n.Binary("|", joined, part)
    return joined


def _operation(name: str, inner: Any, kind: str) -> n.Expression:
    match name:
        case "payload" if "protocol" in inner:
            return n.Payload(str(inner["protocol"]), str(inner["field"]))
        case "meta":
            return n.Meta(str(inner["key"]))
        case "ct":
            return n.Ct(str(inner["key"]), inner.get("dir"), inner.get("family"))
        case "fib":
            flags = inner["flags"]
            return n.Fib(tuple(flags) if isinstance(flags, list) else (str(flags),), str(inner["result"]))
        case "numgen":
            return n.Numgen(str(inner["mode"]), int(inner["mod"]), int(inner.get("offset", 0)))
        case "jhash":
            return n.Hash(_expression(inner["expr"]), int(inner["mod"]), inner.get("seed"), int(inner.get("offset", 0)))
        case "symhash":
            return n.Hash(None, int(inner["mod"]), None, int(inner.get("offset", 0)))
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
            return n.MapLookup(_expression(inner["key"]), _set_or_reference(inner["data"], has_value=True))
        case _ if name in _OPERATORS:
            first, *others = inner
            found_left = _expression(first, kind)
            for other in others:
                found_left = n.Binary(name, found_left, _expression(other, kind or typed_by(found_left)))
            return found_left
    return n.UnmodelledExpression(name, f"{name} {json.dumps(inner)}")
