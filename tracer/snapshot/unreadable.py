"""Files of nodes that are there and hold nothing that can be read: an error text, a page, another tool's output, no text at all, nothing.

Such a file is neither missing (asking for it again as before brings the same) nor read: what it would hold is not known. Which faults a
file has line by line is ``NodeFile.check``'s; here is only whether anything of it counts.
"""

from __future__ import annotations

from collections.abc import Iterator

from tracer.errors import ParseError
from tracer.snapshot.node_files import NODE_FILES, Holds, NodeFile
from tracer.snapshot.snapshot import Snapshot

_BY_LINE = frozenset({Holds.SETS, Holds.CONNECTIONS, Holds.VIRTUAL_SERVERS, Holds.CLIENTS})
"""What is read line by line: a fault in one says nothing about the others."""
_ENOUGH = 65_536
"""So many characters of such a file are enough to know that it is another tool's."""
_RULES = frozenset({Holds.XTABLES, Holds.NFT, Holds.FRONTENDS})
"""What says itself, where a packet meets it, how far it was read."""


def why_unread(snapshot: Snapshot, node: str, file: NodeFile) -> str | None:
    """Return why the *file* of *node* is there and nothing of it counts, as what follows its name; None where it is absent or counts."""
    try:
        text = snapshot.node_file(node, file.name)
    except ParseError as error:
        return f"cannot be read ({error.faults[0].message})"
    return None if text is None else why_text_unread(file, text, snapshot.path_of(node, file.name))


def why_text_unread(file: NodeFile, text: str, path: str) -> str | None:
    """Return why nothing of *text*, which is what *file* holds at *path*, counts; None where something does."""
    if not text.strip():
        return None if file.may_be_empty else "is empty"
    if file.holds in _BY_LINE:
        text = text[: text.rfind("\n", 0, _ENOUGH) + 1] or text[:_ENOUGH]
    faults = file.check(text, path) if file.check is not None else ()
    if not faults or (file.holds in _BY_LINE and len(faults) < sum(1 for line in text.splitlines() if line.strip())):
        return None
    return f"cannot be read ({faults[0].message})"


def unread_files(snapshot: Snapshot) -> Iterator[tuple[NodeFile, str, str]]:
    """Yield every file of which nothing counts, with its node and why. Rules and lists of data paths say so themselves."""
    for file in NODE_FILES:
        if file.holds not in _RULES:
            for node, named in (*snapshot.node_files.items(), *snapshot.pod_stacks.items()):
                if file.name in named and (why := why_unread(snapshot, node, file)):
                    yield file, node, why
