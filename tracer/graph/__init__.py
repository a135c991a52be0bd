"""A trace as nodes and edges: what to draw, without colours, positions or Graphviz.

``paths`` reads the contract's answer, ``fold`` decides what is drawn one by one and what as a stack, ``build`` makes boxes and edges.
Frozen answers are drawn as well as live ones, so everything here works from the answer in its JSON form alone.
"""

from tracer.graph.build import BUDGET, build, matches
from tracer.graph.model import Box, BoxKind, Edge, EdgeKind, Graph, Region, Way
from tracer.graph.paths import Path, Stop, firsts, kind_of, modelled_nodes, most_likely, named, passes, paths_of, place_of

__all__ = [
    "BUDGET",
    "Box",
    "BoxKind",
    "Edge",
    "EdgeKind",
    "Graph",
    "Path",
    "Region",
    "Stop",
    "Way",
    "build",
    "firsts",
    "kind_of",
    "matches",
    "modelled_nodes",
    "most_likely",
    "named",
    "passes",
    "paths_of",
    "place_of",
]
