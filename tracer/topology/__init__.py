"""Stacks and links: the nodes, pods, load balancers and clients of a cluster, and who owns an address."""
