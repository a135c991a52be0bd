"""Mutated inputs against every parser of the engine: only TracerError may come out, and nothing may hang."""
