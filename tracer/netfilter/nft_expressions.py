"""The words of expressions, sets and their elements to values: the part of nft's grammar that rules and sets share.

A recursive descent over tokens. An expression that is known to exist but has no model keeps its words.
Source: nft(8) 1.0.9, parser_bison.y.
"""

from __future__ import annotations

from collections.abc import Callable

from tracer.errors import ParseError
from tracer.limits import OPERATIONS
from tracer.netfilter import nft_model as n
from tracer.netfilter.nft_typing import typed
from tracer.netfilter.nft_words import DSCP, TCP_FLAGS, Token, atom, fault, number, port_word, seconds
from tracer.values import dataclass

# fmt: off
HEADERS = frozenset({
    "ip", "ip6", "tcp", "udp", "udplite", "sctp", "dccp", "th", "icmp", "icmpv6", "icmp6", "igmp", "esp", "ah", "comp", "ether",
    "arp", "vlan",
})
BARE_META = frozenset({
    "iif", "iifname", "iiftype", "oif", "oifname", "oiftype", "mark", "skuid", "skgid", "nftrace", "rtclassid", "pkttype",
    "cpu", "iifgroup", "oifgroup", "cgroup",
})
_BINARY = {"&": "&", "and": "&", "|": "|", "or": "|", "^": "^", "xor": "^", "<<": "<<", "lshift": "<<", ">>": ">>", "rshift": ">>"}
COMPARISONS = {
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
    "!": "!",
}
# fmt: on
VERDICTS = frozenset({"accept", "drop", "continue", "return", "jump", "goto"})


@dataclass(slots=True)
class ExpressionParser:
    """Reads from the tokens of *text*; *family* is that of the table.

    NB: what lies in parentheses or braces is read by a deeper call, and a chain of operators is a tree as deep as it is long: both are
    counted, for one outermost expression.
    """

    text: str
    words: list[Token]
    family: str
    at: int = 0
    depth: int = 0
    operations: int = 0

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

    def until_brace(self) -> None:
        while self.take("'}'").text != "}":
            continue

    def text_from(self, start: int) -> str:
        """The text of the words from *start* to here."""
        if start >= self.at:
            return ""
        end = self.words[self.at].offset if self.at < len(self.words) else len(self.text)
        return self.text[self.words[start].offset : end].strip()

    # -- expressions --------------------------------------------------------------------------------------------------------------

    def expression(self, kind: str = "") -> n.Expression:
        """An expression; *kind* is the type of what it is compared with, for its constants."""
        self.operations = self.operations if self.depth else 0
        if self.depth >= OPERATIONS:
            raise self.error(f"an expression nested more than {OPERATIONS} deep")
        self.depth += 1
        parts = [self.binary(kind)]
        while self.accept("."):
            parts.append(self.binary(""))
        found: n.Expression = parts[0] if len(parts) == 1 else n.Concat(tuple(parts))
        if self.accept("map"):
            found = n.MapLookup(found, self.map_of(found))
        self.depth -= 1
        return found

    def operation(self, operator: str, left: n.Expression, right: n.Expression) -> n.Binary:
        """One operation of an expression. :raises ParseError: the expression has too many."""
        self.operations += 1
        if self.operations > OPERATIONS:
            raise self.error(f"an expression of more than {OPERATIONS} operations")
        return n.Binary(operator, left, right)

    def binary(self, kind: str) -> n.Expression:
        found = self.primary(kind)
        while (operator := _BINARY.get(self.peek() or "")) is not None:
            self.at += 1
            found = self.operation(operator, found, self.primary(kind or typed_by(found)))
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
        if word in BARE_META and not kind:
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
        if (protocol, field) == ("sctp", "chunk"):
            return self.option(protocol, field)
        return n.Payload(protocol, field)

    def option(self, protocol: str, field: str) -> n.Expression:
        """``tcp option maxseg size``, ``ip option ra value``: an option, and a field of it."""
        start = self.at - 2
        self.take("an option")
        if self.peek() not in (*COMPARISONS, "set", "exists", "missing", None):
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

    def checked(self, left: n.Expression, right: n.Expression) -> n.Expression:
        try:
            return typed(left, right)
        except ValueError as error:
            raise self.error(str(error)) from None

    def map_of(self, key: n.Expression) -> n.SetLiteral | n.SetReference:
        found = self.set_or_reference()
        checked = self.checked(key, found)
        return checked if isinstance(checked, n.SetLiteral) else found

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
        return self.verdict_value() if self.peek() in VERDICTS else self.expression()


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
        "iifgroup",
        "oifgroup",
    ):
        return "name"
    if isinstance(left, n.Fib) and left.result in ("oif", "oifname"):
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


_EXPRESSIONS: dict[str, Callable[[ExpressionParser], n.Expression]] = {
    "meta": ExpressionParser.meta,
    "ct": ExpressionParser.ct,
    "fib": ExpressionParser.fib,
    "numgen": ExpressionParser.numgen,
    "jhash": ExpressionParser.jhash,
    "symhash": ExpressionParser.symhash,
    **dict.fromkeys(("socket", "rt", "osf", "ipsec", "exthdr", "dst", "hbh", "frag", "mh", "srh"), ExpressionParser.unmodelled),
}
