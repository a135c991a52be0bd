"""The cluster before with a change's words answers as the cluster that was recorded after it: ../shared/whatif."""

import random

import pytest

from tests.sizes import FULL, every
from tests.what_if.pairs import differences, names, pair

pytestmark = pytest.mark.needs_shared
_ASKED = 30
"""Of so many of a pair's 872 questions is a slice."""


@pytest.mark.parametrize("name", every(names(), 6))
def test_it_answers_as_the_recorded_after(name: str) -> None:
    one = pair(name)
    queries = list(one.queries())
    asked = queries if FULL else random.Random(name).sample(queries, _ASKED)
    assert list(differences(one, asked)) == []


def test_a_change_that_is_left_out_is_noticed() -> None:
    one = pair("11-iptables")
    plain = type(one)(name=one.name, before=one.before, after=one.after, change={"set": []}, records=one.records)
    touched = [query for query in one.queries() if query["to"]["port"] == 30107][:3]
    assert len(list(differences(plain, touched))) == len(touched) > 0
