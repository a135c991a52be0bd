"""The table of virtual servers in each form in which it is printed, and what no table may be taken for."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from ipaddress import ip_address
from pathlib import Path

import pytest

from tracer.ipvs.ipvsadm_save import parse_virtual_servers
from tracer.ipvs.model import Forwarding, VirtualServer
from tracer.ipvs.schedule import choices
from tracer.packet import Packet, Protocol

DEMO = Path(__file__).parents[3] / "demo"
SAVED = """\
-A -t 10.96.0.1:443 -s rr -p 10800
-a -t 10.96.0.1:443 -r 192.0.2.11:6443 -m -w 1
-a -t 10.96.0.1:443 -r 192.0.2.12:6443 -m -w 0
-A -t 10.96.0.5:53 -s sh -p 360 -M 255.255.255.0
-a -t 10.96.0.5:53 -r 10.244.1.3:53 -g -w 1
-A -u [2001:db8::a]:53 -s wrr
-a -u [2001:db8::a]:53 -r [2001:db8::1]:80 -m -w 7
-A -t 192.0.2.11:30080 -s sh -b sh-fallback,sh-port
-A -f 7 -s wlc
-a -f 7 -r 10.244.1.4:0 -i -w 1
-A -f 8 -6 -s rr -p 60 -M 64
"""
LISTED = """\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  10.96.0.1:443 rr persistent 10800
  -> 192.0.2.11:6443              Masq    1      2          0         
  -> 192.0.2.12:6443              Masq    0      0          12        
TCP  10.96.0.5:53 sh persistent 360 mask 255.255.255.0
  -> 10.244.1.3:53                Route   1      0          0         
UDP  [2001:db8::a]:53 wrr
  -> [2001:db8::1]:80             Masq    7      0          0         
TCP  192.0.2.11:30080 sh (sh-fallback,sh-port)
FWM  7 wlc
  -> 10.244.1.4:0                 Tunnel  1      0          0         
FWM  8 IPv6 rr persistent 60 mask 64
"""  # noqa: W291 — as ipvsadm prints it
# As ip_vs_info_seq_show() prints it; it shows neither the schedulers' flags nor the family of a mark.
OF_KERNEL = """\
IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port Forward Weight ActiveConn InActConn
TCP  0A600001:01BB rr persistent 10800 FFFFFFFF
  -> C000020B:192B      Masq    1      2          0         
  -> C000020C:192B      Masq    0      0          12        
TCP  0A600005:0035 sh persistent 360 FFFFFF00
  -> 0AF40103:0035      Route   1      0          0         
UDP  [2001:0db8:0000:0000:0000:0000:0000:000a]:0035 wrr 
  -> [2001:0db8:0000:0000:0000:0000:0000:0001]:0050      Masq    7      0          0         
TCP  C000020B:7580 sh 
FWM  00000007 wlc 
  -> 0AF40104:0000      Tunnel  1      0          0         
