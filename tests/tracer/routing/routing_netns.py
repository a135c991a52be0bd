"""Network namespaces for the kernel's own word: made here, used by packets that never leave them, and always removed."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import json
import os
import re
import shutil
import socket
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from tracer.routing import Routing

T = TypeVar("T")
_CLONE_NEWNET = 0x40000000
SYSCTLS = re.compile(r"net\.(?:ipv4\.(?:ip_forward|conf\.)|ipv6\.conf\.|ipv4\.ip_local_port_range|ipv4\.fib)")


@functools.cache
def why_not() -> str | None:
    """Return why namespaces cannot be made here, None if they can."""
    if os.geteuid() != 0:
        return "not root: cannot make network namespaces"
    if shutil.which("ip") is None:
        return "iproute2 is not installed"
    name = f"hr{uuid.uuid4().hex[:8]}"
    if subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode:
        return "'ip netns add' is refused here"
    made = subprocess.run(
        ["ip", "-n", name, "link", "add", "one0", "type", "veth", "peer", "name", "two0"], capture_output=True, check=False
    )
    subprocess.run(["ip", "netns", "del", name], check=False)
    return "this kernel makes no veth devices" if made.returncode else None


class Namespace:
    """One network namespace by name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def ip(self, *lines: str, force: bool = False, options: tuple[str, ...] = ()) -> tuple[str, str]:
        """Run *lines* as one ``ip -batch``; return what it printed. With *force*, failing lines are skipped."""
        arguments = ["ip", "-n", self.name, *options, *(["-force"] if force else []), "-batch", "-"]
        done = subprocess.run(arguments, input="\n".join(lines) + "\n", capture_output=True, text=True, check=False)
        if done.returncode and not force:
            raise RuntimeError(f"{done.stderr}\nof:\n" + "\n".join(lines))
        return done.stdout, done.stderr

    def run(self, *command: str, text: str | None = None) -> str:
        """Run a command inside and return its output."""
        full = ["ip", "netns", "exec", self.name, *command]
        return subprocess.run(full, input=text, capture_output=True, text=True, check=True).stdout

    def inside(self, work: Callable[[], T]) -> T:
        """Return what *work* returns when run by a thread inside the namespace; sockets it makes stay inside."""
        answer: list[T] = []
        problem: list[BaseException] = []

        def enter() -> None:
            try:
                with Path(f"/run/netns/{self.name}").open() as handle:
                    if ctypes.CDLL(None, use_errno=True).setns(handle.fileno(), _CLONE_NEWNET):
                        raise OSError(ctypes.get_errno(), "setns")
                answer.append(work())
            except BaseException as error:
                problem.append(error)

        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
        if problem:
            raise problem[0]
        return answer[0]

    def sysctl(self, values: dict[str, int | str]) -> None:
        """Write sysctls (names with dots)."""

        def write() -> None:
            for name, value in values.items():
                Path("/proc/sys/" + name.replace(".", "/")).write_text(str(value))

        self.inside(write)

    def packet_socket(self, device: str) -> socket.socket:
        """Return a raw socket on *device* that sees and sends whole frames."""

        def make() -> socket.socket:
            made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            made.bind((device, 0))
            made.settimeout(0.5)
            return made

        return self.inside(make)

    def texts(self) -> dict[str, str]:
        """Return the stack's dumps, as ``Routing.from_texts`` takes them."""

        def dump(*arguments: str) -> str:
            return subprocess.run(["ip", "-n", self.name, *arguments], capture_output=True, text=True, check=True).stdout

        lines = self.run("sysctl", "-a", "-r", r"net\.ipv[46]\.(conf|ip_forward|fib)").splitlines()
        return {
            "ip_addr": dump("-j", "addr"),
            "ip_link": dump("-d", "-j", "link"),
            "ip_route": dump("-j", "route", "show", "table", "all"),
            "ip6_route": dump("-6", "-j", "route", "show", "table", "all"),
            "ip_rule": dump("-j", "rule"),
            "ip6_rule": dump("-6", "-j", "rule"),
            "sysctl": "\n".join(line for line in lines if SYSCTLS.match(line)),
        }

    def routing(self) -> Routing:
        """Return the stack as the tracer reads it from its dumps."""
        routing = Routing.from_texts(self.name, **self.texts(), kernel=os.uname().release)
        assert not routing.missing, (routing.missing, routing.faults)
        return routing

    def route_get(self, queries: list[str], version: int) -> list[dict[str, object] | str]:
        """Return the kernel's answer for each ``ip route get`` query: the JSON object, or the error's text."""
        out, errors = self.ip(*(f"route get {query}" for query in queries), force=True, options=("-j", f"-{version}"))
        failed: dict[int, str] = {}
        message = ""
        for line in errors.splitlines():
            if m := re.fullmatch(r"Command failed -:(\d+)", line):
                failed[int(m[1])] = message
                message = ""
            else:
                message = line.strip() or message
        decoder = json.JSONDecoder()
        answers: list[dict[str, object]] = []
        position = 0
        while (position := _skip(out, position)) < len(out):
            value, position = decoder.raw_decode(out, position)
            answers.extend(item for item in value if item)
        if len(answers) + len(failed) != len(queries):
            raise RuntimeError(f"{len(queries)} questions, {len(answers)} answers, {len(failed)} errors\n{out[-500:]}\n{errors[-500:]}")
        found = iter(answers)
        return [failed[number] if number in failed else next(found) for number in range(1, len(queries) + 1)]


def _skip(text: str, position: int) -> int:
    while position < len(text) and text[position].isspace():
        position += 1
    return position


@contextlib.contextmanager
def namespaces(count: int) -> Iterator[list[Namespace]]:
    """Make *count* namespaces, quiet ones (no DAD, no router advertisements), and remove them whatever happens."""
    made: list[Namespace] = []
    try:
        for _ in range(count):
            space = Namespace(f"hr{uuid.uuid4().hex[:10]}")
            subprocess.run(["ip", "netns", "add", space.name], check=True, capture_output=True)
            made.append(space)
            quiet = {
                f"net.ipv6.conf.{which}.{key}": 0 for which in ("all", "default") for key in ("accept_dad", "accept_ra", "dad_transmits")
            }
            space.sysctl({**quiet, "net.ipv6.conf.default.router_solicitations": 0})
        yield made
    finally:
        for space in made:
            subprocess.run(["ip", "netns", "del", space.name], check=False, capture_output=True)


def wire(inner: Namespace, outer: Namespace, devices: tuple[str, ...]) -> None:
    """Connect the two by a veth for each name (``x`` is added to the outer end), up, without ARP: every frame just arrives."""
    for device in devices:
        inner.ip(f"link add {device} type veth peer name {device}x netns {outer.name}", f"link set {device} arp off up")
        outer.ip(f"link set {device}x arp off addrgenmode none up")
