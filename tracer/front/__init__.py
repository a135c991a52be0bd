"""What stands in front of the nodes: load balancers, as facts behind one protocol."""
