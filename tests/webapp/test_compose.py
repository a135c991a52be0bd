"""The container files, checked by reading them: no engine to build with was at hand."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from importlib.util import MAGIC_NUMBER, cache_from_source
from pathlib import Path

import pytest
import yaml

from scripts.runtime_lock import runtime
from tests.live_server import PROJECT, environment

COMPOSE = yaml.safe_load((PROJECT / "docker-compose.yml").read_text())
KNOWN = {"FROM", "RUN", "ENV", "WORKDIR", "COPY", "USER", "VOLUME", "EXPOSE", "HEALTHCHECK", "CMD"}


def instructions() -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions, continued lines joined, comments left out."""
    text = re.sub(r"(?m)^\s*#.*\n", "", (PROJECT / "Dockerfile").read_text()).replace("\\\n", " ")
    return [(line.split()[0], line.split(None, 1)[1].strip()) for line in text.splitlines() if line.strip()]


def of(name: str) -> list[str]:
    return [rest for instruction, rest in instructions() if instruction == name]


def test_the_dockerfile_has_only_known_instructions() -> None:
    assert {name for name, _ in instructions()} <= KNOWN
    assert instructions()[0][1].startswith("python:3.12-slim@")


def images() -> list[str]:
    """Return every image that is pulled: of the compose file, and what both Dockerfiles begin with (a stage of their own is none)."""
    dockerfiles = [PROJECT / "Dockerfile", PROJECT / "deploy/node-reader/Dockerfile"]
    froms = [found for path in dockerfiles for found in re.findall(r"(?m)^FROM\s+(?:--\S+\s+)*(\S+)", path.read_text())]
    return [*(service["image"] for service in COMPOSE["services"].values() if "image" in service), *froms]


def test_every_image_is_named_with_its_digest() -> None:
    pulled = [image for image in images() if image != "scratch"]
    assert len(pulled) == 4
    assert [image for image in pulled if not re.fullmatch(r"[a-z]+:[a-z0-9.-]+@sha256:[0-9a-f]{64}", image)] == []


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_every_service_is_bounded_and_may_do_little(name: str) -> None:
    service = COMPOSE["services"][name]
    assert re.fullmatch(r"(\$\{HOPLINE_MEMORY:-)?[0-9]+[mg]\}?", service["mem_limit"])
    assert 0 < service["pids_limit"] <= 512
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert "healthcheck" in service or of("HEALTHCHECK")
    assert "privileged" not in service
    assert service.get("network_mode") is None


def test_the_manifests_say_what_the_right_to_exec_amounts_to() -> None:
    for path in ("deploy/node-reader/daemonset.yaml", "deploy/rbac-daemonset.yaml", "deploy/rbac-exec.yaml", "docs/operations.md"):
        text = " ".join((PROJECT / path).read_text().replace("#", " ").split())
        assert "pods/exec" in text, path
        assert re.search(r"change the nodes' (rules|network)", text), path


def test_everything_copied_is_in_the_project_and_not_ignored() -> None:
    ignored = set((PROJECT / ".dockerignore").read_text().split())
    for rest in of("COPY"):
        *sources, _ = rest.split()
        for source in sources:
            assert (PROJECT / source).exists(), source
            assert source.split("/")[0] not in ignored, source


def test_everything_the_program_needs_is_copied() -> None:
    copied = {source for rest in of("COPY") for source in rest.split()[:-1]}
    assert {"manage.py", "tracer", "webapp", "templates", "static", "demo"} <= copied


def test_the_image_runs_as_nobody_in_particular_and_is_probed() -> None:
    assert of("USER") == ["hopline"]
    names = [name for name, _ in instructions()]
    assert names.index("USER") < names.index("CMD")
    assert "/healthz" in of("HEALTHCHECK")[0]
    assert re.search(r"CMD \[.*\]$", of("HEALTHCHECK")[0])


def test_graphviz_and_rsvg_are_installed() -> None:
    assert {"graphviz", "librsvg2-bin"} <= set(of("RUN")[0].split())


def test_shell_lines_can_be_parsed() -> None:
    for rest in of("RUN"):
        assert subprocess.run(["sh", "-n", "-c", rest], capture_output=True, text=True, timeout=10).stderr == ""


def compiling() -> list[list[str]]:
    """Return the words of the image's own compileall commands, in their order."""
    commands = [part.strip() for rest in of("RUN") for part in re.split(r"&&(?![^(]*\))", rest)]
    return [shlex.split(command) for command in commands if "compileall" in command]


