"""Reasons for an answer of unknown: what a snapshot lacks, or holds and Hopline cannot read or model."""

from __future__ import annotations

from tracer.explain.explanation import Check, Explanation, Remedy, Severity, Theme, issue, kernel, kubernetes_docs, manual

_COLLECT_RULES = Check(
    look_for="A complete dump ends with COMMIT and a comment for each table.", command="iptables-save -c > iptables-save.txt"
)
_AGAIN = Remedy(
    action="Collect the file again and upload the snapshot anew.", trade_off="A snapshot is one moment: collect the other files with it."
)
_EXTENSIONS = manual("iptables-extensions(8)")

REASONS = (
    Explanation(
        code="DATA_MISSING",
        severity=Severity.WARNING,
        theme=Theme.SNAPSHOT,
        title="The snapshot lacks what is needed",
        sentence="A file or object that the next decision needs is not in the snapshot.",
        meaning=(
            "Hopline answers unknown rather than guess. The sentence of the trace names the file or object; the snapshot's page lists "
            "everything that is missing and what that limits.",
        ),
        fix=(_AGAIN,),
        sources=(kubernetes_docs("kubectl get", "reference/kubectl/generated/kubectl_get/"),),
    ),
    Explanation(
        code="NO_RULES",
        severity=Severity.WARNING,
        theme=Theme.SNAPSHOT,
        title="No rules recorded for this node",
        sentence="The packet enters a node whose rules are not in the snapshot.",
        meaning=(
            "Without its rule set nobody can say what a node does with a packet. Objects alone say what should happen, not what does.",
            "The same is said of a file that is no dump, of an empty one, and of tables that a dump of one table (iptables-save -t nat) "
            "does not have: what was not recorded is not taken for empty.",
        ),
        confirm=(_COLLECT_RULES, Check(look_for="The same for IPv6.", command="ip6tables-save -c > ip6tables-save.txt")),
        fix=(_AGAIN,),
        sources=(manual("iptables-save(8)"),),
    ),
    Explanation(
        code="NO_ROUTES",
        severity=Severity.NOTICE,
        theme=Theme.SNAPSHOT,
        title="No routes recorded for this node",
        sentence="The node's routes are not in the snapshot, so where it sends the packet cannot be said.",
        meaning=(
            "The node's own addresses and the networks of its devices are known from ip-addr.json and followed. Where a packet to any "
            "other address goes is in the routing tables only, and Hopline does not guess: the path ends in unknown at that node.",
            "Where neither addresses nor routes nor devices were recorded, the objects stand in for them: the node's InternalIP, pod "
            "networks, and where pods run. Every hop of the node says so then, and only what they do not tell is unknown.",
        ),
        confirm=(
            Check(
                look_for="Routes of all tables.",
                command="ip -j route show table all > ip-route.json; ip -6 -j route show table all > ip6-route.json",
            ),
            Check(
                look_for="Rules and addresses.",
                command="ip -j rule > ip-rule.json; ip -j addr > ip-addr.json; ip -d -j link > ip-link.json",
            ),
        ),
        fix=(_AGAIN,),
        sources=(manual("ip-route(8)"),),
    ),
    Explanation(
        code="BAD_RULE",
        severity=Severity.WARNING,
        theme=Theme.SNAPSHOT,
        title="A line of the dump cannot be read",
        sentence="The packet reaches a rule that could not be parsed.",
        meaning=(
            "The line is damaged, so what it asks and does is unknown, and everything after it depends on that: there the path ends. "
            "iptables-save itself prints such a line where a newer program made the rule ([unsupported revision]).",
        ),
        confirm=(Check(look_for="The same fault, found by iptables itself.", command="iptables-restore --test < iptables-save.txt"),),
        fix=(_AGAIN,),
        sources=(manual("iptables-save(8)"), manual("iptables-restore(8)")),
    ),
    Explanation(
        code="LEGACY_NOT_RECORDED",
        severity=Severity.WARNING,
        theme=Theme.SNAPSHOT,
        title="Rules of iptables-legacy were not recorded",
        sentence="The dump says that the node has tables of iptables-legacy too, and they are not in the snapshot.",
        meaning=(
            "The kernel asks the tables of both back ends. iptables-save of one prints none of the other's, and only remarks that there "
            "are some. Often they are empty: a program once asked for them. The answer is the one for empty tables, and says so here.",
        ),
        confirm=(Check(look_for="Whether they hold rules.", command="iptables-legacy-save -c; ip6tables-legacy-save -c"),),
        fix=(
            Remedy(
                action="Record iptables-legacy-save.txt and ip6tables-legacy-save.txt of the node, and upload the snapshot anew.",
                trade_off="A snapshot is one moment: collect the other files with it.",
            ),
        ),
        sources=(issue("cloudnativelabs/kube-router#1069"), issue("canonical/microk8s#2180"), manual("iptables-save(8)")),
    ),
    Explanation(
        code="HOOK_ORDER_UNKNOWN",
        severity=Severity.NOTICE,
        theme=Theme.SNAPSHOT,
        title="Which of several chains is asked first is not recorded",
        sentence="Chains of equal priority decide differently about the packet, and no file tells which of them the kernel asks first.",
        meaning=(
            "Within a hook the kernel asks by priority, and of equal priorities what was registered last. Tables of iptables-legacy and of "
            "iptables-nft have the same priorities, and so have many native tables (firewalls, network plugins). No dump holds the order "
            "in which chains were registered: each order that leads to something else is followed and shown with its condition.",
            "Where all orders lead to the same, nothing is said.",
        ),
        confirm=(Check(look_for="The order from top to bottom; an empty listing says nothing.", command="nft list hooks > nft-hooks.txt"),),
        fix=(
            Remedy(
                action="Record nft-hooks.txt of the node, and upload the snapshot anew.",
                trade_off="Kernels before 2026 do not list chains of type nat there, and some kernels list nothing.",
            ),
            Remedy(
                action="Ask with --assume hooks:nft-first or hooks:legacy-first, where it is the two back ends.",
                trade_off="The answer then holds for a node on which that is so.",
            ),
            Remedy(
                action="Use one back end on the node, and priorities of their own for your native chains.",
                trade_off="The other back end's rules have to be made anew.",
            ),
        ),
        sources=(kernel("net/netfilter/core.c"), kernel("net/netfilter/nf_nat_core.c"), manual("nft(8)")),
    ),
    Explanation(
        code="UNREAD_TABLE",
        severity=Severity.WARNING,
        theme=Theme.SNAPSHOT,
        title="A part of the dump cannot be read",
        sentence="The packet comes to a table or a chain of which a line of the dump could not be placed.",
        meaning=(
            "A line without its table's first line, a table that stands twice, a line that is none of iptables-save's: what it says is "
            "lost, and it may have decided. Hopline takes away what it knows to be none of the dump (quotes, indents, line numbers, "
            "prompts, colours) and guesses nothing else.",
        ),
        confirm=(_COLLECT_RULES,),
        fix=(_AGAIN,),
        sources=(manual("iptables-save(8)"),),
    ),
    Explanation(
        code="TRUNCATED_DUMP",
        severity=Severity.WARNING,
        theme=Theme.SNAPSHOT,
        title="The dump ends too early",
        sentence="A table of the dump has no COMMIT: its last rules are missing.",
        meaning=("The rules that were cut off could have decided. Traces that pass the table are unknown from there.",),
        confirm=(
            Check(look_for="One COMMIT for each table.", command="grep -c '^COMMIT' iptables-save.txt; grep -c '^\\*' iptables-save.txt"),
            _COLLECT_RULES,
        ),
        fix=(_AGAIN,),
        sources=(manual("iptables-save(8)"),),
    ),
    Explanation(
        code="UNMODELLED_MATCH",
        severity=Severity.NOTICE,
        theme=Theme.SNAPSHOT,
        title="A match that Hopline does not model",
        sentence="A rule on the path uses a match whose effect Hopline does not compute.",
        meaning=(
            "The rule may match or not. Both ways are followed and shown with their condition; the shares of such ways are no estimate.",
        ),
        confirm=(Check(look_for="Whether the rule's counter grows.", command="iptables-save -c | grep -F -- 'RULE TEXT'"),),
        sources=(_EXTENSIONS,),
    ),
    Explanation(
        code="UNMODELLED_TARGET",
        severity=Severity.NOTICE,
        theme=Theme.SNAPSHOT,
        title="A target that Hopline does not model",
        sentence="A rule on the path has a target whose effect Hopline does not compute.",
        meaning=("What the target does to the packet is unknown, so the trace ends as unknown rather than go on as if nothing happened.",),
        confirm=(Check(look_for="What the target does.", command="iptables -j TARGET --help"),),
        sources=(_EXTENSIONS,),
    ),
    Explanation(
        code="UNKNOWN_MATCH",
        severity=Severity.NOTICE,
        theme=Theme.SNAPSHOT,
        title="A match whose input is not known",
        sentence="A rule asks for something that neither the question nor the snapshot says, such as the source port.",
        meaning=("Hopline models the match and lacks its input. Both ways are followed and shown with their condition.",),
        fix=(
            Remedy(action="Say it in the question: a source port, for example.", trade_off="The answer then holds for that packet only."),
        ),
        sources=(_EXTENSIONS,),
    ),
    Explanation(
        code="MODE_NOT_MODELLED",
        severity=Severity.NOTICE,
        theme=Theme.SNAPSHOT,
        title="This proxy mode is not modelled yet",
        sentence="The node's kube-proxy runs in a mode whose rules Hopline does not evaluate yet.",
        meaning=(
            "This version evaluates iptables rule sets. In nftables, IPVS, userspace or kernelspace mode the decision is made "
            "elsewhere, so "
            "the answer is unknown from the first such node on.",
        ),
        confirm=(Check(look_for="The mode.", command="curl -s http://127.0.0.1:10249/proxyMode"),),
        sources=(kubernetes_docs("Virtual IPs and Service Proxies, Proxy modes", "reference/networking/virtual-ips/#proxy-modes"),),
    ),
    Explanation(
        code="PARSE_ERROR",
        severity=Severity.WARNING,
        theme=Theme.SNAPSHOT,
        title="A file is not what its name says",
        sentence="A file of the snapshot could not be read in its format.",
        meaning=("Every fault is listed with its file, line and a caret. The rest of the snapshot stays usable.",),
        fix=(_AGAIN,),
    ),
    Explanation(
        code="SNAPSHOT_ERROR",
        severity=Severity.FAULT,
        theme=Theme.SNAPSHOT,
        title="Not a usable snapshot",
        sentence="The files contradict each other, or hold too little to be a snapshot.",
        meaning=("Every file is optional except that Services must come from somewhere: services.json, or one file with all kinds.",),
        confirm=(
            Check(
                look_for="One file with all kinds is enough to begin.",
                command="kubectl get services,endpointslices,nodes,pods -A -o json > cluster.json",
            ),
        ),
        fix=(Remedy(action="Add what is named and upload again.", trade_off="None."),),
    ),
    Explanation(
        code="UNSUPPORTED",
        severity=Severity.NOTICE,
        theme=Theme.SNAPSHOT,
        title="Recognised, not modelled",
        sentence="Hopline recognises this and does not model it.",
        meaning=("The sentence of the trace says what it is. The answer is unknown rather than a guess.",),
    ),
)
