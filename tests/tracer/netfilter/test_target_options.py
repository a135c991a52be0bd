"""Every option of every target of iptables, with as many values as its extension takes. Source: iptables-extensions(8)."""

from __future__ import annotations

import pytest

from tracer.errors import ParseError
from tracer.netfilter.rule_text import parse_rule
from tracer.netfilter.target_options import TARGETS

TAKEN: dict[str, tuple[str, ...]] = {
    "ACCEPT": (),
    "DROP": (),
    "RETURN": (),
    "NOTRACK": (),
    "TRACE": (),
    "REJECT": ("--reject-with icmp-port-unreachable",),
    "DNAT": ("--to-destination 10.0.0.1", "--to-destination 10.0.0.1 --random", "--to-destination 10.0.0.1 --persistent"),
    "SNAT": ("--to-source 10.0.0.1", "--to-source 10.0.0.1 --random-fully"),
    "MASQUERADE": ("--to-ports 1000-2000", "--random", "--random-fully"),
    "REDIRECT": ("--to-ports 8080", "--random"),
    "NETMAP": ("--to 10.0.0.0/24",),
    "MARK": ("--set-xmark 0x1/0xff", "--set-mark 0x1", "--and-mark 0x1", "--or-mark 0x1", "--xor-mark 0x1"),
    "CONNMARK": (
        "--set-xmark 0x1/0xff",
        "--set-mark 0x1",
        "--and-mark 0x1",
        "--or-mark 0x1",
        "--xor-mark 0x1",
        "--save-mark",
        "--save-mark --mask 0xff",
        "--restore-mark --nfmask 0xff --ctmask 0xff",
    ),
    "CT": (
        "--notrack",
        "--helper ftp",
        "--ctevents new,destroy",
        "--expevents new",
        "--zone 3",
        "--zone-orig 3",
        "--zone-reply 3",
        "--timeout web",
    ),
    "DSCP": ("--set-dscp 0x10", "--set-dscp-class CS1"),
    "TOS": ("--set-tos 0x10/0xff", "--and-tos 0x10", "--or-tos 0x10", "--xor-tos 0x10"),
    "TTL": ("--ttl-set 64", "--ttl-dec 1", "--ttl-inc 1"),
    "HL": ("--hl-set 64", "--hl-dec 1", "--hl-inc 1"),
    "SET": (
        "--add-set S src,dst",
        "--del-set S src",
        "--add-set S src --exist --timeout 60",
        "--map-set S src --map-mark --map-prio --map-queue",
    ),
    "LOG": (
        '--log-prefix "in: "',
        "--log-level 4",
        "--log-tcp-sequence --log-tcp-options --log-ip-options --log-uid --log-macdecode",
    ),
    "NFLOG": ("--nflog-group 1 --nflog-prefix a --nflog-range 64 --nflog-threshold 2", "--nflog-size 64"),
    "ULOG": ("--ulog-nlgroup 2", "--ulog-prefix a", "--ulog-cprange 100", "--ulog-qthreshold 5"),
    "AUDIT": ("--type accept",),
    "CHECKSUM": ("--checksum-fill",),
    "CLASSIFY": ("--set-class 1:2",),
    "TCPMSS": ("--set-mss 1400", "--clamp-mss-to-pmtu"),
    "TCPOPTSTRIP": ("--strip-options 3,4",),
    "ECN": ("--ecn-tcp-remove",),
    "SECMARK": ("--selctx system_u:object_r:a:s0",),
    "CONNSECMARK": ("--save", "--restore"),
    "IDLETIMER": ("--timeout 5 --label a", "--timeout 5 --label a --alarm"),
    "TEE": ("--gateway 10.0.0.1", "--gateway 10.0.0.1 --oif eth0"),
    "LED": ("--led-trigger-id a", "--led-trigger-id a --led-delay 5", "--led-trigger-id a --led-always-blink"),
}


SHARED = {"--random", "--random-fully", "--persistent"}
"""What one reader takes for all kinds of NAT, though not every one of them is told all."""


def test_every_option_has_a_row() -> None:
    assert {*TAKEN} == {*TARGETS}
    for name, (options, _) in TARGETS.items():
        words = {word for text in TAKEN[name] for word in text.split() if word.startswith("--")}
        assert words <= {*options}, name
        assert {*options} - words <= SHARED, name


@pytest.mark.parametrize("name", TAKEN)
def test_an_option_takes_its_values_and_nothing_more(name: str) -> None:
    for text in TAKEN[name] or ("",):
        assert parse_rule(f"-A INPUT -j {name} {text}".rstrip(), 1, set()).target is not None
        with pytest.raises(ParseError):
            parse_rule(f"-A INPUT -j {name} {text} surplus", 1, set())
    values = [text for text in TAKEN[name] if not text.split()[-1].startswith("--")]
    for text in values:
        with pytest.raises(ParseError):
            parse_rule(f"-A INPUT -j {name} {text.rpartition(' ')[0]}", 1, set())
