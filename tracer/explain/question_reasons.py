"""Reasons why a question cannot be asked as it stands: malformed, or about something the snapshot does not have."""

from __future__ import annotations

from tracer.explain.explanation import Check, Explanation, Remedy, Severity, Theme, kubernetes_docs, manual

_NEAR = Remedy(action="Choose one of the nearest names that are offered.", trade_off="None.")
_POD = "pod:NAMESPACE/NAME, node:NAME or external:ADDRESS"
_HOST = "ADDRESS:PORT, [IPv6]:PORT, or svc:NAMESPACE/NAME:PORT"

REASONS = (
    Explanation(
        code="SOURCE_NOT_FOUND",
        severity=Severity.FAULT,
        theme=Theme.QUESTION,
        title="The source is not in the snapshot",
        sentence="No pod of that name and namespace is in the snapshot, or it has no address yet.",
        meaning=("Pods are renamed by every rollout: a name from today may be unknown to yesterday's snapshot.",),
        confirm=(Check(look_for="Pods by name.", command="kubectl get pods -A -o wide | grep NAME"),),
        fix=(_NEAR,),
    ),
    Explanation(
        code="NODE_NOT_FOUND",
        severity=Severity.FAULT,
        theme=Theme.QUESTION,
        title="The node is not in the snapshot",
        sentence="No node of that name is in the snapshot.",
        meaning=("Nodes come from nodes.json and from the folders below nodes/; the name must be the Kubernetes name.",),
        confirm=(Check(look_for="Names of the nodes.", command="kubectl get nodes -o wide"),),
        fix=(_NEAR,),
    ),
    Explanation(
        code="CONNECTION_NOT_FOUND",
        severity=Severity.FAULT,
        theme=Theme.QUESTION,
        title="The connection is not in the snapshot",
        sentence="The node's conntrack.txt is missing, or that line of it holds no connection that can be traced.",
        meaning=(
            "A recorded connection is named by its node and its line. Lines of other protocols, and damaged ones, cannot be followed.",
        ),
        confirm=(Check(look_for="Connections of the node, with the line numbers.", command="conntrack -L -o extended | grep -nF ADDRESS"),),
        fix=(Remedy(action="Give a line that holds a TCP, UDP or SCTP connection.", trade_off="None."),),
        sources=(manual("conntrack(8)"),),
    ),
    Explanation(
        code="SERVICE_NOT_FOUND",
        severity=Severity.FAULT,
        theme=Theme.QUESTION,
        title="The Service is not in the snapshot",
        sentence="No Service of that name and namespace is in the snapshot, or it has no cluster IP.",
        meaning=(
            "A headless or ExternalName Service has no cluster IP: its name resolves to other addresses, so svc: cannot stand for one.",
        ),
        confirm=(Check(look_for="Services by name, and CLUSTER-IP.", command="kubectl get services -A | grep NAME"),),
        fix=(_NEAR,),
        sources=(kubernetes_docs("Service", "concepts/services-networking/service/"),),
    ),
    Explanation(
        code="FAMILY_MISMATCH",
        severity=Severity.FAULT,
        theme=Theme.QUESTION,
        title="Source and destination are of different families",
        sentence="The source has no address of the destination's family.",
        meaning=("A pod with only an IPv4 address cannot open a connection to an IPv6 address: its own socket call fails.",),
        confirm=(Check(look_for="The pod's addresses.", command="kubectl get pod -n NAMESPACE POD -o jsonpath='{.status.podIPs}'"),),
        fix=(Remedy(action="Dial the destination's address of the other family.", trade_off="None, where a dual-stack Service has both."),),
        sources=(kubernetes_docs("IPv4/IPv6 dual-stack", "concepts/services-networking/dual-stack/"),),
    ),
    Explanation(
        code="PORT_REQUIRED",
        severity=Severity.FAULT,
        theme=Theme.QUESTION,
        title="A port is needed",
        sentence="The destination has no port, and it has none or more than one to choose from.",
        meaning=(
            "Rules match on ports, so an answer without one would be about no packet in particular. A Service with one port needs none.",
        ),
        fix=(Remedy(action=f"Write the destination as {_HOST}.", trade_off="None."),),
    ),
    Explanation(
        code="BAD_PORT",
        severity=Severity.FAULT,
        theme=Theme.QUESTION,
        title="Not a port",
        sentence="A port is a whole number from 1 to 65535.",
        meaning=("Names of ports are not taken here: give the number.",),
    ),
    Explanation(
        code="BAD_SOURCE",
        severity=Severity.FAULT,
        theme=Theme.QUESTION,
        title="Not a source",
        sentence="The source cannot be read.",
        meaning=(f"Write it as {_POD}.",),
    ),
    Explanation(
        code="BAD_DESTINATION",
        severity=Severity.FAULT,
        theme=Theme.QUESTION,
        title="Not a destination",
        sentence="The destination cannot be read.",
        meaning=(f"Write it as {_HOST}. An IPv6 address with a port needs brackets.",),
    ),
    Explanation(
        code="BAD_PROTOCOL",
        severity=Severity.FAULT,
        theme=Theme.QUESTION,
        title="Not a protocol that can be traced",
        sentence="The protocol is not tcp, udp, sctp or icmp.",
        meaning=("Services know the first three; icmp is an echo request, as ping sends it, and has no port.",),
    ),
    Explanation(
        code="BAD_ASSUMPTION",
        severity=Severity.FAULT,
        theme=Theme.QUESTION,
        title="Not an assumption that can be set",
        sentence="A word of assume sets nothing that Hopline assumes, or two of them contradict each other.",
        meaning=("The message lists the words that exist. Each is a name and a setting, such as front:kept or enters:NODE.",),
    ),
    Explanation(
        code="BAD_OVERRIDE",
        severity=Severity.FAULT,
        theme=Theme.QUESTION,
        title="Not a change that can be asked about",
        sentence="A what-if word has none of the known forms, names what is not there, or says what the API would refuse.",
        meaning=(
            "The message names the word, or the object of the manifest, and the field. All mistakes of a question are told at once; "
            "words that contradict each other are among them.",
        ),
    ),
    Explanation(
        code="BAD_QUERY",
        severity=Severity.FAULT,
        theme=Theme.QUESTION,
        title="The question cannot be read",
        sentence="A field of the question is missing, unknown or of the wrong kind.",
        meaning=("The message names the field. Fields and their values are described in the trace contract.",),
    ),
    Explanation(
        code="QUERY_ERROR",
        severity=Severity.FAULT,
        theme=Theme.QUESTION,
        title="The question cannot be answered",
        sentence="The question names something malformed, or something the snapshot does not have.",
        meaning=("The message says what, with the nearest matches where there are any.",),
    ),
    Explanation(
        code="NOT_BUILT",
        severity=Severity.NOTICE,
        theme=Theme.QUESTION,
        title="Not built yet",
        sentence="The question asks for something that this version of Hopline does not do yet.",
        meaning=("It is refused rather than ignored: an answer that left it out would look like an answer to your question.",),
    ),
    Explanation(
        code="ERROR",
        severity=Severity.FAULT,
        theme=Theme.QUESTION,
        title="The engine gave up",
        sentence="The engine could not answer and has no finer code for it.",
        meaning=("The message says what happened.",),
    ),
)
