"""The engine: what happens to a packet in a Kubernetes cluster, and why.

Plain Python: no I/O, no clock, no Django. Text goes in, values come out.
"""
