"""An API server that replays a recording: timelines are played through it, and tests follow it through faults.

``Timeline`` is the recording, ``RecordedApi`` its state at a position, ``serve`` serves it on loopback, ``Faults`` are for tests.
"""

from webapp.recorded_api.faults import Fault, Faults, What
from webapp.recorded_api.playback import Playback
from webapp.recorded_api.recorded_api import RecordedApi
from webapp.recorded_api.server import RunningServer, serve
from webapp.recorded_api.timeline import Timeline, TimelineStep

__all__ = ["Fault", "Faults", "Playback", "RecordedApi", "RunningServer", "Timeline", "TimelineStep", "What", "serve"]
