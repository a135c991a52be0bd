"""Service tables that are no rules: the load balancers of Windows' HNS, and the services of an eBPF data path, as their tools list them."""
