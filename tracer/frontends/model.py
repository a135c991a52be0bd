"""A frontend and its backends: all that such a list tells."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import field
from functools import lru_cache
from typing import Protocol as Protocol_

from tracer.packet import Address, Packet, Protocol
from tracer.patterns import pattern
from tracer.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """One backend. *state* is the list's word, if any; *text* how the frontend's own text names it."""

    address: Address
    port: int
    state: str = "active"
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frontend:
    """One address, protocol and port, and its backends. *protocol* None: the list does not say. *address* None: any of the node's.

    *flags* are the list's own words (``DSR``, ``ILB``, ``SourceVIP 10.0.0.5``, ``NodePort`` …). *missing* counts backends that are
    named by an id that no list explains. *text* and *line* are its place in *file*. *scope* is ``internal`` or ``external`` where the list
    has one entry for clients of the cluster and one for others. *made_as*: it was not listed, but modelled as that program would make it.
    """

    address: Address | None
    port: int
    protocol: Protocol | None
    backends: tuple[Backend, ...] = field(hash=False)
    flags: tuple[str, ...] = ()
    missing: int = 0
    text: str = ""
    file: str = ""
    line: int | None = None
    scope: str = ""
    made_as: str = ""

    def takes(self, packet: Packet) -> bool:
        """Return whether *packet* is for this frontend."""
        if self.protocol not in (None, packet.protocol) or self.port != packet.destination_port:
            return False
        version = packet.destination.version
        if self.address is None:
            return not self.backends or any(b.address.version == version for b in self.backends)
        return self.address == packet.destination or (self.address.is_unspecified and self.address.version == version)


class Frontends(Protocol_):
    """The frontends of one node, listed or modelled (*made_as*, *notes*). *file* is where they stand, *incomplete* what is not known."""

    @property
    def file(self) -> str: ...
    @property
    def incomplete(self) -> str | None: ...
    @property
    def made_as(self) -> str: ...
    @property
    def notes(self) -> tuple[str, ...]: ...
    @property
    def shown(self) -> str:
        """Return in words what it holds."""

    def find(self, packet: Packet, *, inside: bool = True) -> Frontend | None:
        """Return the frontend that takes *packet*; *inside*: the cluster sent it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontendTable:
    """The frontends of one node. *file* is where they were read.

    *incomplete* says what of it could not be read, so that a frontend that is not there may be one that was not understood. What is listed
    is not modelled: *made_as* is empty, and *notes* say what else is to be known of it.
    """

    file: str
    frontends: tuple[Frontend, ...]
    incomplete: str | None = None
    made_as: str = ""
    notes: tuple[str, ...] = ()

    @property
    def shown(self) -> str:
        """Return in words what it holds."""
        return f"{self.file} lists {len(self.frontends)} frontends"

    def find(self, packet: Packet, *, inside: bool = True) -> Frontend | None:
        """Return the frontend that takes *packet*: one that names its address before one for any; *inside*: the cluster sent it."""
        scope = "external" if inside else "internal"
        taking = [f for f in self.frontends if f.takes(packet)]
        exact = [f for f in taking if f.address == packet.destination] or taking
        return next((f for f in exact if f.scope != scope), exact[0] if exact else None)


def protocol_numbered(number: object) -> Protocol | None:
    """Return the protocol with an IANA number, or with a name in any case; None for another."""
    for protocol in (Protocol.TCP, Protocol.UDP, Protocol.SCTP):
        if number == protocol.number or (isinstance(number, str) and number.strip().lower() in (protocol.value, str(protocol.number))):
            return protocol
    return None


STRINGS = pattern(r'"((?:[^"\\\n]|\\.)*)"')


@lru_cache(maxsize=1)
def _first_lines(text: str, strings: re.Pattern[str]) -> dict[str, int]:
    """The line on which each of the *strings* of a JSON text stands first, in one pass over the text."""
    found: dict[str, int] = {}
    line, at = 1, 0
    for match in strings.finditer(text):
        line, at = line + text.count("\n", at, match.start()), match.start()
        found.setdefault(match[1], line)
    return found


def line_of(text: str, word: str, strings: re.Pattern[str] = STRINGS) -> int | None:
    """Return the line of the first *word* among the *strings* of a JSON text, None when it is none; one pass, however often asked."""
    return _first_lines(text, strings).get(word) if word else None


def ordered(frontends: Iterable[Frontend]) -> tuple[Frontend, ...]:
    """Return *frontends*, repeated ones left out."""
    return tuple(dict.fromkeys(frontends))
