"""The words of one nftables rule to its statements.

A recursive descent over tokens. A statement or expression that is known to exist but has no model keeps its words; one that is not known
at all is a fault of the rule, which then counts as unreadable.
Source: nft(8) 1.0.9, parser_bison.y.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from tracer.errors import ParseError
from tracer.netfilter import nft_model as n
from tracer.netfilter.nft_typing import typed
from tracer.netfilter.nft_words import DSCP, TCP_FLAGS, Token, atom, fault, number, port_word, seconds, tokens

# fmt: off
HEADERS = frozenset({
    "ip", "ip6", "tcp", "udp", "udplite", "sctp", "dccp", "th", "icmp", "icmpv6", "icmp6", "igmp", "esp", "ah", "comp", "ether",
    "arp", "vlan",
})
META_KEYS = frozenset({
    "iif", "iifname", "iiftype", "oif", "oifname", "oiftype", "mark", "skuid", "skgid", "nftrace", "rtclassid", "ibrname", "obrname",
    "pkttype", "cpu", "iifgroup", "oifgroup", "cgroup", "priority", "length", "protocol", "nfproto", "l4proto", "secmark", "random",
    "ipsec", "iifkind", "oifkind", "time", "hour", "day", "sdif", "sdifname",
})
_BARE_META = frozenset({
    "iif", "iifname", "iiftype", "oif", "oifname", "oiftype", "mark", "skuid", "skgid", "nftrace", "rtclassid", "pkttype",
    "cpu", "iifgroup", "oifgroup", "cgroup",
})
_BINARY = {"&": "&", "and": "&", "|": "|", "or": "|", "^": "^", "xor": "^", "<<": "<<", "lshift": "<<", ">>": ">>", "rshift": ">>"}
_COMPARISONS = {
    "==": "==",
    "eq": "==",
    "!=": "!=",
    "ne": "!=",
    "<": "<",
    "lt": "<",
    ">": ">",
    "gt": ">",
    "<=": "<=",
    "le": "<=",
    ">=": ">=",
    "ge": ">=",
}
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
# fmt: on


def parse_statements(text: str, family: str) -> tuple[tuple[n.Statement, ...], str | None]:
    """Return the statements of a rule's text and its comment. *family* is its table's.

    :raises ParseError: the text is no rule that is known; the fault has the column.
    """
    return _Parser(text, tokens(text), family).rule()


@dataclass(slots=True)
class _Parser:
    text: str
    words: list[Token]
    family: str
    at: int = 0

    # -- reading ------------------------------------------------------------------------------------------------------------------

    def peek(self, ahead: int = 0) -> str | None:
        position = self.at + ahead
        if position >= len(self.words) or self.words[position].quoted:
            return None
        return self.words[position].text

    def take(self, what: str = "a word") -> Token:
        if self.at >= len(self.words):
            raise self.error(f"{what} is missing")
        self.at += 1
        return self.words[self.at - 1]

    def accept(self, *wanted: str) -> bool:
        if self.peek() in wanted:
            self.at += 1
            return True
        return False

    def expect(self, wanted: str) -> None:
        if not self.accept(wanted):
            raise self.error(f"{wanted!r} is expected here")

    def error(self, message: str) -> ParseError:
        offset = self.words[self.at].offset if self.at < len(self.words) else len(self.text)
        return ParseError(fault(self.text, offset, message))

    def rest(self, stop: Callable[[str | None], bool] = lambda word: False) -> str:
        """The text of the words up to one that *stop* accepts, or to the end."""
        start = self.at
        while self.at < len(self.words) and not stop(self.peek()):
            self.at += 1
        if start == self.at:
            return ""
        end = self.words[self.at].offset if self.at < len(self.words) else len(self.text)
        return self.text[self.words[start].offset : end].strip()

    # -- statements ---------------------------------------------------------------------------------------------------------------

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
        if (word == "meta" and self.peek(2) == "set") or (word in _BARE_META and self.peek(1) == "set"):
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

    def verdict_value(self) -> n.VerdictValue:
        kind = self.take().text
        if kind in ("jump", "goto"):
            return n.VerdictValue(kind, self.take("the chain").text)
        return n.VerdictValue(kind)

    def counter(self) -> n.Statement:
        self.at += 1
        if self.accept("name"):
            return n.Counter(self.take("the counter's name").text)
        if self.accept("packets"):
            self.take()
            self.expect("bytes")
            self.take()
        return n.Counter()

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
        spelled = REJECTS.get(kind, {}).get(code)
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
        if word is not None and word.startswith(":") and len(word) > 1:
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
        while self.accept("counter", "packets", "bytes") or (self.peek() or "").isdigit():
            continue
        if self.accept("comment"):
            self.take("the comment")
        self.expect("}")
        return n.SetUpdate(operation, name[1:], key, timeout)

    def amount(self) -> n.Statement:
        """``quota [over|until] N mbytes [used …]``, ``quota name "…"``, ``last [used …]``: what passed before decides."""
        start = self.at
        kind = self.take().text
        while self.peek() in ("over", "until", "used", "name", "never") or number(self.peek() or "") is not None or self.peek() in _UNITS:
            if self.take().text == "name":
                self.take("a name")
        return n.UnmodelledMatch(kind, self.text_from(start))

    def meter(self) -> n.Statement:
        start = self.at
        self.at += 2
        if self.accept("size"):
            self.take("the size")
        self.expect("{")
        self.until_brace()
        return n.UnmodelledMatch("meter", self.text_from(start))

    def until_brace(self) -> None:
        while self.take("'}'").text != "}":
            continue

    def text_from(self, start: int) -> str:
        """The text of the words from *start* to here."""
        if start >= self.at:
            return ""
        end = self.words[self.at].offset if self.at < len(self.words) else len(self.text)
        return self.text[self.words[start].offset : end].strip()

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
            found = n.Binary("|", found, self.expression())
        return found

    def time_of_day(self) -> n.Statement:
        """``meta hour "08:00"-"17:00"``, ``meta day { "Monday" }``: the time of asking is not in a snapshot."""
        start = self.at
        self.at += 2
        self.accept(*_COMPARISONS)
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
        if isinstance(left, _CONSTANTS):
            self.at = start
            raise self.error("no statement begins like this")
        if self.accept("vmap"):
            return n.VerdictMap(left, self.map_of(left))
        if self.accept("set"):
            return n.Assign(left, self.new_value(left))
        word = self.peek()
        operator = _COMPARISONS.get(word or "")
        if operator is not None:
            self.at += 1
        flags = isinstance(left, n.Ct | n.Payload) and (_flag_key(left) in _FLAG_KEYS)
        if flags and self.peek() == "/":
            self.at += 1
        return self.compared(left, operator, self.checked(left, self.right_side(left)))

    def checked(self, left: n.Expression, right: n.Expression) -> n.Expression:
        try:
            return typed(left, right)
        except ValueError as error:
            raise self.error(str(error)) from None

    def map_of(self, key: n.Expression) -> n.SetLiteral | n.SetReference:
        found = self.set_or_reference()
        checked = self.checked(key, found)
        return checked if isinstance(checked, n.SetLiteral) else found

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
            flags = n.Binary("|", flags, self.expression(typed_by(left)))
        return flags

    # -- expressions --------------------------------------------------------------------------------------------------------------

    def expression(self, kind: str = "") -> n.Expression:
        """An expression; *kind* is the type of what it is compared with, for its constants."""
        parts = [self.binary(kind)]
        while self.accept("."):
            parts.append(self.binary(""))
        found: n.Expression = parts[0] if len(parts) == 1 else n.Concat(tuple(parts))
        if self.accept("map"):
            return n.MapLookup(found, self.map_of(found))
        return found

    def binary(self, kind: str) -> n.Expression:
        found = self.primary(kind)
        while (operator := _BINARY.get(self.peek() or "")) is not None:
            self.at += 1
            found = n.Binary(operator, found, self.primary(kind or typed_by(found)))
        return found

    def primary(self, kind: str = "") -> n.Expression:
        token = self.take("a value")
        if token.quoted:
            return n.Word(token.text, True)
        word = token.text
        if word == "(":
            found = self.expression(kind)
            self.expect(")")
            return found
        if word == "{":
            return self.elements(kind)
        if word.startswith("@"):
            if self.peek() == "," or word in ("@nh", "@th", "@ll", "@ih"):
                return self.raw_payload()
            return n.SetReference(word[1:])
        if word in HEADERS and not kind and self.peek() is not None and not self.peek_is_sign():
            return self.header(word)
        reader = _EXPRESSIONS.get(word)
        if reader is not None:
            return reader(self)
        if word in _BARE_META and not kind:
            return n.Meta(word)
        return _typed(atom(word), kind)

    def raw_payload(self) -> n.Expression:
        """``@th,16,16``."""
        start = self.at - 1
        for _ in range(2):
            self.expect(",")
            self.take("an offset or a length")
        return n.UnmodelledExpression("payload", self.text_from(start))

    def peek_is_sign(self) -> bool:
        return self.peek() in {"}", ",", ".", ":", ";", "comment", "timeout", "expires", "counter"}

    def header(self, protocol: str) -> n.Expression:
        field = self.take("a header field").text
        if protocol in ("tcp", "ip", "ip6") and field in ("option", "hdr"):
            return self.option(protocol, field)
        return n.Payload(protocol, field)

    def option(self, protocol: str, field: str) -> n.Expression:
        """``tcp option maxseg size``, ``ip option ra value``: an option, and a field of it."""
        start = self.at - 2
        self.take("an option")
        if self.peek() not in (*_COMPARISONS, "set", "exists", "missing", None):
            self.take("a field")
        return n.UnmodelledExpression("exthdr", self.text_from(start))

    def meta(self) -> n.Expression:
        return n.Meta(self.take("a meta key").text)

    def ct(self) -> n.Expression:
        direction = self.take().text if self.peek() in ("original", "reply") else None
        family = self.take().text if self.peek() in ("ip", "ip6") else None
        return n.Ct(self.take("a ct key").text, direction, family)

    def fib(self) -> n.Expression:
        keys = [self.take("a fib key").text]
        while self.accept("."):
            keys.append(self.take("a fib key").text)
        return n.Fib(tuple(keys), self.take("a fib result").text)

    def numgen(self) -> n.Expression:
        mode = self.take("random or inc").text
        return n.Numgen(mode, self.modulus(), self.offset())

    def modulus(self) -> int:
        self.expect("mod")
        value = number(self.take("the modulus").text)
        if not value:
            raise self.error("the modulus is not a positive number")
        return value

    def offset(self) -> int:
        return (number(self.take("the offset").text) or 0) if self.accept("offset") else 0

    def jhash(self) -> n.Expression:
        key = self.expression()
        modulus = self.modulus()
        seed = number(self.take("the seed").text) if self.accept("seed") else None
        return n.Hash(key, modulus, seed, self.offset())

    def symhash(self) -> n.Expression:
        return n.Hash(None, self.modulus(), None, self.offset())

    def unmodelled(self) -> n.Expression:
        start = self.at - 1
        kind = self.words[start].text
        if self.take("a key").text in ("ip", "ip6", "tcp", "in", "out"):  # rt ip nexthop, ipsec in reqid
            self.take("a key")
        if self.accept("level"):  # socket cgroupv2 level 2
            self.take("a level")
        return n.UnmodelledExpression(kind, self.text_from(start))

    # -- sets ---------------------------------------------------------------------------------------------------------------------

    def set_or_reference(self) -> n.SetLiteral | n.SetReference:
        if self.accept("{"):
            return self.elements("")
        token = self.take("a map")
        if not token.text.startswith("@"):
            raise self.error("a map is expected here")
        return n.SetReference(token.text[1:])

    def elements(self, kind: str) -> n.SetLiteral:
        """The elements of ``{ … }``, whose opening brace is read."""
        found: list[n.Element] = []
        while not self.accept("}"):
            found.append(self.element(kind))
            if not self.accept(",") and self.peek() != "}":
                raise self.error("',' or '}' is expected here")
        return n.SetLiteral(tuple(found))

    def element(self, kind: str) -> n.Element:
        key: n.Expression | n.Wildcard = n.Wildcard() if self.accept("*") else self.expression(kind)
        timeout = expires = None
        comment = None
        counted = False
        while (word := self.peek()) in ("timeout", "expires", "comment", "counter"):
            self.at += 1
            if word == "counter":
                self.at -= 1
                self.counter()
                counted = True
            elif word == "comment":
                comment = self.take("the comment").text
            elif word == "timeout":
                timeout = seconds(self.take("the time").text)
            else:
                expires = seconds(self.take("the time").text)
        value = self.element_value() if self.accept(":") else None
        return n.Element(key, value, comment, timeout, expires, counted)

    def element_value(self) -> n.Expression | n.VerdictValue:
        return self.verdict_value() if self.peek() in _VERDICTS else self.expression()


_CONSTANTS = (n.Word, n.Prefix, n.Interval, int, IPv4Address, IPv6Address, n.SetLiteral, n.SetReference)
_VERDICTS = frozenset({"accept", "drop", "continue", "return", "jump", "goto"})


def _flag_key(left: n.Ct | n.Payload) -> tuple[str, str]:
    return ("ct", left.key) if isinstance(left, n.Ct) else (left.protocol, left.field)


def _flag_like(left: n.Expression) -> bool:
    if isinstance(left, n.Binary):
        return _flag_like(left.left)
    return isinstance(left, n.Ct | n.Payload) and _flag_key(left) in _FLAG_KEYS


_PAYLOAD_TYPES = {"flags": "tcp_flag", "sport": "port", "dport": "port", "dscp": "dscp"}


def typed_by(left: n.Expression) -> str:
    """Return what constants beside *left* mean: ``tcp_flag``, ``port``, or nothing special."""
    if isinstance(left, n.Binary):
        return typed_by(left.left)
    if isinstance(left, n.Payload):
        return _PAYLOAD_TYPES.get(left.field, "value")
    if isinstance(left, n.Meta) and left.key in (
        "iif",
        "oif",
        "iifname",
        "oifname",
        "ibrname",
        "obrname",
        "sdifname",
        "iifkind",
        "oifkind",
    ):
        return "name"
    if isinstance(left, n.Meta) and left.key == "pkttype":
        return "pkttype"
    return "value" if isinstance(left, n.Meta | n.Ct | n.Fib) else ""


def _typed(value: n.Atom, kind: str) -> n.Expression:
    if kind == "tcp_flag" and isinstance(value, n.Word):
        total = 0
        for word in value.text.split(","):
            if word not in TCP_FLAGS:
                return value
            total |= TCP_FLAGS[word]
        return total
    if kind == "port":
        return port_word(value)
    if kind == "dscp" and isinstance(value, n.Word):
        return DSCP.get(value.text, value)
    if kind == "pkttype" and value == n.Word("unicast"):
        return n.Word("host")  # one type, two names
    if isinstance(value, n.Word) and "," in value.text and kind == "value":
        first, *others = value.text.split(",")
        joined: n.Expression = n.Word(first)
        for other in others:
            joined = n.Binary("|", joined, n.Word(other))
        return joined
    return value


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
    **dict.fromkeys(_VERDICTS, _Parser.verdict),
    "counter": _Parser.counter,
    "reject": _Parser.reject,
    **dict.fromkeys(("dnat", "snat", "masquerade", "redirect"), _Parser.nat),
    "log": _Parser.log,
    "limit": _Parser.limit,
    "notrack": _Parser.notrack,
    **dict.fromkeys(("add", "update", "delete"), _Parser.set_update),
    **dict.fromkeys(("quota", "last"), _Parser.amount),
    **dict.fromkeys(("queue", "tproxy", "synproxy", "dup", "fwd"), _Parser.unmodelled_statement),
    "meter": _Parser.meter,
    "flow": _Parser.flow,
    "reset": _Parser.option_reset,
    "xt": _Parser.xt,
}
_EXPRESSIONS: dict[str, Callable[[_Parser], n.Expression]] = {
    "meta": _Parser.meta,
    "ct": _Parser.ct,
    "fib": _Parser.fib,
    "numgen": _Parser.numgen,
    "jhash": _Parser.jhash,
    "symhash": _Parser.symhash,
    **dict.fromkeys(("socket", "rt", "osf", "ipsec", "exthdr", "dst", "hbh", "frag", "mh", "srh"), _Parser.unmodelled),
}
