
mount -t sysfs none /sys 2>/dev/null || true
ip link set lo up
ip link add br0 type bridge; ip link set br0 up; ip addr add 10.244.1.1/24 brd + dev br0
ip link add veth0 type veth peer name veth1; ip link set veth0 master br0; ip link set veth0 type bridge_slave hairpin on; ip link set veth0 up; ip link set veth1 up
ip link add eth0 type veth peer name far0; ip link set far0 up; ip link set eth0 up; ip addr add 192.0.2.11/24 brd 192.0.2.255 dev eth0; ip addr add 192.0.2.12/24 dev eth0; ip addr add 198.51.100.7 peer 198.51.100.8/32 dev eth0
ip -6 addr add 2001:db8::11/64 dev eth0 nodad; ip -6 addr add fd00::1/64 dev br0 nodad deprecated 2>/dev/null || true
ip link add vx0 type vxlan id 1 local 192.0.2.11 dev eth0 dstport 8472 nolearning; ip link set vx0 up; ip addr add 10.244.1.0/32 dev vx0 scope global
ip link add kube-ipvs0 type bridge; ip addr add 10.96.0.1/32 dev kube-ipvs0
ip link add ipip0 type ipip local 192.0.2.11 remote any 2>/dev/null && ip link set ipip0 up || true
ip route add default via 192.0.2.1 dev eth0 proto dhcp src 192.0.2.11 metric 100
ip route add 10.244.2.0/24 via 10.244.2.0 dev vx0 onlink
ip route add 10.9.0.0/16 nexthop via 192.0.2.2 dev eth0 weight 2 nexthop via 192.0.2.3 dev eth0
ip route add blackhole 10.10.0.0/16; ip route add unreachable 10.11.0.0/16; ip route add prohibit 10.12.0.0/16 ; ip route add throw 10.13.0.0/16 table 100
ip route add 10.14.0.0/16 dev eth0 mtu lock 1400 advmss 1300 tos 0x10
ip route add 10.15.0.0/16 via inet6 2001:db8::99 dev eth0
ip route add default via 192.0.2.254 dev eth0 table 100
ip route add 10.16.0.0/16 encap ip id 3 dst 192.0.2.77 dev ipip0 2>/dev/null || true
ip -6 route add default via 2001:db8::1 dev eth0 metric 1024 pref high
ip -6 route add 2001:db8:5::/64 nexthop via 2001:db8::2 dev eth0 nexthop via 2001:db8::3 dev eth0
ip -6 route add unreachable fd99::/64
ip nexthop add id 7 via 192.0.2.9 dev eth0; ip route add 10.17.0.0/16 nhid 7
ip rule add from 192.0.2.12 lookup 100 pref 100
ip rule add fwmark 0x1/0xff to 10.0.0.0/8 iif eth0 lookup 100 pref 101
ip rule add not from all fwmark 0x4000 suppress_prefixlength 0 lookup main pref 102
ip rule add from 10.0.0.0/8 ipproto tcp dport 80-90 blackhole pref 103
ip rule add uidrange 0-99 goto 32766 pref 104
ip rule add tos 0x10 sport 53 oif eth0 unreachable pref 105
ip rule add l3mdev pref 106 2>/dev/null || true
ip -6 rule add from fd00::/64 lookup 100 pref 99
ip neigh add 192.0.2.1 lladdr 02:00:00:00:00:01 dev eth0 nud permanent; ip neigh add 192.0.2.5 dev eth0 lladdr 02:00:00:00:00:05 nud stale; ip neigh add 2001:db8::1 lladdr 02:00:00:00:00:01 router dev eth0 nud reachable; ip neigh add 192.0.2.77 dev eth0 nud failed
