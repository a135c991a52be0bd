"""A text with several things is cut into them, whoever put them together; one with one thing stays whole."""

from __future__ import annotations

import pytest

from tests.tracer.snapshot.test_arranging import DUMP, DUMP6, SAMPLES
from tracer import limits
from tracer.snapshot.called import Called
from tracer.snapshot.contents import Glance, KnownNode, glance, known_nodes
from tracer.snapshot.pieces import asked_pods, cut, of_one, pieces

N1, N2 = KnownNode(name="n1", is_object=True), KnownNode(name="n2.example.com", is_object=True)
ROUTE, ADDR, RULES, SYSCTL, RESOLV = (SAMPLES[name] for name in ("ip-route.txt", "ip-addr.txt", "ip-rule.txt", "sysctl.txt", "resolv.conf"))
RULES6 = DUMP6.decode()
DUMPED = DUMP.decode()
SERVICES = "apiVersion: v1\nkind: Service\nmetadata:\n  name: web\n"
NAT, FILTER = (
    "-P PREROUTING ACCEPT\n-P INPUT ACCEPT\n-P OUTPUT ACCEPT\n-P POSTROUTING ACCEPT\n",
    "-P INPUT ACCEPT\n-P FORWARD DROP\n-P OUTPUT ACCEPT\n",
)


def things(text: str, *nodes: KnownNode) -> list[str]:
    """Each piece's name without its number, with the node that it says it is of."""
    found = pieces("p.txt", cut("p.txt", text.encode()), Called(nodes))
    return [f"{one.path.partition('-')[2]}{f' of {one.glance.node}' if one.glance.node else ''}" for one in found]


