"""Whether a match of a native rule holds for a packet.

Source: nft_cmp.c, nft_bitwise.c, nft_lookup.c, nft_range.c, Linux 6.18; relational expressions in evaluate.c of nftables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from ipaddress import IPv4Address, IPv6Address

from tracer.netfilter import nft_model as n
from tracer.netfilter.nft_icmp import IcmpWord
from tracer.netfilter.nft_set_index import Absent, OwnPort, Value, constant, same, unknown
from tracer.netfilter.nft_typing import PROTOCOL_WORDS
from tracer.netfilter.nft_values import Evaluator, fib_is_routed, label_memory
from tracer.netfilter.view import LOOPBACK, UnknownAnswer, View, is_unnamed


def holds(statement: n.Compare, view: View, values: Evaluator) -> bool | Fraction | UnknownAnswer:
    """Return whether a match holds: yes, no, unknown, or its odds when its value is random."""
    if isinstance(statement.left, n.Fib) and statement.left.result != "type":
        asked = ["missing"] if statement.right == 0 else list(_words(statement.right))  # index 0: no device at all
        routed = fib_is_routed(statement.left, asked, view)
        if routed is None:
            return unknown("the routes that fib asks for are not known")
        return routed != (statement.operator == "!=")
    if _has_label(statement, view):
        return True
    if _is_loopback_of_some_device(statement, view):
        return statement.operator == "!="
    total, missing = Fraction(0), None
    for share, value in values.ways(statement.left, view):
        answer = _holds(statement, value, view, values)
        if isinstance(answer, UnknownAnswer):
            missing = answer
        elif answer:
            total += share
    if missing is not None:
        return missing
    return True if total == 1 else False if total == 0 else total


def _has_label(statement: n.Compare, view: View) -> bool:
    """Whether this very flow was given the label that is asked for. NB: of a new one an earlier connection may have been remembered."""
    left, right, connection = statement.left, statement.right, view.connection
    if not (isinstance(left, n.Ct) and left.key == "label" and statement.operator == "in") or connection is None or view.state == "NEW":
        return False
    return isinstance(right, int | n.Word) and label_memory(constant(right), connection) in view.recent


def _is_loopback_of_some_device(statement: n.Compare, view: View) -> bool:
    """Whether it asks if a device that nobody named is lo: that is never among those."""
    left, right = statement.left, statement.right
    if not isinstance(left, n.Meta) or not isinstance(right, n.Word) or right.text != LOOPBACK or statement.operator not in ("==", "!="):
        return False
    device = view.in_device if left.key in ("iif", "iifname") else view.out_device if left.key in ("oif", "oifname") else None
    return is_unnamed(device)


def holds_together(group: Sequence[n.Compare], view: View, values: Evaluator) -> bool | UnknownAnswer:
    """Return whether ``!=`` comparisons hold that nft may have joined: yes where all do, no where none does, else nobody can tell."""
    answers = [holds(statement, view, values) for statement in group]
    if missing := next((a for a in answers if isinstance(a, UnknownAnswer)), None):
        return missing
    if all(answers) or not any(answers):
        return all(answers)
    fields = " and ".join(f"{s.left.protocol} {s.left.field}" for s in group if isinstance(s.left, n.Payload))
    return unknown(f"versions of nft load the != of {fields} as one, which holds if either differs; a listing does not tell")


def _holds(statement: n.Compare, value: Value, view: View, values: Evaluator) -> bool | UnknownAnswer:
    if isinstance(value, Absent):
        return False
    if isinstance(value, UnknownAnswer):
        return value
    if isinstance(value, tuple) and (missing := next((p for p in value if isinstance(p, UnknownAnswer)), None)):
        return missing
    right, negated = statement.right, statement.operator == "!="
    if isinstance(value, frozenset):
        return _has_flags(statement, value, view)
    if isinstance(right, n.SetLiteral | n.SetReference):
        found = values.find(right, value, view)
        return found if isinstance(found, UnknownAnswer) else (found is not None) != negated
    wanted = values.ways(right, view)[0][1]
    if isinstance(wanted, UnknownAnswer):
        return wanted
    if statement.operator in ("in", "!") and isinstance(wanted, int) and isinstance(value, int):
        return bool(wanted & value) == (statement.operator == "in")  # any of these bits, or none
    if isinstance(wanted, str) and isinstance(value, int | OwnPort) and wanted not in PROTOCOL_WORDS:
        return unknown(f"which number {wanted!r} stands for is not known", "UNMODELLED_MATCH")
    if statement.operator in ("==", "!=", "in"):
        equal = _same_parts(wanted, value)
        return unknown("the client's own port is not given") if equal is None else equal != negated
    return _ordered(statement.operator, value, wanted)


def _has_flags(statement: n.Compare, value: frozenset[str], view: View) -> bool | UnknownAnswer:
    """Whether a bit field holds: a plain word asks for the bit, == and != for the whole value. A state is one bit; a status is more."""
    words, negated = frozenset(_words(statement.right)), statement.operator == "!="
    if statement.operator == "!":
        found = _has_flags(replace(statement, operator="in"), value, view)
        return found if isinstance(found, UnknownAnswer) else not found
    if isinstance(statement.left, n.Ct) and statement.left.key == "status":
        return _has_status(statement, words, value, view)
    if statement.operator == "in":
        return bool(words & value)
    if isinstance(statement.right, n.SetLiteral):
        return bool(words & value) != negated
    return (words == value) != negated


def _words(expression: n.Expression) -> Sequence[str]:
    """The words of a flag value: one, or those of a set."""
    if isinstance(expression, n.SetLiteral):
        return [w for e in expression.elements if not isinstance(e.key, n.Wildcard) for w in _words(e.key)]
    if isinstance(expression, n.Binary) and expression.operator == "|":
        return [*_words(expression.left), *_words(expression.right)]
    if isinstance(expression, n.Word):
        return [expression.text]
    return []


_KNOWN_STATUS = frozenset({"dnat", "snat", "seen-reply", "confirmed", "expected", "dying"})


def _has_status(statement: n.Compare, words: frozenset[str], value: frozenset[str], view: View) -> bool | UnknownAnswer:
    """NB: compared as a whole, a status is never just the words that nft knows: the kernel sets bits beside them once NAT is settled.

    Source: IPS_NAT_DONE_MASK in nf_conntrack_common.h.
    """
    vague = unknown("the other bits of the connection's status are not known")
    if statement.operator == "in":
        return True if words & value else False if view.state == "NEW" or words <= _KNOWN_STATUS else vague
    if not words & {"dnat", "snat"} or isinstance(statement.right, n.SetLiteral | n.SetReference):
        return vague
    return statement.operator == "!="


def _same_parts(wanted: Value, value: Value) -> bool | None:
    left = wanted if isinstance(wanted, tuple) else (wanted,)
    right = value if isinstance(value, tuple) else (value,)
    if len(left) != len(right):
        return False
    answers = [same(a, b) for a, b in zip(left, right, strict=True)]
    return False if False in answers else None if None in answers else True


def _ordered(operator: str, value: Value, wanted: Value) -> bool | UnknownAnswer:
    if isinstance(value, IcmpWord):
        wanted = value.numbers.get(wanted, wanted) if isinstance(wanted, str) else wanted
        value = value.number
    if isinstance(value, OwnPort):
        least, most = _ordered(operator, value.low, wanted), _ordered(operator, value.high, wanted)
        return least if least == most else unknown("the client's own port is not given")
    if not (isinstance(value, int) and isinstance(wanted, int)):
        if not (isinstance(value, IPv4Address | IPv6Address) and isinstance(wanted, IPv4Address | IPv6Address)):
            return unknown(f"the comparison {operator} of these values", "UNMODELLED_MATCH")
        value, wanted = int(value), int(wanted)
    orders = {"<": value < wanted, ">": value > wanted, "<=": value <= wanted, ">=": value >= wanted}
    return orders.get(operator, unknown(f"the comparison {operator}", "UNMODELLED_MATCH"))
