"""Odds as an answer tells them: nothing of their exact value is lost, and a chain of draws takes no more than its length."""

from __future__ import annotations

import json
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracer import told_odds
from tracer.errors import ParseError
from tracer.probability import odds
from tracer.told_odds import SHORT, Share, decimal_text, is_long, read_odds, summed, told, told_in_a_row


def chain(rules: int, whole: Fraction = Fraction(1, 3)) -> list[Share]:
    """Return the odds of a Service's endpoints, each drawn by a rule of its own, the last by none."""
    found, left = [], whole
    for after in range(rules, 0, -1):
        chance = odds(f"{1 / after:.11f}") if after > 1 else None
        found.append(Share(f"o{rules - after}", left * (1 if chance is None else chance), chance))
        left *= 0 if chance is None else 1 - chance
    return found


def named(shares: list[Share]) -> list[dict[str, object]]:
    """Return *shares* as outcomes tell them, through JSON."""
    heads = [{"id": share.id, **head} for share, head in zip(shares, told_in_a_row(shares), strict=True)]
    return json.loads(json.dumps(heads))  # type: ignore[no-any-return]


@pytest.mark.parametrize("rules", [1, 2, 12, 100, 700])
@pytest.mark.parametrize("whole", [Fraction(1), Fraction(1, 3), Fraction(5, 1 << 40), Fraction(64, 7)])
def test_a_chain_of_draws_comes_back_exactly(rules: int, whole: Fraction) -> None:
    shares = chain(rules, whole)
    read = read_odds(named(shares))
    assert read == [share.odds for share in shares]
    assert sum(read) == whole


def test_what_is_short_is_a_fraction_and_what_is_not_is_rounded() -> None:
    for head in named(chain(100)):
        is_rounded = "probability_rounded" in head
        assert is_rounded == ("probability_exact" in head)
        assert is_rounded or len(str(head["probability"])) < SHORT
        assert not is_rounded or len(str(head["probability"]).replace("0.", "").lstrip("0")) <= 15


def test_a_long_chain_takes_text_in_proportion_to_its_length() -> None:
    """Written out, ten times the draws would be a hundred times the text."""
    few, many = (len(json.dumps(told_in_a_row(chain(rules)))) for rules in (1_000, 4_000))
    assert many < 3 * few


def test_a_chain_that_is_no_chain_is_told_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(told_odds, "ODDS_HEX", 40)
    shares = chain(60)
    shares[40] = Share("other", shares[40].odds * Fraction(1, 3), shares[40].chance)
    heads = named(shares)
    assert any("after" in head.get("probability_exact", ()) for head in heads)  # type: ignore[operator]
    assert "num" in heads[40]["probability_exact"]  # type: ignore[operator]
    assert read_odds(heads) == [share.odds for share in shares]


def test_odds_after_an_outcome_that_is_not_told_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(told_odds, "ODDS_HEX", 40)
    heads = named(chain(60))
    with pytest.raises(ParseError, match="which is not told"):
        read_odds(heads[40:])


@pytest.mark.parametrize("exact", [{"num": "x", "den": "1", "den_pow2": 1}, {"num": 5, "den": "1", "den_pow2": 1}])
def test_what_is_no_number_is_refused(exact: dict[str, object]) -> None:
    with pytest.raises(ParseError, match="not a hexadecimal number"):
        read_odds([{"id": "a", "probability": "0.5", "probability_exact": exact}])


@given(st.lists(st.fractions(min_value=0, max_value=1), max_size=20))
def test_the_sum_is_the_sum(shares: list[Fraction]) -> None:
    assert summed(shares) == sum(shares, Fraction(0))


@given(st.integers(0, 1 << 900), st.integers(1, 1 << 900))
def test_decimals_are_the_nearest_of_fifteen_digits(top: int, below: int) -> None:
    share = Fraction(top, below)
    written = Decimal(decimal_text(share))
    assert len(written.normalize().as_tuple().digits) <= 15
    assert abs(Fraction(written) - share) <= share / 10**14


@given(st.integers(0, 1 << 3000), st.integers(1, 1 << 3000), st.integers(0, 300))
def test_any_odds_are_told_and_read(top: int, below: int, twos: int) -> None:
    share = Fraction(top << twos, below)
    head = told(share)
    assert is_long(share) == ("probability_rounded" in head)
    assert read_odds([{"id": "a", **head}]) == [share]
