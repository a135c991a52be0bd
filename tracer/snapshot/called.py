"""Which node a word of a path, a prompt or a heading calls: by its name, its hostname, an address; one that calls two calls none."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping

from tracer.snapshot.contents import KnownNode

_NOBODYS = frozenset({"localhost", "debug", "toolbox"})
"""What many hosts call themselves."""


class Called:
    """The names of *nodes*."""

    def __init__(self, nodes: Collection[KnownNode]) -> None:
        self._called = _called(nodes)
        self._short = _unique({node.name: {node.name.lower().partition(".")[0]} for node in nodes})
        self._knows_none = not nodes
        self._pods = frozenset(pod for node in nodes for pod in node.pods)

    def node(self, word: str) -> str | None:
        """Return the one node that *word* calls, None where it calls none, or several."""
        return self._called.get(word.lower())

    def is_pod(self, word: str) -> bool:
        """Return whether *word* is a Pod that has a network of its own: what runs in it says nothing of its node."""
        return word in self._pods

    def host(self, word: str) -> str | None:
        """Return the node whose host calls itself *word*, whole or up to its first dot. Where no node is known, it is believed."""
        lower = word.lower()
        found = self.node(lower) or self._short.get(lower) or self.node(lower.partition(".")[0])
        return lower if found is None and self._knows_none and lower not in _NOBODYS else found


def _called(nodes: Collection[KnownNode]) -> Mapping[str, str]:
    """What exactly one node is called by → its name; a name counts before another node's hostname or address."""
    words = {
        node.name: {word.lower() for word in (*node.also, *(f"ip-{also.replace('.', '-')}" for also in node.also if also[:1].isdigit()))}
        for node in nodes
    }
    return _unique(words) | {node.name.lower(): node.name for node in nodes}


def _unique(words: Mapping[str, Collection[str]]) -> dict[str, str]:
    by_word: dict[str, set[str]] = defaultdict(set)
    for name, called in words.items():
        for word in called:
            by_word[word].add(name)
    return {word: next(iter(names)) for word, names in by_word.items() if len(names) == 1}
