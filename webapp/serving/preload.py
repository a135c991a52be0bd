"""What every worker needs, imported once in the process that the workers are forked from."""

import gc
import signal

import django

django.setup()

from django.db import connections  # noqa: E402
from django.urls import get_resolver  # noqa: E402

import tracer.explain.dependencies  # noqa: E402
import tracer.explain.findings  # noqa: E402
import tracer.graph  # noqa: E402
import tracer.simulate  # noqa: E402
import tracer.snapshot  # noqa: E402
import tracer.topology.cluster  # noqa: E402, F401
from webapp.serving.handler import Handler  # noqa: E402

handler = Handler()
# Imports every view.
get_resolver()._populate()
connections.close_all()
# A stop that is sent to all processes is for the serving one to carry out: with this one, every worker would be gone before it was done.
signal.signal(signal.SIGTERM, signal.SIG_IGN)
# What is imported stays; and an answer makes many values that stay as long as it does: to look for garbage at every 700 of them takes an
# eighth of its time. What is set aside is not written to by a worker's own looking, so its pages stay shared.
gc.freeze()
gc.set_threshold(20_000, 20, 20)
