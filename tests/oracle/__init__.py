"""The kernel as oracle: random rule sets are loaded into a real kernel, real packets are sent, and the engine must say the same.

``python -m tests.oracle --packets 10000`` is the full run; ``test_oracle.py`` runs a slice. Everything happens inside network namespaces
that have no name and no link to the machine's own: they vanish with this process, however it ends.
"""
