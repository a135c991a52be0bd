"""One stack's ``sysctl -a``: what was recorded, how "all" and a device's own value combine, and the kernel's defaults.

``None`` always means that the value was not recorded. Source: Documentation/networking/ip-sysctl.rst, include/linux/inetdevice.h.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field
from functools import lru_cache

from tracer.patterns import pattern
from tracer.values import dataclass

_DEFAULTS = {
    "net.ipv4.ip_forward": "0",
    "net.ipv4.ip_local_port_range": "32768\t60999",
    "net.ipv4.conf.*.forwarding": "0",
    "net.ipv6.conf.*.forwarding": "0",
    "net.ipv4.conf.*.rp_filter": "0",
    "net.ipv4.conf.*.accept_local": "0",
    "net.ipv4.conf.*.route_localnet": "0",
    "net.ipv4.conf.*.src_valid_mark": "0",
    "net.ipv4.conf.*.send_redirects": "1",
    "net.ipv4.conf.*.log_martians": "0",
    "net.ipv4.conf.*.ignore_routes_with_linkdown": "0",
    "net.ipv6.conf.*.ignore_routes_with_linkdown": "0",
    "net.ipv6.conf.*.use_tempaddr": "0",
    "net.ipv6.conf.*.use_oif_addrs_only": "0",
    "net.bridge.bridge-nf-call-iptables": "1",
    "net.bridge.bridge-nf-call-ip6tables": "1",
}
_CONF = pattern(r"(net\.ipv[46]\.conf)\..+\.([a-z0-9_]+)", re.ASCII)
_RANGE = pattern(r"([0-9]{1,5})\s+([0-9]{1,5})", re.ASCII)
_INTEGER = pattern(r"-?[0-9]{1,10}", re.ASCII)


@lru_cache(maxsize=4096)
def kernel_default(name: str) -> str | None:
    """Return the value a fresh network namespace has for *name*, None for a name not listed here.

    NB: distributions change some: systemd sets rp_filter to 2, for example.
    """
    return _DEFAULTS.get(_CONF.sub(r"\1.*.\2", name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sysctls:
    """The recorded values, by dotted name; a device's own dots are written ``/`` by sysctl, and found either way."""

    values: Mapping[str, str] = field(default_factory=dict)
    _read: dict[tuple[int, str, str], int | None] = field(default_factory=dict, compare=False, repr=False)

    def get(self, name: str) -> str | None:
        """Return the recorded value of *name*, None if it was not recorded."""
        return self.values.get(name)

    def integer(self, name: str) -> int | None:
        """Return the recorded value of *name* as a number, None if it was not recorded or is no number."""
        value = self.values.get(name)
        return int(value) if value is not None and _INTEGER.fullmatch(value) else None

    def conf(self, version: int, device: str, key: str) -> int | None:
        """Return ``net.ipv4.conf.DEVICE.KEY`` (or IPv6's), None if it was not recorded."""
        asked = version, device, key
        if asked not in self._read:
            value = self.integer(f"net.ipv{version}.conf.{device.replace('.', '/')}.{key}")
            is_other = value is None and "." in device
            self._read[asked] = self.integer(f"net.ipv{version}.conf.{device}.{key}") if is_other else value
        return self._read[asked]

    def inherited(self, version: int, device: str, key: str) -> int | None:
        """Return *device*'s own *key*, or what a new device begins with ("default") if only that was recorded. Source: inetdev_init()."""
        own = self.conf(version, device, key)
        return self.conf(version, "default", key) if own is None and device != "all" else own

    def is_recorded(self, version: int, device: str, key: str) -> bool:
        """Return whether anything says what *key* is on *device*: its own value, "default"'s or all's."""
        return self.conf(version, "all", key) is not None or self.inherited(version, device, key) is not None

    def either(self, version: int, device: str, key: str) -> bool | None:
        """Return whether *key* is set for all or for *device*; None when neither says yes and one is not recorded."""
        values = (self.conf(version, "all", key), self.inherited(version, device, key))
        if any(values):
            return True
        return None if None in values else False

    def larger(self, version: int, device: str, key: str) -> int | None:
        """Return the larger of all's and *device*'s *key*; None when one of them is not recorded."""
        first, second = self.conf(version, "all", key), self.inherited(version, device, key)
        return None if first is None or second is None else max(first, second)

    def forwarding(self, version: int, device: str | None = None) -> bool | None:
        """Return whether packets that come in through *device* are forwarded; without a device, the stack's own switch.

        NB: IPv4 asks the device's value only, which writing to "all" sets; IPv6 asks "all" only. None: not recorded.
        """
        value = self.conf(version, "all", "forwarding")
        if version == 4:
            value = self.integer("net.ipv4.ip_forward") if value is None else value
            own = None if device is None else self.conf(4, device, "forwarding")
            value = value if own is None else own
        elif not value and device is not None and self.conf(6, device, "force_forwarding"):
            value = 1
        return None if value is None else bool(value)

    def local_port_range(self) -> tuple[int, int] | None:
        """Return the first and last port of ``ip_local_port_range``, None if it was not recorded."""
        m = _RANGE.fullmatch(self.values.get("net.ipv4.ip_local_port_range", ""))
        return (int(m[1]), int(m[2])) if m else None
