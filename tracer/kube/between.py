"""What stands between API objects in people's files: typed commands, fences, kubectl's warnings and refusals, the logs of containers.

Owns the words, for JSON and YAML alike. What is passed over says nothing of the cluster; a refusal says that something was not read.
Source: kubectl pkg/cmd/clusterinfo/clusterinfo_dump.go, pkg/cmd/util/helpers.go; klog's header.
"""

from __future__ import annotations

import re

from tracer.patterns import pattern
from tracer.values import dataclass

_PROMPT = r"(?:\([\w.-]{1,40}\) )?\[?[\w.-]{1,64}@[\w.-]{1,64}[: ][^\n$#%>{]{0,200}[$#%>](?= |\Z|\r?\n)|PS [A-Z]:[^\n>]{0,200}>"
_COMMAND = r"\+ |[\w@.~:/-]{0,80}[$#%] ?(?:kubectl|oc)\b"
_WARNING = r"Warning: |[IWE][0-9]{4} [0-9:. ]|No resources found|```"
REFUSALS = ("Error from server", "Unable to connect to the server:", "The connection to the server ", "error: ")
"""How kubectl begins to say that it was refused."""
_LINE = pattern(rf"(?:(?P<refusal>{'|'.join(REFUSALS)})|{_COMMAND}|{_WARNING}|{_PROMPT})[^\n]*", re.ASCII)
_LOG = pattern(r"==== START logs for (?P<container>container [^\n]{1,600}?) ====\r?(?:\n|\Z)", re.ASCII)
_SAID = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Between:
    """What stands there: where it *ends*, and what is *wrong*, "" where nothing is; *lost*: what follows cannot be told from it."""

    end: int
    wrong: str = ""
    lost: bool = False


def between(text: str, position: int) -> Between | None:
    """Return what begins at *position* of *text*, the beginning of a line; None for what is none of this."""
    if log := _LOG.match(text, position):
        # NB: a log may hold anything, other containers' marks too, and need not end with a newline.
        mark = f"==== END logs for {log['container']} ===="
        end = text.find(mark, log.end())
        if end < 0:
            return Between(end=len(text), wrong=f"the log of {log['container']} has no end", lost=True)
        return Between(end=end + len(mark))
    if line := _LINE.match(text, position):
        wrong = f"kubectl was refused: “{line[0][:_SAID].strip()}”" if line["refusal"] else ""
        return Between(end=line.end(), wrong=wrong)
    return None
