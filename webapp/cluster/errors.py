"""What can go wrong between Hopline and an API server, as a tree of errors whose texts are fit for a page and a log.

No text here quotes a header, a token, a certificate or a line of the kubeconfig. What a server said is cut, and control characters go.
"""

from __future__ import annotations

_MOST_SAID = 400


class ClusterError(Exception):
    """Anything that keeps Hopline from an answer of the API server. Its text is a whole sentence for a person."""


class BadKubeconfig(ClusterError):
    """The kubeconfig, or the service account's files, cannot be used; or its credential plugin gave nothing usable."""


class Unreachable(ClusterError):
    """No answer, or one that broke off: the name, the connection, TLS, the proxy. Worth trying again."""


class TimedOut(Unreachable):
    """The answer did not come, or did not end, in time."""


class Busy(Unreachable):
    """429 or 5xx: the server would rather be asked later. *retry_after* in seconds, None when it did not say."""

    def __init__(self, text: str, *, status: int, retry_after: float | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.retry_after = retry_after


class Denied(ClusterError):
    """*status* 401: the credentials do not count (any more); 403: they do not allow this."""

    def __init__(self, text: str, *, status: int) -> None:
        super().__init__(text)
        self.status = status


class Gone(ClusterError):
    """410: the resourceVersion or the continue token is too old. List again from the start."""


class Refused(ClusterError):
    """Any other answer that is no success, for example 404: the pod is gone, the API group is not served."""

    def __init__(self, text: str, *, status: int) -> None:
        super().__init__(text)
        self.status = status


class TooLarge(ClusterError):
    """The answer is longer than was asked for; reading stopped there."""


class BadAnswer(ClusterError):
    """The answer is not what the API documents: no JSON, no list, an event without an object."""


class NoSuchProgram(ClusterError):
    """The container has no such program (distroless images often lack ``ip``, ``nft``, ``conntrack``)."""


def said(text: object, *, hide: tuple[str, ...] = ()) -> str:
    """Return what a server said in one line of at most 400 characters; every text in *hide* (credentials) is cut out."""
    if not isinstance(text, str):
        return ""
    for secret in hide:
        if secret:
            text = text.replace(secret, "[hidden]")
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= _MOST_SAID else line[: _MOST_SAID - 1] + "…"
