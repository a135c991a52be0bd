"""POST /snapshots/recognise: what each pasted text is, before it is uploaded."""

from __future__ import annotations

import html
import json
import re

import pytest

from tests.webapp.made_rows import MINE, OTHER, client_of
from tests.webapp.stored import service, store
from webapp.models import Snapshot
from webapp.work.lanes import Lane, lane_of

pytestmark = pytest.mark.django_db
RULES = "*nat\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n"
SERVICES = json.dumps({"apiVersion": "v1", "kind": "List", "items": [service()]})
NODE = "apiVersion: v1\nkind: Node\nmetadata: {name: a}\n"


def boxes(client, *texts: tuple[str, str], parent: str = "") -> dict[int, str]:
    """Return what is said of each box, as text."""
    posted = {"paste": [text for text, _ in texts], "paste_node": [node for _, node in texts]}
    response = client.post(f"/snapshots/recognise{parent}", posted)
    assert response.status_code == 200
    found = re.findall(r'<div data-box="(\d+)">(.*?)</div>', response.content.decode(), re.DOTALL)
    return {int(number): html.unescape(re.sub(r"<[^>]+>", " ", said)).replace("  ", " ").strip() for number, said in found}


@pytest.mark.parametrize(
    ("text", "node", "said"),
    [
        (SERVICES, "", "Recognised : 1 Service."),
        (NODE, "", "Recognised : 1 Node."),
        (RULES, "a", "Recognised : rules of iptables, of node a."),
        (RULES.replace("\n", "\r\n"), "a", "Recognised : rules of iptables, of node a."),
        (RULES, "", "Recognised, but not whose it is : rules of iptables. Name the node that it is of below."),
        (RULES.replace("COMMIT", "-A PREROUTING -p nonsense -j"), "a", "Recognised, with faults : rules of iptables, of node a. line 3:"),
        (SERVICES[:-2], "", "Recognised, with faults : 1 Service. line 1:"),
        ("NAMESPACE NAME TYPE AGE\nshop web ClusterIP 4d\n", "", "Not usable : a table as kubectl get"),
        ("Chain INPUT (policy ACCEPT)\ntarget prot opt source destination\n", "", "Not usable : rules as iptables -L lists them"),
        ("apiVersion: v1\nkind: Secret\nmetadata: {name: x}\ndata: {a: Yg==}\n", "", "Not usable : API objects of no kind that a trace"),
        ("apiVersion: v1\nkind: Service\nmetadata:\n  name: x\n a: [\n", "", "Not usable : API objects that cannot be read. line 5:"),
        (
            f"$ kubectl get nodes -o yaml\n{NODE}$ iptables-save\n{RULES}",
            "",
            "Recognised : lines 1 to 4: 1 Node.  Recognised : lines 5 to 8: rules of iptables, of node a",
        ),
        (f"root@b:~# iptables-save\n{RULES}", "", "Recognised : rules of iptables, of node b, as its prompt says."),
        ("hello, it does not work", "", "Not usable : neither API objects nor what a known command prints."),
    ],
)
def test_it_says_what_a_text_is(client, text, node, said):
    assert boxes(client, (text, node))[1].startswith(said)


def test_the_texts_are_looked_at_together(client):
    """Whose rules they are says the only Node object, in another box; of two nodes nobody is chosen. An empty box gets no answer."""
    found = boxes(client, (NODE, ""), ("", ""), (RULES, ""))
    assert found == {1: "Recognised : 1 Node.", 3: "Recognised : rules of iptables, of node a, the only one."}
    found = boxes(client, (f"{NODE}---\n{NODE.replace('name: a', 'name: b')}", ""), (RULES, ""))
    assert found[2].startswith("Recognised, but not whose it is")


def test_what_is_said_comes_true(client, tmp_path):
    """The same texts, stored: what was recognised is there, what was not is not."""
    found = boxes(client, (SERVICES, ""), (RULES, "a"), ("hello", ""))
    assert [said.partition(" :")[0] for said in found.values()] == ["Recognised", "Recognised", "Not usable"]
    assert not Snapshot.objects.exists()
    row = store(tmp_path, {"pasted-1.json": SERVICES, "nodes/a/pasted-2.txt": RULES, "pasted-3.txt": "hello"})
    assert row.summary["objects"] == {"Service": 1}
    assert (row.summary["nodes"][0]["files"], row.summary["unknown_files"]) == (["iptables-save.txt"], ["pasted-3.txt"])


def test_what_completes_a_snapshot_of_one_node_is_that_nodes(tmp_path):
    row = store(tmp_path, {"cluster.json": [service(), {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "one"}}]})
    mine, others = client_of(MINE), client_of(OTHER)
    assert boxes(mine, (RULES, ""), parent=f"?parent={row.id}")[1] == "Recognised : rules of iptables, of node one, the only one."
    assert boxes(others, (RULES, ""), parent=f"?parent={row.id}")[1].startswith("Recognised, but not whose it is")


def test_plain_routes_are_called_as_they_were_printed(client):
    assert boxes(client, ("default via 172.18.0.1 dev eth0\n", "a"))[1] == "Recognised : routes (ip route), of node a."


def test_what_somebody_wrote_between_outputs_is_not_called_wrong(client):
    said = boxes(
        client, (f"root@a:~# iptables-save\n{RULES}root@a:~# ip route\ndefault via 10.0.0.1 dev eth0\nroot@a:~# hostname\na\n", "")
    )[1]
    assert "rules of iptables, of node a, as its prompt says." in said
    assert "Not usable" not in said
    assert said.endswith("no output that a trace uses.")


def test_of_too_much_it_says_what_to_do(client, settings):
    settings.RECOGNISED_MAX_BYTES = 100
    assert "A file is better for so much" in boxes(client, (SERVICES, ""))[1]


def test_markup_is_shown_as_text(client):
    content = client.post("/snapshots/recognise", {"paste": [RULES], "paste_node": ["<b>"]}).content.decode()
    assert "<b><b>" not in content
    bad = 'Error from server (<script>): "&'
    assert "<script>" not in client.post("/snapshots/recognise", {"paste": [bad]}).content.decode()


def test_it_runs_where_a_hostile_text_ends_nothing_else(client):
    assert lane_of("snapshot-recognise", "POST") is Lane.QUICK
    assert client.get("/snapshots/recognise").status_code == 405
