"""collect.sh, to download."""

from __future__ import annotations

from django.conf import settings
from django.http import FileResponse, HttpRequest
from django.views.decorators.http import require_safe


@require_safe
def script(_request: HttpRequest) -> FileResponse:
    """Hand out collect.sh of this very version."""
    file = (settings.BASE_DIR / "collect.sh").open("rb")
    return FileResponse(file, as_attachment=True, filename="collect.sh", content_type="text/x-shellscript; charset=utf-8")
