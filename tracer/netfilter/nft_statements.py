"""The words of one nftables rule to its statements.

A statement that is known to exist but has no model keeps its words; one that is not known at all is a fault of the rule, which then
counts as unreadable. Source: nft(8) 1.0.9, parser_bison.y.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address

from tracer.errors import ParseError
from tracer.netfilter import nft_model as n
from tracer.netfilter.nft_expressions import BARE_META, COMPARISONS, VERDICTS, ExpressionParser, typed_by
from tracer.netfilter.nft_words import atom, number, port_word, seconds, tokens

# fmt: off
_UNITS = frozenset({"bytes", "kbytes", "mbytes"})
_NAT_FLAGS = frozenset({"random", "fully-random", "persistent"})
_FLAG_KEYS = frozenset({("ct", "state"), ("ct", "status"), ("ct", "label"), ("tcp", "flags")})
REJECTS = {
    "icmp": {
        "port-unreachable": "icmp-port-unreachable", "net-unreachable": "icmp-net-unreachable", "host-unreachable": "icmp-host-unreachable",
        "prot-unreachable": "icmp-proto-unreachable", "net-prohibited": "icmp-net-prohibited", "host-prohibited": "icmp-host-prohibited",
        "admin-prohibited": "icmp-admin-prohibited",
    },
    "icmpv6": {
        "port-unreachable": "icmp6-port-unreachable", "no-route": "icmp6-no-route", "admin-prohibited": "icmp6-adm-prohibited",
        "addr-unreachable": "icmp6-addr-unreachable", "policy-fail": "icmp6-policy-fail", "reject-route": "icmp6-reject-route",
    },
    "icmpx": {
        "port-unreachable": "icmp-port-unreachable", "no-route": "icmp-net-unreachable", "host-unreachable": "icmp-host-unreachable",
        "admin-prohibited": "icmp-admin-prohibited",
    },
}
REJECT_CODES = {
    "icmp": {"0": "net-unreachable", "1": "host-unreachable", "2": "prot-unreachable", "3": "port-unreachable", "9": "net-prohibited",
             "10": "host-prohibited", "13": "admin-prohibited"},
    "icmpv6": {"0": "no-route", "1": "admin-prohibited", "3": "addr-unreachable", "4": "port-unreachable", "5": "policy-fail",
               "6": "reject-route"},
    "icmpx": {"0": "no-route", "1": "port-unreachable", "2": "host-unreachable", "3": "admin-prohibited"},
}  # fmt: skip
"""What ``nft -n`` prints in their place. Source: icmp.h, icmpv6.h, nf_tables.h (NFT_REJECT_ICMPX_*)."""
# fmt: on
_CONSTANTS = (n.Word, n.Prefix, n.Interval, int, IPv4Address, IPv6Address, n.SetLiteral, n.SetReference)


def parse_statements(text: str, family: str) -> tuple[tuple[n.Statement, ...], str | None]:
    """Return the statements of a rule's text and its comment. *family* is its table's.

    :raises ParseError: the text is no rule that is known; the fault has the column.
    """
    return _Parser(text, tokens(text), family).rule()


class _Parser(ExpressionParser):
    __slots__ = ()

    def rule(self) -> tuple[tuple[n.Statement, ...], str | None]:
        found: list[n.Statement] = []
        comment = None
        while self.at < len(self.words):
            if self.peek() == ";":
                self.at += 1
            elif self.peek() == "comment":
                self.at += 1
                comment = self.take("the comment").text
            else:
                found.append(self.statement())
        return tuple(found), comment

    def statement(self) -> n.Statement:
        word = self.peek()
        reader = _STATEMENTS.get(word or "")
        if reader is not None:
            return reader(self)
        if word == "ct" and self.peek(1) == "count":
            return self.count()
        if word == "meta" and self.peek(1) in ("hour", "day", "time"):
            return self.time_of_day()
        if (word == "meta" and self.peek(2) == "set") or (word in BARE_META and self.peek(1) == "set"):
            return self.assignment()
        return self.match()

    def count(self) -> n.Statement:
        start = self.at
        self.at += 2
        self.accept("over")
        self.take("the number of connections")
        return n.UnmodelledMatch("ct count", self.text_from(start))

    def verdict(self) -> n.Statement:
        return n.Verdict(self.verdict_value())

    def reject(self) -> n.Statement:
        start = self.at
        self.at += 1
        kind, code = ("icmpv6" if self.family == "ip6" else "icmp" if self.family == "ip" else "icmpx"), "port-unreachable"
        if self.accept("with"):
            if self.accept("tcp"):
                self.expect("reset")
                return n.Reject("tcp-reset", self.text_from(start + 1))
            kind = self.take("the kind of ICMP error").text
            self.accept("type")
            code = self.take("the ICMP code").text
        spelled = REJECTS.get(kind, {}).get(REJECT_CODES.get(kind, {}).get(code, code))
        if spelled is None:
            raise self.error(f"no reject is called {kind} {code}")
        return n.Reject(spelled, self.text_from(start + 1))

    def nat(self) -> n.Statement:
        kind = self.take().text
        family, prefix, concatenated = None, False, False
        if kind in ("dnat", "snat"):
            if self.peek() in ("ip", "ip6"):
                family = self.take().text
            if self.accept("addr"):
                self.expect(".")
                self.expect("port")
                concatenated = True
            prefix = self.accept("prefix")
        address: n.Expression | None = None
        port: n.Expression | None = None
        if self.accept("to"):
            address, port = self.nat_target(kind)
            if self.accept(":"):
                port = self.expression()
        elif kind in ("dnat", "snat"):
            raise self.error("'to' is expected here")
        flags: list[str] = []
        while self.peek() in _NAT_FLAGS or self.peek() == ",":
            word = self.take().text
            flags.extend([word] if word != "," else [])
        if isinstance(address, n.MapLookup) and _gives_port(address):
            concatenated = True
        return n.Nat(kind, address, port, family, tuple(flags), concatenated, prefix)

    def nat_target(self, kind: str) -> tuple[n.Expression | None, n.Expression | None]:
        """``A``, ``A:P``, ``[A]:P``, ``:P``, ranges of each, or an expression."""
        word = self.peek()
        if word == ":":
            raise self.error("a port is expected behind the colon")
        if word is not None and word.startswith(":"):
            self.at += 1
            return None, port_word(atom(word[1:]))
        if word is not None and word.startswith("["):
            self.at += 1
            return _bracketed(word, self.error)
        if word is not None and word.count(":") == 1 and (host := word.split(":"))[0]:
            self.at += 1
            return atom(host[0]), port_word(atom(host[1])) if host[1] else None
        found = self.expression()
        if kind in ("masquerade", "redirect"):
            return None, found
        return found, None

    def log(self) -> n.Statement:
        start = self.at
        self.at += 1
        while self.peek() in ("prefix", "level", "group", "snaplen", "queue-threshold", "flags"):
            self.at += 2
            if self.words[self.at - 2].text == "flags":
                self.at += self.peek() is not None and self.words[self.at - 1].text in ("tcp", "ip")
                while self.accept(","):
                    self.take("a flag")
        return n.Harmless(self.text_from(start))

    def limit(self) -> n.Statement:
        start = self.at
        self.at += 1
        if self.accept("rate"):
            self.accept("over", "until")
            self.take("the rate")
            if self.peek() in ("bytes/second", "kbytes/second", "mbytes/second"):
                self.at += 1
            if self.accept("burst"):
                self.take("the burst")
                self.accept("packets", "bytes", "kbytes", "mbytes")
        else:
            self.accept("name")
            self.take("the limit's name")
        return n.UnmodelledMatch("limit", self.text_from(start))

    def notrack(self) -> n.Statement:
        self.at += 1
        return n.NoTrack()

    def set_update(self) -> n.Statement:
        start = self.at
        operation = self.take().text
        name = self.take("the set").text
        if not name.startswith("@"):
            raise self.error("a set is expected here")
        self.expect("{")
        key = self.expression()
        timeout = seconds(self.take("the time").text) if self.accept("timeout", "expires") else None
        if self.peek() in ("limit", "ct", "quota"):  # a meter: whether the rule goes on depends on what passed before
            self.until_brace()
            return n.UnmodelledMatch("meter", self.text_from(start))
        if self.accept(":"):  # into a map: nothing that a trace follows looks it up by what it was given
            self.until_brace()
            return n.UnmodelledStatement("map", self.text_from(start))
        while self.peek() in ("counter", "packets", "bytes") or number(self.peek() or "") is not None:
            self.at += 1
        if self.accept("comment"):
            self.take("the comment")
        self.expect("}")
        return n.SetUpdate(operation, name[1:], key, timeout)

    def amount(self) -> n.Statement:
        """``quota [over|until] N mbytes [used …]``, ``quota name "…"``: what passed before decides."""
        start = self.at
        kind = self.take().text
        while self.peek() in ("over", "until", "used", "name", "never") or number(self.peek() or "") is not None or self.peek() in _UNITS:
            if self.take().text == "name":
                self.take("a name")
        return n.UnmodelledMatch(kind, self.text_from(start))

    def last(self) -> n.Statement:
        """``last [used never|TIME]``: it keeps the time, and never ends a rule. Source: nft_last_eval (nft_last.c), Linux 6.18."""
        start = self.at
        self.at += 1
        if self.accept("used"):
            self.take("when it was used last")
        return n.Harmless(self.text_from(start))

    def meter(self) -> n.Statement:
        start = self.at
        self.at += 2
        if self.accept("size"):
            self.take("the size")
        self.expect("{")
        self.until_brace()
        return n.UnmodelledMatch("meter", self.text_from(start))

    def flow(self) -> n.Statement:
        """``flow add @F``: later packets take a short cut to the same place."""
        start = self.at
        self.at += 1
        self.expect("add")
        self.take("the flow table")
        return n.Harmless(self.text_from(start))

    def option_reset(self) -> n.Statement:
        """``reset tcp option X``."""
        start = self.at
        self.at += 4
        return n.Harmless(self.text_from(start))

    def unmodelled_statement(self) -> n.Statement:
        kind = self.peek() or ""
        return n.UnmodelledStatement(kind, self.rest(lambda word: word == "comment"))

    def xt(self) -> n.Statement:
        self.at += 1
        kind = self.take("match or target").text
        name = self.take("the extension's name").text
        text = f'xt {kind} "{name}"'
        return n.UnmodelledStatement("xt", text) if kind == "target" else n.UnmodelledMatch("xt", text)

    def assignment(self) -> n.Statement:
        target = self.primary()
        self.expect("set")
        return n.Assign(target, self.new_value(target))

    def new_value(self, target: n.Expression) -> n.Expression:
        """What ``… set`` gives: an expression; for events and labels a list of words."""
        found = self.expression("dscp" if typed_by(target) == "dscp" else "")
        while isinstance(target, n.Ct) and self.accept(","):
            found = self.operation("|", found, self.expression())
        return found

    def time_of_day(self) -> n.Statement:
        """``meta hour "08:00"-"17:00"``, ``meta day { "Monday" }``: the time of asking is not in a snapshot."""
        start = self.at
        self.at += 2
        self.accept(*COMPARISONS)
        if self.accept("{"):
            self.until_brace()
        else:
            self.take("a time")
            if self.accept("-"):
                self.take("a time")
        return n.UnmodelledMatch("time", self.text_from(start))

    def match(self) -> n.Statement:
        start = self.at
        left = self.expression()
        if isinstance(left, _CONSTANTS) or (isinstance(left, n.Concat) and any(isinstance(part, _CONSTANTS) for part in left.parts)):
            self.at = start
            raise self.error("no statement begins like this")
        if self.accept("vmap"):
            return n.VerdictMap(left, self.map_of(left))
        if self.accept("set"):
            return n.Assign(left, self.new_value(left))
        word = self.peek()
        operator = COMPARISONS.get(word or "")
        if operator is not None:
            self.at += 1
        flags = isinstance(left, n.Ct | n.Payload) and (_flag_key(left) in _FLAG_KEYS)
        if flags and self.peek() == "/":
            self.at += 1
        return self.compared(left, operator, self.checked(left, self.right_side(left)))

    def compared(self, left: n.Expression, operator: str | None, right: n.Expression) -> n.Compare:
        flags = isinstance(left, n.Ct | n.Payload) and _flag_key(left) in _FLAG_KEYS
        if flags and isinstance(left, n.Payload) and self.accept("/"):
            mask = self.right_side(left)
            return n.Compare(operator or "==", n.Binary("&", left, mask), right)
        if operator is None:
            operator = "in" if flags and not isinstance(right, n.SetLiteral | n.SetReference) else "=="
        return n.Compare(operator, left, right)

    def right_side(self, left: n.Expression) -> n.Expression:
        """What a header field or key is compared with; lists of flags are joined by ``|``."""
        found = self.expression(typed_by(left))
        flags: n.Expression = found
        while self.peek() == "," and _flag_like(left):
            self.at += 1
            flags = self.operation("|", flags, self.expression(typed_by(left)))
        return flags


def _flag_key(left: n.Ct | n.Payload) -> tuple[str, str]:
    return ("ct", left.key) if isinstance(left, n.Ct) else (left.protocol, left.field)


def _flag_like(left: n.Expression) -> bool:
    if isinstance(left, n.Binary):
        return _flag_like(left.left)
    return isinstance(left, n.Ct | n.Payload) and _flag_key(left) in _FLAG_KEYS


def _gives_port(found: n.MapLookup) -> bool:
    return isinstance(found.map, n.SetLiteral) and any(isinstance(e.value, n.Concat) for e in found.map.elements)


def _bracketed(word: str, error: Callable[[str], ParseError]) -> tuple[n.Expression | None, n.Expression | None]:
    """``[A]:P`` or ``[A]-[B]:P``."""
    address, _, port = word.rpartition("]")
    host = address.replace("[", "").replace("]", "")
    if not host:
        raise error("an address is expected in the brackets")
    return atom(host), port_word(atom(port[1:])) if port.startswith(":") and len(port) > 1 else None


_STATEMENTS: dict[str, Callable[[_Parser], n.Statement]] = {
    **dict.fromkeys(VERDICTS, _Parser.verdict),
    "counter": _Parser.counter,
    "reject": _Parser.reject,
    **dict.fromkeys(("dnat", "snat", "masquerade", "redirect"), _Parser.nat),
    "log": _Parser.log,
    "limit": _Parser.limit,
    "notrack": _Parser.notrack,
    **dict.fromkeys(("add", "update", "delete"), _Parser.set_update),
    "quota": _Parser.amount,
    "last": _Parser.last,
    **dict.fromkeys(("queue", "tproxy", "synproxy", "dup", "fwd"), _Parser.unmodelled_statement),
    "meter": _Parser.meter,
    "flow": _Parser.flow,
    "reset": _Parser.option_reset,
    "xt": _Parser.xt,
}
