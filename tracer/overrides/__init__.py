"""What if: the cluster as it would be after some changes, as a view of the objects and a difference of each node's rules."""
