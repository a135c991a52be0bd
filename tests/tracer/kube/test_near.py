"""Which names are near one that does not exist."""

from __future__ import annotations

import pytest

from tracer.kube.near import nearest

NAMES = ("default/voice", "default/api", "default/api-v6", "shop/nowhere", "shop/api")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("default/nothere", ()),  # the namespace that default/voice shares with it makes it no nearer
        ("default/apii", ("default/api", "default/api-v6")),
        ("default/nowhere", ("shop/nowhere",)),
        ("defualt/voice", ("default/voice",)),
        ("voic", ("default/voice",)),
    ],
)
def test_the_last_parts_have_to_be_alike(text: str, found: tuple[str, ...]) -> None:
    assert set(found) <= set(nearest(text, NAMES))
    assert found or not nearest(text, NAMES)
