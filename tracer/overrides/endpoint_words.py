"""Conditions of single endpoints that are set, and what a change of EndpointSlices is in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from tracer.kube.endpoints import whole_state_text
from tracer.kube.endpointslice import Endpoint, EndpointSlice
from tracer.override_words import Word, refusal
from tracer.packet import Address
from tracer.query import parse_address

_TOLD = 5
Slices = tuple[EndpointSlice, ...]


def with_conditions(slices: Slices, words: Sequence[Word]) -> Slices:
    """Return *slices* with the conditions that *words* set. :raises QueryError: the Service has no such endpoint."""
    for word in words:
        address = parse_address(word.address)
        if not any(address in endpoint.addresses for one in slices for endpoint in one.endpoints):
            near = [str(a) for one in slices for e in one.endpoints for a in e.addresses][:_TOLD]
            raise refusal(word.text, f"Service {word.namespace}/{word.name} has no endpoint {word.address}", near=tuple(near))
        slices = tuple(replace(one, endpoints=tuple(_set(e, address, word, is_legacy=one.legacy) for e in one.endpoints)) for one in slices)
    return slices


def _set(endpoint: Endpoint, address: Address | None, word: Word, *, is_legacy: bool) -> Endpoint:
    if address not in endpoint.addresses:
        return endpoint
    value = bool(word.value)
    if is_legacy and word.path == ("ready",):
        return replace(endpoint, ready=value, serving=value)
    match word.path:
        case ("ready",):
            return replace(endpoint, ready=value)
        case ("serving",):
            return replace(endpoint, serving=value)
        case _:
            return replace(endpoint, terminating=value)


def came_and_went(key: tuple[str, str], before: Slices, after: Slices) -> Iterator[str]:
    """Yield in words what is different about the endpoints of a Service."""
    was, now = _states(before), _states(after)
    told = [
        *(f"{address} goes" for address in was if address not in now),
        *(f"{address} comes ({state})" for address, state in now.items() if address not in was),
        *(f"{address} is {state} (was {was[address]})" for address, state in now.items() if was.get(address, state) != state),
    ]
    if not told:
        told = ["other ports or hints" if _targets(before) != _targets(after) else "in other zones"]
    more = f", and {len(told) - _TOLD} more" if len(told) > _TOLD else ""
    yield f"endpoints of Service {key[0]}/{key[1]}: {', '.join(told[:_TOLD])}{more}"


def _states(slices: Slices) -> Mapping[str, str]:
    return {_named(e): whole_state_text(e) for one in slices for e in one.endpoints}


def _named(endpoint: Endpoint) -> str:
    addresses = ", ".join(map(str, endpoint.addresses)) or ", ".join(endpoint.fqdns)
    return f"{addresses} ({endpoint.target_ref.name})" if endpoint.target_ref is not None else addresses


def _targets(slices: Slices) -> list[tuple[object, ...]]:
    return [(one.ports, [(e.zone_hints, e.node_hints) for e in one.endpoints]) for one in slices]
