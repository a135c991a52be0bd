"""The stations of a name's look-up, before any packet of the traced connection is sent: one for each name that was asked.

A name is asked for A and AAAA side by side, so both questions are one station.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from tracer.query import parse_address
from tracer.stations.station import Station, StationKind
from tracer.trace import Lookup

_SAID = {
    "NOERROR": "Name has no address (NODATA)",
    "NXDOMAIN": "No such name (NXDOMAIN)",
    "TIMEOUT": "DNS server does not answer",
}


def lookup_stations(lookups: Sequence[Lookup]) -> Iterator[Station]:
    """Yield a station for each run of questions about the same name; its *lookups* are indexes into the trace's look-ups."""
    for _, run in itertools.groupby(enumerate(lookups), key=lambda item: item[1].name):
        asked = list(run)
        yield Station(
            n=0, kind=StationKind.DNS, title=_title([lookup for _, lookup in asked]), hop=0, lookups=tuple(index for index, _ in asked)
        )


def _title(asked: Sequence[Lookup]) -> str:
    found = [answer for lookup in asked for answer in lookup.answers if parse_address(answer)]
    if found:
        return f"Name found: {found[0]}" + (f" and {len(found) - 1} more" if len(found) > 1 else "")
    rcode = asked[0].rcode
    return _SAID.get(rcode, f"Look-up fails ({rcode})")
