"""What the environment switches, what the defaults are, and what every response carries."""

from __future__ import annotations

import json
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from django.test import Client

from tests.live_server import PROJECT, environment

_SHOWN = (
    "DATABASES CHANNEL_LAYERS STORAGES ALLOWED_HOSTS CSRF_TRUSTED_ORIGINS SESSION_COOKIE_SECURE CSRF_COOKIE_SECURE SECRET_KEY DEBUG "
    "UPLOAD_MAX_BYTES UNPACKED_MAX_BYTES UPLOAD_MAX_ENTRIES UPLOAD_MAX_LEVELS CONTENT_SECURITY_POLICY WHITENOISE_USE_FINDERS"
)
_SHOW = f"""
import json
from django.conf import settings
print(json.dumps({{name: getattr(settings, name) for name in {_SHOWN.split()!r}}}, default=str))
"""


def run(data: Path, **changes: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _SHOW], cwd=PROJECT, env=environment(data, **changes), capture_output=True, text=True, timeout=60
    )


def settings_with(data: Path, **changes: str) -> dict:
    result = run(data, **changes)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.parametrize("text", ["pod:shop", "pod:shop/a,web", "node:n/x"])
def test_pods_that_nobody_can_find_are_refused(tmp_path: Path, text: str) -> None:
    result = run(tmp_path, HOPLINE_POD_STACKS=text)
    assert result.returncode == 1
    assert "each part of HOPLINE_POD_STACKS is pod:NAMESPACE/NAME, svc:NAMESPACE/NAME or label:NAMESPACE/KEY=VALUE, not " in result.stderr


def test_the_embedded_defaults(tmp_path: Path) -> None:
    shown = settings_with(tmp_path)
    database = shown["DATABASES"]["default"]
    assert database["ENGINE"] == "django.db.backends.sqlite3"
    assert "journal_mode=WAL" in database["OPTIONS"]["init_command"]
    assert database["OPTIONS"]["transaction_mode"] == "IMMEDIATE"
    assert shown["CHANNEL_LAYERS"]["default"]["BACKEND"] == "channels.layers.InMemoryChannelLayer"
    assert shown["STORAGES"]["snapshots"]["OPTIONS"]["location"] == str(tmp_path / "snapshots")
    assert shown["ALLOWED_HOSTS"] == ["localhost", "127.0.0.1", "[::1]"]
    assert (shown["UPLOAD_MAX_BYTES"], shown["UNPACKED_MAX_BYTES"]) == (200_000_000, 2_000_000_000)
    assert (shown["UPLOAD_MAX_ENTRIES"], shown["UPLOAD_MAX_LEVELS"]) == (20_000, 50)
    assert shown["DEBUG"] is False


def test_urls_switch_to_postgresql_and_redis(tmp_path: Path) -> None:
    shown = settings_with(tmp_path, DATABASE_URL="postgres://u:p@db/hopline", REDIS_URL="redis://redis:6379/0")
    assert shown["DATABASES"]["default"]["ENGINE"] == "django.db.backends.postgresql"
    assert shown["DATABASES"]["default"]["HOST"] == "db"
    assert "init_command" not in shown["DATABASES"]["default"].get("OPTIONS", {})
    assert shown["CHANNEL_LAYERS"]["default"] == {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        "CONFIG": {"hosts": [{"address": "redis://redis:6379/0", "socket_timeout": 30}]},
    }


def test_variables_change_limits_hosts_and_cookies(tmp_path: Path) -> None:
    changes = {
        "HOPLINE_UPLOAD_MAX_MB": "7",
        "HOPLINE_UNPACKED_MAX_MB": "70",
        "HOPLINE_UPLOAD_MAX_ENTRIES": "8",
        "HOPLINE_UPLOAD_MAX_LEVELS": "9",
        "HOPLINE_ALLOWED_HOSTS": "hopline.example, other.example",
        "HOPLINE_CSRF_TRUSTED_ORIGINS": "https://hopline.example",
        "HOPLINE_WEBSOCKET_ORIGINS": "wss://hopline.example",
        "HOPLINE_HTTPS": "1",
    }
    shown = settings_with(tmp_path, **changes)
    assert [shown[f"UPLOAD_MAX_{name}"] for name in ("BYTES", "ENTRIES", "LEVELS")] == [7_000_000, 8, 9]
    assert shown["UNPACKED_MAX_BYTES"] == 70_000_000
    assert shown["ALLOWED_HOSTS"] == ["hopline.example", "other.example"]
    assert shown["CSRF_TRUSTED_ORIGINS"] == ["https://hopline.example"]
    assert shown["SESSION_COOKIE_SECURE"] is shown["CSRF_COOKIE_SECURE"] is True
    assert shown["CONTENT_SECURITY_POLICY"]["DIRECTIVES"]["connect-src"] == ["'self'", "wss://hopline.example"]


