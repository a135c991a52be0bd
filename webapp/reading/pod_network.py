"""Running a program of a debug pod in the network of another pod on its node. collect.sh has the same text; a test compares them."""

from __future__ import annotations

NOT_ENTERED = 69
"""How ``ENTER`` ends where the pod's network is not found or may not be entered; what it said on standard error says why."""
ENTER = (
    'u=$1; shift; f=$(grep -l -F -e "pod$u" -e "pod$(echo "$u" | tr - _)" /proc/[0-9]*/cgroup 2>/dev/null); '
    '[ -n "$f" ] || { echo "No process of the pod runs there." >&2; exit 69; }; '
    'o=$(readlink /proc/1/ns/net) || { echo "The networks of processes may not be seen." >&2; exit 69; }; '
    'p=$(for d in $f; do d=${d%/cgroup}; n=$(readlink "$d/ns/net") && [ "$n" != "$o" ] && '
    'echo "$(sed "s/.*) //" "$d/stat" | cut -d " " -f 20) $d"; done 2>/dev/null | sort -n | sed -n "1s/.* //p"); '
    '[ -n "$p" ] || { echo "No process of the pod has a network of its own." >&2; exit 69; }; '
    'nsenter --net="$p/ns/net" true || { echo "The network of the pod may not be entered." >&2; exit 69; }; '
    'exec nsenter --net="$p/ns/net" "$@"'
)
"""Runs a program in the network of the pod whose uid comes first: of its processes the oldest one's that has a network of its own.

A fixed text for the shell of a debug pod, which only reads. NB: looked for each time: the number of a process that ended may be another's.
Source: the kubelet names a pod's cgroups by its uid (pkg/kubelet/cm/pod_container_manager_linux.go), by systemd's driver with _.
"""
