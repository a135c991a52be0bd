#!/usr/bin/python3 -I
"""What the node reader's container does between readings: nothing, until it is told to end."""

import signal

signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))
signal.sigwait((signal.SIGTERM, signal.SIGINT))
