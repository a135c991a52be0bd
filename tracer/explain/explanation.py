"""What a reason code means: the value types of the catalogue, without any of its entries.

An explanation is about the code, not about one packet: the sentence for one case stands in the trace (``Reason.text``).
Commands hold placeholders in capitals (``NAMESPACE``, ``NODE``); nothing here runs them.
"""

from __future__ import annotations

from enum import StrEnum

from tracer.values import dataclass


class Severity(StrEnum):
    """How bad a reason is for whoever sent the packet, worst first."""

    FAULT = "fault"
    WARNING = "warning"
    NOTICE = "notice"
    INFO = "info"

    @property
    def rank(self) -> int:
        """Return 0 for the worst severity, growing towards harmless."""
        return list(Severity).index(self)


class Theme(StrEnum):
    """What a reason is about; the value is the heading it stands under."""

    ENDING = "How a packet ends"
    SERVICES = "Services and their endpoints"
    LOAD_BALANCERS = "Load balancers and node ports"
    MODES = "Modes of kube-proxy, and data paths without rules"
    RULES = "Rules on the node"
    CONNECTIONS = "Rewriting and connections"
    ROUTING = "Routing and the kernel's own checks"
    NAMES = "Names"
    SNAPSHOT = "What the snapshot cannot tell"
    QUESTION = "The question itself"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One way to confirm a reason: what to look for, and the command that shows it (None where looking is enough)."""

    look_for: str
    command: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """One way out, and what it costs."""

    action: str
    trade_off: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Citation:
    """Where a statement comes from; *url* is None for what has no page of its own (a kernel source file)."""

    label: str
    url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Everything to say about one reason code. *sentence* is the short form; *meaning* is one or more paragraphs."""

    code: str
    severity: Severity
    theme: Theme
    title: str
    sentence: str
    meaning: tuple[str, ...]
    confirm: tuple[Check, ...] = ()
    fix: tuple[Remedy, ...] = ()
    sources: tuple[Citation, ...] = ()


def issue(reference: str) -> Citation:
    """Return the citation of a GitHub issue or pull request written ``owner/repository#number``."""
    repository, _, number = reference.partition("#")
    return Citation(label=reference, url=f"https://github.com/{repository}/issues/{number}")


def kubernetes_docs(title: str, path: str) -> Citation:
    """Return the citation of a page of kubernetes.io; *path* begins after ``/docs/``."""
    return Citation(label=f"Kubernetes documentation: {title}", url=f"https://kubernetes.io/docs/{path}")


def enhancement(number: int, title: str) -> Citation:
    """Return the citation of a Kubernetes enhancement proposal (KEP)."""
    return Citation(label=f"KEP-{number}, {title}", url=f"https://kep.k8s.io/{number}")


def manual(page: str) -> Citation:
    """Return the citation of a manual page written ``name(section)``."""
    name, _, section = page.rstrip(")").partition("(")
    return Citation(label=page, url=f"https://manpages.debian.org/bookworm/{name}.{section}.en.html")


def kernel(path: str) -> Citation:
    """Return the citation of a file or document of the Linux source tree."""
    return Citation(label=f"Linux, {path}", url=f"https://git.kernel.org/pub/scm/linux/kernel/git/torvalds/linux.git/tree/{path}")


def standard(number: int, title: str) -> Citation:
    """Return the citation of an RFC."""
    return Citation(label=f"RFC {number}, {title}", url=f"https://www.rfc-editor.org/rfc/rfc{number}")
