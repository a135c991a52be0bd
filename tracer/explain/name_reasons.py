"""Reasons about names and their resolution."""

from __future__ import annotations

from tracer.explain.explanation import Check, Explanation, Remedy, Severity, Theme, issue, kubernetes_docs, manual, standard

_ASK = Check(look_for="The answer that the pod gets.", command="kubectl exec -n NAMESPACE POD -- nslookup NAME")
_RESOLV = Check(look_for="search, ndots and nameserver.", command="kubectl exec -n NAMESPACE POD -- cat /etc/resolv.conf")
_DNS_DOCS = kubernetes_docs("DNS for Services and Pods", "concepts/services-networking/dns-pod-service/")

REASONS = (
    Explanation(
        code="NAMES_NOT_MODELLED",
        severity=Severity.NOTICE,
        theme=Theme.NAMES,
        title="Names are not resolved yet",
        sentence="The destination is a name, and this version of Hopline does not resolve names.",
        meaning=(
            "A wrong address would give a confident wrong answer, so the trace ends as unknown. A Service can be given as "
            "svc:NAMESPACE/NAME:PORT, which stands for its cluster IP and needs no resolver.",
        ),
        confirm=(_ASK,),
        fix=(Remedy(action="Give the address, or svc:NAMESPACE/NAME:PORT.", trade_off="Leaves the look-up out of the answer."),),
        sources=(_DNS_DOCS,),
    ),
    Explanation(
        code="DNS_NXDOMAIN",
        severity=Severity.FAULT,
        theme=Theme.NAMES,
        title="The name does not exist",
        sentence="Every question that the resolver asks is answered with NXDOMAIN.",
        meaning=(
            "No Service, pod or outside name of that spelling exists as seen from this pod. A short name is completed with the pod's own "
            "namespace first, so a Service of another namespace needs SERVICE.NAMESPACE.",
        ),
        confirm=(_ASK, Check(look_for="The Service, and its namespace.", command="kubectl get services -A | grep SERVICE"), _RESOLV),
        fix=(Remedy(action="Use SERVICE.NAMESPACE, or the full name.", trade_off="Ties the client to the namespace."),),
        sources=(_DNS_DOCS, standard(1035, "Domain names, 4.1.1")),
    ),
    Explanation(
        code="DNS_SEARCH_EXPANSION",
        severity=Severity.NOTICE,
        theme=Theme.NAMES,
        title="The search list costs futile questions",
        sentence="The name has fewer dots than ndots, so every entry of the search list is tried first.",
        meaning=(
            "Pods get ndots:5 and a search list of three or more domains. An outside name such as api.example.com is asked with "
            "each domain "
            "added, for A and AAAA, before it is asked as it stands: slow look-ups, and a cluster DNS full of NXDOMAIN.",
        ),
        confirm=(
            _RESOLV,
            Check(
                look_for="NXDOMAIN answers (needs the log plugin).",
                command="kubectl logs -n kube-system -l k8s-app=kube-dns | grep NXDOMAIN",
            ),
        ),
        fix=(
            Remedy(
                action="Write the name with a final dot: api.example.com.",
                trade_off="Not every client accepts it (certificates, virtual hosts).",
            ),
            Remedy(
                action="Set dnsConfig options ndots: 1 or 2.",
                trade_off="Names such as SERVICE.NAMESPACE.svc may then be asked outside first.",
            ),
            Remedy(action="Use the autopath plugin or NodeLocal DNSCache.", trade_off="Memory in CoreDNS; one more daemon."),
        ),
        sources=(issue("coredns/coredns#2133"), issue("coredns/coredns#2289"), manual("resolv.conf(5)")),
    ),
    Explanation(
        code="DNS_SERVFAIL",
        severity=Severity.FAULT,
        theme=Theme.NAMES,
        title="The DNS server fails on the name",
        sentence="The server answers SERVFAIL: it is asked for a name that it can neither answer nor pass on.",
        meaning=(
            "CoreDNS answers SERVFAIL when no plugin of the server block is for the name (there is no forward), or when the server that it "
            "forwards to does not answer. The resolver asks again and tells its caller 'temporary failure in name resolution'.",
        ),
        confirm=(_ASK, Check(look_for="The forward line.", command="kubectl get configmap -n kube-system coredns -o yaml")),
        fix=(
            Remedy(
                action="Add forward . /etc/resolv.conf to the server block.", trade_off="Questions for outside names leave the cluster."
            ),
            Remedy(action="Use a name that the cluster itself serves.", trade_off="None."),
        ),
        sources=(manual("resolv.conf(5)"), standard(1035, "Domain names, 4.1.1")),
    ),
    Explanation(
        code="DNS_NO_ADDRESS",
        severity=Severity.FAULT,
        theme=Theme.NAMES,
        title="The name exists and has no address",
        sentence="The answer is empty, or an alias for a name that does not resolve.",
        meaning=(
            "An ExternalName Service is only an alias: what it points at must resolve for the client too. A Service of one address "
            "family has no record of the other.",
        ),
        confirm=(_ASK, Check(look_for="externalName.", command="kubectl get service -n NAMESPACE SERVICE -o yaml")),
        fix=(Remedy(action="Correct the ExternalName, or make its target resolve.", trade_off="None."),),
        sources=(_DNS_DOCS,),
    ),
    Explanation(
        code="NAME_OUTSIDE_CLUSTER",
        severity=Severity.NOTICE,
        theme=Theme.NAMES,
        title="The name is resolved outside the cluster",
        sentence="What the server outside answers is not in a snapshot.",
        meaning=(
            "CoreDNS passes the question to the servers of its forward line, or the client asks a server that is not the cluster's. The "
            "trace ends as unknown, until somebody says which address the name has.",
        ),
        confirm=(_ASK,),
        fix=(Remedy(action="Give the name an address: NAME=ADDRESS:PORT.", trade_off="The answer is only as good as that address."),),
        sources=(_DNS_DOCS,),
    ),
    Explanation(
        code="RESOLV_CONF_NOT_RECORDED",
        severity=Severity.NOTICE,
        theme=Theme.NAMES,
        title="The node's resolv.conf is not recorded",
        sentence="The client takes its DNS servers from its node, and nodes/NODE/resolv.conf is missing.",
        meaning=(
            "Processes of a node, pods on the node's network with dnsPolicy ClusterFirst, and pods with dnsPolicy Default use the node's "
            "own resolv.conf. Without it nobody knows which server they ask.",
        ),
        confirm=(Check(look_for="nameserver, search and options.", command="cat /etc/resolv.conf"),),
        fix=(Remedy(action="Record the node again with its resolv.conf, or give an address.", trade_off="None."),),
        sources=(_DNS_DOCS, manual("resolv.conf(5)")),
    ),
    Explanation(
        code="DNS_SERVICE_NOT_RECORDED",
        severity=Severity.NOTICE,
        theme=Theme.NAMES,
        title="The cluster's DNS Service is not recorded",
        sentence="The pod asks the cluster's DNS, and the snapshot has no Service of it.",
        meaning=(
            "The kubelet writes the address of the DNS Service into every pod with dnsPolicy ClusterFirst. Without that Service nobody can "
            "say where the questions go, whether they get there, or what is answered; often only one namespace was recorded.",
        ),
        confirm=(Check(look_for="The DNS Service and its address.", command="kubectl get services -A -o json > services.json"),),
        fix=(Remedy(action="Record the Services of all namespaces, or give an address.", trade_off="None."),),
        sources=(_DNS_DOCS,),
    ),
    Explanation(
        code="COREFILE_INVALID",
        severity=Severity.FAULT,
        theme=Theme.NAMES,
        title="CoreDNS cannot read its Corefile",
        sentence="The Corefile of the snapshot is one that CoreDNS refuses.",
        meaning=(
            "CoreDNS does not start with such a file; one that runs already keeps its old settings until it is restarted, and then fails.",
        ),
        confirm=(Check(look_for="The error and its line.", command="kubectl logs -n kube-system -l k8s-app=kube-dns"),),
        fix=(Remedy(action="Correct the line that the message names.", trade_off="None."),),
        sources=(_DNS_DOCS,),
    ),
    Explanation(
        code="EXTERNALNAME_TLS",
        severity=Severity.WARNING,
        theme=Theme.NAMES,
        title="An ExternalName changes the address, not the name",
        sentence="The client connects to another host under the Service's name, and TLS and HTTP still carry that name.",
        meaning=(
            "An ExternalName Service is a CNAME record: the client reaches the other host, but asks it for the certificate and the virtual "
            "host of the name it dialled. The server has neither for a name of the cluster: certificate errors, or HTTP 404.",
        ),
        confirm=(Check(look_for="The names in the certificate.", command="openssl s_client -connect TARGET:443 -servername NAME"),),
        fix=(
            Remedy(action="Let the client dial the outside name itself.", trade_off="The indirection is gone."),
            Remedy(action="Set the server name (SNI) and Host header in the client.", trade_off="Not every client can."),
        ),
        sources=(kubernetes_docs("Service, ExternalName", "concepts/services-networking/service/#externalname"),),
    ),
    Explanation(
        code="DNS_HEADLESS_NO_PODS",
        severity=Severity.FAULT,
        theme=Theme.NAMES,
        title="Headless Service without ready pods",
        sentence="The name exists and has no address: no pod of the headless Service is ready.",
        meaning=(
            "A headless Service resolves to the addresses of its ready pods. Without any the answer is empty, and clients say "
            "'no address' or "
            "'name not known'. Names of single pods of a StatefulSet exist only while they are ready, or with publishNotReadyAddresses.",
        ),
        confirm=(
            _ASK,
            Check(
                look_for="Ready addresses.", command="kubectl get endpointslices -n NAMESPACE -l kubernetes.io/service-name=SERVICE -o yaml"
            ),
        ),
        fix=(
            Remedy(action="Make the pods ready, or correct the selector.", trade_off="None."),
            Remedy(action="Set publishNotReadyAddresses.", trade_off="Clients reach pods that are not ready."),
        ),
        sources=(_DNS_DOCS, kubernetes_docs("Service, Headless Services", "concepts/services-networking/service/#headless-services")),
    ),
    Explanation(
        code="DNS_QUERY_RACE",
        severity=Severity.WARNING,
        theme=Theme.NAMES,
        title="Two questions from one port race",
        sentence="A and AAAA are asked at the same time from one source port through DNAT; one of them may be dropped.",
        meaning=(
            "The kernel creates the two tracking entries in parallel, and the one that loses is dropped (insert_failed). The "
            "resolver repeats "
            "the question after 5 seconds, which is the delay that users notice now and then.",
        ),
        confirm=(Check(look_for="Growing insert_failed.", command="conntrack -S | grep -o 'insert_failed=[0-9]*'"), _RESOLV),
        fix=(
            Remedy(action="NodeLocal DNSCache.", trade_off="One more daemon on each node; no DNAT for questions."),
            Remedy(action="dnsConfig option single-request-reopen (glibc).", trade_off="Not known to musl; look-ups take a little longer."),
            Remedy(action="options use-vc: ask over TCP.", trade_off="More load on the DNS server."),
        ),
        sources=(issue("kubernetes/kubernetes#56903"), issue("weaveworks/weave#3287"), manual("resolv.conf(5)")),
    ),
    Explanation(
        code="DNS_BLOCKED",
        severity=Severity.FAULT,
        theme=Theme.NAMES,
        title="The pod cannot ask its DNS server",
        sentence="A policy or a rule stops the pod's packets to port 53.",
        meaning=(
            "After a default-deny egress policy every name fails, and everything looks down. With NodeLocal DNSCache the "
            "questions go to an "
            "address of the node and are not tracked (NOTRACK), which policies by connection state may not expect.",
        ),
        confirm=(
            _ASK,
            Check(look_for="Egress policies that select the pod.", command="kubectl get networkpolicies -n NAMESPACE -o yaml"),
            Check(look_for="NOTRACK rules.", command="iptables-save -t raw | grep -E 'NOTRACK|CT '"),
        ),
        fix=(
            Remedy(
                action="Allow egress to port 53 over UDP and TCP, to kube-dns and the node-local address.",
                trade_off="Names leak what pods ask for.",
            ),
        ),
        sources=(issue("kubernetes/website#54997"), issue("kubernetes/kubernetes#98758"), issue("projectcalico/calico#3795")),
    ),
)
