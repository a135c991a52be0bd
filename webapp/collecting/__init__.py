"""Writing a snapshot of a connected cluster: what is taken, what is left out of it, and what could not be read."""