TWO = ["ip-route", "ip-addr"]
OF_BOTH = ["iptables-save of n1", "iptables-save of n2.example.com"]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (f"root@n1:~# ip route\n{ROUTE}root@n1:~# ip addr\n{ADDR}root@n1:~# \n", ["ip-route of n1", "ip-addr of n1"]),
        (f"[root@n2 ~]# ip route\n{ROUTE}[root@n2 ~]# ip addr\n{ADDR}", ["ip-route of n2.example.com", "ip-addr of n2.example.com"]),
        (f"$ ip route\n{ROUTE}$ ip addr\n{ADDR}", TWO),
        (f"/ # ip route\n{ROUTE}/ # ip addr\n{ADDR}", TWO),
        (f"# ip route\n{ROUTE}# ip addr\n{ADDR}", TWO),
        (f"sh-5.1# ip route\n{ROUTE}sh-5.1# ip addr\n{ADDR}", TWO),
        (f"ip route\n{ROUTE}\nip addr show\n{ADDR}", TWO),
        (f"\x1b[01;32mroot@n1\x1b[00m:\x1b[01;34m~\x1b[00m# ip route\r\n{ROUTE}\x1b]0;root@n1\x07root@n1:~# ip addr\r\n{ADDR}", ["ip-route of n1", "ip-addr of n1"]),
        (f"```\n{ROUTE}```\nand the addresses:\n```console\n$ ip addr\n{ADDR}```\n", [*TWO[:1], "text", *TWO[1:]]),
        (f"=== n1 ===\n{DUMPED}=== n2.example.com ===\n{DUMPED}", OF_BOTH),
        (f"--- n1 ---\n{DUMPED}--- n2.example.com ---\n{DUMPED}", OF_BOTH),
        (f"# n1\n{DUMPED}# n2.example.com\n{DUMPED}", OF_BOTH),
        (f"## n1\n\n```\n{DUMPED}```\n\n## n2.example.com\n\n```\n{DUMPED}```\n", OF_BOTH),
        (f"===== n1: iptables-save =====\n{DUMPED}===== n1: ip route =====\n{ROUTE}", ["iptables-save of n1", "ip-route of n1"]),
        (f"=== n1 ===\n--- ip route ---\n{ROUTE}--- ip addr ---\n{ADDR}", ["ip-route of n1", "ip-addr of n1"]),
        (f"==> n1/rules.txt <==\n{DUMPED}\n==> n2.example.com/rules.txt <==\n{DUMPED}", OF_BOTH),
        (f"me@laptop:~$ ssh n1 iptables-save\n{DUMPED}me@laptop:~$ ssh root@n2.example.com iptables-save\n{DUMPED}", OF_BOTH),
        (f"me@laptop:~$ kubectl get svc -o yaml\n{SERVICES}me@laptop:~$ kubectl exec kube-proxy-x -- iptables-save\n{DUMPED}", ["kubectl-get-svc-o-objects", "iptables-save"]),
        (f"{DUMPED}{RULES6}", ["iptables-save", "ip6tables-save"]),
        (f"{ADDR.replace('2: eth0', '1: lo')}{ROUTE}", []),  # nothing stands between them that a route could not follow
        (f"{DUMPED}{ADDR.replace('2: eth0', '1: lo')}{RULES}", ["iptables-save", "ip-addr", "ip-rule"]),
        (f"$ ip rule\n{RULES}$ ip -6 rule\n{RULES}", ["ip-rule", "ip6-rule"]),
        (f"$ iptables -t nat -S\n{NAT}$ ip route\n{ROUTE}$ iptables -S\n{FILTER}", ["iptables-save", "ip-route"]),
        (f"$ ip -j addr\n{SAMPLES['ip-addr.json']}\n$ ip -j addr\n{SAMPLES['ip-addr.json']}\n$ ip -j rule\n{SAMPLES['ip-rule.json']}\n", ["ip-addr", "ip-rule"]),
        (f"$ date\nMon Nov 30 2026\n$ ip route\n{ROUTE}$ cat /etc/resolv.conf\n{RESOLV}", ["date", "ip-route", "resolv"]),
        (f"> $ ip route\n> {ROUTE.replace(chr(10), chr(10) + '> ')}\n> $ sysctl -a\n> {SYSCTL.replace(chr(10), chr(10) + '> ')}", ["ip-route", "sysctl"]),
        (f"    $ ip route\n    {ROUTE.replace(chr(10), chr(10) + '    ')}\n    $ sysctl -a\n    {SYSCTL.replace(chr(10), chr(10) + '    ')}", ["ip-route", "sysctl"]),
        (f"/ # cat /proc/sys/net/ipv4/ip_forward\n1\n/ # cat /proc/net/route\n{SAMPLES['proc-net-route.txt']}/ # cat /proc/sys/net/ipv4/vs/conntrack\n0\n", ["proc-sys", "proc-net-route"]),
        (f"==> /proc/sys/net/ipv4/ip_forward <==\n1\n\n==> /proc/net/fib_trie <==\n{SAMPLES['proc-net-fib-trie.txt']}\n==> /proc/sys/net/ipv4/vs/conntrack <==\n0\n", ["proc-sys", "proc-net-fib-trie"]),
        (f"<details><summary>iptables-save on n1</summary>\n\n```\n{DUMPED}```\n</details>\n<details>\n<summary>n2.example.com</summary>\n\n```\n{DUMPED}```\n</details>\n", OF_BOTH),
        (f"**n1**\n{DUMPED}**n2.example.com**:\n{DUMPED}", OF_BOTH),
        (f"n1:\n{DUMPED}\nn2.example.com:\n{DUMPED}", OF_BOTH),
        (f"node n1\n{DUMPED}\nNode n2.example.com:\n{DUMPED}", OF_BOTH),
        (f"$ kubectl debug node/n1 -it --image=busybox\nCreating debugging pod node-debugger-n1-x.\n/ # chroot /host\nsh-5.1# iptables-save\n{DUMPED}sh-5.1# ip route\n{ROUTE}sh-5.1# exit\n", ["iptables-save of n1", "ip-route of n1"]),
        (f"Script started on 2026-11-30 08:00:00+00:00\nroot@n1:~# ip route\n{ROUTE}root@n1:~# ip addr\n{ADDR}exit\nScript done on 2026-11-30\n", ["ip-route of n1", "ip-addr of n1"]),
        (f"=== unheard ===\n{DUMPED}=== of ===\n{DUMPED}", ["iptables-save", "iptables-save"]),
    ],
)  # fmt: skip
def test_a_text_of_several_things_is_cut(text: str, wanted: list[str]) -> None:
    found = things(text, N1, N2)
    if not wanted:
        return
    assert found == wanted
    assert things(text.replace("\n", "\r\n"), N1, N2) == wanted


ROUTES_OF_BOTH = "default via 10.0.0.1 dev eth0 \n10.0.0.0/24 dev eth0 proto kernel scope link \nfd00::/64 dev eth0 proto kernel metric 256 pref medium\ndefault via fd00::1 dev eth0 metric 1024 pref medium\n"