def test_the_image_compiles_everything_it_installs() -> None:
    """Python's modules with what pip installed, after pip and by nobody twice; the project after it is copied, before the user changes."""
    installed, project = compiling()
    assert [words[:3] for words in (installed, project)] == [["python", "-m", "compileall"]] * 2
    assert "sysconfig" in installed[-1]
    copied = {source for rest in of("COPY") for source in rest.split()[:-1] if any((PROJECT / source).rglob("*.py"))}
    assert set(project[-len(copied) :]) == copied
    lines = [rest for _, rest in instructions()]
    [pip] = [rest for rest in of("RUN") if "pip install" in rest]
    assert "--no-compile" in pip and "compileall" in pip.split("pip install")[1]
    [second] = [rest for rest in of("RUN") if "compileall" in rest and rest != pip]
    assert max(lines.index(f"{name} {name}") for name in copied) < lines.index(second) < lines.index("hopline")


def test_the_images_command_leaves_nothing_to_compile_or_compare(tmp_path: Path) -> None:
    """Run on a part of the tree: each module has its compiled file, marked as one that is taken without a look at its source."""
    for name in ("tracer/frontends", "webapp/uploads"):
        shutil.copytree(PROJECT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    env = environment(tmp_path / "data") | {"PYTHONDONTWRITEBYTECODE": "1"}
    env.pop("PYTHONPYCACHEPREFIX", None)
    subprocess.run([sys.executable, *compiling()[1][1:]], cwd=tmp_path, env=env, check=True, timeout=120)
    sources = sorted(tmp_path.rglob("*.py"))
    assert len(sources) > 8
    for source in sources:
        header = Path(cache_from_source(str(source))).read_bytes()[:8]
        assert header == MAGIC_NUMBER + (1).to_bytes(4, "little"), source  # PEP 552: a hash, not checked


def test_the_image_starts_the_server_the_one_way_there_is(tmp_path: Path) -> None:
    command = yaml.safe_load(of("CMD")[-1])
    assert command[:3] == ["python", "manage.py", "serve"]
    # Without a key its command refuses to start, with the same arguments.
    result = subprocess.run(
        [sys.executable, *command[1:]], cwd=PROJECT, env=environment(tmp_path), capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 2


def test_the_lock_without_the_test_tools_holds_what_the_program_imports() -> None:
    names = {
        re.match(r"[a-z0-9._-]+", line)[0]
        for line in runtime((PROJECT / "requirements.txt").read_text()).splitlines()
        if re.match(r"[a-z]", line)
    }
    direct = {
        re.match(r"[\w.-]+", line)[0].lower() for line in (PROJECT / "requirements.in").read_text().splitlines() if line[:1].isalpha()
    }
    assert direct <= names
    assert {"asgiref", "psycopg-binary", "redis", "uvloop", "websockets", "httptools"} <= names
    assert not {"pytest", "playwright", "mypy", "ruff", "hypothesis", "import-linter"} & names


def test_compose_starts_web_after_its_servers_are_healthy() -> None:
    services = COMPOSE["services"]
    assert set(services) == {"web", "postgres", "redis"}
    assert services["web"]["depends_on"] == {name: {"condition": "service_healthy"} for name in ("postgres", "redis")}
    for name in ("postgres", "redis"):
        assert services[name]["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL")
        assert "ports" not in services[name]


def test_compose_publishes_on_loopback_only() -> None:
    assert all(port.startswith("127.0.0.1:") for port in COMPOSE["services"]["web"]["ports"])


def test_compose_names_no_password() -> None:
    given = [(name, value) for service in COMPOSE["services"].values() for name, value in service.get("environment", {}).items()]
    secret = [(name, value) for name, value in given if re.search(r"PASSWORD|KEY|DATABASE_URL", name)]
    assert len(secret) == 3
    assert [name for name, value in secret if not re.search(r"\$\{\w+:\?", value)] == []


def test_every_volume_is_declared() -> None:
    used = {volume.split(":")[0] for service in COMPOSE["services"].values() for volume in service.get("volumes", ())}
    assert used == set(COMPOSE["volumes"])


def test_every_variable_is_one_that_the_settings_read() -> None:
    source = (PROJECT / "webapp/settings.py").read_text() + (PROJECT / "webapp/environment.py").read_text()
    for name in COMPOSE["services"]["web"]["environment"]:
        assert name == "DATABASE_URL" or f'"{name}"' in source, name
    for rest in of("ENV"):
        for pair in shlex.split(rest):
            name = pair.split("=")[0]
            assert not name.startswith("HOPLINE_") or f'"{name}"' in source, name


@pytest.mark.parametrize("script", ["scripts/make-venv", "scripts/install-programs", ".ci/run"])
def test_scripts_can_be_parsed_and_run(script: str) -> None:
    path = PROJECT / script
    assert path.stat().st_mode & 0o111
    assert subprocess.run(["bash", "-n", str(path)], capture_output=True, text=True, timeout=10).stderr == ""
