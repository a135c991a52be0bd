"""Drift: where a node's recorded rules are not what kube-proxy would program for the objects.

Only what kube-proxy owns is looked at; what others wrote is named as theirs where it stands among kube-proxy's own rules, and never counted
as kube-proxy's fault. ``finding`` is the value, ``ordering`` compares rules in order, the other modules each hold one kind of text against
the model.
"""
