"""What a rule's comments say to a reader: of several the words, without the hashes by which a program finds its rules again.

Calico gives every rule a hash (``cali:nSZbcOoG1xPONxb8``), in a comment of its own in front of the one with words; a rule of nftables has
one comment, where the hash ends at a semicolon. Source: projectcalico/calico felix/iptables and felix/nftables.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from tracer.patterns import pattern

_HASH = pattern(r"cali:[-_A-Za-z0-9]{1,40}(?:;[ ]?|$)", re.ASCII)
_COMMENT = pattern(r'(?:--comment |\bcomment (?="))(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<word>\S+))', re.ASCII)


def spoken(comments: Iterable[str]) -> str:
    """Return the words of a rule's *comments*, "" where they are hashes only."""
    return "; ".join(words for comment in comments if (words := _HASH.sub("", comment, count=1)))


def spoken_in(rule: str, *, hashes: bool = False) -> str:
    """Return what the comments in the text of *rule* say (iptables-save's or nft's); with *hashes* as they stand."""
    found = [m["quoted"].replace('\\"', '"') if m["quoted"] is not None else m["word"] for m in _COMMENT.finditer(rule)]
    return "; ".join(found) if hashes else spoken(found)
