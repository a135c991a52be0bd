"""What a question and an upload may cost: the settings that ``manage.py trace`` reads, which runs without Django."""

from tracer.limits import SKETCH_NODES, Limits
from webapp import environment

# What one question may cost; tracer.limits says in which units.
QUESTION_LIMITS = Limits(
    work=environment.number("HOPLINE_QUESTION_MAX_WORK", 4_000_000), ways=environment.number("HOPLINE_QUESTION_MAX_WAYS", 10_000)
)
UPLOAD_LIMITS = {
    "upload_bytes": environment.megabytes("HOPLINE_UPLOAD_MAX_MB", 200),
    "unpacked_bytes": environment.megabytes("HOPLINE_UNPACKED_MAX_MB", 2_000),
    "entries": environment.number("HOPLINE_UPLOAD_MAX_ENTRIES", 20_000),
    "levels": environment.number("HOPLINE_UPLOAD_MAX_LEVELS", 50),
    "ratio": environment.number("HOPLINE_UPLOAD_MAX_RATIO", 250),
}
NODES_HELP = f"how many nodes the sketch of manifests has: 1 to {SKETCH_NODES}, 3 when not given"
