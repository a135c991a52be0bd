"""A kubectl that answers from a recording: what collect.sh may call, and nothing else. Every call is appended to a log.

``STUB_RECORDING`` is the snapshot it answers from, ``STUB_LOG`` the log (one JSON list of arguments a line), ``STUB_FAULTS`` a JSON
object: ``lacks`` (programs that no container has), ``forbids`` (resources; ``pods/exec``), ``sleeps`` (programs that never end),
``loses`` (programs whose first output is lost), ``fails`` (program → [exit code, stderr]), ``gone`` (the server cannot be reached),
``kinds`` (further kinds that the cluster has), ``pods`` (node → pod in place of the usual), ``proxy_label`` (in place of theirs),
``readers`` (nodes with a node reader in the namespace ``readers``), ``systems`` (node → operating system), ``plugins`` (node → [label,
value, containers]: a network plugin's pod ``plugin-NODE``), ``debug`` (what goes wrong with debug pods: ``forbidden``, ``pending``,
``hangs``), ``reader_tar`` (a file: what the node reader prints of pods' own stacks).
A pod whose own stack the recording has prints what is there, of rules to containers with NET_ADMIN only, and so does a debug pod for it.
It prints as kubectl does: keys sorted, four blanks, a List. It is started thousands of times: what takes long to import is not (pathlib), or
where it is needed only.
"""

from __future__ import annotations

import json
import os
import sys
import time
from os.path import dirname, exists, join

RECORDING = os.environ["STUB_RECORDING"]
FAULTS = json.loads(os.environ.get("STUB_FAULTS", "{}"))
FILES = {tuple(argv): name for name, argv in json.loads(os.environ["STUB_COMMANDS"])}
MORE = {tuple(argv) for argv in json.loads(os.environ.get("STUB_MORE", "[]"))}
NODES_PATH = '{range .items[*]}{.metadata.name}|{.status.nodeInfo.operatingSystem}{"\\n"}{end}'
PODS_PATH = (
    "{range .items[*]}{.spec.nodeName}|{.status.phase}|{.metadata.namespace}|{.metadata.name}|{.spec.containers[*].name}"
    '|{.metadata.deletionTimestamp}{"\\n"}{end}'
)
PLUGIN_PATH = "{range .items[*]}{.spec.hostNetwork}|{.metadata.labels.%s}|" + PODS_PATH.removeprefix("{range .items[*]}")
STACK_PATH = (
    "{range .items[*]}{.spec.nodeName}|{.metadata.namespace}|{.metadata.name}|{.metadata.uid}|{.spec.hostNetwork}|{.status.phase}"
    '|{.metadata.deletionTimestamp}|{.spec.containers[*].name}{"\\n"}{end}'
)
BEHIND_PATH = '{range .items[*]}{range .endpoints[*]}{.targetRef.kind}|{.targetRef.name}{"\\n"}{end}{end}'
UNPRIVILEGED = {
    "iptables-save": (4, "iptables-save v1.8.9 (nf_tables): Could not fetch rule set generation id: Permission denied (you must be root)"),
    "ip6tables-save": (
        4,
        "ip6tables-save v1.8.9 (nf_tables): Could not fetch rule set generation id: Permission denied (you must be root)",
    ),
    "nft": (1, "netlink: Error: cache initialization failed: Operation not permitted"),
    "ipset": (1, "ipset v7.17: Kernel error received: Operation not permitted"),
}
DEBUG_PATH = '{range .items[*]}{.metadata.name}|{.spec.containers[*].command}{.spec.containers[*].args}{"\\n"}{end}'
PODS = join(dirname(os.environ["STUB_LOG"]), "debug-pods")
"""A folder with one file a debug pod that is there: its node and its command."""


def end(text: str, code: int = 1) -> None:
    """Say *text* as an error and end."""
    print(text, file=sys.stderr)
    sys.exit(code)


def content(path: str) -> bytes:
    """Return what is in a file."""
    with open(path, "rb") as file:
        return file.read()


def names(folder: str) -> list[str]:
    """Return what is in a folder that may not be there."""
    return sorted(os.listdir(folder)) if exists(folder) else []


def items(resource: str) -> list[dict]:
    """Return the recorded objects of a resource."""
    paths = [path for name in (resource, resource.partition(".")[0]) if exists(path := join(RECORDING, f"{name}.json"))]
    return json.loads(content(paths[0]))["items"] if paths else []


