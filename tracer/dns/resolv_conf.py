"""resolv.conf: its text, and what glibc and musl make of it.

Lines that a resolver passes over are passed over here too; what it clamps is clamped when asked for, so that the text can be shown as it
stands. Source: resolv.conf(5); glibc 2.41 resolv/res_init.c; musl 1.2.5 src/network/resolvconf.c.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from tracer import pasted
from tracer.packet import Address
from tracer.patterns import pattern
from tracer.query import Resolver, parse_address
from tracer.values import dataclass

MOST_SERVERS = 3
_OWN = pattern(r"(?:nameserver|search|domain|options|sortlist)\b|[#;]", re.ASCII)
_NUMBER = pattern(r"(?P<name>ndots|timeout|attempts):(?P<value>[0-9]{1,9})", re.ASCII)
_DEFAULTS = {"ndots": 1, "timeout": 5, "attempts": 2}
_MOST = {"ndots": 15, "timeout": 30, "attempts": 5}
_MUSL_MOST = {"ndots": 15, "timeout": 60, "attempts": 10}


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvConf:
    """A resolver's settings. *servers* and *search* are as written; *options* too, in order, the last of equal ones counts."""

    servers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    def to_text(self) -> str:
        """Return the file as the kubelet and the container runtime write it."""
        lines = [f"search {' '.join(self.search)}"] if self.search else []
        lines += [f"nameserver {s}" for s in self.servers]
        lines += [f"options {' '.join(self.options)}"] if self.options else []
        return "".join(f"{line}\n" for line in lines)

    def addresses(self) -> tuple[Address, ...]:
        """Return the servers that are asked, in order: the first three addresses, the machine itself when there is none."""
        found = tuple(a for a in (parse_address(s.partition("%")[0]) for s in self.servers) if a is not None)[:MOST_SERVERS]
        local = parse_address("127.0.0.1")
        return found or ((local,) if local else ())

    def number(self, name: str, resolver: Resolver = Resolver.GLIBC) -> int:
        """Return the option ``ndots``, ``timeout`` (seconds) or ``attempts`` as *resolver* uses it: the last one given, clamped."""
        value = _DEFAULTS[name]
        for option in self.options:
            if (match := _NUMBER.fullmatch(option)) and match["name"] == name:
                value = int(match["value"])
        most = (_MOST if resolver is Resolver.GLIBC else _MUSL_MOST)[name]
        # musl counts attempts and the timeout from 1 upwards: zero would never ask.
        low = 0 if name == "ndots" or resolver is Resolver.GLIBC else 1
        return min(max(value, low), most)

    def has(self, option: str) -> bool:
        """Return whether a flag such as ``rotate`` or ``use-vc`` is set."""
        return option in self.options


def parse_resolv_conf(text: str) -> ResolvConf:
    """Return what a resolv.conf says: servers and options add up, of ``search`` and ``domain`` the last line counts.

    Lines of other words are passed over, as resolvers do; nothing is refused.
    """
    servers: list[str] = []
    search: tuple[str, ...] = ()
    options: list[str] = []
    for line in pasted.without_margin(text, _OWN).splitlines():
        words = line.split()
        if not words or words[0][0] in "#;":
            continue
        match words[0]:
            case "nameserver" if len(words) > 1 and parse_address(words[1].partition("%")[0]) is not None:
                servers.append(words[1])
            case "search" | "domain" if len(words) > 1:
                search = tuple(words[1:] if words[0] == "search" else words[1:2])
            case "options":
                options += words[1:]
    return ResolvConf(servers=tuple(servers), search=search, options=tuple(options))


def once(texts: Iterable[str]) -> tuple[str, ...]:
    """Return *texts*, each only once, in order."""
    return tuple(dict.fromkeys(texts))
