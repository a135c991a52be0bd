#!/usr/bin/env python3
"""Print the part of requirements.txt that requirements.in needs: the container image leaves the test tools out.

Follows the "# via" notes that the lock file keeps below every package.
"""

import re
import sys
from pathlib import Path


def blocks(lock: str) -> dict[str, tuple[str, set[str]]]:
    """Return each package's lines and what it is there for, by normalised name."""
    found = {}
    for block in re.split(r"\n(?=[A-Za-z0-9])", re.sub(r"(?m)\A(?:#.*\n)+", "", lock)):
        name = re.match(r"[A-Za-z0-9._-]+", block)[0].lower()
        notes = block.partition("# via")[2]
        found[name] = (block.rstrip(), set(re.findall(r"[A-Za-z0-9._-]+", notes.replace("-r ", ""))))
    return found


def runtime(lock: str) -> str:
    """Return the lock file's packages that requirements.in needs, directly or not."""
    packages = blocks(lock)
    needed = {name for name, (_, via) in packages.items() if "requirements.in" in via}
    while more := {name for name, (_, via) in packages.items() if via & needed} - needed:
        needed |= more
    return "\n".join(packages[name][0] for name in sorted(needed)) + "\n"


if __name__ == "__main__":
    sys.stdout.write(runtime((Path(__file__).parent.parent / "requirements.txt").read_text()))
