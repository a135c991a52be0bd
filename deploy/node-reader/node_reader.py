#!/usr/bin/python3 -I
"""Hopline's node reader: prints a tar of what this node's rules, routes and addresses are, and ends.

Usage: hopline-node-reader [--conntrack]
       hopline-node-reader --pods UID[,UID]

The second form prints what these pods have of their own, as ``pods/UID/FILE``: for each it runs itself with ``--stack`` in the pod's
network (by ``nsenter``), which prints what is there. That needs more rights than the first form: deploy/node-reader/pod-stacks.yaml.
One file, the standard library only. It takes no other argument and no input, opens no port, starts no shell, writes nothing, and runs no
program but those listed below, with fixed arguments. The files are those of a snapshot's ``nodes/NODE`` folder (docs/snapshot-format.md);
``reading.json`` comes last and says of each when it was read, how long that took, and why it is missing if it is.
It is meant to be run by ``kubectl exec`` in the pods of deploy/node-reader/daemonset.yaml, which share their node's network.
"""

from __future__ import annotations

import http.client
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

COMMANDS = (
    ("nft-ruleset.json", ("nft", "-j", "list", "ruleset")),
    ("ipset-save.txt", ("ipset", "save")),
    ("ip-addr.json", ("ip", "-j", "addr")),
    ("ip-link.json", ("ip", "-d", "-j", "link")),
    ("ip-route.json", ("ip", "-j", "route", "show", "table", "all")),
    ("ip6-route.json", ("ip", "-6", "-j", "route", "show", "table", "all")),
    ("ip-rule.json", ("ip", "-j", "rule")),
    ("ip6-rule.json", ("ip", "-6", "-j", "rule")),
    ("ss.txt", ("ss", "-ltnu")),
)
CONNTRACK = ("conntrack.txt", ("conntrack", "-L", "-o", "extended"))
IPVS = ("ipvsadm-save.txt", ("ipvsadm", "-S", "-n"))
SECONDS = 30
MOST_BYTES = 64 << 20
NODES_OWN = (IPVS[0], "resolv.conf", "kube-proxy-mode.txt")
"""What is a node's, and no pod's."""
MOST_PODS = 50
STACK_SECONDS = 15
"""So long one pod's own stack may take …"""
PODS_SECONDS = 45
"""… and all that are asked for at once."""
STACK_BYTES = 16 << 20
_UIDS = re.compile(r"[A-Za-z0-9-]{1,64}(,[A-Za-z0-9-]{1,64})*", re.ASCII)
_MAY_NOT = "The node reader may not enter the networks of pods: deploy/node-reader/pod-stacks.yaml lets it."
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin", "LC_ALL": "C"}
_MODE_ADDRESS = ("127.0.0.1", 10249)
_MOST_SAID = 300


class Unreadable(Exception):
    """A file cannot be had; the text says why, in one line."""


