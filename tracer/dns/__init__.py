"""Names, as a pod's resolver asks for them and the cluster's DNS answers.

Owns resolv.conf (and what the kubelet writes into it), the search list of glibc and musl, the Corefile, the zone that CoreDNS's
kubernetes plugin serves from the API objects, and the Service environment variables.
Strategy: a name is looked up among the objects by name or address, never by walking all of them.
Refuses to guess what a server outside the cluster answers: such a question ends as unknown, and says which name and server.
Source: CoreDNS 1.14 (plugins kubernetes, k8s_external, autopath, rewrite, hosts, cache), the Kubernetes DNS specification 1.1.0,
kubelet 1.36 (pkg/kubelet/network/dns), glibc 2.41 (resolv/), musl 1.2.5 (src/network/).
"""
