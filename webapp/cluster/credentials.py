"""Credentials: the contexts of a kubeconfig, the service account of the pod Hopline runs in, and a timeline's own server on loopback.

The official client reads them and signs requests. Nothing is written back into a kubeconfig (a refreshed OIDC token is used, not kept).
NB: the client's own errors quote the entry that they are about, tokens included: none of their texts leaves this module.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import urllib3
import yaml
from kubernetes.client import Configuration
from kubernetes.config import ConfigException, load_incluster_config
from kubernetes.config.dateutil import parse_rfc3339
from kubernetes.config.kube_config import FileOrData, KubeConfigLoader, KubeConfigMerger

from tracer.values import dataclass
from webapp.cluster.errors import BadKubeconfig

_PLUGIN_SECONDS = 60
_PLUGIN_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Contexts:
    """The *names* of a kubeconfig's contexts, in its order, and which is *current* (None: it does not say, or names none of these)."""

    names: tuple[str, ...]
    current: str | None


def contexts(kubeconfig: str | os.PathLike[str]) -> Contexts:
    """Return the contexts of *kubeconfig*: a path, or several joined as in ``$KUBECONFIG``. Connects nowhere and runs no plugin.

    :raises BadKubeconfig: there is no such file, or it is no kubeconfig.
    """
    config = _merged(kubeconfig)
    entries = config.get("contexts") or ()
    names = tuple(dict.fromkeys(_name(entry) for entry in entries))
    current = config.get("current-context")
    return Contexts(names=names, current=current if current in names else None)


def from_context(kubeconfig: str | os.PathLike[str], context: str) -> Configuration:
    """Return the client's configuration for *context*. Runs the context's credential plugin, if it has one.

    NB: a token is refreshed when it is about to expire; a certificate from a plugin is not. When it has, a 401 says so: connect anew.
    :raises BadKubeconfig: the file or the context cannot be used, or the plugin failed.
    """
    if context not in contexts(kubeconfig).names:
        raise BadKubeconfig(f"The kubeconfig has no context “{context}”.")
    configuration = _fresh()
    try:
        merged = KubeConfigMerger(str(kubeconfig)).config
        loader: type[KubeConfigLoader] = _Loader
        loader(config_dict=merged, active_context=context, config_base_path=None).load_and_set(configuration)
    except BadKubeconfig:
        raise
    except Exception as error:
        raise BadKubeconfig(f"The kubeconfig's context “{context}” cannot be used{_hint(error)}.") from None
    _sign_in_at_the_proxy(configuration)
    return configuration


def in_cluster() -> Configuration:
    """Return the configuration of the pod's service account; its token is read anew every minute.

    :raises BadKubeconfig: this is not a pod, or it has no service account token.
    """
    configuration = _fresh()
    try:
        load_incluster_config(client_configuration=configuration)
    except (ConfigException, OSError):
        raise BadKubeconfig("Hopline does not run in a cluster, or its pod has no service account token.") from None
    return configuration


def to_url(url: str, token: str | None = None) -> Configuration:
    """Return a configuration for a server without TLS on this machine."""
    configuration = _fresh()
    configuration.host = url.rstrip("/")
    configuration.proxy = None
    configuration.api_key = {"BearerToken": f"Bearer {token}", "authorization": f"Bearer {token}"} if token else {}
    return configuration


def authorization(configuration: Configuration) -> dict[str, str]:
    """Return the request header that signs a request, refreshed if due; empty when a client certificate, or nothing, does.

    :raises BadKubeconfig: the credentials had to be refreshed, and could not.
    """
    try:
        bearer = configuration.auth_settings().get("BearerToken")
    except BadKubeconfig:
        raise
    except Exception as error:
        raise BadKubeconfig(f"The credentials could not be refreshed{_hint(error)}.") from None
    return {"Authorization": str(bearer["value"])} if bearer and bearer["value"] else {}


def _sign_in_at_the_proxy(configuration: Configuration) -> None:
    """Send the name and password of a ``proxy-url``, as kubectl does; the client itself would leave them out."""
    proxy = urlsplit(configuration.proxy or "")
    if proxy.username and not configuration.proxy_headers:
        pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
        configuration.proxy_headers = urllib3.make_headers(proxy_basic_auth=pair)


def _fresh() -> Configuration:
    configuration = Configuration()
    configuration.retries = False
    configuration.keep_alive = True
    return configuration