def main(arguments: list[str]) -> int:
    """Print the tar on standard output. Returns the exit code: 0, or 2 where the arguments are wrong."""
    uids = uids_of(arguments)
    if sys.stdout.isatty() or not (uids or arguments in ([], ["--stack"]) or set(arguments) == {"--conntrack"}):
        sys.stderr.write(
            "usage: hopline-node-reader [--conntrack] > reading.tar\n       hopline-node-reader --pods UID,UID > reading.tar\n"
        )
        return 2
    report: dict[str, dict[str, object]] = {}
    with tarfile.open(fileobj=sys.stdout.buffer, mode="w|", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in pods(uids, report) if uids else files(arguments, report):
            add(archive, name, content)
        add(archive, "reading.json", report_text(report))
    return 0


def uids_of(arguments: list[str]) -> list[str]:
    """Return the pods that are asked for; none: others than pods are, or too many."""
    if len(arguments) != 2 or arguments[0] != "--pods" or not _UIDS.fullmatch(arguments[1]):
        return []
    uids = arguments[1].split(",")
    return uids if len(uids) <= MOST_PODS else []


def files(arguments: list[str], report: dict[str, dict[str, object]]) -> Iterator[tuple[str, bytes]]:
    """Yield the files of the node, or of whichever stack this runs in."""
    for reading in readings(conntrack="--conntrack" in arguments):
        if "--stack" not in arguments or reading[0] not in NODES_OWN:
            yield from timed(reading, report)


def readings(*, conntrack: bool) -> list[tuple[str, Callable[[], dict[str, bytes]]]]:
    """Return what is to be read: the name under which a failure is said, and what reads it (one reading may bring two files)."""
    wanted: list[tuple[str, Callable[[], dict[str, bytes]]]] = [
        ("iptables-save.txt", lambda: xtables("ip")),
        ("ip6tables-save.txt", lambda: xtables("ip6")),
        (IPVS[0], ipvs),
        ("sysctl.txt", lambda: {"sysctl.txt": sysctls(Path("/proc/sys/net"))}),
        ("resolv.conf", lambda: {"resolv.conf": read(Path("/etc/resolv.conf"))}),
        ("kube-proxy-mode.txt", lambda: {"kube-proxy-mode.txt": proxy_mode()}),
    ]
    commands = (*COMMANDS, *((CONNTRACK,) if conntrack else ()))
    return wanted + [(name, partial(output_of, name, argv)) for name, argv in commands]


def output_of(name: str, argv: tuple[str, ...]) -> dict[str, bytes]:
    """Return what one program prints, as the file *name*."""
    return {name: run(*argv)}


def timed(reading: tuple[str, Callable[[], dict[str, bytes]]], report: dict[str, dict[str, object]]) -> list[tuple[str, bytes]]:
    """Return the files that one reading brings, and note in *report* how it went."""
    name, read_it = reading
    read_at, started = datetime.now(UTC), time.monotonic()
    error, files = None, {}
    try:
        files = read_it()
    except (Unreadable, OSError) as failure:
        error = one_line(str(failure))
    said = {"seconds": round(time.monotonic() - started, 3), "read_at": read_at.strftime("%Y-%m-%dT%H:%M:%SZ")}
    for brought in files or [name]:
        report[brought] = {"error": error} | said
    return list(files.items())


def add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    """Append one file to the tar."""
    entry = tarfile.TarInfo(name)
    entry.size, entry.mtime, entry.mode = len(content), int(time.time()), 0o644
    archive.addfile(entry, io.BytesIO(content))


def report_text(report: dict[str, dict[str, object]]) -> bytes:
    """Return ``reading.json``: one file a line, so that a shell script can read it too."""
    lines = ",\n".join(f" {json.dumps(name)}: {json.dumps(said)}" for name, said in sorted(report.items()))
    return f'{{"reader": 1, "files": {{\n{lines}\n}}}}\n'.encode()


# --- pods' own stacks --------------------------------------------------------------------------------------------------------


def pods(uids: list[str], report: dict[str, dict[str, object]], proc: Path = Path("/proc")) -> Iterator[tuple[str, bytes]]:
    """Yield the files of each pod's own stack, and note in *report* how it went; why there are none stands at its rules."""
    until = time.monotonic() + PODS_SECONDS
    groups = dict(cgroups(proc))
    for uid in uids:
        read_at, started = datetime.now(UTC), time.monotonic()
        try:
            if started > until:
                raise Unreadable(f"Not tried: the pods before took {PODS_SECONDS} s.")
            printed = stack_of(uid, groups, proc, min(STACK_SECONDS, max(1.0, until - started)))
            yield from unpacked(printed, f"pods/{uid}/", report)
        except (Unreadable, OSError, tarfile.TarError, ValueError) as failure:
            said = {"seconds": round(time.monotonic() - started, 3), "read_at": read_at.strftime("%Y-%m-%dT%H:%M:%SZ")}
            report[f"pods/{uid}/iptables-save.txt"] = {"error": one_line(str(failure))} | said


def cgroups(proc: Path) -> Iterator[tuple[Path, str]]:
    """Yield each process's folder with its cgroups: the kubelet names those of a pod by its uid."""
    for process in proc.iterdir():
        if process.name.isdecimal():
            try:
                yield process, (process / "cgroup").read_text(errors="replace")
            except OSError:
                continue


def is_of(uid: str, groups: str) -> bool:
    """Return whether *groups* are those of the pod *uid*; systemd's names have no dashes.

    Source: pkg/kubelet/cm/pod_container_manager_linux.go, cgroup_manager_linux.go (escapeSystemdCgroupName).
    """
    return f"pod{uid}" in groups or f"pod{uid.replace('-', '_')}" in groups


def stack_of(uid: str, groups: dict[Path, str], proc: Path, seconds: float) -> bytes:
    """Return the tar that this program prints in the network of the pod *uid*. :raises Unreadable: it is not found, or not entered."""
    processes = [process for process, text in groups.items() if is_of(uid, text)]
    if not processes:
        raise Unreadable("No process of the pod runs there.")
    own = network_of(proc / "self")
    try:
        others = sorted((began(process), process) for process in processes if network_of(process) != own)
    except PermissionError:
        raise Unreadable(_MAY_NOT) from None
    if not others:
        raise Unreadable("No process of the pod has a network of its own.")
    # The oldest is the pod's own; a later one may have made itself another network.
    process = others[0][1]
    with (process / "ns/net").open("rb") as network:
        # NB: held open it stays the same, and so it is looked now whether the process still is the one that was found.
        if not is_of(uid, (process / "cgroup").read_text(errors="replace")):
            raise Unreadable("The process of the pod has ended.")
        inside = ("nsenter", f"--net=/proc/self/fd/{network.fileno()}", sys.executable, "-I", str(Path(__file__).resolve()), "--stack")
        try:
            return run(*inside, keeps=(network.fileno(),), seconds=seconds, most_bytes=STACK_BYTES)
        except Unreadable as failure:
            raise Unreadable(_MAY_NOT if "reassociate" in str(failure) else str(failure)) from None


def network_of(process: Path) -> tuple[int, int]:
    """Return what tells one network namespace from all others. A process that has ended has none. :raises PermissionError: not shown."""
    try:
        found = (process / "ns/net").stat()
    except (FileNotFoundError, ProcessLookupError):
        return (0, 0)
    return (found.st_dev, found.st_ino)


def began(process: Path) -> int:
    """Return when a process began, in the kernel's ticks. Source: proc(5), field 22 of stat, whose name ends at the last )."""
    try:
        return int((process / "stat").read_text(errors="replace").rpartition(")")[2].split()[19])
    except (OSError, IndexError):
        return sys.maxsize


def unpacked(printed: bytes, folder: str, report: dict[str, dict[str, object]]) -> Iterator[tuple[str, bytes]]:
    """Yield the files of a stack's tar below *folder*, and take over what it says of them. :raises TarError, ValueError: it is none."""
    with tarfile.open(fileobj=io.BytesIO(printed)) as archive:
        for member in archive:
            file = archive.extractfile(member)
            content = file.read() if file else b""
            if member.name == "reading.json":
                report.update({folder + name: said for name, said in json.loads(content)["files"].items()})
            else:
                yield folder + member.name, content


# --- programs ----------------------------------------------------------------------------------------------------------------


def run(*argv: str, keeps: tuple[int, ...] = (), seconds: float | None = None, most_bytes: int | None = None) -> bytes:
    """Return what a program prints, which *keeps* these files open. :raises Unreadable: not there, fails, is late, prints too much."""
    with tempfile.TemporaryFile(dir=_memory()) as errors:
        try:
            child = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, env=_ENVIRONMENT, close_fds=True, pass_fds=keeps
            )
        except (FileNotFoundError, PermissionError):
            raise Unreadable(f"The container has no program {argv[0]}.") from None
        with child:
            printed = _bounded(child, argv[0], SECONDS if seconds is None else seconds, MOST_BYTES if most_bytes is None else most_bytes)
        errors.seek(0)
        said = [line for line in errors.read(1 << 16).decode(errors="replace").splitlines() if line.strip()]
    if child.returncode != 0:
        raise Unreadable(f"{argv[0]} ended with {child.returncode}{': ' + said[-1] if said else ''}")
    return printed


