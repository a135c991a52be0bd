"""Statements of a JSON listing that have no model, in the words that the plain listing has for them.

Source: libnftables-json(5) 1.0.9; statement.c, json.c of nftables.
"""

from __future__ import annotations

import json
from typing import Any

from tracer.netfilter import nft_model as n
from tracer.packet import host_text

TIMES = ("hour", "day", "time")
"""The meta keys that ask for the time."""
_METERS = ("limit", "ct count", "quota")


def without_model(kind: str, value: Any) -> n.Statement | None:
    """Return the statement that *kind* stands for, None when it has a model or is not known."""
    match kind:
        case "log":
            return n.Harmless("log" + "".join(f" {k} {v if k in ('level', 'flags') else _quoted(v)}" for k, v in (value or {}).items()))
        case "limit":
            return n.UnmodelledMatch("limit", _limit(value))
        case "quota":
            return n.UnmodelledMatch("quota", _quota(value) if isinstance(value, dict) else f'quota name "{value}"')
        case "ct count" if isinstance(value, dict):
            return n.UnmodelledMatch("ct count", _count(value))
        case "xt":
            return _extension(value)
        case "dup" | "fwd":
            return n.UnmodelledStatement(kind, _sent(kind, value))
        case "synproxy" if isinstance(value, dict):
            return n.UnmodelledStatement(kind, _synproxy(value))
        case "queue":
            return n.UnmodelledStatement(kind, _queue(value or {}))
        case "tproxy":
            return n.UnmodelledStatement(kind, _tproxy(value))
        case "last":
            return n.Harmless("last" + (f" used {value['used']}" if isinstance(value, dict) and "used" in value else ""))
        case "connlimit" | "ct count":
            return n.UnmodelledMatch(kind, f"{kind} {json.dumps(value)}")
    return None


def metered(operation: str, name: str, key: str, statements: list[dict[str, Any]]) -> n.UnmodelledMatch | None:
    """Return ``add @name { key limit … }``, which may stop the rule; None when *statements* hold counters only."""
    words = [text for s in statements for kind, value in s.items() if (text := _meter_words(kind, value))]
    return n.UnmodelledMatch("meter", f"{operation} @{name} {{ {key} {' '.join(words)} }}") if words else None


def meter(value: dict[str, Any], key: str) -> n.UnmodelledMatch:
    """Return the older ``meter NAME size N { key limit … }``."""
    (kind, inner), *_ = value["stmt"].items()
    size = f" size {value['size']}" if "size" in value else ""
    return n.UnmodelledMatch("meter", f"meter {value['name']}{size} {{ {key} {_meter_words(kind, inner) or kind} }}")


def timed(operator: str, key: str, right: Any) -> n.UnmodelledMatch:
    """Return ``meta hour …``: the time of asking is not in a snapshot."""
    sign = "" if operator == "==" else f"{operator} "
    return n.UnmodelledMatch("time", f"meta {key} {sign}{_times(right)}")


def _times(right: Any) -> str:
    if isinstance(right, dict) and "range" in right:
        return "-".join(_quoted(v) for v in right["range"])
    if isinstance(right, dict) and "set" in right:
        found = right["set"] if isinstance(right["set"], list) else [right["set"]]
        return f"{{ {', '.join(_times(v) for v in found)} }}"
    return _quoted(right)


def _meter_words(kind: str, value: Any) -> str:
    if kind not in _METERS:
        return ""
    return _limit(value) if kind == "limit" else _count(value) if kind == "ct count" else _quota(value)


def _quoted(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def _limit(value: Any) -> str:
    if not isinstance(value, dict) or "rate" not in value:
        return f'limit name "{value}"'
    over = "over " if value.get("inv") else ""
    burst = f" burst {value['burst']} packets" if value.get("burst", 5) not in (0, 5) else ""  # 5 is what nft takes unsaid
    return f"limit rate {over}{value['rate']}/{value.get('per', 'second')}{burst}"


def _quota(value: dict[str, Any]) -> str:
    used = f" used {value['used']} {value.get('used_unit', 'bytes')}" if value.get("used") else ""
    return f"quota {'over ' if value.get('inv') else ''}{value.get('val')} {value.get('val_unit', 'bytes')}{used}"


def _count(value: dict[str, Any]) -> str:
    return f"ct count {'over ' if value.get('inv') else ''}{value.get('val')}"


def _extension(value: dict[str, Any]) -> n.Statement:
    text = f'xt {value.get("type")} "{value.get("name")}"'
    if value.get("name") == "comment":
        return n.Harmless(text)
    return n.UnmodelledStatement("xt", text) if value.get("type") == "target" else n.UnmodelledMatch("xt", text)


def _sent(kind: str, value: Any) -> str:
    found = value if isinstance(value, dict) else {"addr": value}
    family = f" {found['family']}" if "family" in found else ""
    device = f" device {_quoted(found['dev'])}" if "dev" in found else ""
    return f"{kind}{family} to {found['addr']}{device}" if "addr" in found else f"{kind} to {_quoted(found.get('dev'))}"


def _synproxy(value: dict[str, Any]) -> str:
    flags = value.get("flags", ())
    words = [f"{k} {value[k]}" for k in ("mss", "wscale") if k in value] + ([flags] if isinstance(flags, str) else list(flags))
    return " ".join(("synproxy", *words))


def _queue(value: dict[str, Any]) -> str:
    flags, number = value.get("flags", ()), value.get("num", 0)
    shown = f" flags {flags if isinstance(flags, str) else ','.join(flags)}" if flags else ""
    to = "-".join(map(str, number["range"])) if isinstance(number, dict) and "range" in number else str(number)
    return f"queue{shown} to {to}"


def _tproxy(value: dict[str, Any]) -> str:
    family, host = value.get("family"), host_text(value.get("addr", ""))
    port = f":{value['port']}" if "port" in value else ""
    return f"tproxy{f' {family}' if family else ''} to {host}{port}"


def with_quoted_names(kinds: tuple[str, ...], key: n.Expression) -> n.Expression:
    """Return *key* with the names of devices as the plain listing has them: quoted. *kinds* are the types of its parts."""
    if isinstance(key, n.Concat) and len(key.parts) == len(kinds):
        return n.Concat(tuple(with_quoted_names((kind,), part) for kind, part in zip(kinds, key.parts, strict=True)))
    if isinstance(key, n.Word) and kinds == ("name",):
        return n.Word(key.text, True)
    return key
