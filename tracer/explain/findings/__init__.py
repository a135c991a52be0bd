"""Findings: what is wrong or worth a word in a trace, each proved from the trace and the snapshot."""

from __future__ import annotations

from tracer.explain.findings.diagnosis import diagnose

__all__ = ["diagnose"]