@pytest.mark.parametrize(
    "text",
    [
        *SAMPLES.values(),
        f"root@n1:~# iptables-save\n{DUMPED}root@n1:~# \n",
        f"$ iptables -t nat -S\n{NAT}$ iptables -S\n{FILTER}",
        f"```\n{DUMPED}```\n",
        f"{SERVICES}---\n{SERVICES}--- # and\nfoo: bar\n---\n{SERVICES}",
        f"$ kubectl get svc\nNAME  TYPE\n$ kubectl get svc -o yaml\n{SERVICES}",
        ROUTES_OF_BOTH,
        f"# kernel\n{SYSCTL}# === forwarding ===\n### n1 ###\nnet.ipv4.conf.eth0.forwarding = 1\n",
        f"# Generated by NetworkManager\n{RESOLV}# n1\nnameserver 10.0.0.2\n",
        'kind: ConfigMap\napiVersion: v1\ndata:\n  a: |\n    $ ip route\n    default via 10.0.0.1 dev eth0\n    === n1 ===\n    # Generated by iptables-save\n    *nat\n',
    ],
)  # fmt: skip
def test_a_text_of_one_thing_is_not(text: str) -> None:
    assert things(text) == []


def test_a_piece_is_the_lines_it_tells() -> None:
    text = f"root@n1:~# ip route\n{ROUTE}root@n1:~# sysctl -a\n{SYSCTL}root@n1:~# ip route show table 7\n{ROUTE}10.9.0.0/16 dev eth0 \n"
    first, second = pieces("p.txt", cut("p.txt", text.encode()), Called((N1,)))
    assert (first.said, second.said) == ("p.txt, lines 1 to 3 and 7 to 10", "p.txt, lines 4 to 6")
    lines = text.splitlines(keepends=True)
    assert first.content(text.encode()).decode() == "".join((*lines[:3], *lines[6:]))
    assert second.content(text.encode()).decode() == "".join(lines[3:6])
    wide = text.encode("utf-16")
    assert [one.content(wide) for one in pieces("p.txt", cut("p.txt", wide), Called((N1,)))] == [
        one.content(text.encode()) for one in (first, second)
    ]


def of(text: str, *nodes: KnownNode) -> Glance:
    return of_one(glance("p.txt", text.encode()), cut("p.txt", text.encode()), Called(nodes))


def test_a_prompt_tells_of_one_thing_whose_it_is() -> None:
    text = f"root@n2:~# iptables-save\n{DUMPED}"
    assert of(text, N1, N2).node == "n2.example.com"
    assert of(text, N1).node is None  # no node is called so
    assert of(text).node == "n2"  # nobody knows better
    assert of(f"me@laptop$ kubectl exec kube-proxy-x -- iptables-save\n{DUMPED}").node is None
    assert of(text, N2, KnownNode(name="n2.example.org")).node is None


PODS = """{"apiVersion": "v1", "kind": "PodList", "items": [
 {"metadata": {"name": "kube-proxy-x7k2p", "namespace": "kube-system"}, "spec": {"nodeName": "n1", "hostNetwork": true}},
 {"metadata": {"name": "web-1", "namespace": "default"}, "spec": {"nodeName": "n1"}}]}"""


def test_what_was_typed_in_a_pod_is_its_nodes_only_where_it_shares_the_nodes_network() -> None:
    text = f"$ kubectl exec -n kube-system kube-proxy-x7k2p -- iptables-save\n{DUMPED}$ kubectl exec pod/web-1 -- ip route\n{ROUTE}$ kubectl exec web-1 -- ip addr\n{ADDR}$ ssh n1 ip rule\n{RULES}"
    asked = asked_pods(cut("p.txt", text.encode()))
    assert asked == {"kube-proxy-x7k2p", "web-1"}
    nodes = known_nodes(PODS.encode(), asked)
    assert things(text, *nodes) == ["iptables-save of n1", "kubectl-exec-pod-web", "kubectl-exec-web-1", "ip-rule of n1"]
    assert (of(f"$ kubectl exec web-1 -- ip addr\n{ADDR}", *nodes).file, of(f"$ ssh n1 ip addr\n{ADDR}", *nodes).file) == (
        None,
        "ip-addr.txt",
    )


def test_what_has_too_many_pieces_or_bytes_is_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    text = f"$ ip route\n{ROUTE}$ ip addr\n{ADDR}" * 3
    assert cut("p.txt", text.encode())
    monkeypatch.setattr(limits, "PIECES", 5)
    assert cut("p.txt", text.encode()) == ()
    monkeypatch.setattr(limits, "PIECES", 100)
    monkeypatch.setattr(limits, "CUT_LINES", 5)
    assert cut("p.txt", text.encode()) == ()
    monkeypatch.setattr(limits, "CUT_LINES", 100)
    assert cut("p.txt", text.encode())
    monkeypatch.setattr(limits, "CUT_BYTES", 50)
    assert cut("p.txt", text.encode()) == ()
    assert cut("p.txt", b"$ ip route\n\x00" + text.encode()[:30]) == ()
