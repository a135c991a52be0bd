"""The question a timeline is opened with."""

from __future__ import annotations

from pathlib import Path

import pytest

from webapp.models import Snapshot
from webapp.questions.first_question import first_question
from webapp.storing import stored_snapshots

pytestmark = pytest.mark.django_db


def stored(path: Path) -> Snapshot:
    return stored_snapshots.store_snapshot(path, name="x")


def test_it_is_the_first_service_whose_endpoints_change_asked_by_a_pod_that_stays(demo: Path) -> None:
    assert str(first_question(stored(demo / "shop-timeline"))) == "from=pod:default/client-5b59cb7b48-2bqm6&to=svc:default/api:80"


def test_where_nothing_changes_it_is_the_first_example(demo: Path) -> None:
    question = first_question(stored(demo / "shop-iptables"))
    assert question is not None
    assert not question.is_empty


def test_where_there_is_nothing_to_ask_there_is_no_question(small: Path) -> None:
    assert first_question(stored(small)) is None
