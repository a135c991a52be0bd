"""Manifests drawn out as the cluster that they would make: nodes, pods, addresses and endpoints, all of them made up and marked so."""

from tracer.sketch.manifest import Manifest
from tracer.sketch.sketching import USUAL_NODES, Sketch, sketch

__all__ = ["USUAL_NODES", "Manifest", "Sketch", "sketch"]
