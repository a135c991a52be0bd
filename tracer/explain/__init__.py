"""The catalogue of reasons: what each stable code means, how to confirm it, what to do about it.

One file a theme holds the entries; ``catalogue`` joins them and answers look-ups. Nothing here inspects a trace.
"""