"""  # noqa: W291
PASTES = {
    "as it is": LISTED,
    "from a terminal": f"root@n1:~# ipvsadm -Ln\n{LISTED}root@n1:~# \n",
    "fenced and quoted": "".join(f"> {line}\n" for line in f"```\n{LISTED}```".splitlines()),
    "indented": "".join(f"    {line}\n" for line in LISTED.splitlines()),
    "numbered": "".join(f"{n}:{line}\n" for n, line in enumerate(LISTED.splitlines(), 1)),
    "coloured": "".join(f"\x1b[32m{line}\x1b[0m\r\n" for line in LISTED.splitlines()),
}


def bare(servers: tuple[VirtualServer, ...]) -> list[VirtualServer]:
    """Return *servers* without where they stood, and what only one of the forms tells."""
    said = {"text": "", "line": 0}
    return [
        replace(
            server,
            **said,
            hides_flags=False,
            hides_thresholds=False,
            in_kernel_order=False,
            real_servers=tuple(replace(real, **said, active=None, inactive=None) for real in server.real_servers),
        )
        for server in servers
    ]


@pytest.mark.parametrize("form", PASTES)
def test_a_listing_says_what_the_saved_form_says(form):
    """Forward method, scheduler, flags, weights and persistence, whatever stands around the table."""
    (listed, faults), (saved, _) = parse_virtual_servers(PASTES[form], "f"), parse_virtual_servers(SAVED, "f")
    assert faults == ()
    assert bare(listed) == bare(saved)
    assert (listed[0].real_servers[0].active, listed[0].real_servers[1].inactive) == (2, 12)


def test_the_recorded_node_says_the_same_in_both_forms():
    """Every virtual server of a cluster in IPVS mode."""
    node = DEMO / "shop-ipvs" / "nodes" / "shop-worker"
    saved, listed = (parse_virtual_servers((node / name).read_text(), name) for name in ("ipvsadm-save.txt", "ipvsadm-list.txt"))
    key = str
    assert (saved[1], listed[1]) == ((), ())
    assert sorted(bare(saved[0]), key=key) == sorted(bare(listed[0]), key=key)


def test_the_kernels_table_is_hexadecimal_and_in_its_own_order():
    """``/proc/net/ip_vs``: addresses in network order, masks too, no flags."""
    (table, faults), (saved, _) = parse_virtual_servers(OF_KERNEL, "f"), parse_virtual_servers(SAVED, "f")
    assert faults == ()
    assert bare(table) == [replace(server, flags=()) for server in bare(saved)[:-1]]
    assert all(server.in_kernel_order and server.hides_flags for server in table)


def test_flags_that_no_table_shows_make_no_hash_certain():
    """``/proc`` does not say whether sh looks at ports or falls back."""
    table, _ = parse_virtual_servers(
        OF_KERNEL.replace("0AF40103:0035      Route", "0AF40103:0035      Route   1      0          0\n  -> 0AF40109:0035      Route"), "f"
    )
    packet = Packet(
        protocol=Protocol.TCP, source=ip_address("10.244.1.9"), destination=ip_address("10.96.0.5"), source_port=999, destination_port=53
    )
    found = choices(table[1], packet)
    assert [choice.share for choice in found] == [Fraction(1, 2), Fraction(1, 2)]
    assert all("does not show" in (choice.condition or "") for choice in found)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            LISTED.replace("Forward Weight ActiveConn InActConn", "Conns   InPkts  OutPkts  InBytes OutBytes"),
            "without the weights and ways of real servers; ipvsadm -S -n",
        ),
        (LISTED.replace("10.96.0.1:443", "kubernetes.default:https"), "was ipvsadm run without -n?"),
        (LISTED.replace("Masq    0      0", "Masq    0"), "not a real server"),
        (LISTED[: LISTED.index(" wlc")], "names no scheduler"),
        (LISTED + "TCP  10.96.0.1:443 rr\n", "is added twice"),
        (LISTED.replace("Tunnel ", "Wagon  "), "not a real server with its way"),
        (LISTED.replace(" persistent 10800", " persistant 10800"), "'persistant' is no word"),
        (LISTED + "--More--\n", "no line of ipvsadm -L -n"),
        ("IPVS connection entries\npro expire state       source             virtual            destination\n", "connections, and no virtual servers"),
    ],
)  # fmt: skip
def test_what_is_not_said_is_a_fault(text, message):
    """Never an empty table, never a weight made up."""
    faults = parse_virtual_servers(text, "f")[1]
    assert [message in fault.message for fault in faults[:1]] == [True], faults


def test_a_lost_virtual_server_takes_its_real_servers_along():
    """They are never given to the one before."""
    servers, faults = parse_virtual_servers(LISTED.replace("10.96.0.5:53 sh", "10.96.0.5 sh"), "f")
    assert [server.name for server in servers[:2]] == ["-t 10.96.0.1:443", "-u [2001:db8::a]:53"]
    assert len(servers[0].real_servers) == 2
    assert len(faults) == 1
    assert Forwarding.GATEWAY not in {real.forwarding for server in servers for real in server.real_servers}
