"""What the collectors of others call a node's files, where content alone would mislead or says the same twice.

A table, a row a program. All other files of theirs are known by content (``looks``), and their node by the name that the host gives itself.
Written from the programs' source, and not yet checked on a real bundle.
Source: awslabs/amazon-eks-ami log-collector-script/linux/eks-log-collector.sh; rancherlabs/support-tools collection/rancher/v2.x/
logs-collector/rancher2_logs_collector.sh; projectcalico/calico calicoctl/calicoctl/commands/{cluster,node}/diags.go; sosreport/sos
sos/report/plugins/{networking,firewall_tables}.py; kubernetes-sigs/kind pkg/cluster/internal/logs.
"""

from __future__ import annotations

import re

from tracer.patterns import pattern
from tracer.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Vendor:
    """A *program*'s files, by the ends of their paths: *unused* are of another network namespace than the node's, or lists of one family.

    *again* say what another one of its files says as well: they count where that is missing, and nothing is told of them where it is there.
    """

    program: str
    unused: re.Pattern[str] | None = None
    again: re.Pattern[str] | None = None


VENDORS = (
    Vendor(
        program="sosreport",
        unused=pattern(r"(?:^|/)ip_netns_exec_[^/]{1,200}$", re.ASCII),
        again=pattern(
            r"(?:^|/)sos_commands/networking/(?:ip_-o_addr|ip_neigh_show_nud_noarp|netstat_-[TW]_-agn|ss_-peaonmi|ip_-d_(?:-6_)?route_show_cache)$",
            re.ASCII,
        ),
    ),
    Vendor(
        program="Rancher's log collector",
        unused=pattern(r"(?:^|/)networking/(?:ss(?:[46]|tunlp[46]|itan|uapn|wapn|xapn)\w{0,8}|netstatistics)$", re.ASCII),
        again=pattern(
            r"(?:^|/)(?:networking/(?:ssanp|ipv6addrshow|ipv6neighbour)|systeminfo/(?:systemd-resolved|etcresolvconf))$",
            re.ASCII,
        ),
    ),
    Vendor(program="calicoctl node diags", again=pattern(r"(?:^|/)diagnostics/(?:ipv6_addr|ipset_container)$", re.ASCII)),
)


def is_unused(path: str) -> bool:
    """Return whether the file *path* is known not to be the node's own whole list."""
    return any(one.unused is not None and one.unused.search(path) for one in VENDORS)


def is_said_again(path: str) -> bool:
    """Return whether another file of the same collector says what the file *path* does."""
    return any(one.again is not None and one.again.search(path) for one in VENDORS)
