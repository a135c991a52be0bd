"""/snapshots/<slug>/download"""

from __future__ import annotations

import io
import tarfile

import pytest

from tests.webapp.made_rows import MINE, OTHER, client_of, made_snapshot
from tests.webapp.stored import service, store

pytestmark = pytest.mark.django_db(transaction=True)


def downloaded(client, address: str) -> tuple[dict[str, str], bytes]:
    response = client.get(address)
    return dict(response.items()), b"".join(response.streaming_content)


def test_it_works(tmp_path):
    row = store(tmp_path, {"services.json": [service()]}, name="My cluster/1")
    headers, content = downloaded(client_of(MINE), f"/snapshots/{row.id}/download")
    assert headers["Content-Disposition"] == 'attachment; filename="my-cluster1.tar.gz"'
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        names = [name for name in archive.getnames() if name.endswith("services.json")]
        assert archive.extractfile(names[0]).read() == (tmp_path / "services.json").read_bytes()


def test_it_404s_for_unknown_form(tmp_path):
    row = store(tmp_path, {"services.json": [service()]})
    assert client_of(MINE).get(f"/snapshots/{row.id}/download?form=exe").status_code == 404


def test_another_session_cannot_download():
    row = made_snapshot(OTHER)
    assert client_of(MINE).get(f"/snapshots/{row.id}/download").status_code == 404
