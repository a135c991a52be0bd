"""Walks by classes held against plain walks, on clusters drawn with everything in them that may tell endpoints apart."""
