"""Which cluster is asked and what: the query of an address, sources, examples."""
