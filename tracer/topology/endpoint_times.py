"""When endpoints were seen to come, go, or change their readiness: what a follower learns from one event after another.

Of endpoints that went, the latest are kept only: enough to say how far a node's rules are behind.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from tracer.changes import ObjectChange
from tracer.errors import ParseError
from tracer.kube.endpointslice import EndpointSlice
from tracer.packet import Address

_GONE_KEPT = 10_000
Key = tuple[str, str, Address]
_State = tuple[bool, bool, bool]


class EndpointTimes:
    """The times of one cluster's endpoints, by namespace, Service and address."""

    def __init__(self) -> None:
        self._here: dict[Key, float] = {}
        self._gone: OrderedDict[Key, float] = OrderedDict()

    def changed_at(self, namespace: str, service: str, address: Address) -> float | None:
        """Return when the endpoint last came, went, or changed its readiness (Unix seconds), None when that was not seen."""
        key = (namespace, service, address)
        return self._here.get(key, self._gone.get(key))

    def note(self, change: ObjectChange) -> None:
        """Take note of a change of an EndpointSlice; other changes, and those nobody says the time of, are passed over."""
        if change.kind != "EndpointSlice" or change.seen_at is None:
            return
        before, after = _states(change.before), _states(change.after)
        for key in before.keys() | after.keys():
            if before.get(key) != after.get(key):
                self._put(key, change.seen_at, here=key in after)

    def _put(self, key: Key, at: float, *, here: bool) -> None:
        self._gone.pop(key, None)
        if here:
            self._here[key] = at
            return
        self._here.pop(key, None)
        self._gone[key] = at
        while len(self._gone) > _GONE_KEPT:
            self._gone.popitem(last=False)


def _states(value: Mapping[str, object] | None) -> dict[Key, _State]:
    """Return each endpoint of a slice with what it is fit for."""
    try:
        found = EndpointSlice.from_dict(value) if value is not None else None
    except ParseError:
        found = None
    if found is None or found.service is None:
        return {}
    return {
        (found.namespace, found.service, address): (endpoint.ready, endpoint.serving, endpoint.terminating)
        for endpoint in found.endpoints
        for address in endpoint.addresses
    }
