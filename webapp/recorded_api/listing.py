"""Lists in pages. A continue token names the state its list began with; when the history no longer reaches back to that, it is Gone."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping

from webapp.recorded_api.api_request import ApiRequest
from webapp.recorded_api.fields import key_of
from webapp.recorded_api.recorded_api import RecordedApi, TooOldError
from webapp.recorded_api.selectors import Selector, field_selector, label_selector
from webapp.recorded_api.statuses import RequestError

_EXPIRED = (
    "The provided continue parameter is too old to display a consistent list result. "
    "You can start a new list without the continue parameter."
)


def list_page(api: RecordedApi, request: ApiRequest, query: Mapping[str, str]) -> dict[str, object]:
    """Return one page of a list, as *query* (limit, continue, fieldSelector, labelSelector) asks.

    :raises RequestError: 400 not understood, 410 the continue token is too old.
    """
    plural, token = request.resource.plural, _token(query.get("continue", ""))
    try:
        version, objects = api.now(plural) if token is None else (token[0], api.objects(plural, token[0]))
    except TooOldError:
        raise RequestError(410, _EXPIRED) from None
    after = None if token is None else token[1]
    wanted = [o for o in _chosen(objects, request, query) if after is None or key_of(o) > after]
    limit = _limit(query.get("limit", ""))
    page = wanted[:limit] if limit else wanted
    metadata: dict[str, object] = {"resourceVersion": str(version)}
    if len(page) < len(wanted):
        metadata["continue"] = _to_token(version, key_of(page[-1]))
        if not query.get("fieldSelector") and not query.get("labelSelector"):
            metadata["remainingItemCount"] = len(wanted) - len(page)
    resource = request.resource
    # As the real server: the list says what its items are, they do not.
    items = [{k: v for k, v in o.items() if k not in ("kind", "apiVersion")} for o in page]
    return {"kind": f"{resource.name}List", "apiVersion": resource.api_version, "metadata": metadata, "items": items}


def selector_of(request: ApiRequest, query: Mapping[str, str]) -> Selector:
    """Return the test for what a list or watch is about. :raises RequestError: 400, a selector is not understood."""
    fields = field_selector(query.get("fieldSelector", ""))
    labels = label_selector(query.get("labelSelector", ""))

    def is_chosen(value: Mapping[str, object]) -> bool:
        namespace, _ = key_of(value)
        return (not request.namespace or namespace == request.namespace) and fields(value) and labels(value)

    return is_chosen


def _chosen(objects: Iterable[Mapping[str, object]], request: ApiRequest, query: Mapping[str, str]) -> list[Mapping[str, object]]:
    is_chosen = selector_of(request, query)
    return [o for o in objects if is_chosen(o)]


def _limit(text: str) -> int:
    if not text:
        return 0
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise RequestError(400, f"limit: {text!r} is no number")
    return int(text)


def _to_token(version: int, place: tuple[str, str]) -> str:
    text = json.dumps({"v": "meta.k8s.io/v1", "rv": version, "start": list(place)}, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _token(text: str) -> tuple[int, tuple[str, str]] | None:
    if not text:
        return None
    try:
        value = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        namespace, name = value["start"]
        return int(value["rv"]), (str(namespace), str(name))
    except (ValueError, KeyError, TypeError):
        raise RequestError(400, "continue key is not valid") from None
