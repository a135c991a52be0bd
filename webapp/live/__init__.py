"""Clusters that are followed: list and watch, rules of nodes, what changed, and one picture of it for every web process.

Pages and commands call ``webapp.live.live_sources`` and nothing below it.
"""
