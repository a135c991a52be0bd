"""Kubernetes API objects as values, and what they mean for a packet.

Owns the models, the look-ups by name, address and port, the NetworkPolicy verdict and the choice of endpoints.
Refuses to know where the objects came from: files, layouts and YAML belong to ``tracer.snapshot``.
"""
