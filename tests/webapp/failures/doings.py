"""What is being done while something fails: uploads, freezes, questions and a followed cluster, each with the acknowledgements it got.

A doing goes on in a thread of its own from ``start()`` to ``stop()``. ``check()`` asks afterwards for all that was acknowledged.
"""

from __future__ import annotations

import contextlib
import io
import json
import tarfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from websockets.exceptions import InvalidStatus, WebSocketException
from websockets.sync.client import connect

from tests.made_cluster import MadeCluster
from tests.sizes import FULL
from tests.webapp.failures.person import Answer, Person
from webapp.recorded_api import RecordedApi

QUESTION = "from=external:203.0.{0}.{1}&to=198.51.100.7:80"
_SETTLED_SECONDS = 60.0
_MANY = 80 if FULL else 30
_BETWEEN, _AFTER_REFUSAL = 0.15, 0.3


class Doing:
    """Something that is done again and again; *refused* has what was said instead of an acknowledgement, *acknowledged* when it was."""

    def __init__(self, person: Person) -> None:
        self.person = person
        self.refused: list[tuple[float, Answer]] = []
        self.acknowledged: list[float] = []
        self.faults: list[str] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._count = 0

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, after what is under way."""
        self._over.set()
        self._thread.join(120)
        assert not self._thread.is_alive(), f"{type(self).__name__} hangs"

    def once(self, number: int) -> None:
        """Do it once."""
        raise NotImplementedError

    def check(self) -> None:
        """Ask for all that was acknowledged. :raises AssertionError: something of it is not there, or not whole."""
        raise NotImplementedError

    @property
    def statuses(self) -> dict[int, int]:
        """Return how often each status was said."""
        return dict(Counter(answer.status for _, answer in self.refused))

    def _run(self) -> None:
        while not self._over.is_set():
            self._count += 1
            try:
                self.once(self._count)
            except Exception as error:
                self.faults.append(f"{type(error).__name__}: {error}")
            was_refused = bool(self.refused) and self.refused[-1][0] > max(self.acknowledged, default=0.0)
            self._over.wait(_AFTER_REFUSAL if was_refused else _BETWEEN)

    def _took(self, answer: Answer) -> Answer:
        """Note what became of a request that should have been acknowledged."""
        if answer.status in (200, 302):
            self.acknowledged.append(time.monotonic())
        else:
            self.refused.append((time.monotonic(), answer))
        return answer


class Uploads(Doing):
    """Hands in *archive*, and follows its reading, one after the other."""

    def __init__(self, person: Person, archive: bytes) -> None:
        super().__init__(person)
        self.archive, self.jobs = archive, list[str]()
        self.unanswered, self.is_reading = 0, False
        self.ended: Counter[str] = Counter()

    def once(self, number: int) -> None:
        answer = self._took(self.person.upload(self.archive, f"upload {number}"))
        if answer.status == 0:
            self.unanswered += 1
        if answer.status == 302:
            self.jobs.append(answer.where)
            while not self._over.is_set() and self.person.get(answer.where).status == 200:
                self.is_reading = True
                self._over.wait(0.05)
            self.is_reading = False

    def check(self) -> None:
        done = set()
        for job in self.jobs:
            found = _settled(lambda job=job: self.person.get(job))  # type: ignore[misc]
            if found.status == 302:
                done.add(found.where)
                self.ended["stored"] += 1
            else:
                assert found.status in (422, 500, 503, 507), f"{job}: {found.status}"
                assert "othing was stored" in found.words, f"{job}: {found.words[:500]}"
                self.ended["failed in words"] += 1
        listed = {f"/snapshots/{slug}" for slug in _own_snapshots(self.person)}
        assert done <= listed, f"stored and not listed: {done - listed}"
        more = listed - done
        assert len(more) <= self.unanswered, f"stored, though that was said of none: {more}"
        for page in listed:
            assert self.person.get(page).status == 200
            assert _files(self.person.get(f"{page}/download").body) == _files(self.archive), f"{page} is not what was handed in"


class Freezes(Doing):
    """Freezes the answer to another question each time."""

    def __init__(self, person: Person, slug: str) -> None:
        super().__init__(person)
        self.slug, self.links = slug, dict[str, str]()

    def once(self, number: int) -> None:
        question = QUESTION.format(number // 250, number % 250)
        answer = self._took(self.person.post(f"/c/{self.slug}/trace/freeze", query=question))
        if answer.status == 302:
            self.links[answer.where.partition("?")[0]] = question

    def check(self) -> None:
        for link, question in self.links.items():
            frozen = self.person.get(f"{link}/trace.json")
            assert frozen.status == 200, f"{link}: {frozen.status}"
            asked = self.person.get(f"/c/{self.slug}/trace.json?{question}")
            assert _answer(frozen) == _answer(asked), f"{link} does not hold the answer to {question}"


class Questions(Doing):
    """Asks what takes a while, another question each time."""

    def __init__(self, person: Person, slug: str) -> None:
        super().__init__(person)
        self.slug, self.answers = slug, dict[str, Any]()

    def once(self, number: int) -> None:
        path = f"/c/{self.slug}/trace.json?{QUESTION.format(100 + number // 250, number % 250).replace('.7:80', '.8:80')}"
        answer = self._took(self.person.get(path))
        if answer.status == 200:
            self.answers[path] = _answer(answer)

    def check(self) -> None:
        for path, answer in self.answers.items():
            again = self.person.get(path)
            assert again.status == 200, f"{path}: {again.status}"
            assert _answer(again) == answer, f"{path} was answered otherwise"


class Follows(Doing):
    """Changes a Service of a followed cluster and waits until the server says that it knows; *stored* returns what its database holds."""

    def __init__(self, person: Person, source: str, api: RecordedApi, stored: Callable[[], bool]) -> None:
        super().__init__(person)
        self.source, self.api, self.stored = source, api, stored
        self.generation = 0

    def state(self) -> tuple[str, int, list[str]]:
        """Return the state, the generation and what has changed since the last one that was said."""
        answer = self.person.get(f"/live/{self.source}/state?since={self.generation}")
        if answer.status != 200:
            self.refused.append((time.monotonic(), answer))
            return "", 0, []
        told = json.loads(answer.body)["messages"]
        changed = next((one for one in told if one["type"] == "generation"), {"gen": told[0].get("gen", 0), "changed": []})
        state = next((one["state"] for one in told if one["type"] == "source"), "")
        return state, changed["gen"], changed["changed"]

    def once(self, number: int) -> None:
        change(self.api, number)
        while not self._over.is_set():
            _, generation, changed = self.state()
            if "svc/default/api" in changed or "*" in changed:
                self.generation = generation
                self.acknowledged.append(time.monotonic())
                return
            self._over.wait(0.1)

    def check(self) -> None:
        deadline = time.monotonic() + _SETTLED_SECONDS
        while self.state()[0] != "live" or not self.stored():
            assert time.monotonic() < deadline, f"the cluster is not followed any more, or not whole: {self.state()}"
            time.sleep(0.3)
        self.refused = [one for one in self.refused if one[1].status != 304]
        generation = json.loads(self.person.get(f"/live/{self.source}/state").body)["messages"][0]["gen"]
        assert generation >= self.generation, f"generation {self.generation} was told, {generation} is there"


class Watches(Doing):
    """Has a socket open that is told what changes in the followed cluster; opens it again when it is closed."""

    def __init__(self, person: Person, url: str, source: str, key: str) -> None:
        super().__init__(person)
        self._url, self._origin = f"{url.replace('http', 'ws', 1)}/live/{source}", url
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}

    def once(self, number: int) -> None:
        try:
            with connect(self._url, additional_headers=self._headers, origin=self._origin) as socket:  # type: ignore[arg-type]
                socket.send(json.dumps({"since": 0}))
                while not self._over.is_set():
                    with contextlib.suppress(TimeoutError):
                        if json.loads(socket.recv(timeout=0.5))["type"] == "generation":
                            self.acknowledged.append(time.monotonic())
        except (OSError, WebSocketException) as error:
            status = error.response.status_code if isinstance(error, InvalidStatus) else 0
            self.refused.append((time.monotonic(), Answer(status=status, body=str(error).encode())))
            self._over.wait(0.5)

    def check(self) -> None:
        """A message is no promise: pages ask as well. That it is told again is what the test has waited for."""


def change(api: RecordedApi, number: int) -> None:
    """Let the Service ``api`` of *api* change, another way each time."""
    service = dict(api.get("services", "default", "api") or {})
    service["spec"] = service["spec"] | {"sessionAffinity": ("ClientIP", "None")[number % 2]}
    service["metadata"] = service["metadata"] | {"labels": {"turn": str(number)}}
    api.change("MODIFIED", "services", service)


def heavy_cluster() -> dict[str, bytes]:
    """Return the files of a cluster whose questions take a while: one Service of many endpoints, one of two."""
    cluster = MadeCluster(nodes=3)
    pods = [cluster.pod(f"web-{n}", n % 3 + 1) for n in range(_MANY)]
    cluster.service("few", pods[:2], type="LoadBalancer", node_port=30080, lb_ip="198.51.100.7")
    cluster.service("web", pods, type="LoadBalancer", node_port=30081, lb_ip="198.51.100.8")
    return cluster.files()


def archive(megabytes: float) -> bytes:
    """Return a tar of that size: a small cluster, its rules under many nodes' names."""
    files = heavy_cluster()
    dump = next(content for path, content in files.items() if path.endswith("iptables-save.txt"))
    kept = {path: content for path, content in files.items() if not path.startswith("nodes/")}
    for number in range(max(1, int(megabytes * 1_000_000 / len(dump)))):
        kept[f"nodes/n{number}/iptables-save.txt"] = dump
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, content in kept.items():
            about = tarfile.TarInfo(path)
            about.size = len(content)
            tar.addfile(about, io.BytesIO(content))
    return buffer.getvalue()


def _settled(ask: Callable[[], Answer]) -> Answer:
    """Return the answer when it is no longer that the upload is being read."""
    deadline = time.monotonic() + _SETTLED_SECONDS
    while True:
        found = ask()
        if found.status != 200:
            return found
        assert time.monotonic() < deadline, f"nobody says what became of it: {found.words[:500]}"
        time.sleep(0.2)


def _own_snapshots(person: Person) -> set[str]:
    import re

    page = person.get("/snapshots").body.decode()
    return set(re.findall(r'href="/snapshots/(\w{16})/delete"', page)) or set(re.findall(r"/snapshots/(\w{16})/delete", page))


def _files(tar: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(tar), mode="r:*") as opened:
        found = {one.name: (opened.extractfile(one) or io.BytesIO()).read() for one in opened if one.isfile() and "nodes/" in one.name}
    return {name.partition("nodes/")[2]: content for name, content in found.items()}


def _answer(exported: Answer) -> Any:
    document = json.loads(exported.body)
    return document.get("outcomes", document)
