"""What a person steps through: one outcome's steps as numbered stations, the name's look-ups before them and the answer's way behind.

``stations`` groups the steps, ``lookup_stations`` and ``reply_stations`` add what comes before and after; ``station`` is one of them.
"""

from tracer.stations.station import Station, StationKind
from tracer.stations.stations import Numbering, stations_of

__all__ = ["Numbering", "Station", "StationKind", "stations_of"]
