"""The legend: every shape and line as the picture draws them."""

from __future__ import annotations

from functools import cache

from tracer.graph import BoxKind
from tracer.values import dataclass
from webapp.drawing.shapes import small_outline


@dataclass(frozen=True, slots=True, kw_only=True)
class LegendShape:
    """One shape and what it stands for."""

    kind: BoxKind
    label: str
    paths: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LegendLine:
    """One kind of line; *mark* is the sign at its start."""

    css: str
    label: str
    mark: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Legend:
    """Everything that the picture may hold."""

    shapes: tuple[LegendShape, ...]
    lines: tuple[LegendLine, ...]


_SHAPES = (
    (BoxKind.CLIENT, "Client"),
    (BoxKind.LOAD_BALANCER, "Load balancer"),
    (BoxKind.CHAIN, "Rule chain"),
    (BoxKind.PICK, "Random choice"),
    (BoxKind.SERVICE, "Service"),
    (BoxKind.HOST, "Node"),
    (BoxKind.POD, "Pod"),
    (BoxKind.DROP, "Dropped or rejected"),
    (BoxKind.UNKNOWN, "Not known"),
)
_LINES = (
    LegendLine(css="on", label="Forwarded, width is probability"),
    LegendLine(css="dnat on", label="After DNAT, destination changed", mark="M2,7L7,2 12,7 7,12z"),
    LegendLine(css="snat on", label="After SNAT, source changed", mark="M3,3h8v8h-8z"),
    LegendLine(css="off", label="Other possible path"),
)
_DNS = (LegendLine(css="dnsq", label="DNS question and answer"),)
_MODELLED = (LegendLine(css="mod", label="Frame of a node whose rules were not recorded"),)
_REPLY = (LegendLine(css="rep", label="Reply"),)


@cache
def legend(*, with_reply: bool = False, with_dns: bool = False, with_outside: bool = False, with_modelled: bool = False) -> Legend:
    """Return the legend; *with_reply* adds what only an answer's way back draws, *with_dns* what only a name's look-up does.

    *with_outside* adds what stands for somebody outside the cluster, where the picture has one that is no client, *with_modelled* the frame
    of a node whose rules were not recorded.
    """
    shapes = (*_SHAPES, *(((BoxKind.CONNTRACK, "Connection table"),) if with_reply else ()))
    shapes += ((BoxKind.DNS, "DNS server"),) if with_dns else ()
    shapes += ((BoxKind.OUTSIDE, "Outside the cluster"),) if with_outside else ()
    return Legend(
        shapes=tuple(LegendShape(kind=kind, label=label, paths=small_outline(kind)) for kind, label in shapes),
        lines=(*_LINES, *(_REPLY if with_reply else ()), *(_DNS if with_dns else ()), *(_MODELLED if with_modelled else ())),
    )
