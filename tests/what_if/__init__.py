"""What-if questions against recorded pairs of a cluster before and after one change (../shared/whatif)."""
