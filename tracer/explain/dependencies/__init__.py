"""What an answer rests on, and which changes touch it.

Strategy: the question is answered by a cluster that notes what it is asked (``WatchedCluster``); a change touches the answer when
it changes something that was asked for. Nothing is said of changes by hand: what the walk and the findings never looked at cannot matter.
"""

from __future__ import annotations

from tracer.explain.dependencies.dependencies import Dependencies, dependencies_of, watched_dependencies
from tracer.explain.dependencies.watched_cluster import WatchedCluster

__all__ = ["Dependencies", "WatchedCluster", "dependencies_of", "watched_dependencies"]
