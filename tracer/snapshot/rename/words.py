"""Other words for names. One word becomes the same other word wherever it stands, so that names which refer to each other still do.

A name is replaced label by label between its dots; words that every cluster has (``kube-system``, ``svc``, ``http``) stay, as do numbers.
"""

from __future__ import annotations

import re

from tracer.patterns import pattern
from tracer.snapshot.rename.keyed import drawn

_KEPT_WORDS = (
    # namespaces, and what every cluster runs
    "default kube-system kube-public kube-node-lease kubernetes kube-proxy kube-dns coredns node-local-dns kubelet kube-apiserver "
    # domains
    "cluster local svc pod in-addr arpa ip6 com net org io dev internal lan example test invalid localhost localdomain "
    # names of ports
    "http https http2 grpc dns dns-tcp metrics tcp udp sctp tls ssh web "
    # values of labels
    "true false linux windows amd64 arm64 master control-plane worker node hopline-node-reader"
)
_KEPT = frozenset(_KEPT_WORDS.split())
_CONSONANTS, _VOWELS = "bcdfghjklmnprstvz", "aeiou"
_SYLLABLES = 5
_LABEL = pattern(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?", re.ASCII)
_NUMBER = pattern(r"[0-9]+", re.ASCII)


class Words:
    """The words that one *key* gives in place of others. *given* holds what was replaced so far: old → new."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self.given: dict[str, str] = {}
        self._taken: set[str] = set(_KEPT)

    def in_name(self, text: str) -> str:
        """Return a name, or several with dots, slashes or other marks between, with each of its words replaced."""
        return _LABEL.sub(lambda match: self.word(match[0]), text)

    def word(self, text: str) -> str:
        """Return what stands for the word *text*: itself where every cluster has it, else ten letters."""
        if text in _KEPT or _NUMBER.fullmatch(text):
            return text
        made = self.given.get(text)
        if made is None:
            made = self.given[text] = self._made(text)
            self._taken.add(made)
        return made

    def _made(self, text: str) -> str:
        for attempt in range(1_000):
            number = drawn(self._key, f"word {attempt}", text)
            letters = []
            for _ in range(_SYLLABLES):
                number, consonant = divmod(number, len(_CONSONANTS))
                number, vowel = divmod(number, len(_VOWELS))
                letters.append(_CONSONANTS[consonant] + _VOWELS[vowel])
            if (made := "".join(letters)) not in self._taken:
                return made
        raise RuntimeError("no word is left")