def test_snapshots_can_be_kept_in_another_storage(tmp_path: Path) -> None:
    s3 = {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": {"bucket_name": "hopline", "endpoint_url": "https://s3.example"}}
    assert settings_with(tmp_path, HOPLINE_SNAPSHOT_STORAGE=json.dumps(s3))["STORAGES"]["snapshots"] == s3
    for wrong in ("{", '"x"', "{}"):
        assert "HOPLINE_SNAPSHOT_STORAGE is not" in run(tmp_path, HOPLINE_SNAPSHOT_STORAGE=wrong).stderr


@pytest.mark.parametrize(
    ("name", "value"), [("HOPLINE_UPLOAD_MAX_MB", "lots"), ("HOPLINE_UPLOAD_MAX_MB", "-1"), ("HOPLINE_HTTPS", "maybe")]
)
def test_a_value_that_cannot_be_read_is_refused_by_name(tmp_path: Path, name: str, value: str) -> None:
    result = run(tmp_path, **{name: value})
    assert result.returncode != 0
    assert f"{name}={value!r}" in result.stderr


def test_the_secret_key_is_made_once_and_readable_by_its_owner_only(tmp_path: Path) -> None:
    first, second = settings_with(tmp_path)["SECRET_KEY"], settings_with(tmp_path)["SECRET_KEY"]
    assert first == second == (tmp_path / "secret-key").read_text()
    assert len(first) >= 50
    assert stat.S_IMODE((tmp_path / "secret-key").stat().st_mode) == 0o600
    assert settings_with(tmp_path / "other")["SECRET_KEY"] != first
    assert settings_with(tmp_path, HOPLINE_SECRET_KEY="given")["SECRET_KEY"] == "given"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_the_secret_key_of_processes_that_start_together_is_one(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from django.conf import settings; print(settings.SECRET_KEY)"]
    started = [subprocess.Popen(command, cwd=PROJECT, env=environment(tmp_path), stdout=subprocess.PIPE) for _ in range(4)]
    assert len({process.communicate(timeout=60)[0] for process in started}) == 1


POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; object-src 'none'"
)


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/", "/snapshots", "/access", "/no-such-page"])
def test_every_page_carries_the_policy_and_no_more(client: Client, path: str) -> None:
    response = client.get(path)
    assert sorted(response["Content-Security-Policy"].split("; ")) == sorted(POLICY.split("; "))
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["X-Frame-Options"] == "DENY"
    assert response["Referrer-Policy"] == "same-origin"


@pytest.mark.django_db
def test_health_is_answered_whatever_the_host_header_says(client: Client) -> None:
    response = client.get("/healthz", headers={"host": "10.1.2.3:8000"})
    assert (response.status_code, response.json()["status"]) == (200, "ok")


def test_no_page_names_another_host() -> None:
    """Templates and our own styles and scripts load nothing from elsewhere."""
    loads = re.compile(
        r"""<(?:script|link|img|source|iframe|form|use)\b[^>]*\b(?:src|href|action)=["']?(?:https?:)?//"""
        r"""|url\(\s*["']?(?:https?:)?//|@import\s+["'](?:https?:)?//|\bimport\b[^;\n]*["'](?:https?:)?//|fetch\(\s*["'`](?:https?:)?//"""
    )
    assert loads.search('<script src="https://cdn.example/x.js">')
    files = [
        path for folder in ("templates", "static") for path in (PROJECT / folder).rglob("*") if path.suffix in {".html", ".css", ".js"}
    ]
    own = [path for path in files if "vendor" not in path.parts]
    assert own
    assert [f"{path}: {found[0]}" for path in own for found in loads.finditer(path.read_text())] == []


def test_django_has_no_warning_about_a_deployment(tmp_path: Path) -> None:
    env = environment(tmp_path, HOPLINE_HTTPS="1", HOPLINE_ALLOWED_HOSTS="hopline.example")
    result = subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy"], cwd=PROJECT, env=env, capture_output=True, text=True, timeout=60
    )
    # Redirecting to HTTPS and HSTS belong to the proxy that ends TLS.
    warned = set(re.findall(r"security\.W[0-9]+", result.stderr)) - {"security.W004", "security.W008"}
    assert (result.returncode, warned) == (0, set()), result.stderr


def test_the_lock_names_no_host_and_has_a_hash_for_everything() -> None:
    lock = (PROJECT / "requirements.txt").read_text()
    assert "://" not in lock
    assert not re.search(r"^\s*--(index|extra|find|trusted)", lock, re.MULTILINE)
    blocks = re.split(r"\n(?=[A-Za-z0-9])", re.sub(r"(?m)^#.*\n", "", lock))
    assert len(blocks) > 40
    assert [block.split()[0] for block in blocks if "--hash=sha256:" not in block] == []


def test_manifest_names_are_hashed_when_asked_for(tmp_path: Path) -> None:
    env = environment(tmp_path, HOPLINE_STATIC_MANIFEST="1", HOPLINE_STATIC_ROOT=str(tmp_path / "static"))
    subprocess.run([sys.executable, "manage.py", "collectstatic", "--noinput", "-v0"], cwd=PROJECT, env=env, check=True, timeout=120)
    manifest = json.loads((tmp_path / "static/staticfiles.json").read_text())["paths"]
    assert re.fullmatch(r"css/base\.[0-9a-f]{12}\.css", manifest["css/base.css"])
    assert (tmp_path / "static" / (manifest["css/base.css"] + ".gz")).exists()
    assert any((tmp_path / "static/vendor").iterdir())
