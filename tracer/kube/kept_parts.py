"""What of an API object Hopline keeps: what a trace may need, and nothing that people put their passwords in.

One rule for every way in: uploads, ``manage.py collect``, followed clusters, recordings; ``collect.sh`` does the same with awk, from
kubectl's indentation, with the expressions and tables of this module and ``known_programs`` (a test compares them and what comes of them).

* Of Pods neither environment, commands and arguments (but for known programs' named flags and variables), nor what probes and hooks run and
  send, nor messages. Of Events no messages.
* Of every object neither ``managedFields`` nor annotations that hold whole objects or look like secrets.
* Of ConfigMaps the known ones' known keys only, and of these none that looks like a kubeconfig or a key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tracer.kube.configmap import kept_keys, kept_text
from tracer.kube.kinds import BY_NAME
from tracer.kube.known_programs import Program, is_listed, program_in
from tracer.patterns import pattern

OTHER_KINDS = (
    "AdminNetworkPolicy BaselineAdminNetworkPolicy CiliumClusterwideNetworkPolicy CiliumNetworkPolicy ClusterNetworkPolicy EgressFirewall "
    "EgressNetworkPolicy Event GRPCRoute GatewayClass GlobalNetworkPolicy IPAddress IngressClass Lease ReferenceGrant "
    "ServiceCIDR ServiceExport ServiceImport Status TCPRoute TLSRoute UDPRoute"
)
"""Kinds that are kept beside those of the table of kinds: what stands beside them decides what they do."""
KEPT_KINDS = frozenset({*BY_NAME, *OTHER_KINDS.split()})
GONE_FROM_PODS = "args command env envFrom flexVolume httpHeaders volumeAttributes"
"""Keys that are left out of a Pod wherever a list or an object stands there, except where a known program's container has them."""
CONTAINER_LISTS = "containers ephemeralContainers initContainers"

WHOLE_OBJECT = r"(^|[^A-Za-z0-9_./-])(apiVersion|args|command|data|env|envFrom|kind|spec|stringData|template)[^A-Za-z0-9_./-]*:"
"""What is found in an annotation that holds an object, as JSON or YAML."""
PACKED = r"^ *H4sI"
"""How base64 of a gzip begins."""
SECRET = (
    r"(password|passwd|passphrase|secret|token|api[-_]?key|credential|private|bearer|authorization|-----begin|"  # noqa: S105 - a pattern
    r"://[^/@: ]*:[^/@: ]*@)"
)
"""What is found, in lower case, in a value that looks like a secret, or in the name of one."""
OBJECT_ANNOTATIONS = (
    "banzaicloud.com/last-applied kapp.k14s.io/original* objectset.rio.cattle.io/applied pod.beta.kubernetes.io/init-containers"
)
LAST_APPLIED = "last-applied-configuration"
LONGEST_ANNOTATION = 4096
LONGEST_VALUE = 512
KUBECONFIG = r"(client-key-data|client-certificate-data|certificate-authority-data|-----BEGIN|(^|[^A-Za-z])(token|password)[^A-Za-z0-9]*:)"
"""What is found in a ConfigMap's value that is a kubeconfig with credentials, or a key."""

_WHOLE_OBJECT, _PACKED, _SECRET, _KUBECONFIG = pattern(WHOLE_OBJECT), pattern(PACKED), pattern(SECRET), pattern(KUBECONFIG)
_GONE_FROM_PODS, _CONTAINER_LISTS = frozenset(GONE_FROM_PODS.split()), frozenset(CONTAINER_LISTS.split())
_OF_CONTAINERS = ("args", "command", "env", "envFrom")
_DEEPEST = 100


def kept_parts(kind: str, value: Mapping[str, object]) -> dict[str, object]:
    """Return the object *value* of *kind* without what is left out; *value* is not changed, and equal to the result where nothing is."""
    result = dict(value)
    if kind == "Pod":
        result = {key: part if key == "metadata" else _of_pod(part, 0) for key, part in value.items()}
    elif kind == "Event":
        result = {key: part for key, part in value.items() if key not in ("message", "note")}
    elif kind == "ConfigMap":
        result = _of_config_map(value)
    if isinstance(metadata := result.get("metadata"), Mapping):
        result["metadata"] = kept_metadata(metadata)
    return result


