"""``manage.py trace --set, --apply, --compare``: what is refused before anything is asked, and what is answered."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from tests.conftest import PROJECT

SHOP = PROJECT / "demo" / "shop-iptables"
ASKED = ("--from", "external:203.0.113.10", "--to", "198.51.100.10:443")
LOCAL = "svc/production/public-api.spec.externalTrafficPolicy=Local"
RESTATED = "svc/production/public-api.spec.externalTrafficPolicy=Cluster"


def run(*words: str, asked: tuple[str, ...] = ASKED) -> str:
    out = io.StringIO()
    call_command("trace", str(SHOP), *asked, *words, stdout=out, stderr=io.StringIO())
    return out.getvalue()


def answer(*words: str) -> Any:
    return json.loads(run(*words, "--format", "json"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--set", "mode=ebpf", "--set", "svc/shop=deleted"), "mode=ebpf: .*\nsvc/shop=deleted: "),
        (("--set", "mode=ipvs", "--set", "mode=nftables"), "contradicts"),
        (("--compare",), "--compare goes with --set WORD or --apply FILE"),
        (("--apply", "/nowhere.yaml"), "/nowhere.yaml: No such file"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_anything_is_read(words: tuple[str, ...], said: str) -> None:
    with pytest.raises(CommandError, match=said) as caught:
        run(*words)
    assert caught.value.returncode == 2


@pytest.mark.parametrize("word", ["--set=mode=ipvs", "--apply=x.yaml"])
def test_questions_of_a_batch_have_words_of_their_own(word: str) -> None:
    with pytest.raises(CommandError, match="for one question"):
        run("--batch", "-", word, asked=())


def test_every_mistake_of_a_manifest_is_told(tmp_path: Path) -> None:
    file = tmp_path / "shop.yaml"
    file.write_text("kind: Service\nmetadata: {name: a}\n---\napiVersion: v1\nkind: Pod\n---\n- 1\n")
    with pytest.raises(CommandError) as caught:
        run("--apply", str(file))
    assert [line.partition(f"{file}:")[2] for line in str(caught.value).splitlines()] == [
        "1: document 1: Service a does not say its apiVersion",
        "4: document 2: Pod does not say its metadata.name",
        "7: item 1 of document 3: it is no object: give apiVersion, kind and metadata.name",
    ]


def test_the_words_are_part_of_the_answer() -> None:
    found = answer("--set", LOCAL)
    assert found["query"]["overrides"] == [LOCAL]
    assert found["what_if"]["words"] == [LOCAL]
    assert {outcome["source_seen"]["ip"] for outcome in found["outcomes"]} == {"203.0.113.10"}
    assert "what if: " in run("--set", LOCAL)


def test_both_answers_and_what_differs_are_written_for_programs() -> None:
    told = answer("--set", LOCAL, "--compare")
    assert list(told) == ["version", "before", "after", "same", "text", "differences"]
    assert (told["version"], told["same"], told["text"]) == (1, False, "Packets end otherwise.")
    assert told["after"] == answer("--set", LOCAL)
    assert told["before"] == answer()
    assert {one["kind"] for one in told["differences"]} == {"source_seen", "findings", "steps"}
    assert all(one["after"] == ["203.0.113.10"] for one in told["differences"] if one["kind"] == "source_seen")


def test_the_terminal_says_what_differs_before_both_answers() -> None:
    text = run("--set", LOCAL, "--compare")
    assert text.startswith("Packets end otherwise.\n- Source that pod production/public-api-")
    assert text.index("\nAs it is:\n") < text.index("\nWhat if:\n")
    same = run("--set", RESTATED, "--compare")
    assert same.startswith("Nothing changes for these packets: they meet the same rules")


def test_a_manifest_is_applied(tmp_path: Path) -> None:
    file = tmp_path / "public.yaml"
    file.write_text(
        "apiVersion: v1\nkind: Service\nmetadata: {name: public-api, namespace: production}\nspec: {externalTrafficPolicy: Local}\n"
    )
    found = answer("--apply", str(file))
    assert found["query"]["apply"][0]["metadata"]["name"] == "public-api"
    assert [outcome["source_seen"] for outcome in found["outcomes"]] == [o["source_seen"] for o in answer("--set", LOCAL)["outcomes"]]


def test_what_is_not_there_is_an_answer_that_is_an_error() -> None:
    with pytest.raises(SystemExit) as caught:
        run("--set", "svc/production/public-app.spec.type=ClusterIP", "--compare")
    assert caught.value.code == 1
