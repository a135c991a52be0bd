# Hopline in one image. It runs alone (SQLite, in-memory channel layer) or with PostgreSQL and Redis (docker-compose.yml).
# The digest is what is pulled (docs/operations.md, "Containers", says how to renew it); it was that of 3.12.14 on Debian 13.
FROM python:3.12-slim@sha256:78387bc3881b8273120a12ebe6c1ab22b018ccc2c9adf565ae1ac9b536e184ea

RUN apt-get update \
 && apt-get install --yes --no-install-recommends graphviz librsvg2-bin \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --home-dir /nonexistent --shell /usr/sbin/nologin hopline \
 && install --directory --owner hopline --mode 0700 /data

ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOPLINE_DATA=/data \
    HOPLINE_STATIC_MANIFEST=1 \
    HOPLINE_STATIC_ROOT=/srv/static

WORKDIR /srv/hopline
COPY requirements.txt ./
COPY scripts/runtime_lock.py scripts/runtime_lock.py
# Compiled here, Python's own modules too (its image comes without theirs): the program may write nothing of it, and would compile
# everything anew at each start. unchecked-hash: nothing in the image changes, so nothing is compared with its source.
RUN python scripts/runtime_lock.py > /tmp/runtime.txt \
 && pip install --no-cache-dir --no-compile --disable-pip-version-check --require-hashes --only-binary :all: -r /tmp/runtime.txt \
 && rm /tmp/runtime.txt \
 && python -m compileall -q -j 0 --invalidation-mode unchecked-hash "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"

COPY manage.py collect.sh LICENSE ./
COPY tracer tracer
COPY webapp webapp
COPY templates templates
COPY static static
COPY demo demo
RUN python -m compileall -q -j 0 --invalidation-mode unchecked-hash tracer webapp \
 && HOPLINE_SECRET_KEY=only-to-collect python manage.py collectstatic --noinput --verbosity 0

USER hopline
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
# Listening on every address needs HOPLINE_ACCESS_KEY; without it the server says so and ends.
CMD ["python", "manage.py", "serve", "--host", "0.0.0.0", "--port", "8000"]
