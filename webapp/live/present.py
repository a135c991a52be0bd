"""The present moment of a followed cluster as the files of a snapshot: for the engine, for "save as snapshot" and for exports."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from webapp.reading.paths import FOLDERS, VERSION, FilePath, ObjectPath, parse_path


def snapshot_files(bodies: Mapping[str, bytes], about: Mapping[str, Any] | None = None) -> dict[str, bytes]:
    """Return the documented files of a snapshot: a List for each kind, the nodes' files, ``version.json``, *about* as ``snapshot.json``.

    *bodies* are the parts of the cluster by path, unpacked. A kind without objects is an empty List: it was looked for.
    """
    objects: dict[str, list[bytes]] = {kind: [] for kind in FOLDERS}
    files: dict[str, bytes] = {}
    # By namespace and name, as the API server lists them.
    for path in sorted(bodies, key=lambda path: path.removesuffix(".json").split("/")):
        match parse_path(path):
            case ObjectPath(kind=kind):
                objects[kind].append(bodies[path])
            case FilePath() as file:
                files[str(file)] = bodies[path]
            case None if path == VERSION:
                files[VERSION] = bodies[path]
    for kind, items in objects.items():
        files[f"{FOLDERS[kind]}.json"] = b'{"apiVersion":"v1","kind":"List","items":[\n' + b",\n".join(items) + b"\n]}\n"
    if about is not None:
        files["snapshot.json"] = json.dumps(about, ensure_ascii=False, indent=1, sort_keys=True).encode() + b"\n"
    return files
