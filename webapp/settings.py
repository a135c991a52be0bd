"""Settings: everything an operator may change is an environment variable, listed in docs/operations.md.

Embedded defaults (SQLite in WAL mode, an in-memory channel layer, a folder of snapshots) need no other service;
``DATABASE_URL`` and ``REDIS_URL`` switch to PostgreSQL and Redis.
"""

import os
import warnings
from pathlib import Path

import dj_database_url

from webapp import bounds, environment

BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = Path(os.environ.get("HOPLINE_DATA") or BASE_DIR / "var").resolve()
DEBUG = environment.flag("HOPLINE_DEBUG")
SECRET_KEY = environment.secret_key(DATA_DIR)

# --- who may reach the server ---------------------------------------------------------------------------------------
ACCESS_KEY = os.environ.get("HOPLINE_ACCESS_KEY", "")
INSECURE = environment.flag("HOPLINE_INSECURE")
HTTPS = environment.flag("HOPLINE_HTTPS")
ALLOWED_HOSTS = environment.words("HOPLINE_ALLOWED_HOSTS", ("localhost", "127.0.0.1", "[::1]"))
# Whose X-Forwarded-For tells a client's address, when HTTPS is on.
TRUSTED_PROXIES = environment.words("HOPLINE_TRUSTED_PROXIES", ("127.0.0.1", "::1"))
CSRF_TRUSTED_ORIGINS = environment.words("HOPLINE_CSRF_TRUSTED_ORIGINS")
WEBSOCKET_ORIGINS = environment.words("HOPLINE_WEBSOCKET_ORIGINS")

# --- limits of an upload --------------------------------------------------------------------------------------------
UPLOAD_MAX_BYTES = bounds.UPLOAD_LIMITS["upload_bytes"]
UNPACKED_MAX_BYTES = bounds.UPLOAD_LIMITS["unpacked_bytes"]
UPLOAD_MAX_ENTRIES = bounds.UPLOAD_LIMITS["entries"]
UPLOAD_MAX_LEVELS = bounds.UPLOAD_LIMITS["levels"]
UPLOAD_MAX_RATIO = bounds.UPLOAD_LIMITS["ratio"]
# Counted in recorded bytes; what the engine makes of them takes a small multiple.
CACHE_MAX_BYTES = environment.megabytes("HOPLINE_CACHE_MAX_MB", 200)
QUESTION_LIMITS = bounds.QUESTION_LIMITS
DEMO_DIR = BASE_DIR / "demo"

# --- the processes that do the work (webapp/work/lanes.py) -------------------------------------------------------------
# How many heavy questions are answered at the same time; `serve --workers N`.
WORKERS = environment.number("HOPLINE_WORKERS", 0, least=0) or os.cpu_count() or 1
# What one worker may take for itself, beyond what all share.
WORKER_MAX_BYTES = environment.megabytes("HOPLINE_WORKER_MAX_MB", 2_000)
TRACE_MAX_SECONDS = environment.number("HOPLINE_TRACE_MAX_SECONDS", 60)
UPLOAD_MAX_SECONDS = environment.number("HOPLINE_UPLOAD_MAX_SECONDS", 600)
# Answers kept on disk for whoever asks again.
ANSWERS_MAX_BYTES = environment.megabytes("HOPLINE_ANSWERS_MAX_MB", 500)

# --- clusters that are followed ---------------------------------------------------------------------------------------
# Whether this process follows clusters (`manage.py serve`); one that does not still shows what another has learnt.
FOLLOW = environment.flag("HOPLINE_FOLLOW", default=True)
# The path only: what is in the file is read when it is needed, and kept nowhere.
KUBECONFIG = os.environ.get("HOPLINE_KUBECONFIG", "")
RULES_EVERY_SECONDS = environment.number("HOPLINE_RULES_EVERY_SECONDS", 60)
# So long a page that is watched waits for the nodes' rules before it shows what the objects say already.
SETTLE_SECONDS = environment.number("HOPLINE_SETTLE_SECONDS", 5, least=0)
READER_NAMESPACE = os.environ.get("HOPLINE_READER_NAMESPACE") or "hopline"
# Pods whose own stacks the node reader reads, where it may (deploy/node-reader/pod-stacks.yaml).
POD_STACKS = environment.pods("HOPLINE_POD_STACKS")
TIMELINES_MAX = environment.number("HOPLINE_TIMELINES_MAX", 20)