def kept_metadata(metadata: Mapping[str, object]) -> dict[str, object]:
    """Return an object's metadata without ``managedFields`` and the annotations that are left out."""
    rest = {key: part for key, part in metadata.items() if key != "managedFields"}
    if "annotations" in rest:
        said = rest["annotations"]
        annotations = said if isinstance(said, Mapping) else {}
        rest["annotations"] = (
            {key: part for key, part in annotations.items() if is_kept_annotation(key, part)} if said is not None else None
        )
    return rest


def is_kept_annotation(key: str, value: object) -> bool:
    """Return whether an annotation is kept: it holds no object, is not packed, not long, and looks like no secret."""
    if not isinstance(value, str):
        return value is None or isinstance(value, bool | int | float)
    if len(value) > LONGEST_ANNOTATION or key.endswith(LAST_APPLIED) or is_listed(key, OBJECT_ANNOTATIONS):
        return False
    return not (_WHOLE_OBJECT.search(value) or _PACKED.search(value) or looks_secret(key) or looks_secret(value))


def looks_secret(text: str) -> bool:
    """Return whether *text* looks like a secret, or like the name of one."""
    return _SECRET.search(text.lower()) is not None


def _of_pod(value: object, depth: int) -> object:
    if depth > _DEEPEST:
        return None
    if isinstance(value, Mapping):
        return {
            key: [_of_container(one, depth + 1) for one in part]
            if key in _CONTAINER_LISTS and isinstance(part, list)
            else _of_pod(part, depth + 1)
            for key, part in value.items()
            if not (key == "message" if isinstance(part, str) else key in _GONE_FROM_PODS and isinstance(part, Mapping | list))
        }
    if isinstance(value, list):
        return [_of_pod(part, depth + 1) for part in value]
    return value


def _of_container(value: object, depth: int) -> object:
    rest = _of_pod(value, depth)
    if not isinstance(value, Mapping) or not isinstance(rest, dict):
        return rest
    name, image = value.get("name"), value.get("image")
    program = program_in(name if isinstance(name, str) else "", image if isinstance(image, str) else "")
    for key in _OF_CONTAINERS:
        rest.pop(key, None)
    if program is None:
        return rest
    kept: dict[str, object] = {
        key: list(kept_words(value[key], program)) for key in ("command", "args") if isinstance(value.get(key), list)
    }
    kept["env"] = list(_kept_variables(value.get("env"), program))
    # In the order in which they stood, so that what is left unchanged is equal.
    return {key: rest.get(key, kept.get(key)) for key in value if key in rest or kept.get(key)}


def kept_words(words: object, program: Program) -> Iterator[str]:
    """Yield the words of a command line that are flags of *program* which are kept, each with its value."""
    is_value = False
    for word in words if isinstance(words, Sequence) else ():
        if not isinstance(word, str) or len(word) > LONGEST_VALUE:
            is_value = False
            continue
        if word.startswith("-"):
            name, has_value, _ = word.lstrip("-").partition("=")
            is_flag = is_listed(name.lower(), program.flags) and not looks_secret(word)
            is_value = is_flag and not has_value
            if is_flag:
                yield word
        elif is_value:
            is_value = False
            # A value that looks like a secret leaves its place: what follows is not taken for it.
            yield "" if looks_secret(word) else word


def _kept_variables(variables: object, program: Program) -> Iterator[dict[str, object]]:
    for variable in variables if isinstance(variables, list) else ():
        if not isinstance(variable, Mapping) or set(variable) - {"name", "value"}:
            continue
        name, value = variable.get("name"), variable.get("value", "")
        if not isinstance(name, str) or not isinstance(value, str) or not is_listed(name, program.variables):
            continue
        if len(value) <= LONGEST_VALUE and not looks_secret(value):
            yield dict(variable)


def _of_config_map(value: Mapping[str, object]) -> dict[str, object]:
    metadata = value.get("metadata")
    keys = kept_keys(metadata.get("namespace"), metadata.get("name")) if isinstance(metadata, Mapping) else ""
    result = {key: part for key, part in value.items() if key != "binaryData"}
    if isinstance(data := value.get("data"), Mapping):
        texts = {key: kept_text(key, text) for key, text in data.items() if is_kept_key(key, keys)}
        result["data"] = {key: text for key, text in texts.items() if not (isinstance(text, str) and _KUBECONFIG.search(text))}
    return result


def is_kept_key(key: str, keys: str) -> bool:
    """Return whether a ConfigMap's *key* is one of *keys*, where ``*`` at an end stands for whatever is there."""
    return is_listed(key, keys) or any(one.startswith("*") and key.endswith(one[1:]) for one in keys.split())
