"""What is read from a node, and by which command: one table for live readings, ``manage.py collect``, ``collect.sh`` and the DaemonSet.

The names are those of docs/snapshot-format.md. No command writes anything, and none needs a shell.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeCommand:
    """One *file* of a node and the *argv* that prints it. *follows_events*: it changes with Services and pods."""

    file: str
    argv: tuple[str, ...]
    follows_events: bool = False

    @property
    def prints_rules(self) -> bool:
        """Return whether kube-proxy's own work is printed: rules, sets, virtual servers."""
        return self.follows_events and self.argv[0] != "ip"


NODE_COMMANDS = (
    NodeCommand(file="iptables-save.txt", argv=("iptables-save",), follows_events=True),
    NodeCommand(file="ip6tables-save.txt", argv=("ip6tables-save",), follows_events=True),
    NodeCommand(file="nft-ruleset.json", argv=("nft", "-j", "list", "ruleset"), follows_events=True),
    NodeCommand(file="ipvsadm-save.txt", argv=("ipvsadm", "-S", "-n"), follows_events=True),
    NodeCommand(file="ipset-save.txt", argv=("ipset", "save"), follows_events=True),
    NodeCommand(file="ip-addr.json", argv=("ip", "-j", "addr"), follows_events=True),
    NodeCommand(file="ip-link.json", argv=("ip", "-d", "-j", "link"), follows_events=True),
    NodeCommand(file="ip-route.json", argv=("ip", "-j", "route", "show", "table", "all"), follows_events=True),
    NodeCommand(file="ip6-route.json", argv=("ip", "-6", "-j", "route", "show", "table", "all"), follows_events=True),
    NodeCommand(file="ip-rule.json", argv=("ip", "-j", "rule")),
    NodeCommand(file="ip6-rule.json", argv=("ip", "-6", "-j", "rule")),
    NodeCommand(file="sysctl.txt", argv=("sysctl", "-a")),
    NodeCommand(file="resolv.conf", argv=("cat", "/etc/resolv.conf")),
    NodeCommand(file="kube-proxy-version.txt", argv=("kube-proxy", "--version")),
)
CONNTRACK = NodeCommand(file="conntrack.txt", argv=("conntrack", "-L", "-o", "extended"))
"""Read only when somebody asks for it: it is large, and it says who talks to whom."""
