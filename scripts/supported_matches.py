#!/usr/bin/env python3
"""Write docs/supported-matches.md from the engine's own tables; with --check say whether it is up to date (exit code 1 if not).

What a match asks is its class's docstring; what can make it unknown are the texts that its test in tracer/netfilter/matches.py gives.
"""

from __future__ import annotations

import ast
import contextlib
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tracer.explain.catalogue import explain  # noqa: E402
from tracer.netfilter import match_options, matches, target_options  # noqa: E402
from tracer.netfilter import model as m  # noqa: E402
from tracer.netfilter.rule_text import parse_rule  # noqa: E402
from tracer.netfilter.scalars import BadValue  # noqa: E402

PAGE = ROOT / "docs/supported-matches.md"
_HEAD = """\
# Supported matches and targets

<!-- Written by scripts/supported_matches.py from the code's tables; a test says whether it is up to date. Do not edit. -->

What `iptables-save` and `ip6tables-save` print, and what Hopline makes of it. A match is answered **yes**, **no** or **unknown**; an
unknown one splits the walk, and both ways are shown with their condition. The options of iptables(8) itself (`-s -d -i -o -p -f -j -g`)
are all modelled; `!` may stand before any option that iptables lets negate, and before the value where old versions print it.
"""
_WORDS = [(w, "src") for w in ("80", "x", "10.0.0.1", "LOCAL", "NEW", "ASSURED", "REPLY", "tcp", "unicast", "EF", "0.5")] + [("SYN", "SYN")]
_COMPANIONS = {
    ("statistic", "--probability"): (match_options.Option("--mode", False, ("random",)),),
    ("statistic", "--every"): (match_options.Option("--mode", False, ("nth",)),),
}
# One line of each target, as iptables-save prints it: the model says what it becomes.
_SAMPLES = {
    "DNAT": "--to-destination 10.0.0.1:80",
    "SNAT": "--to-source 10.0.0.1",
    "NETMAP": "--to 10.0.0.0/24",
    "MARK": "--set-xmark 0x1/0x1",
    "CONNMARK": "--save-mark",
    "CT": "--notrack",
    "DSCP": "--set-dscp 0x0a",
    "TOS": "--set-tos 0x10/0xff",
    "TTL": "--ttl-set 64",
    "HL": "--hl-set 64",
    "SET": "--add-set a src",
}
# Beside matches and targets: what of the kernel no file tells or no model has, what is answered then, and the code of the answer.
_OPEN = (
    (
        "Which of two chains of equal priority the kernel asks first (iptables-legacy's and nft's, or two tables' of nft), where "
        "`nft list hooks` does not tell; of NAT chains kernels before 2026 do not list it",
        "every order that is possible is tried; where they end otherwise, each is a condition",
        "HOOK_ORDER_UNKNOWN",
    ),
    (
        "By which device a packet comes in: to an address of no device, from outside to one of several cards, on a node without "
        "`ip-addr.json`",
        "a condition for each device, or a device of which nothing is known: a match on it is unknown, never false",
        "DATA_MISSING",
    ),
    ("Sysctls that decide and were not recorded (`rp_filter`, `route_localnet`)", "both ways are conditions", "DATA_MISSING"),
    (
        "Connection tracking zones (`-j CT --zone`); what is exempted (`NOTRACK`) is modelled: UNTRACKED, and never rewritten",
        "unknown from there",
        "UNMODELLED_TARGET",
    ),
    (
        "What becomes of the ACK and of what the server says then, where what tells them from the first packets was not recorded; behind "
        "a process that accepts, and on nodes without rules (eBPF, userspace, Windows), neither is walked, nor is what follows",
        "the first packet's answer, with a remark",
        "HANDSHAKE_UNKNOWN",
    ),
    (
        "A SYN that is sent again and meets a condition that the first one did not",
        "the first packet's answer; what chance draws anew is followed",
        "SYN_DRAWN_AGAIN",
    ),
    (
        "An entry of a connection that exists already, where a node's `conntrack.txt` is missing or has lines that cannot be read",
        "with and without it, as conditions",
        "DATA_MISSING",
    ),
    (
        "The next hop of a multipath route, where the kernel hashes the addresses only (its default for IPv4)",
        "a condition for each; where ports or a flow label are hashed, odds",
        "DATA_MISSING",
    ),
    (
        "What carries a packet through IPsec, a tunnel whose way a program tells (`external`: Cilium, OVN, OVS), or one whose peers or "
        "parameters were not recorded (WireGuard without the files of `wg show`)",
        "not walked: the packet comes out at the other node, and the hop says so where a device shows it",
        "",
    ),
    (
        "IPIP, SIT, GRE, Geneve and WireGuard devices",
        "walked by the kernel's source, and not proved: the kernel that the tests run on has none of them (VXLAN is proved)",
        "TUNNEL_PACKET_LOST",
    ),
    (
        "Packets that are too large for the way, where devices' MTUs were not recorded, and what is beyond the cluster",
        "only recorded values count; a full-sized segment that does not fit is a remark",
        "MTU_BLACK_HOLE",
    ),
    (
        "Whether a link works, where two files contradict each other; a neighbour that did not answer when it was asked last",
        "unknown",
        "LINK_STATE_UNKNOWN",
    ),
    ("Which of several nodes answers for an address on all of them first", "a condition for each", "ARP_ANSWERED_BY_SEVERAL"),
    (
        "A pod's own stack without its files: a sidecar that takes its connections",
        "the pod's own address and ports are taken to be plain; a sidecar is recognised and said",
        "SIDECAR",
    ),
    (
        "From where a load balancer checks its nodes and at which port, of most providers; whether it answers a ping",
        "a condition where the check would fail; unknown",
        "LB_CHECK_NOT_KNOWN",
    ),
    (
        "Chains of nft's family `bridge`, and those at `ingress` and `egress` of which the listing does not say the devices",
        "unknown where they have rules and the packet crosses them; other chains at `ingress` and `egress` are modelled",
        "BAD_RULE",
    ),
    ("ebtables-legacy, tc, XDP and eBPF programs on a device", "nothing of them is read, and nothing is said", ""),
)


