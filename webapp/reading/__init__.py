"""Reading a node, and what is kept of what was read: shared by those who follow a cluster and those who collect once."""
