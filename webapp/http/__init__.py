"""Before a view is asked, and around it: who may come in, what is refused, what failed in which words."""
