"""Reasons about Services and which endpoints they have."""

from __future__ import annotations

from tracer.explain.explanation import Check, Explanation, Remedy, Severity, Theme, enhancement, issue, kubernetes_docs

_SLICES = Check(
    look_for="The slices of the Service: addresses, ports, conditions.",
    command="kubectl get endpointslices -n NAMESPACE -l kubernetes.io/service-name=SERVICE -o yaml",
)
_TRAFFIC_POLICY = kubernetes_docs("Virtual IPs and Service Proxies, Traffic policies", "reference/networking/virtual-ips/#traffic-policies")

REASONS = (
    Explanation(
        code="NO_READY_ENDPOINTS",
        severity=Severity.FAULT,
        theme=Theme.SERVICES,
        title="No ready endpoint",
        sentence="The Service has no ready endpoint, so its address is refused.",
        meaning=(
            "kube-proxy programs no destination for the Service and rejects packets to its addresses: the client is refused at once.",
            "Either the selector matches no pod (a typo is the classic), the pods fail their readiness probe, or all of them are ending.",
            "Where the pods are ready and their EndpointSlice says that they are not, who keeps the slice is behind: a controller, "
            "or somebody by hand.",
        ),
        confirm=(
            _SLICES,
            Check(look_for="The Service's selector.", command="kubectl get service -n NAMESPACE SERVICE -o jsonpath='{.spec.selector}'"),
            Check(look_for="Pods with these labels, and READY.", command="kubectl get pods -n NAMESPACE -l KEY=VALUE -o wide"),
        ),
        fix=(
            Remedy(
                action="Correct the selector or the pods' labels.",
                trade_off="Takes effect within seconds; check that nothing else uses the label.",
            ),
            Remedy(
                action="Repair the readiness probe or what it tests.",
                trade_off="Loosening the probe sends traffic to pods that may fail it.",
            ),
            Remedy(action="Set publishNotReadyAddresses.", trade_off="Clients reach pods that are not ready; meant for peer discovery."),
        ),
        sources=(kubernetes_docs("Debug Services", "tasks/debug/debug-application/debug-service/"),),
    ),
    Explanation(
        code="PORT_NAME_MISMATCH",
        severity=Severity.FAULT,
        theme=Theme.SERVICES,
        title="Named target port that no container declares",
        sentence="The Service's targetPort is a name, and no container of its pods declares a port of that name.",
        meaning=(
            "A named targetPort is looked up in each pod's container ports. Without a hit the EndpointSlice lists the address without a "
            "port, kube-proxy finds no endpoint, and the client is refused although the pods are ready.",
        ),
        confirm=(
            Check(
                look_for="targetPort of each Service port.", command="kubectl get service -n NAMESPACE SERVICE -o jsonpath='{.spec.ports}'"
            ),
            Check(
                look_for="Names of the containers' ports.",
                command="kubectl get pods -n NAMESPACE -l KEY=VALUE -o jsonpath='{..containers[*].ports}'",
            ),
            _SLICES,
        ),
        fix=(
            Remedy(action="Give the container port the name that the Service asks for.", trade_off="Restarts the pods."),
            Remedy(
                action="Use the port's number as targetPort.", trade_off="No restart; every version of the pod must then use that number."
            ),
        ),
        sources=(issue("kubernetes/kubernetes#109627"),),
    ),
    Explanation(
        code="TARGET_PORT_UNPROVEN",
        severity=Severity.WARNING,
        theme=Theme.SERVICES,
        title="Target port that no container declares",
        sentence="The packet is delivered to a port that no container of the pod declares; whether a process listens cannot be proven.",
        meaning=(
            "Declaring containerPort is optional, so this may be right. It is also what a wrong targetPort looks like: the rewrite works, "
            "the pod answers with a reset, and the client is refused.",
        ),
        confirm=(
            Check(look_for="The sockets that listen in the pod.", command="kubectl exec -n NAMESPACE POD -- ss -ltnu"),
            Check(look_for="The same from the node, without tools in the image.", command="nsenter -t PID -n ss -ltnu"),
            Check(
                look_for="Declared ports beside targetPort.",
                command="kubectl get pod -n NAMESPACE POD -o jsonpath='{..containers[*].ports}'",
            ),
        ),
        fix=(
            Remedy(action="Correct the Service's targetPort.", trade_off="Takes effect within seconds, for all clients."),
            Remedy(
                action="Declare the port in the pod.",
                trade_off="Documentation only: it changes nothing on the wire, and restarts the pods.",
            ),
        ),
        sources=(kubernetes_docs("Service, Defining a Service", "concepts/services-networking/service/#defining-a-service"),),
    ),
    Explanation(
        code="ETP_LOCAL_NO_LOCAL_ENDPOINT",
        severity=Severity.FAULT,
        theme=Theme.SERVICES,
        title="externalTrafficPolicy Local, and no endpoint on this node",
        sentence="The packet came from outside to a node without a ready endpoint of the Service, whose externalTrafficPolicy is Local.",
        meaning=(
            "With Local, a node serves outside traffic from its own endpoints only, and drops it when it has none. That keeps the client's "
            "address. A load balancer learns from healthCheckNodePort which nodes to leave out; whoever dials a node port "
            "directly does not.",
            "The client sees a timeout from some nodes and an answer from others.",
        ),
        confirm=(
            Check(look_for="Nodes that run a ready pod of the Service.", command="kubectl get pods -n NAMESPACE -l KEY=VALUE -o wide"),
            Check(look_for="200 with a local endpoint, 503 without.", command="curl -i http://NODE:HEALTH-CHECK-NODE-PORT/healthz"),
            Check(look_for="The DROP rule for the Service.", command="iptables-save | grep -F 'has no local endpoints'"),
        ),
        fix=(
            Remedy(
                action="Send clients only to nodes with an endpoint (health check).",
                trade_off="Keeps the client's address; load follows pods per node.",
            ),
            Remedy(action="Run an endpoint on every node (DaemonSet, spread constraints).", trade_off="More pods."),
            Remedy(
                action="Set externalTrafficPolicy: Cluster.",
                trade_off="Every node answers; pods see a node's address instead of the client's.",
            ),
        ),
        sources=(issue("kubernetes/kubernetes#66354"), _TRAFFIC_POLICY),
    ),
    Explanation(
        code="ITP_LOCAL_NO_LOCAL_ENDPOINT",
        severity=Severity.FAULT,
        theme=Theme.SERVICES,
        title="internalTrafficPolicy Local, and no endpoint on this node",
        sentence="The client's node has no ready endpoint of the Service, whose internalTrafficPolicy is Local.",
        meaning=(
            "Inside the cluster such a Service is served only by endpoints of the client's own node. Without one, kube-proxy in iptables "
            "and nftables mode drops the packet (the client waits for its timeout); in IPVS mode it is refused.",
        ),
        confirm=(
            Check(look_for="The policy.", command="kubectl get service -n NAMESPACE SERVICE -o jsonpath='{.spec.internalTrafficPolicy}'"),
            Check(look_for="Nodes with a ready pod of the Service.", command="kubectl get pods -n NAMESPACE -l KEY=VALUE -o wide"),
        ),
        fix=(
            Remedy(
                action="Run an endpoint on every node that has clients.", trade_off="A DaemonSet: more pods, and a gap while one restarts."
            ),
            Remedy(action="Set internalTrafficPolicy: Cluster.", trade_off="Clients may reach endpoints of other nodes and zones."),
        ),
        sources=(issue("kubernetes/kubernetes#121371"), enhancement(2086, "Service internal traffic policy"), _TRAFFIC_POLICY),
    ),
    Explanation(
        code="AFFINITY_PINS_CLIENT",
        severity=Severity.WARNING,
        theme=Theme.SERVICES,
        title="Session affinity pins the client",
        sentence="sessionAffinity ClientIP sends this client to the endpoint it used last.",
        meaning=(
            "kube-proxy remembers the client's address for affinity timeout seconds, and each new connection refreshes it. All "
            "clients that "
            "share an address (behind a NAT gateway, or masqueraded by a node) go to one pod. The recorded endpoint is used as long as its "
            "rule exists.",
        ),
        confirm=(
            Check(
                look_for="The timeout in seconds.",
                command="kubectl get service -n NAMESPACE SERVICE -o jsonpath='{.spec.sessionAffinityConfig}'",
            ),
            Check(look_for="The client's address and last_seen.", command="grep -F CLIENT-ADDRESS /proc/net/xt_recent/KUBE-SEP-*"),
        ),
        fix=(
            Remedy(action="Lower timeoutSeconds.", trade_off="Sessions move sooner."),
            Remedy(
                action="Keep the client's address up to the node (Local policy, no SNAT in front).",
                trade_off="Load follows where pods run.",
            ),
            Remedy(action="Use affinity by cookie in an HTTP proxy.", trade_off="One more hop; HTTP only."),
        ),
        sources=(issue("kubernetes/kubernetes#110302"), issue("kubernetes/kubernetes#43958"), issue("kubernetes/kubernetes#35677")),
    ),
    Explanation(
        code="UNEVEN_SPLIT",
        severity=Severity.NOTICE,
        theme=Theme.SERVICES,
        title="Endpoints with unequal odds",
        sentence="The endpoints of the Service are not equally likely.",
        meaning=(
            "kube-proxy gives each endpoint of one node's list the same share. Shares differ when a load balancer first chooses a node and "
            "each node then uses only its own pods, when zone hints restrict some nodes, or when a rule set is out of date.",
        ),
        confirm=(
            Check(look_for="The --probability of each endpoint's rule.", command="iptables-save -t nat | grep -F 'KUBE-SVC-HASH'"),
            Check(look_for="Pods per node.", command="kubectl get pods -n NAMESPACE -l KEY=VALUE -o wide"),
        ),
        fix=(
            Remedy(action="Spread the pods evenly over nodes and zones.", trade_off="Scheduling constraints can leave pods pending."),
            Remedy(action="Use the Cluster policy.", trade_off="An even split; the client's address is lost."),
        ),
        sources=(_TRAFFIC_POLICY,),
    ),
    Explanation(
        code="ZONE_HINTS_UNUSED",
        severity=Severity.NOTICE,
        theme=Theme.SERVICES,
        title="Zone hints are not used",
        sentence="The Service asks for zone-aware routing, and this node's rules do not follow it.",
        meaning=(
            "Hints are honoured only when every ready endpoint has one, the node knows its zone, and some endpoint is hinted for that "
            "zone. Otherwise kube-proxy uses all endpoints. The control plane also removes hints when a zone would be overloaded.",
        ),
        confirm=(
            _SLICES,
            Check(look_for="The node's zone.", command="kubectl get node NODE -L topology.kubernetes.io/zone"),
            Check(
                look_for="Why the controller removed hints.",
                command="kubectl get events -n NAMESPACE --field-selector involvedObject.name=SERVICE",
            ),
        ),
        fix=(
            Remedy(
                action="Set trafficDistribution: PreferClose (PreferSameZone).",
                trade_off="No overload guard: one zone's pods take its whole load.",
            ),
            Remedy(action="Run endpoints in every zone in proportion to its nodes.", trade_off="More pods."),
        ),
        sources=(
            issue("kubernetes/kubernetes#122437"),
            enhancement(2433, "Topology aware routing"),
            enhancement(4444, "Traffic distribution for Services"),
        ),
    ),
)
