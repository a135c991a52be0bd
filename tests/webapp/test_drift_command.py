"""``manage.py drift``: its words, its JSON and its exit codes."""

from __future__ import annotations

import io
import json
import re
import shutil
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from tests.live_server import PROJECT

SHOP = PROJECT / "demo/shop-iptables"
DUMP = "nodes/shop-worker/iptables-save.txt"


def drift(snapshot: Path, *options: str) -> tuple[int, str]:
    out = io.StringIO()
    try:
        call_command("drift", str(snapshot), *options, stdout=out)
    except SystemExit as left:
        return int(str(left.code)), out.getvalue()
    return 0, out.getvalue()


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SHOP, tmp_path / "shop"))


def change(shop: Path, old: str, new: str) -> None:
    text = (shop / DUMP).read_text()
    assert old in text
    (shop / DUMP).write_text(text.replace(old, new, 1))


def test_no_drift_is_said() -> None:
    code, text = drift(SHOP)
    assert code == 0
    assert text.endswith("No drift between objects and rules on 4 of 4 nodes.\n")
    assert f"  no drift between objects and rules: {DUMP}, nodes/shop-worker/ip6tables-save.txt" in text


def test_drift_is_named_with_its_line_and_what_was_expected(shop: Path) -> None:
    change(shop, "--to-destination 10.244.3.8:8080", "--to-destination 10.244.9.9:8080")
    code, text = drift(shop)
    [said] = [line for line in text.splitlines() if "different" in line]
    assert code == 1
    assert said.startswith(
        "  different production/backend-api:http: it is not as kube-proxy would have written it (nodes/shop-worker/iptables-save.txt:"
    )
    assert "recorded: -A KUBE-SEP-2BAUWHBG7KYBD7FB" in text and "10.244.9.9:8080" in text and "10.244.3.8:8080" in text
    assert text.endswith("Drift: 1 difference on 1 of 4 nodes.\n")


def test_what_somebody_else_put_there_is_his(shop: Path) -> None:
    change(shop, "[0:0] -A KUBE-FORWARD", "[0:0] -A KUBE-FORWARD -s 192.0.2.0/24 -j DROP\n[0:0] -A KUBE-FORWARD")
    code, text = drift(shop, "--json")
    found = json.loads(text)
    [one] = [d for node in found["nodes"] for d in node["drift"]]
    assert (code, found["answer"], one["drift"], one["service"]) == (1, "drift", "foreign", None)
    assert one["owner"] and one["line"] and one["expected"] is None


@pytest.mark.parametrize("old", ["# Completed on", "COMMIT"])
def test_a_dump_that_is_cut_off_cannot_be_told(shop: Path, old: str) -> None:
    text = (shop / DUMP).read_text()
    (shop / DUMP).write_text(text[: text.rindex(old) - 400])
    code, said = drift(shop)
    assert code == 2
    assert f"cannot tell: {DUMP}" in said and "No drift" not in said


def test_a_listing_that_cannot_be_read_cannot_be_told(tmp_path: Path) -> None:
    nft = Path(shutil.copytree(PROJECT / "demo/shop-nftables", tmp_path / "nft"))
    for text in nft.glob("nodes/*/nft-ruleset.txt"):
        text.unlink()
    for listed in nft.glob("nodes/*/nft-ruleset.json"):
        listed.write_text('{"nftables": [1e999]}')
    code, said = drift(nft)
    assert code == 2 and "cannot tell: nodes/shop-worker/nft-ruleset.json" in said


def test_of_many_differences_the_first_are_told(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tracer.snapshot.drift.DIFFERENCES", 3)
    lines = (shop / DUMP).read_text().splitlines(keepends=True)
    (shop / DUMP).write_text("".join(line for line in lines if "--to-destination" not in line))
    code, said = drift(shop)
    assert code == 1 and said.count("missing") == 3
    assert re.search(r"  and [0-9]+ more differences\n", said) and re.search(r"Drift: [0-9]{2} differences on 1 of 4 nodes", said)


def test_a_dump_without_any_rule_of_kube_proxys_cannot_be_told(shop: Path) -> None:
    for dump in shop.glob("nodes/*/ip*tables-save.txt"):
        dump.write_text("*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n*nat\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n")
    code, said = drift(shop)
    assert code == 2 and f"cannot tell: {DUMP} has no chain KUBE-SERVICES" in said


@pytest.mark.parametrize("name", ["shop-iptables", "shop-nftables", "shop-ipvs"])
def test_without_nodes_nobody_is_blamed(tmp_path: Path, name: str) -> None:
    """A Node says its zone, by which hints go, and its addresses, by which those go that a load balancer lets in."""
    made = Path(shutil.copytree(PROJECT / "demo" / name, tmp_path / name))
    (made / "nodes.json").unlink()
    code, said = drift(made)
    assert code == 2 and "cannot tell: the snapshot has no Node shop-worker, on whose zone and addresses its rules depend" in said


def test_without_rules_nothing_can_be_told(shop: Path) -> None:
    shutil.rmtree(shop / "nodes")
    code, text = drift(shop)
    assert code == 2 and "no rules recorded" in text


@pytest.mark.parametrize("name", ["services.json", "endpointslices.json"])
def test_without_objects_nothing_can_be_told(shop: Path, name: str) -> None:
    (shop / name).unlink()
    code, text = drift(shop)
    assert code == 2 and "were not read" in text


def test_what_another_mode_left_behind_is_said(shop: Path) -> None:
    text = (PROJECT / "demo/shop-nftables/nodes/shop-worker/nft-ruleset.txt").read_text()
    (shop / "nodes/shop-worker/nft-ruleset.txt").write_text(text)
    code, said = drift(shop)
    assert code == 1
    assert "leftover: 2 lines of nftables mode, in which kube-proxy does not run there (nodes/shop-worker/nft-ruleset.txt:" in said


def test_nftables_has_no_drift_as_text_and_as_json(tmp_path: Path) -> None:
    nft = Path(shutil.copytree(PROJECT / "demo/shop-nftables", tmp_path / "nft"))
    assert drift(nft)[0] == 0
    for text in nft.glob("nodes/*/nft-ruleset.txt"):
        text.unlink()
    code, said = drift(nft)
    assert code == 0 and "nft-ruleset.json" in said


def test_ipvs_has_no_drift_and_its_texts_are_those_recorded() -> None:
    ipvs = PROJECT / "demo/shop-ipvs"
    assert drift(ipvs)[0] == 0
    code, text = drift(ipvs, "--expected", "shop-worker")
    assert code == 0
    for name in ("ipvsadm-save.txt", "ipset-save.txt"):
        recorded = (ipvs / "nodes/shop-worker" / name).read_text().splitlines()
        assert {line for line in recorded if line.startswith(("-A ", "-a ", "add "))} <= set(text.splitlines())


def test_the_expected_rules_are_those_recorded() -> None:
    code, text = drift(SHOP, "--expected", "shop-worker")
    recorded = {line.partition("] ")[2] for line in (SHOP / DUMP).read_text().splitlines() if "-A KUBE-" in line}
    assert code == 0 and recorded <= set(text.splitlines())


@pytest.mark.parametrize(
    ("options", "message"), [(["/nowhere"], "no such file"), ([str(SHOP), "--expected", "nobody"], "no node 'nobody'")]
)
def test_what_cannot_be_used_is_said(options: list[str], message: str) -> None:
    with pytest.raises(CommandError, match=message) as refused:
        call_command("drift", *options, stdout=io.StringIO())
    assert refused.value.returncode == 2
