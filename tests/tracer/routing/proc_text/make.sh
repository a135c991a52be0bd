#!/bin/sh
# Records what ip and /proc/net say of one network namespace: unshare -n sh make.sh FOLDER. The node-* files are of it.
# The other files here were recorded in the namespace that ../ip_text/make.sh makes.
cd "$1" || exit 1
ip link set lo up
ip link add eth0 type veth peer name far0
ip link set far0 up
ip link set eth0 up
ip addr add 192.0.2.11/24 dev eth0
ip -6 addr add 2001:db8::11/64 dev eth0 nodad
ip link add cni0 type bridge
ip link add veth0 type veth peer name pod0
ip link set veth0 master cni0
ip link set pod0 up
ip link set veth0 up
ip link set cni0 up
ip addr add 10.244.1.1/24 dev cni0
ip -6 addr add fd00:10:244:1::1/64 dev cni0 nodad
ip route add default via 192.0.2.1
ip route add 10.244.2.0/24 via 192.0.2.12
ip -6 route add default via 2001:db8::1
ip -6 route add fd00:10:244:2::/64 nexthop via 2001:db8::12 nexthop via 2001:db8::13
ip route add prohibit 10.9.0.0/16
sleep 3
for of in route fib_trie if_inet6 ipv6_route; do cat "/proc/net/$of" > "node-$of.txt"; done
ip -j addr > node-ip-addr.json
ip -j route show table all > node-ip-route.json
ip -6 -j route show table all > node-ip6-route.json