def page() -> str:
    """Return the page's text."""
    return "\n".join([_HEAD, *_matches(), *_general(), *_targets(), *_recognised(), *_open(), ""])


def _first_sentence(text: str | None) -> str:
    words = " ".join((text or "").split("\n\n")[0].split()).replace("``", "`")
    return words[:1].upper() + words[1:]


def _classes_of(module: str) -> list[str]:
    """The match classes that a module's options become: each option is tried with words of every form until its builder takes one."""
    found: dict[str, None] = {}
    for name, arity in match_options.MODULES[module][0].items():
        for words in _WORDS:
            with contextlib.suppress(BadValue):
                tried = match_options.Option(name, False, words[:arity])
                built = match_options.build(module, (tried, *_COMPANIONS.get((module, name), ()))) if len(words) >= arity else ()
                found |= dict.fromkeys(type(match).__name__ for match in built)
                if built:
                    break
    return list(found)


def _unknown_texts(name: str) -> Iterator[str]:
    """What can make a match of class *name* unknown, in the engine's words."""
    for node in ast.walk(ast.parse(inspect.getsource(matches._TESTS[getattr(m, name)]))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "_unknown":
            yield _template(node.args[0])


def _template(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
    if isinstance(node, ast.Name):
        return str(getattr(matches, node.id))
    return "…"


def _questions(classes: list[str]) -> str:
    asked = [_first_sentence(inspect.getdoc(getattr(m, c))).rstrip(".") for c in classes if c != "UnmodelledMatch"]
    return "; ".join(asked) + ("; other options: always unknown" if "UnmodelledMatch" in classes and asked else "")


def _matches() -> Iterator[str]:
    yield "## Match modules with a model\n"
    yield "| module | options | what is asked | unknown where |\n|---|---|---|---|"
    for name, (options, _) in sorted(match_options.MODULES.items()):
        classes = _classes_of(name)
        unknown = dict.fromkeys(text for c in classes if c != "UnmodelledMatch" for text in _unknown_texts(c))
        yield _row(f"`{name}`", " ".join(f"`{o}`" for o in options), _questions(classes), "; ".join(unknown) or "—")


def _general() -> Iterator[str]:
    yield "\n## Match modules that are recognised\n"
    yield "Their answer is always unknown; the rule's text is kept and shown. A module that is not named here is unknown in the same way.\n"
    yield ", ".join(f"`{name}`" for name in sorted(match_options.RECOGNISED)) + "."


def _targets() -> Iterator[str]:
    yield "\n## Targets with a model\n"
    yield "| target | options | what it does |\n|---|---|---|"
    for name, (options, _) in sorted(target_options.TARGETS.items()):
        built = parse_rule(f"-A X -j {name} {_SAMPLES.get(name, '')}".rstrip(), 1, ()).target
        yield _row(f"`{name}`", " ".join(f"`{o}`" for o in options) or "—", _first_sentence(inspect.getdoc(type(built))))
    yield "\n`-j CHAIN` jumps, `-g CHAIN` goes; a rule without a target counts and goes on, and is a step like any other."


def _recognised() -> Iterator[str]:
    yield "\n## Targets that are recognised\n"
    yield "They may decide the packet's fate in a way that has no model: the walk is unknown from there.\n"
    yield ", ".join(f"`{name}`" for name in sorted(target_options.RECOGNISED)) + "."
    yield "\nAnything else behind `-j` is a fault of the line: the trace that might meet it is unknown, and says which line it was."


def _open() -> Iterator[str]:
    yield "\n## What is still unknown beside these\n"
    yield "How each is decided where files tell is in [theory.md](theory.md); the codes are explained on the page of reasons.\n"
    yield "| what | how it is answered | code |\n|---|---|---|"
    for what, answer, code in _OPEN:
        if code and explain(code) is None:
            raise KeyError(code)
        yield _row(what, answer, f"`{code}`" if code else "—")


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def main() -> int:
    """Write the page, or compare it."""
    if "--check" in sys.argv[1:]:
        return 0 if PAGE.read_text() == page() else 1
    PAGE.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
