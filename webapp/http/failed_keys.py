"""Slows down whoever guesses the access key: so many tries at once, then one at a time, for each address and for all together.

Strategy: a bucket of tries for each address, and one for everybody, which fill again with time. A try takes from both before the key is
looked at, and the right key gives it back; while a bucket is empty no key is looked at, the right one neither, else guesses would be
tried all the same. An address that has proved the key is not held up by the guesses of others. The session that remembers the key,
and frozen links, are not asked for it.

One IPv6 network of 64 bits counts as one address. The addresses of the last failures are kept, MOST_ADDRESSES of them. Keys in a
header are counted by the process that serves, those typed on the page by the one that shows it: where several servers run, each counts for
itself.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from math import ceil

from tracer.values import dataclass

TRIES, SECONDS_A_TRY = 5, 10.0
"""What one address may try at once, and how long it waits for each further try."""
TRIES_OF_ALL, SECONDS_A_TRY_OF_ALL = 50, 1.0
"""The same of all addresses together."""
MOST_ADDRESSES = 4096
_NETWORK = 64


@dataclass(slots=True)
class _Bucket:
    """Tries left at a moment, in the clock's seconds; *proved*: the key was given from here."""

    left: float
    at: float
    proved: bool = False


class FailedKeys:
    """The tries of every address; safe to be asked from several threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self.forget()

    def forget(self) -> None:
        """Begin anew."""
        with self._lock:
            self._all = _Bucket(TRIES_OF_ALL, self._clock())
            self._kept: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, address: str) -> int:
        """Take one try of *address*. Returns 0, or after how many seconds there is one: then the key must not be looked at."""
        with self._lock:
            own = self._own(address)
            waits = [_wait(own, TRIES, SECONDS_A_TRY, self._clock())]
            if not own.proved:
                waits.append(_wait(self._all, TRIES_OF_ALL, SECONDS_A_TRY_OF_ALL, self._clock()))
            if not any(waits):
                own.left -= 1
                self._all.left = max(0.0, self._all.left - 1)
            return ceil(max(waits))

    def proved(self, address: str) -> None:
        """Give back the try that the right key took."""
        with self._lock:
            own = self._own(address)
            own.left, own.proved = min(TRIES, own.left + 1), True
            self._all.left = min(TRIES_OF_ALL, self._all.left + 1)

    def __len__(self) -> int:
        return len(self._kept)

    def _own(self, address: str) -> _Bucket:
        name = _counted_as(address)
        found = self._kept.setdefault(name, _Bucket(TRIES, self._clock()))
        self._kept.move_to_end(name)
        while len(self._kept) > MOST_ADDRESSES:
            self._kept.popitem(last=False)
        return found


def _wait(bucket: _Bucket, most: int, seconds: float, now: float) -> float:
    """Fill *bucket* up to *now*, and return how long it is until it holds a whole try."""
    bucket.left, bucket.at = min(most, bucket.left + (now - bucket.at) / seconds), now
    return 0.0 if bucket.left >= 1 else (1 - bucket.left) * seconds


def _counted_as(address: str) -> str:
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return f"{int(parsed) >> _NETWORK:x}/{_NETWORK}"


failed_keys = FailedKeys()