def _bounded(child: subprocess.Popen[bytes], program: str, seconds: float, most_bytes: int) -> bytes:
    if child.stdout is None:
        raise Unreadable("no pipe")
    deadline, parts, size = time.monotonic() + seconds, [], 0
    os.set_blocking(child.stdout.fileno(), False)
    while True:
        part = child.stdout.read(1 << 20)
        if part == b"":
            break
        size += len(part or b"")
        if size > most_bytes or time.monotonic() > deadline:
            child.kill()
            raise Unreadable(f"{program} printed more than {most_bytes} bytes" if size > most_bytes else _late(program, seconds))
        if part is None:
            time.sleep(0.005)
        else:
            parts.append(part)
    try:
        child.wait(max(0.1, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        child.kill()
        raise Unreadable(_late(program, seconds)) from None
    return b"".join(parts)


def _late(program: str, seconds: float) -> str:
    return f"{program} did not end within {seconds:g} s"


def _memory() -> str | None:
    """Return a folder in memory for what programs say on stderr: the container's own file system is read-only."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 - not a name in a shared folder: the file has none


# --- what is more than one program's output ------------------------------------------------------------------------------


def xtables(family: str) -> dict[str, bytes]:
    """Return the rules of one *family* (``ip``, ``ip6``) by file.

    Where only the legacy back end holds rules, its dump is what ``iptables-save`` means on that node. Where both do, both are there.
    NB: the legacy program is run only where the kernel has legacy tables already, which it says in /proc: running it must not make any.
    """
    name = f"{family}tables"
    try:
        modern = run(f"{name}-nft-save")
    except Unreadable:
        modern = run(f"{name}-save")
    if not _legacy_tables(family):
        return {f"{name}-save.txt": modern}
    legacy = run(f"{name}-legacy-save")
    if has_rules(legacy) and not has_rules(modern):
        return {f"{name}-save.txt": legacy}
    return {f"{name}-save.txt": modern} | ({f"{name}-legacy-save.txt": legacy} if has_rules(legacy) else {})


def _legacy_tables(family: str) -> bool:
    try:
        return bool(Path(f"/proc/net/{family}_tables_names").read_bytes().strip())
    except OSError:
        return False


def has_rules(dump: bytes) -> bool:
    """Return whether a dump holds a rule, or a chain of somebody's."""
    return any(line.startswith(b"-A ") or (line.startswith(b":") and b" - [" in line) for line in dump.splitlines())


def ipvs() -> dict[str, bytes]:
    """Return the virtual servers. :raises Unreadable: the kernel has no IPVS (asking would load it), or ipvsadm fails."""
    if not Path("/proc/net/ip_vs").exists():
        raise Unreadable("IPVS is not loaded there.")
    return {IPVS[0]: run(*IPVS[1])}


def sysctls(root: Path) -> bytes:
    """Return the settings below *root* as ``sysctl -a`` prints them; what cannot be read is left out, as there.

    NB: an interface's name may hold dots; ``sysctl`` then writes slashes in their place.
    """
    lines = []
    for folder, folders, files in os.walk(root):
        folders.sort()
        for name in sorted(files):
            path = Path(folder, name)
            parts = ("net", *path.relative_to(root).parts)
            key = ".".join(part.replace(".", "/") for part in parts)
            try:
                value = path.read_text(errors="replace")
            except OSError:
                continue
            lines += [f"{key} = {line}\n" for line in value.splitlines()]
    return "".join(lines).encode()


def read(path: Path) -> bytes:
    """Return a file of the system. :raises OSError: it cannot be read."""
    with path.open("rb") as file:
        return file.read(MOST_BYTES)


def proxy_mode() -> bytes:
    """Return kube-proxy's mode as it says itself on loopback. :raises Unreadable: it does not listen there."""
    connection = http.client.HTTPConnection(*_MODE_ADDRESS, timeout=3)
    try:
        connection.request("GET", "/proxyMode")
        answer = connection.getresponse()
        mode = answer.read(100).strip()
    except (OSError, http.client.HTTPException):
        raise Unreadable("kube-proxy does not answer on 127.0.0.1:10249") from None
    finally:
        connection.close()
    if answer.status != 200 or not mode.isalpha():
        raise Unreadable(f"kube-proxy answered {answer.status} on 127.0.0.1:10249")
    return mode + b"\n"


def one_line(text: str) -> str:
    """Return *text* as one line of printable ASCII."""
    line = " ".join("".join(c if " " <= c <= "~" else " " for c in text).split())
    return line[:_MOST_SAID]


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except BrokenPipeError:
        os._exit(1)
