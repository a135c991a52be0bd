"""Reasons about rule sets that are old, foreign, damaged, or at odds with the objects."""

from __future__ import annotations

from tracer.explain.explanation import Check, Citation, Explanation, Remedy, Severity, Theme, issue, kubernetes_docs, manual

_PROXY_LOG = Check(
    look_for="Failed syncs (iptables-restore, nft) in the log of that node's kube-proxy pod.",
    command="kubectl logs -n kube-system KUBE-PROXY-POD --tail=200 | grep -iE 'fail|error'",
)
_KINDNET = Citation(label="kube-network-policies", url="https://github.com/kubernetes-sigs/kube-network-policies")
_RESTART = Remedy(action="Restart kube-proxy on that node.", trade_off="It rewrites its rules; existing connections go on.")

REASONS = (
    Explanation(
        code="NO_RULE_FOR_VIP",
        severity=Severity.FAULT,
        theme=Theme.RULES,
        title="No rule for a Service's address",
        sentence="The address belongs to a Service, and no rule of this node takes the packet.",
        meaning=(
            "A Service's address exists only in rules. Without one the node routes the packet like any other, usually to its default "
            "gateway, where it is lost. The rules may be older than the Service, of another family, or missing from the dump.",
        ),
        confirm=(Check(look_for="A rule with the address.", command="iptables-save -t nat | grep -F ADDRESS"), _PROXY_LOG),
        fix=(_RESTART, Remedy(action="Check that the Service has an address of the family you dial.", trade_off="None.")),
        sources=(kubernetes_docs("Virtual IPs and Service Proxies", "reference/networking/virtual-ips/"),),
    ),
    Explanation(
        code="RULES_BEHIND_OBJECTS",
        severity=Severity.WARNING,
        theme=Theme.RULES,
        title="Rules are behind the objects",
        sentence="This node's rules name other endpoints than the EndpointSlices do.",
        meaning=(
            "kube-proxy on this node missed an update or could not apply it. Other nodes may be right, so the failure depends on the node "
            "that a packet enters. A difference of seconds is normal: rules and objects are not read at the same instant.",
            "Where the times are known, the finding says them: rules that were read before the endpoint was seen prove nothing, rules that "
            "were read long after it and still lack it are behind.",
        ),
        confirm=(
            Check(look_for="Endpoints that the rules know.", command="iptables-save -t nat | grep -F 'NAMESPACE/SERVICE' | grep -F DNAT"),
            Check(
                look_for="Endpoints that the API knows.",
                command="kubectl get endpointslices -n NAMESPACE -l kubernetes.io/service-name=SERVICE",
            ),
            _PROXY_LOG,
        ),
        fix=(_RESTART, Remedy(action="Take the snapshot again.", trade_off="Tells a moment's delay from a stuck proxy.")),
        sources=(
            issue("kubernetes/kubernetes#28674"),
            issue("kubernetes/kubernetes#112604"),
            issue("kubernetes/kubernetes#121362"),
            issue("kubernetes/kubernetes#67875"),
        ),
    ),
    Explanation(
        code="RULES_DRIFTED",
        severity=Severity.WARNING,
        theme=Theme.RULES,
        title="Rules are not what kube-proxy would write",
        sentence="Rules that this packet meets differ from what kube-proxy would have programmed for the objects.",
        meaning=(
            "Hopline writes kube-proxy's rules for the recorded Services and endpoints once more and compares them with those of the node. "
            "What differs is missing, altered, left over from an earlier state, or somebody else's among kube-proxy's own.",
            "What kube-proxy does not write (a firewall, a network plugin) is not compared. Rules that were read before the objects prove "
            "nothing.",
        ),
        confirm=(
            Check(look_for="Every difference of the node, with what was expected.", command="manage.py drift SNAPSHOT"),
            _PROXY_LOG,
        ),
        fix=(
            _RESTART,
            Remedy(action="Find out who writes the foreign rule, and stop it.", trade_off="What it was written for ends as well."),
        ),
        sources=(kubernetes_docs("Virtual IPs and Service Proxies", "reference/networking/virtual-ips/"),),
    ),
    Explanation(
        code="STALE_RULE_FOR_REMOVED_POD",
        severity=Severity.FAULT,
        theme=Theme.RULES,
        title="A rule still sends to a removed pod",
        sentence="A rule rewrites the destination to an address that no pod and no EndpointSlice has.",
        meaning=(
            "The pod is gone and the rule is not. Packets to it get no answer, or worse, reach a new pod that was given the address.",
        ),
        confirm=(
            Check(look_for="Nobody has the address.", command="kubectl get pods -A -o wide --field-selector status.podIP=ADDRESS"),
            Check(look_for="The rule.", command="iptables-save -t nat | grep -F -- '--to-destination ADDRESS'"),
            _PROXY_LOG,
        ),
        fix=(_RESTART,),
        sources=(issue("kubernetes/kubernetes#112604"), issue("kubernetes/kubernetes#121362")),
    ),
    Explanation(
        code="LEFTOVER_RULES",
        severity=Severity.WARNING,
        theme=Theme.RULES,
        title="Rules left over in the other back end",
        sentence="Both the legacy and the nft back end of iptables hold kube-proxy's chains.",
        meaning=(
            "The kernel evaluates both. After an upgrade that changed the back end, nobody refreshes the old rules, and they send packets "
            "to pods that are gone: 'no route to host' that no current rule explains.",
        ),
        confirm=(
            Check(look_for="KUBE-SERVICES in both.", command="iptables-legacy-save | grep -c KUBE-; iptables-nft-save | grep -c KUBE-"),
            Check(look_for="The back end that is in use.", command="iptables --version"),
        ),
        fix=(
            Remedy(action="Reboot the node.", trade_off="Certain; drain it first."),
            Remedy(
                action="Remove the old back end's rules: kube-proxy --cleanup with that back end, or flush them.",
                trade_off="Flushing also removes other owners' rules.",
            ),
        ),
        sources=(issue("kubernetes/kubernetes#109811"), issue("kubernetes/kubernetes#71305"), manual("xtables-nft(8)")),
    ),
    Explanation(
        code="DROP_WITHOUT_MARK",
        severity=Severity.FAULT,
        theme=Theme.RULES,
        title="KUBE-FIREWALL drops without asking for the mark",
        sentence="A DROP in KUBE-FIREWALL has lost its mark match, so it drops everything.",
        meaning=(
            "Two versions of iptables wrote the same rules, and the older one read '--mark 0x8000/0x8000 -j DROP' without the "
            "match and saved "
            "it back. The node drops all its traffic.",
        ),
        confirm=(
            Check(look_for="A DROP without -m mark.", command="iptables-save -t filter | grep -E '^-A KUBE-FIREWALL .*-j DROP'"),
            Check(
                look_for="Versions on the host and in containers.",
                command="iptables --version; kubectl exec -n kube-system KUBE-PROXY-POD -- iptables --version",
            ),
        ),
        fix=(
            Remedy(
                action="Use the same iptables version and back end in the host and in containers that write rules.",
                trade_off="Ties image and host versions.",
            ),
            Remedy(action="Delete the rule.", trade_off="Helps until the next save and restore by the older version."),
        ),
        sources=(issue("kubernetes/kubernetes#112477"),),
    ),
    Explanation(
        code="POLICY_QUEUE",
        severity=Severity.NOTICE,
        theme=Theme.RULES,
        title="A program decides by NetworkPolicy objects",
        sentence="A rule hands the packet to kindnetd or kube-network-policies, and what that decides by is not all known.",
        meaning=(
            "These programs take packets of pods that policies select from a queue and decide by NetworkPolicy objects. Where those were "
            "recorded Hopline says what they say; where they were not, or policies of other kinds may come first, the path ends here.",
        ),
        confirm=(
            Check(look_for="The policies.", command="kubectl get networkpolicies -A -o json > networkpolicies.json"),
            Check(look_for="What the program says.", command="kubectl logs -n kube-system KINDNET-POD | grep -i verdict"),
        ),
        sources=(_KINDNET,),
    ),
    Explanation(
        code="POLICY_QUEUE_DROP",
        severity=Severity.FAULT,
        theme=Theme.RULES,
        title="NetworkPolicy objects do not let the packet pass",
        sentence="A rule hands the packet to kindnetd or kube-network-policies, and no policy allows it.",
        meaning=(
            "Once a policy selects a pod, only what some policy lists may pass. The program drops the rest in silence: the client waits "
            "until its time is up.",
        ),
        confirm=(Check(look_for="The policies of the pod's namespace.", command="kubectl describe networkpolicy -n NAMESPACE"),),
        fix=(Remedy(action="Allow the flow in a policy that selects the pod.", trade_off="Whoever the new rule names gets in."),),
        sources=(_KINDNET, kubernetes_docs("Network Policies", "concepts/services-networking/network-policies/")),
    ),
    Explanation(
        code="FORWARD_POLICY_DROP",
        severity=Severity.FAULT,
        theme=Theme.RULES,
        title="FORWARD's policy drops the packet",
        sentence="The packet is forwarded, no rule accepts it, and the policy of FORWARD is DROP.",
        meaning=(
            "Docker and many firewalls set this policy. kube-proxy accepts what carries its mark, and, when it knows the pod range, what "
            "belongs to pods. What neither covers is dropped: typically a node port answers only on the pod's own node.",
        ),
        confirm=(
            Check(look_for="(policy DROP) and its counter.", command="iptables -nvL FORWARD | head -n 1"),
            Check(look_for="The accepting rules.", command="iptables-save -t filter | grep -E '^-A (FORWARD|KUBE-FORWARD)'"),
            Check(look_for="clusterCIDR.", command="kubectl get configmap -n kube-system kube-proxy -o yaml | grep clusterCIDR"),
        ),
        fix=(
            Remedy(
                action="Tell kube-proxy the pod range (clusterCIDR), or let the CNI accept it.",
                trade_off="Keeps the node's default-deny stance.",
            ),
            Remedy(action="iptables -P FORWARD ACCEPT", trade_off="The node then forwards for anybody who routes through it."),
        ),
        sources=(
            issue("kubernetes/kubernetes#39823"),
            issue("kubernetes/kubernetes#58908"),
            issue("kubernetes/kubernetes#91545"),
            issue("rancher/rke#485"),
        ),
    ),
    Explanation(
        code="POLICY_NOT_SEEN_IN_RULES",
        severity=Severity.WARNING,
        theme=Theme.RULES,
        title="A NetworkPolicy would deny this, and no rule does",
        sentence="A NetworkPolicy of the snapshot denies this connection, and no rule on the path enforces it.",
        meaning=(
            "NetworkPolicy objects drop nothing by themselves; a network plugin turns them into rules. Some plugins enforce them outside "
            "iptables (eBPF, Open vSwitch), which a dump cannot show, and some not at all. The outcome stays as the rules give it.",
        ),
        confirm=(
            Check(look_for="Policies that select the pod.", command="kubectl get networkpolicies -n NAMESPACE -o yaml"),
            Check(look_for="The plugin, and whether it enforces policies.", command="kubectl get pods -n kube-system -o wide"),
            Check(look_for="What really happens.", command="kubectl exec -n NAMESPACE SOURCE-POD -- nc -vz -w 3 ADDRESS PORT"),
        ),
        fix=(
            Remedy(
                action="Use a plugin that enforces NetworkPolicy.", trade_off="Changing the plugin of a running cluster is a migration."
            ),
            Remedy(action="Correct the policy if the connection is meant to be allowed.", trade_off="None."),
        ),
        sources=(kubernetes_docs("Network Policies", "concepts/services-networking/network-policies/"),),
    ),
    Explanation(
        code="POLICY_KIND_NOT_EVALUATED",
        severity=Severity.NOTICE,
        theme=Theme.RULES,
        title="Policies of another kind may decide",
        sentence="The snapshot holds policies of kinds that Hopline does not evaluate: they may allow or deny this connection.",
        meaning=(
            "AdminNetworkPolicy and the Admin tier of ClusterNetworkPolicy are asked before every NetworkPolicy, and their word ends the "
            "decision; BaselineAdminNetworkPolicy and the Baseline tier only where no NetworkPolicy selects the pod. The own kinds of "
            "Calico, Cilium, Antrea, OVN-Kubernetes and OpenShift have orders of their own. Where Calico made rules of them on the nodes, "
            "those are followed, and nothing is said.",
        ),
        confirm=(
            Check(
                look_for="Policies of these kinds.",
                command="kubectl api-resources -o name | grep -iE 'networkpolic|egressfirewall' | xargs -n 1 kubectl get -A",
            ),
        ),
        fix=(Remedy(action="Follow the connection with the program's own tool.", trade_off="Each program has another."),),
        sources=(
            kubernetes_docs("Network Policies", "concepts/services-networking/network-policies/"),
            Citation(label="Network Policy API", url="https://network-policy-api.sigs.k8s.io/"),
        ),
    ),
    Explanation(
        code="FOREIGN_RULE",
        severity=Severity.WARNING,
        theme=Theme.RULES,
        title="A rule that is not the Service proxy's decides",
        sentence="A rule of another program, or of somebody's own, takes or ends the packet for a Service.",
        meaning=(
            "Many programs write rules on a node: network plugins for hostPorts and policies, firewalls, container engines, people. "
            "Whose a rule is, is told by the names of its table and chain and by its comment. One of theirs that translates a packet for a "
            "Service to what is no endpoint of it, or drops it, is not out of date: restarting kube-proxy changes nothing.",
            "In IPVS mode a cluster IP is an address of the node: a rule for the node's own addresses (a pod's hostPort) takes it too.",
        ),
        confirm=(
            Check(
                look_for="The rule, and what leads to it.", command="iptables-save | grep -nF CHAIN; nft -a list ruleset | grep -nF CHAIN"
            ),
        ),
        fix=(
            Remedy(action="Change the setting, policy or pod that the rule was written for.", trade_off="None."),
            Remedy(action="Delete the rule.", trade_off="A program that wrote it writes it again."),
        ),
        sources=(issue("kubernetes/kubeadm#985"), issue("siderolabs/talos#9883")),
    ),
    Explanation(
        code="MARKED_FOR_DROP",
        severity=Severity.NOTICE,
        theme=Theme.RULES,
        title="Marked by one rule, ended by another",
        sentence="The rule that ends the packet asks for a mark only: another rule gave it that mark, and that one is the reason.",
        meaning=(
            "Table nat cannot drop: until Kubernetes 1.25 kube-proxy marked there (KUBE-MARK-DROP) what KUBE-FIREWALL drops in filter. "
            "Other programs use marks in the same way.",
        ),
        confirm=(Check(look_for="Who jumps to the chain that marks.", command="iptables-save | grep -F -- '-j KUBE-MARK-DROP'"),),
        fix=(Remedy(action="Follow the rule that marked.", trade_off="None."),),
        sources=(issue("weaveworks/weave#3568"),),
    ),
    Explanation(
        code="RULES_FOR_REMOVED_SERVICE",
        severity=Severity.WARNING,
        theme=Theme.RULES,
        title="Rules for a Service that is gone",
        sentence="The node's rules take or refuse the packet for a Service, and no Service of the snapshot has this address and port.",
        meaning=(
            "The Service was deleted or changed, and the node's proxy has not removed its rules. They send to endpoints that nobody keeps "
            "up to date, and the address may be given to another Service.",
            "Where the snapshot does not hold every Service (one namespace, a part of a cluster) the Service may just be missing there.",
        ),
        confirm=(
            Check(look_for="The address or node port.", command="kubectl get services -A -o wide | grep -F ADDRESS"),
            _PROXY_LOG,
        ),
        fix=(_RESTART,),
        sources=(issue("kubernetes/kubernetes#28674"),),
    ),
    Explanation(
        code="SERVICE_OF_ANOTHER_PROXY",
        severity=Severity.WARNING,
        theme=Theme.RULES,
        title="kube-proxy has to leave this Service alone",
        sentence="A label gives the Service to another proxy, so kube-proxy makes no rules for it.",
        meaning=(
            "kube-proxy watches only Services and EndpointSlices without the labels service.kubernetes.io/service-proxy-name and "
            "service.kubernetes.io/headless. With the first another program serves the Service, if there is one.",
        ),
        confirm=(
            Check(look_for="The labels.", command="kubectl get service -n NAMESPACE SERVICE --show-labels"),
            Check(look_for="The program that the label names.", command="kubectl get pods -A -o wide"),
        ),
        fix=(
            Remedy(action="See to the program that the label names.", trade_off="None."),
            Remedy(action="Take the label away.", trade_off="kube-proxy then makes rules for the Service, beside the other program's."),
        ),
        sources=(kubernetes_docs("Well-known labels", "reference/labels-annotations-taints/"),),
    ),
)
