"""The only connection that writes: it makes pods, looks at them and removes them. Only ``manage.py collect`` with debug pods opens one."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from webapp.cluster import responses
from webapp.cluster.connection import Connection
from webapp.cluster.errors import Refused

_MOST_BYTES = 1 << 20
_NOT_FOUND = 404


class PodMaker(Connection):
    """A connection that may make pods; the API server has the last word on that."""

    def make_pod(self, namespace: str, pod: Mapping[str, object]) -> None:
        """Make *pod*, an object as the API takes it. :raises ClusterError: it is refused, or nobody knows whether it was made."""
        self._request("POST", _path(namespace), body=dict(pod), most_bytes=_MOST_BYTES)

    def pod(self, namespace: str, name: str) -> dict[str, object]:
        """Return a pod as it is now. :raises ClusterError: refused, or there is none."""
        return responses.decode(self._get(_path(namespace, name), most_bytes=_MOST_BYTES))

    def remove_pod(self, namespace: str, name: str) -> None:
        """Have a pod removed within a second; one that is not there is no fault. :raises ClusterError: it may still be there."""
        try:
            self._request("DELETE", _path(namespace, name), {"gracePeriodSeconds": "1"}, most_bytes=_MOST_BYTES)
        except Refused as error:
            if error.status != _NOT_FOUND:
                raise


def _path(namespace: str, name: str = "") -> str:
    pods = f"/api/v1/namespaces/{quote(namespace, safe='')}/pods"
    return f"{pods}/{quote(name, safe='')}" if name else pods
