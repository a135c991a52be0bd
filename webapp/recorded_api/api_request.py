"""What a request's path asks for. Source: Kubernetes API concepts, "Resource URIs"; k8s.io/apiserver/pkg/endpoints/request."""

from __future__ import annotations

from urllib.parse import unquote

from tracer.kube.kinds import Kind
from tracer.values import dataclass
from webapp.cluster.permissions import Permission
from webapp.recorded_api.resources import RESOURCES
from webapp.recorded_api.selectors import field_value
from webapp.recorded_api.statuses import RequestError


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiRequest:
    """A request about *resource*: one *name* (or ""), in one *namespace* (or "", all), its *subresource* (or "")."""

    resource: Kind
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    def verb(self, *, is_watch: bool) -> str:
        """Return the verb as authorizers know it: get, list or watch."""
        if self.name:
            return "get"
        return "watch" if is_watch else "list"

    def permission(self, verb: str, selector: str = "") -> Permission:
        """Return what the authorizer is asked. NB: a fieldSelector on metadata.name counts as the name."""
        return Permission(
            verb=verb,
            resource=self.resource.plural,
            group=self.resource.group,
            subresource=self.subresource,
            namespace=self.namespace,
            name=self.name or field_value(selector, "metadata.name"),
        )


def parse_path(path: str) -> ApiRequest:
    """Return what the resource path *path* (still percent-encoded) asks for. :raises RequestError: 404, there is no such thing."""
    parts = [unquote(part) for part in path.strip("/").split("/")]
    group, rest = ("", parts[2:]) if parts[:2] == ["api", "v1"] else (parts[1] if len(parts) > 1 else "", parts[3:])
    if parts[:2] != ["api", "v1"] and not (len(parts) > 3 and parts[0] == "apis" and parts[2] == "v1"):
        raise RequestError(404, "the server could not find the requested resource")
    namespace = ""
    if len(rest) > 2 and rest[0] == "namespaces":
        namespace, rest = rest[1], rest[2:]
    resource = next((r for r in RESOURCES if rest and r.plural == rest[0] and r.group == group), None)
    if resource is None or len(rest) > 3 or (namespace and not resource.namespaced):
        raise RequestError(404, "the server could not find the requested resource")
    if len(rest) > 1 and resource.namespaced and not namespace:
        raise RequestError(404, "the server could not find the requested resource")
    name, subresource = (*rest[1:], "", "")[:2]
    return ApiRequest(resource=resource, namespace=namespace, name=name, subresource=subresource)
