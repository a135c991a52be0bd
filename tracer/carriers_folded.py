"""An answer as trace-json.md writes it, where tunnels carried its packets: the carriers' hops stand inside the hop that sent them.

Inside Hopline the hops of one way are one list, in the order in which they are met: whoever draws or steps through them needs no more.
The contract's ``hops`` are those of the packet that was asked about, so a carrier's hops are ``"tunnel": {"device", "hops"}`` of the one
before; a station or a finding that is at one of them says at which, by ``"carrier"``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_Json = dict[str, Any]


def carriers_folded(answer: Mapping[str, Any]) -> _Json:
    """Return *answer* with the hops of carriers inside those that sent them. Outcomes without any are the very same values."""
    outcomes = [_folded(outcome) for outcome in answer["outcomes"]]
    if "classes" not in answer:
        return {**answer, "outcomes": outcomes}
    classes = [one | {"outcome": _folded(one["outcome"])} for one in answer["classes"]]
    return {**answer, "outcomes": outcomes, "classes": classes}


def _folded(outcome: _Json) -> _Json:
    reply, also = outcome.get("reply") or {}, outcome.get("also") or ()
    ways: tuple[_Json, ...] = (outcome, reply, *also)
    if not any("tunnel" in hop for way in ways for hop in way.get("hops") or ()):
        return outcome
    places, places_back = _places(outcome["hops"]), _places(reply.get("hops") or ())
    out = outcome | {"hops": _nested(outcome["hops"])}
    if reply.get("hops"):
        out["reply"] = reply | {"hops": _nested(reply["hops"])}
    if also:
        out["also"] = [way | {"hops": _nested(way["hops"])} for way in also]
    for name in ("stations", "findings"):
        if name in outcome:
            out[name] = [_placed(one, places_back if one.get("reply") else places) for one in outcome[name]]
    return out


def _nested(hops: Sequence[_Json]) -> list[_Json]:
    out: list[_Json] = []
    for hop in hops:
        if "tunnel" not in hop:
            out.append(hop)
            continue
        inner = {key: value for key, value in hop.items() if key != "tunnel"}
        sender = out.pop() if out else {}
        carried = sender.get("tunnel") or {"device": hop["tunnel"], "hops": []}
        out.append(sender | {"tunnel": carried | {"hops": [*carried["hops"], inner]}})
    return out


def _places(hops: Sequence[_Json]) -> list[tuple[int, int | None]]:
    """Where each hop of the one list is: the index of the packet's own hop, and of the carrier's inside it."""
    found: list[tuple[int, int | None]] = []
    own = -1
    for hop in hops:
        inside = found[-1][1] if found else None
        if "tunnel" in hop:
            found.append((max(own, 0), 0 if inside is None else inside + 1))
        else:
            own += 1
            found.append((own, None))
    return found


def _placed(one: Mapping[str, Any], places: Sequence[tuple[int, int | None]]) -> _Json:
    at = one.get("hop")
    if not isinstance(at, int) or at >= len(places):
        return dict(one)
    hop, carrier = places[at]
    return {**one, "hop": hop} | ({} if carrier is None else {"carrier": carrier})