def printed(found: list[dict]) -> None:
    """Print a List as kubectl prints it: sorted, indented, without managedFields."""
    for item in found:
        item["metadata"].pop("managedFields", None)
    listed = {"apiVersion": "v1", "items": found, "kind": "List", "metadata": {"resourceVersion": ""}}
    text = json.dumps(listed, indent=4, sort_keys=True, ensure_ascii=False)
    # Go writes these three as escapes.
    print(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def proxies() -> dict[str, dict]:
    """Return node → its kube-proxy's pod: where it runs, and what its containers are called."""
    usual = {item["metadata"]["name"]: {"name": f"kube-proxy-{item['metadata']['name']}"} for item in items("nodes")}
    return usual | FAULTS.get("pods", {})


def get(arguments: list[str]) -> None:
    """Answer ``kubectl get``."""
    if FAULTS.get("gone"):
        end("The connection to the server 192.0.2.1:6443 was refused - did you specify the right host or port?")
    if arguments[:1] == ["--raw"]:
        sys.stdout.write(content(join(RECORDING, "version.json")).decode())
        return
    resource = arguments[0]
    if resource in FAULTS.get("forbids", []):
        end(f'Error from server (Forbidden): {resource} is forbidden: User "x" cannot list resource "{resource}" at the cluster scope')
    output = arguments[-1]
    if "--field-selector" in arguments and output == "json":
        name = arguments[arguments.index("--field-selector") + 1].removeprefix("metadata.name=")
        wanted = (arguments[arguments.index("-n") + 1], name)
        printed([item for item in items(resource) if (item["metadata"].get("namespace"), item["metadata"]["name"]) == wanted])
    elif output == "jsonpath=" + NODES_PATH:
        for item in items("nodes"):
            system = FAULTS.get("systems", {}).get(item["metadata"]["name"], "linux")
            print(f"{item['metadata']['name']}|{system}")
    elif "app.kubernetes.io/name=hopline-node-reader" in arguments and "readers" in arguments:
        for node in FAULTS.get("readers", []):
            print(f"{node}|Running|readers|reader-{node}|node-reader|")
    elif output == "jsonpath=" + PODS_PATH:
        if FAULTS.get("proxy_label", "k8s-app=kube-proxy") in arguments:
            for node, pod in proxies().items():
                if pod:
                    phase, containers, going = pod.get("phase", "Running"), pod.get("containers", "kube-proxy"), pod.get("deleted", "")
                    print(f"{node}|{phase}|kube-system|{pod['name']}|{containers}|{going}")
    elif output.startswith("jsonpath={range .items[*]}{.spec.hostNetwork}"):
        key = arguments[arguments.index("-l") + 1].partition(" ")[0]
        if output != "jsonpath=" + PLUGIN_PATH % key:
            end(f"stub: cannot print {output}", 99)
        for node, (label, value, containers) in FAULTS.get("plugins", {}).items():
            if label == key:
                print(f"true|{value}|{node}|Running|kube-system|plugin-{node}|{containers}|")
    elif output == "jsonpath=" + STACK_PATH:
        for item in chosen(arguments):
            metadata, spec = item["metadata"], item["spec"]
            names_of = " ".join(one["name"] for one in spec["containers"])
            network, phase = "true" if spec.get("hostNetwork") else "", item.get("status", {}).get("phase", "")
            both = f"{metadata['namespace']}|{metadata['name']}|{metadata.get('uid', '')}"
            print(f"{spec.get('nodeName', '')}|{both}|{network}|{phase}|{metadata.get('deletionTimestamp', '')}|{names_of}")
    elif output == "jsonpath=" + BEHIND_PATH:
        for item in chosen(arguments):
            for endpoint in item.get("endpoints") or []:
                target = endpoint.get("targetRef") or {}
                print(f"{target.get('kind', '')}|{target.get('name', '')}")
    elif output == "jsonpath=" + DEBUG_PATH:
        for name in names(PODS):
            print(f"{name}|{json.dumps(json.loads(content(join(PODS, name)))[1])}")
        print('somebody-elses|["sleep"]')
    elif output == "json":
        printed(items(resource))
    else:
        end(f"stub: cannot print {output}", 99)


def chosen(arguments: list[str]) -> list[dict]:
    """Return the objects of a namespace that a selector finds."""
    space = arguments[arguments.index("-n") + 1]
    found = [item for item in items(arguments[0]) if item["metadata"].get("namespace") == space]
    if "--field-selector" in arguments:
        name = arguments[arguments.index("--field-selector") + 1].removeprefix("metadata.name=")
        return [item for item in found if item["metadata"]["name"] == name]
    if "-l" in arguments:
        key, _, value = arguments[arguments.index("-l") + 1].partition("=")
        return [item for item in found if item["metadata"].get("labels", {}).get(key) == value]
    return found


def printed_in_stack(space: str, pod: str, container: str, argv: list[str]) -> None:
    """Print what a program prints in a pod whose own stack was recorded, and end; return where there is none."""
    if argv[:2] == ["sh", "-c"] and len(argv) > 5:
        found = [item for item in items("pods") if item["metadata"].get("uid") == argv[4]]
        argv, may = argv[5:], True
        if argv[0] == "chroot":
            argv = argv[2:]
            if argv[0] in FAULTS.get("not_on_node", []):
                end(f"chroot: failed to run command '{argv[0]}': No such file or directory\ncommand terminated with exit code 127", 127)
        if not found or not exists(stack_of(found[0])):
            end("No process of the pod runs there.\ncommand terminated with exit code 69", 69)
    else:
        found = [item for item in items("pods") if (item["metadata"].get("namespace"), item["metadata"]["name"]) == (space, pod)]
        if not found or not exists(stack_of(found[0])):
            return
        (its,) = [one for one in found[0]["spec"]["containers"] if one["name"] == container]
        may = "NET_ADMIN" in its.get("securityContext", {}).get("capabilities", {}).get("add", [])
    program, path = argv[0], join(stack_of(found[0]), FILES[tuple(argv)])
    if program in FAULTS.get("floods", []):
        sys.stdout.buffer.write(b"x" * (17 << 20))
    has = any(exists(join(stack_of(found[0]), name)) for other, name in FILES.items() if other[0] == program)
    if not may and has and program in UNPRIVILEGED:
        code, text = UNPRIVILEGED[program]
        end(f"{text}\ncommand terminated with exit code {code}", code)
    if not exists(path) and has and tuple(argv) in MORE:
        end(f"{program}: the recording has no output of {' '.join(argv)}\ncommand terminated with exit code 2", 2)
    if not exists(path):
        end(f'error: exec failed: unable to start container process: exec: "{program}": executable file not found in $PATH: unknown')
    sys.stdout.buffer.write(content(path))
    sys.exit(0)


def stack_of(pod: dict) -> str:
    """Return the folder of a pod's own stack."""
    metadata = pod["metadata"]
    return join(RECORDING, "nodes", pod["spec"].get("nodeName", ""), "pods", f"{metadata['namespace']}_{metadata['name']}")


def node_of(pod: str) -> str:
    """Return the node that a pod runs on."""
    if exists(join(PODS, pod)):
        return str(json.loads(content(join(PODS, pod)))[0])
    if pod.startswith("plugin-"):
        return pod.removeprefix("plugin-")
    return next(node for node, found in proxies().items() if found and found["name"] == pod)


def debug(arguments: list[str]) -> None:
    """Answer ``kubectl debug node/NODE``: a pod is there, and its name is said."""
    node = arguments[0].removeprefix("node/")
    fault = FAULTS.get("debug", "")
    if fault == "forbidden":
        end('Error from server (Forbidden): pods is forbidden: User "x" cannot create resource "pods" in API group ""')
    os.makedirs(PODS, exist_ok=True)
    with open(join(PODS, f"node-debugger-{node}-x"), "w") as file:
        file.write(json.dumps([node, arguments[arguments.index("--") + 1 :]]))
    if fault == "hangs":
        time.sleep(600)
    print(f"Creating debugging pod node-debugger-{node}-x with container debugger on node {node}.", file=sys.stderr)


def execute(arguments: list[str]) -> None:
    """Answer ``kubectl exec``: the recorded file of the node, or the runtime's own error."""
    _, space, pod, _, container, _, *argv = arguments
    program = argv[0]
    if "pods/exec" in FAULTS.get("forbids", []):
        end(f'Error from server (Forbidden): pods "{pod}" is forbidden: User "x" cannot create resource "pods/exec" in API group ""')
    if program in FAULTS.get("sleeps", []):
        print("the beginning", flush=True)
        time.sleep(600)
    if program in FAULTS.get("loses", []) and content(os.environ["STUB_LOG"]).count(f'"{program}"'.encode()) == 1:
        return
    if program in FAULTS.get("fails", {}):
        code, text = FAULTS["fails"][program]
        print("half of it")
        end(f"{text}\ncommand terminated with exit code {code}", code)
    printed_in_stack(space, pod, container, argv)
    if argv[:2] == ["hopline-node-reader", "--pods"] and "reader_tar" in FAULTS:
        sys.stdout.buffer.write(content(FAULTS["reader_tar"]))
        return
    if argv[:2] == ["hopline-node-reader", "--pods"]:
        sys.stdout.buffer.write(reading_of_pods(argv[2].split(",")))
        return
    if program == "hopline-node-reader":
        sys.stdout.buffer.write(reading(pod.removeprefix("reader-")))
        return
    if argv[0] == "chroot":
        argv, program = argv[2:], argv[2]
        if program in FAULTS.get("not_on_node", []):
            end(f"chroot: failed to run command '{program}': No such file or directory\ncommand terminated with exit code 127", 127)
    node = node_of(pod)
    path = join(RECORDING, "nodes", node, FILES[tuple(argv)])
    if tuple(argv) in MORE and not exists(path) and any(exists(join(dirname(path), n)) for a, n in FILES.items() if a[0] == program):
        end(f"{program}: the recording has no output of {' '.join(argv)}\ncommand terminated with exit code 2", 2)
    if program in FAULTS.get("lacks", []) or not exists(path):
        end(
            "error: Internal error occurred: error executing command in container: failed to exec in container: failed to start exec "
            f'"d0c1": OCI runtime exec failed: exec failed: unable to start container process: exec: "{program}": executable file not '
            "found in $PATH: unknown"
        )
    sys.stdout.buffer.write(content(path))


def reading(node: str) -> bytes:
    """Return a node reader's tar, with two entries that a reader would not put there."""
    folder = join(RECORDING, "nodes", node)
    said = {name: {"error": None, "seconds": 0.1} for name in names(folder)}
    said["nft-ruleset.json"] = {"error": "The container has no program nft.", "seconds": 0.1}
    said["ipset-save.txt"] = {"error": 'ipset ended with 1: "x" \\ y', "seconds": 0.1}
    lines = ",\n".join(f" {json.dumps(name)}: {json.dumps(entry)}" for name, entry in said.items())
    contents = {name: content(join(folder, name)) for name in names(folder)} | {"../../evil": b"evil", "notes.txt": b"notes"}
    contents["reading.json"] = f'{{"reader": 1, "files": {{\n{lines}\n}}}}\n'.encode()
    return tar_of(contents)


def reading_of_pods(uids: list[str]) -> bytes:
    """Return a node reader's tar of pods' own stacks, with one that nobody asked for."""
    contents, said = (
        {"pods/x-1/iptables-save.txt": b"evil", "pods/../../evil": b"evil"},
        {"pods/../../evil": {"error": None, "seconds": 0.1}},
    )
    for pod in items("pods"):
        if (uid := pod["metadata"].get("uid")) in uids:
            for name in names(stack_of(pod)):
                contents[f"pods/{uid}/{name}"] = content(join(stack_of(pod), name))
                said[f"pods/{uid}/{name}"] = {"error": None, "seconds": 0.1}
            if not names(stack_of(pod)):
                said[f"pods/{uid}/iptables-save.txt"] = {"error": "No process of the pod runs there.", "seconds": 0.1}
    lines = ",\n".join(f" {json.dumps(name)}: {json.dumps(entry)}" for name, entry in said.items())
    contents["reading.json"] = f'{{"reader": 1, "files": {{\n{lines}\n}}}}\n'.encode()
    return tar_of(contents)


def tar_of(contents: dict[str, bytes]) -> bytes:
    """Return a tar of files by name."""
    import io
    import tarfile

    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, text in contents.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text))
    return made.getvalue()


def main() -> None:
    """Log the call and answer it."""
    arguments = [a for a in sys.argv[1:] if not a.startswith(("--context=", "--kubeconfig="))]
    with open(os.environ["STUB_LOG"], "a") as log:
        log.write(json.dumps(sys.argv[1:]) + "\n")
    if arguments[0] == "get":
        get(arguments[1:])
    elif arguments[0] == "exec":
        execute(arguments[1:])
    elif arguments[0] == "debug":
        debug(arguments[1:])
    elif arguments[0] == "api-resources":
        if "api-resources" in FAULTS.get("forbids", []):
            end("error: unable to retrieve the complete list of server APIs")
        print("\n".join(["services", "nodes", *FAULTS.get("kinds", [])]))
    elif arguments[0] == "wait":
        if FAULTS.get("debug") == "pending":
            end(f"error: timed out waiting for the condition on pods/{arguments[1].removeprefix('pod/')}")
    elif arguments[:2] == ["delete", "pod"]:
        os.unlink(join(PODS, arguments[2]))
    else:
        end(f"stub: collect.sh must not call {arguments[0]}", 99)


main()
