"""Inputs made to be slow, deep or endless, and every pattern of the code against texts made for it: each within bounds."""
