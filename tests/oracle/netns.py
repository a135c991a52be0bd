"""Network namespaces without a name: they live as long as this process holds them open, so nothing is left behind."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_CLONE_NEWNET = 0x40000000
_SETTLED = 5.0  # seconds at most until devices have a carrier
_LIBC = ctypes.CDLL(None, use_errno=True)


class CommandFailed(RuntimeError):
    """A command inside a namespace failed; the text is what it printed."""


def why_not() -> str | None:
    """Return why the oracle cannot run here, None if it can."""
    if os.geteuid() != 0:
        return "not root: cannot make network namespaces"
    for program, package in (("ip", "iproute2"), ("iptables-restore", "iptables"), ("ip6tables-restore", "iptables"), ("ipset", "ipset")):
        if shutil.which(program) is None:
            return f"{program} is not installed (apt-get install {package})"
    try:
        with Namespace() as made:
            made.run("ip", "link", "add", "one0", "type", "veth", "peer", "name", "two0")
            made.run("iptables-restore", text="*raw\n-A PREROUTING -j TRACE\nCOMMIT\n")
    except (OSError, CommandFailed) as error:
        return f"this kernel lets us make no namespace with veth devices and traced rules: {str(error).strip()[:200]}"
    return None


def _check(result: int) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


class Namespace:
    """One network namespace. Sockets made ``inside`` it stay in it; it is gone when it is closed and they are."""

    def __init__(self) -> None:
        home = os.open("/proc/self/ns/net", os.O_RDONLY)
        try:
            _check(_LIBC.unshare(_CLONE_NEWNET))
            self.fd = os.open("/proc/self/ns/net", os.O_RDONLY)
        finally:
            _check(_LIBC.setns(home, _CLONE_NEWNET))
            os.close(home)

    def __enter__(self) -> Namespace:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the namespace go."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    @property
    def path(self) -> str:
        """Return a path that ``ip link set … netns PATH`` takes."""
        return f"/proc/{os.getpid()}/fd/{self.fd}"

    def settle(self) -> None:
        """Wait until devices that were just set up are told to have a carrier: linkwatch says so within a second or two."""
        end = time.monotonic() + _SETTLED
        while "NO-CARRIER" in self.run("ip", "link") and time.monotonic() < end:
            time.sleep(0.05)

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Put this (single-threaded) process into the namespace for the length of the block."""
        home = os.open("/proc/self/ns/net", os.O_RDONLY)
        _check(_LIBC.setns(self.fd, _CLONE_NEWNET))
        try:
            yield
        finally:
            _check(_LIBC.setns(home, _CLONE_NEWNET))
            os.close(home)

    def run(self, *command: str, text: str | None = None) -> str:
        """Run a command inside and return what it printed. :raises CommandFailed: it did not end well."""
        with self.inside():
            done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CommandFailed(f"{' '.join(command)}: {done.stderr or done.stdout}")
        return done.stdout

    def sysctl(self, values: dict[str, int]) -> None:
        """Write sysctls, named with dots."""
        with self.inside():
            for name, value in values.items():
                Path("/proc/sys", *name.split(".")).write_text(str(value))
