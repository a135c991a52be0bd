"""One table of nftables as text: its sets, maps and chains, and how ``nft list ruleset`` prints them.

Source: nft(8) 1.0.9. Elements stand one a line, in the order in which they are given: the kernel's own order is nobody's to rely on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field

from tracer.values import dataclass


@dataclass(slots=True, kw_only=True)
class SetText:
    """A set, or a map where *value* says of what. *options* are further lines of its head, *elements* their texts."""

    type: str
    value: str = ""
    comment: str = ""
    options: tuple[str, ...] = ()
    elements: list[str] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class ChainText:
    """A chain: of a base chain *head* is its hook, *rules* their texts."""

    head: str = ""
    comment: str = ""
    rules: list[str] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class TableText:
    """A table of kube-proxy's, *family* ip or ip6."""

    family: str
    sets: dict[str, SetText] = field(default_factory=dict)
    chains: dict[str, ChainText] = field(default_factory=dict)

    def chain(self, name: str) -> list[str]:
        """Return the rules of the chain *name*, which is made where it is not there."""
        return self.chains.setdefault(name, ChainText()).rules

    def to_text(self) -> str:
        """Return the table as ``nft list ruleset`` prints it."""
        return "".join(f"{line}\n" for line in self._lines())

    def _lines(self) -> Iterator[str]:
        yield f"table {self.family} kube-proxy {{"
        yield '\tcomment "rules for kube-proxy"'
        for name, found in self.sets.items():
            yield from _set_lines(name, found)
        for name, chain in self.chains.items():
            yield f"\tchain {name} {{"
            yield from (f'\t\tcomment "{said}"' for said in (chain.comment,) if said)
            yield from (f"\t\t{head}" for head in (chain.head,) if head)
            yield from (f"\t\t{rule}" for rule in chain.rules)
            yield "\t}\n"
        yield "}"


def _set_lines(name: str, found: SetText) -> Iterator[str]:
    yield f"\t{'map' if found.value else 'set'} {name} {{"
    yield f"\t\ttype {found.type}" + (f" : {found.value}" if found.value else "")
    yield from (f"\t\t{option}" for option in found.options)
    if found.comment:
        yield f'\t\tcomment "{found.comment}"'
    if found.elements:
        yield f"\t\telements = {{ {(',' + chr(10) + chr(9) * 3 + '     ').join(found.elements)} }}"
    yield "\t}\n"
