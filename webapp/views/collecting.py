"""collect.sh, to download."""

from __future__ import annotations

from django.conf import settings
from django.http import FileResponse
from django.views.decorators.http import require_safe

from webapp.views.htmx_request import HtmxHttpRequest


@require_safe
def script(_request: HtmxHttpRequest) -> FileResponse:
    """Hand out collect.sh of this very version."""
    file = (settings.BASE_DIR / "collect.sh").open("rb")
    return FileResponse(file, as_attachment=True, filename="collect.sh", content_type="text/x-shellscript; charset=utf-8")
