"""Kernel releases and their faults."""

from __future__ import annotations

import pytest

from tracer.explain.findings.linux_release import release, resets_on_invalid, spoils_checksums


@pytest.mark.parametrize(
    ("version", "spoils", "resets"),
    [
        ("6.18.44", False, False),
        ("6.1.0-18-amd64", False, False),
        ("6.0.12", False, True),
        ("5.7", False, True),
        ("5.6.13-1", False, True),
        ("5.6.12", True, True),
        ("5.5.19", True, True),
        ("5.4.41", False, True),
        ("4.19.122", True, True),
        ("3.10.0-1160.el7.x86_64", True, True),
        ("custom", None, None),
        (None, None, None),
    ],
)
def test_faults_of_releases(version, spoils, resets):
    assert spoils_checksums(version) is spoils
    assert resets_on_invalid(version) is resets


def test_release():
    assert release("5.15.0-91-generic") == (5, 15, 0)
    assert release("10.2") == (10, 2, 0)
    assert release("") is None
