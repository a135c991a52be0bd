"""Routing of one Linux network stack: rules, tables and addresses → where a packet goes and which source address the kernel picks."""

from tracer.routing.model import (
    SOME_DEVICE,
    InterfaceAddress,
    Link,
    Neighbour,
    NextHop,
    PolicyRule,
    ResultKind,
    Route,
    RouteResult,
    RouteType,
    RuleAction,
    SourceCheck,
    SourceVerdict,
    Supposition,
    is_unnamed,
    shown_device,
)
from tracer.routing.parse import parse_addresses, parse_links, parse_neighbours, parse_routes, parse_rules, parse_sysctl
from tracer.routing.placed import IPVS_DUMMY, POD_SIDE, UPLINK, PlacedRouting, Placement
from tracer.routing.stack import Routing
from tracer.routing.sysctl import kernel_default

__all__ = [
    "IPVS_DUMMY",
    "POD_SIDE",
    "SOME_DEVICE",
    "UPLINK",
    "InterfaceAddress",
    "Link",
    "Neighbour",
    "NextHop",
    "PlacedRouting",
    "Placement",
    "PolicyRule",
    "ResultKind",
    "Route",
    "RouteResult",
    "RouteType",
    "Routing",
    "RuleAction",
    "SourceCheck",
    "SourceVerdict",
    "Supposition",
    "is_unnamed",
    "kernel_default",
    "parse_addresses",
    "parse_links",
    "parse_neighbours",
    "parse_routes",
    "parse_rules",
    "parse_sysctl",
    "shown_device",
]
