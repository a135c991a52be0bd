"""The commands that collect a snapshot: collect.sh, and what it does by hand, in the documented layout."""

from __future__ import annotations

from tracer.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectStep:
    """One block to copy: its heading, *what* it is (for the copy button's name), the commands, and a remark."""

    title: str
    what: str
    commands: str
    remark: str = ""


SCRIPT_STEP = CollectStep(
    title="With collect.sh",
    what="the command that runs collect.sh",
    commands="sh collect.sh",
    remark="It needs kubectl, a POSIX shell, and the right to list objects and to run programs in kube-proxy’s pods (pods/exec in "
    "kube-system); what is refused it says, and takes the rest; at its end it says what is missing, and what gets at it on that platform: "
    "where no pod can be read in (k3s, EKS Auto Mode), --readings debug makes pods and removes them. “sh collect.sh --help” lists its "
    "options.",
)
COLLECT_STEPS = (
    CollectStep(
        title="1. The objects, with kubectl",
        what="the commands for the objects",
        commands="""\
mkdir -p snapshot && cd snapshot
for kind in services endpointslices nodes pods namespaces networkpolicies ingresses; do
  kubectl get $kind -A -o json > $kind.json
done
kubectl get configmap -n kube-system kube-proxy coredns --ignore-not-found -o json > configmaps.json
kubectl get --raw /version > version.json""",
    ),
    CollectStep(
        title="2. What each node does, as root on the node",
        what="the commands for the nodes",
        commands="""\
for node in $(kubectl get nodes -o jsonpath='{.items[*].metadata.name}'); do
  mkdir -p nodes/$node
  ssh root@$node 'd=$(mktemp -d) && cd $d && {
    iptables-save -c > iptables-save.txt;   ip6tables-save -c > ip6tables-save.txt
    ip -j addr > ip-addr.json;              ip -d -j link > ip-link.json
    ip -j rule > ip-rule.json;              ip -6 -j rule > ip6-rule.json
    ip -j route show table all > ip-route.json
    ip -6 -j route show table all > ip6-route.json
    nft -j list ruleset > nft-ruleset.json; ipset save > ipset-save.txt
    ipvsadm -S -n > ipvsadm-save.txt;       conntrack -L -o extended > conntrack.txt
    sysctl -a | grep "^net[.]" > sysctl.txt
    curl -s http://127.0.0.1:10249/proxyMode > kube-proxy-mode.txt
    find . -type f -empty -delete
  } 2>/dev/null; tar c . ; rm -r "$d"' | tar x -C nodes/$node
done""",
        remark="Programs that a node lacks (nft, ipset, ipvsadm, conntrack) leave no file. Without SSH, "
        "“kubectl debug node/NODE -it --profile=sysadmin --image=IMAGE” opens a root shell on a node.",
    ),
    CollectStep(
        title="3. Pack it",
        what="the command to pack it",
        commands="cd .. && tar czf snapshot.tar.gz snapshot",
    ),
    CollectStep(
        title="Or only one file",
        what="the command for one file",
        commands="kubectl get services,endpointslices,nodes,pods -A -o json > cluster.json",
        remark="That is a snapshot too, without rules: it shows what is there, and traces end in “unknown” where a node would decide.",
    ),
)