def _merged(kubeconfig: str | os.PathLike[str]) -> dict[str, Any]:
    paths = [Path(part).expanduser() for part in str(kubeconfig).split(os.pathsep) if part]
    if not any(path.is_file() for path in paths):
        raise BadKubeconfig("There is no kubeconfig where the settings say.")
    try:
        config = KubeConfigMerger(str(kubeconfig)).config
    except yaml.YAMLError as error:
        raise BadKubeconfig(f"The kubeconfig is not YAML{_line(error)}.") from None
    except Exception as error:
        raise BadKubeconfig(f"The kubeconfig cannot be read{_hint(error)}.") from None
    value = getattr(config, "value", None)
    if not isinstance(value, dict):
        raise BadKubeconfig("The kubeconfig is empty.")
    return value


def _name(entry: object) -> str:
    value = getattr(entry, "value", entry)
    name = value.get("name") if isinstance(value, dict) else None
    if not isinstance(name, str):
        raise BadKubeconfig("A context of the kubeconfig has no name.")
    return name


def _line(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    return "" if mark is None else f" (line {mark.line + 1})"


def _hint(error: Exception) -> str:
    """Return what can be said of an error without quoting it: the system's own words for a file, nothing otherwise."""
    if isinstance(error, OSError) and error.strerror:
        return f": {error.strerror}"
    if isinstance(error, ConfigException) and str(error).startswith("File does not exist"):
        return ": a certificate file that it names does not exist"
    return ""


class _Loader(KubeConfigLoader):
    """The official loader, but a credential plugin may not take for ever, and what it prints is never logged."""

    # Nodes of the kubeconfig, set by the base class, which has no types.
    _user: Any
    _cluster: Any

    def _load_from_exec_plugin(self) -> bool | None:
        if "exec" not in self._user:
            return None
        base = KubeConfigLoader._get_base_path(self, self._cluster.path)
        status = _run_plugin(self._user["exec"].value, base, self._cluster.value)
        if token := status.get("token"):
            self.token = f"Bearer {token}"
        elif status.get("clientCertificateData") and status.get("clientKeyData"):
            self.cert_file = self._plugin_file(status, "clientCertificateData", base)
            self.key_file = self._plugin_file(status, "clientKeyData", base)
        else:
            raise BadKubeconfig("The credential plugin gave neither a token nor a certificate with its key.")
        if expiry := status.get("expirationTimestamp"):
            self.expiry = parse_rfc3339(expiry)
        return True

    def _plugin_file(self, status: dict[str, str], key: str, base: str) -> str:
        return str(FileOrData(status, None, data_key_name=key, file_base_path=base, base64_file_content=False).as_file())


def _run_plugin(plugin: dict[str, Any], folder: str, cluster: dict[str, Any]) -> dict[str, str]:
    """Return the ``status`` of the ExecCredential that the plugin prints. Source: client.authentication.k8s.io/v1."""
    command = plugin.get("command")
    if not isinstance(command, str):
        raise BadKubeconfig("The kubeconfig's credential plugin has no command.")
    spec: dict[str, object] = {"interactive": False}
    if plugin.get("provideClusterInfo"):
        spec["cluster"] = _cluster_info(cluster)
    request = {"apiVersion": plugin.get("apiVersion"), "kind": "ExecCredential", "spec": spec}
    added = {str(e["name"]): str(e["value"]) for e in plugin.get("env") or ()}
    name = Path(command).name
    try:
        done = subprocess.run(
            [command, *map(str, plugin.get("args") or ())],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            cwd=folder or None,
            env=os.environ | added | {"KUBERNETES_EXEC_INFO": json.dumps(request)},
            timeout=_PLUGIN_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise BadKubeconfig(f"The credential plugin {name} did not end within {_PLUGIN_SECONDS} s.") from None
    except OSError as error:
        raise BadKubeconfig(f"The credential plugin {name} cannot be started: {error.strerror}.") from None
    if done.returncode != 0:
        raise BadKubeconfig(f"The credential plugin {name} ended with exit code {done.returncode}.")
    return _plugin_status(done.stdout, name)


def _cluster_info(cluster: dict[str, Any]) -> dict[str, object]:
    info = {k: v for k, v in cluster.items() if k != "extensions"}
    for extension in cluster.get("extensions") or ():
        if extension.get("name") == "client.authentication.k8s.io/exec":
            info["config"] = extension.get("extension")
    return info


def _plugin_status(output: bytes, name: str) -> dict[str, str]:
    try:
        status = json.loads(output)["status"] if len(output) <= _PLUGIN_BYTES else None
    except (ValueError, KeyError, TypeError):
        status = None
    if not isinstance(status, dict):
        raise BadKubeconfig(f"The credential plugin {name} did not print an ExecCredential with a status.")
    return status