# --- Django ---------------------------------------------------------------------------------------------------------
INSTALLED_APPS = [
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "csp",
    "django_htmx",
    "webapp",
]
MIDDLEWARE = [
    "webapp.http.middleware.HealthMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "webapp.http.middleware.PlaceMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "webapp.http.middleware.AccessKeyMiddleware",
    "webapp.http.middleware.BodyLimitMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "webapp.http.middleware.MethodMiddleware",
]
ROOT_URLCONF = "webapp.urls"
ASGI_APPLICATION = "webapp.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": False,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
LANGUAGE_CODE = "en"
USE_I18N = False
USE_TZ = True
TIME_ZONE = "UTC"
# Pasted texts, all together; longer ones are handed in as files.
DATA_UPLOAD_MAX_MEMORY_SIZE = 2_500_000
# Of those, what is looked at while they are pasted, before anything is uploaded.
RECOGNISED_MAX_BYTES = 1_000_000
# Of one request: a folder's files come one by one. More of them come as an archive.
DATA_UPLOAD_MAX_NUMBER_FILES = 2_000
# Always a file on disk: an upload is read in the background, after its request has ended.
FILE_UPLOAD_HANDLERS = ["webapp.http.upload_handler.NamelessFileUploadHandler"]
# Beside the data, not in /tmp, which may be memory.
FILE_UPLOAD_TEMP_DIR = environment.folder(DATA_DIR / "incoming")

# --- the database ---------------------------------------------------------------------------------------------------
_SQLITE = f"sqlite:///{DATA_DIR / 'hopline.sqlite3'}"
DATABASES = {"default": dj_database_url.config(default=_SQLITE)}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    DATABASES["default"]["OPTIONS"] = {
        # A writer takes its lock when its transaction begins, and waits for it: no "database is locked" half-way.
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;",
    }

# --- sockets --------------------------------------------------------------------------------------------------------
REDIS_URL = os.environ.get("REDIS_URL", "")
# NB: channels_redis waits 5 s for a message, and redis-py 8 gives up on a silent connection after 5 s too: every quiet socket would break.
_REDIS = {"address": REDIS_URL, "socket_timeout": 30}
CHANNEL_LAYERS = {
    "default": {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": [_REDIS]}}
    if REDIS_URL
    else {"BACKEND": "channels.layers.InMemoryChannelLayer"},
}

# --- files ----------------------------------------------------------------------------------------------------------
STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
# Hashed names need `manage.py collectstatic` first; the container image does it when it is built.
STATIC_MANIFEST = environment.flag("HOPLINE_STATIC_MANIFEST")
STATIC_ROOT = Path(os.environ.get("HOPLINE_STATIC_ROOT") or BASE_DIR / "staticfiles") if STATIC_MANIFEST else None
WHITENOISE_USE_FINDERS = not STATIC_MANIFEST
WHITENOISE_AUTOREFRESH = DEBUG
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": DATA_DIR / "files"}},
    # Snapshots: any Django storage will do, for example django-storages' S3 (install it beside Hopline).
    "snapshots": environment.storage(
        "HOPLINE_SNAPSHOT_STORAGE",
        {"BACKEND": "webapp.storing.storage.DurableFolderStorage", "OPTIONS": {"location": DATA_DIR / "snapshots"}},
    ),
    "staticfiles": {
        "BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"
        if STATIC_MANIFEST
        else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
}
# WhiteNoise streams files to Django's ASGI handler from ordinary iterators; they are small, so reading them whole is fine.
warnings.filterwarnings("ignore", message="StreamingHttpResponse must consume synchronous iterators")

# --- the browser's session and what it may load -----------------------------------------------------------------------
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
SESSION_COOKIE_NAME = "hopline"
SESSION_COOKIE_AGE = 60 * 60 * 24 * 365
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = HTTPS
CSRF_COOKIE_SECURE = HTTPS
CSRF_COOKIE_SAMESITE = "Lax"
MESSAGE_STORAGE = "django.contrib.messages.storage.cookie.CookieStorage"
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
if HTTPS:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:", "blob:"],
        "font-src": ["'self'"],
        # Older Safari does not match a WebSocket to 'self': the public host is named when the operator gives it.
        "connect-src": ["'self'", *WEBSOCKET_ORIGINS],
        "form-action": ["'self'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
        "object-src": ["'none'"],
    }
}

# --- logging --------------------------------------------------------------------------------------------------------
# Requests are not logged: their paths hold the tokens of share links. HOPLINE_ACCESS_LOG=1 logs them with tokens hidden.
ACCESS_LOG = environment.flag("HOPLINE_ACCESS_LOG")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"hide": {"()": "webapp.http.log_filter.HideSecrets"}, "sockets": {"()": "webapp.http.log_filter.QuietSockets"}},
    "formatters": {"line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["hide"]}},
    "root": {"handlers": ["console"], "level": "INFO"},
    "loggers": {
        "django": {"handlers": [], "level": "INFO", "propagate": True},
        "django.request": {"level": "ERROR", "propagate": True},
        # views/errors.py writes one line of a bad request; Django would add a traceback.
        "django.security": {"level": "CRITICAL", "propagate": True},
        "django.security.csrf": {"level": "WARNING", "propagate": True},
        "uvicorn.error": {"filters": ["sockets"]},
        "httpx": {"level": "WARNING"},
        "daphne": {"level": "WARNING"},
    },
}
