"""``manage.py collect``: one moment of a cluster as a snapshot, read through the API server. ``collect.sh`` writes the same files."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from webapp import __version__
from webapp.cluster.connection import Connection
from webapp.cluster.credentials import contexts
from webapp.cluster.errors import BadKubeconfig
from webapp.cluster.pod_making import PodMaker
from webapp.collecting.cluster_nodes import NodeReadings, take_nodes
from webapp.collecting.cluster_objects import take_objects, take_version
from webapp.collecting.collection import Collection, How
from webapp.collecting.debug_pods import IMAGE, NAMESPACE, PROFILES, DebugHow
from webapp.collecting.platforms import platform_of
from webapp.collecting.redacting import SENTENCE as REDACTED
from webapp.collecting.redacting import key_in, redact, write_names
from webapp.collecting.report import next_step, report
from webapp.collecting.target import BadTarget, Target, target_at
from webapp.management.commands.redact import add_redaction
from webapp.pods_wanted import BadPods, PodsWanted, parse_wanted
from webapp.reading.pod_stacks import MOST_PODS
from webapp.reading.stored_parts import SENTENCE
from webapp.uploads import FolderFiles, Limits

C = TypeVar("C", bound=Connection)


@contextlib.contextmanager
def _interrupted_by_term() -> Iterator[None]:
    """Within the context SIGTERM is what Ctrl-C is: what was made in the cluster is removed before the end."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _pod_stacks(options: dict[str, Any]) -> tuple[PodsWanted, ...]:
    """Return the pods whose own stacks are to be read. :raises CommandError: an option names none."""
    if options["pod_stacks"] and options["readings"] == "none":
        raise CommandError("--pod-stacks does not go with --readings none", returncode=2)
    try:
        return tuple(parse_wanted(text) for text in options["pod_stacks"])
    except BadPods as error:
        raise CommandError(f"--pod-stacks {error}", returncode=2) from error


def _readings(options: dict[str, Any]) -> NodeReadings:
    """Return how nodes are to be read. :raises CommandError: the options do not go together."""
    if options["allow_debug"] and options["readings"] != "auto":
        raise CommandError("--allow-debug goes with --readings auto", returncode=2)
    debug = DebugHow(image=options["debug_image"], profile=options["debug_profile"], namespace=options["debug_namespace"])
    return NodeReadings(
        how=options["readings"],
        reader_namespace=options["reader_namespace"],
        only=frozenset(options["node"]),
        conntrack=options["conntrack"],
        parallel=options["parallel"],
        pod_stacks=_pod_stacks(options),
        debug=debug if options["readings"] == "debug" or options["allow_debug"] else None,
    )


class Command(BaseCommand):
    """Prints the name of what it wrote; everything else goes to standard error.

    Exit code: 0 everything was read that is there to be read; 1 written, but something was refused or failed; 2 the arguments cannot be
    used; 3 nothing was written.
    """

    help = "Record one moment of a cluster as a snapshot (a folder, or an archive where TARGET ends in .tar.gz, .tgz or .tar)."
    requires_system_checks = ()
    requires_migrations_checks = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments, which are collect.sh's where both have them."""
        parser.add_argument("target", nargs="?", type=Path, metavar="TARGET", help="default: snapshot-DATE-TIME.tar.gz")
        where = parser.add_mutually_exclusive_group()
        where.add_argument("--context", help="the context of the kubeconfig (default: the current one)")
        where.add_argument("--in-cluster", action="store_true", help="the cluster Hopline runs in, as its service account")
        parser.add_argument("--kubeconfig", help="the kubeconfig (default: HOPLINE_KUBECONFIG, KUBECONFIG, ~/.kube/config)")
        parser.add_argument(
            "--readings", choices=["exec", "daemonset", "debug", "auto", "none"], default="exec", help="how the rules of nodes are read"
        )
        parser.add_argument("--allow-debug", action="store_true", help="with --readings auto: debug pods on the nodes without rules")
        parser.add_argument("--debug-image", default=IMAGE, help="of debug pods; programs of the node itself come first")
        parser.add_argument("--debug-profile", choices=PROFILES, default=PROFILES[0])
        parser.add_argument("--debug-namespace", default=NAMESPACE, help="where debug pods are made")
        parser.add_argument("--reader-namespace", default=settings.READER_NAMESPACE, help="where the node reader is installed")
        parser.add_argument("--node", action="append", default=[], metavar="NAME", help="read this node only; may be given again")
        parser.add_argument(
            "--pod-stacks",
            action="append",
            default=[],
            metavar="WHICH",
            help="read what pods have of their own (rules, routes, sockets): pod:NAMESPACE/NAME, svc:NAMESPACE/NAME or "
            f"label:NAMESPACE/KEY=VALUE, {MOST_PODS} pods at most; may be given again",
        )
        parser.add_argument("--conntrack", action="store_true", help="read the nodes' connections too")
        parser.add_argument("--redact", action="store_true", help="replace names and addresses; the traces stay the same")
        add_redaction(parser)
        parser.add_argument("--parallel", type=int, default=4, metavar="COUNT", help="nodes read at the same time (default: 4)")

    def handle(self, **options: Any) -> None:
        """Collect, and set the exit code."""
        path = options["target"] = options["target"] or Path(time.strftime("snapshot-%Y%m%d-%H%M%S.tar.gz", time.gmtime()))
        if not 1 <= options["parallel"] <= 64:
            raise CommandError("--parallel is a number from 1 to 64", returncode=2)
        if (options["key"] or options["names"]) and not options["redact"]:
            raise CommandError("--key and --names go with --redact", returncode=2)
        how = _readings(options)
        try:
            with (
                _interrupted_by_term() if how.debug else contextlib.nullcontext(),
                self._connection(options, Connection) as connection,
                target_at(path) as target,
            ):
                is_whole, then = self._collect(connection, Collection(target.folder), how, options)
                (self._redacted(target, options) if options["redact"] else target).finish()
        except (BadTarget, BadKubeconfig, ValueError) as error:
            raise CommandError(str(error), returncode=2) from error
        except KeyboardInterrupt:
            raise CommandError("stopped; nothing was written", returncode=130) from None
        except OSError as error:
            raise CommandError(f"{path} cannot be written: {error}", returncode=3) from error
        if not options["redact"]:
            self._say("Names and addresses in it are the real ones; --redact, or manage.py redact, replaces them.")
        self._say(then)
        self.stdout.write(str(path))
        if not is_whole:
            sys.exit(1)

    def _connection(self, options: dict[str, Any], of: type[C]) -> C:
        """Return the connection that the arguments ask for. :raises BadKubeconfig: it cannot be made."""
        if options["in_cluster"]:
            return of.in_cluster()
        path = options["kubeconfig"] or settings.KUBECONFIG or os.environ.get("KUBECONFIG") or str(Path.home() / ".kube/config")
        context = options["context"] or contexts(path).current
        if not context:
            raise BadKubeconfig("The kubeconfig has no current context; give one with --context.")
        return of.from_context(path, context)

    def _collect(self, connection: Connection, into: Collection, how: NodeReadings, options: dict[str, Any]) -> tuple[bool, str]:
        """Write all files of the snapshot; return whether nothing was refused and nothing failed, and what to do next."""
        began = time.time()
        self._say("Objects")
        kubernetes = take_version(connection, into, self._say)
        objects = take_objects(connection, into, self._say)
        if "services" not in objects:
            why = next((entry.error for entry in into.entries if entry.path == "services.json"), "")
            raise CommandError(f"the Services cannot be read, and without them there is no snapshot: {why}", returncode=3)
        if how.how != "none":
            self._say("Nodes")
            take_nodes(connection, objects, into, self._say, how, lambda: self._connection(options, PodMaker))
        into.say(collector=f"hopline {__version__}", collected_at=began, kubernetes=kubernetes)
        self._say(f"\n{report(into.entries)}\n{SENTENCE}")
        nodes = into.folder / "nodes.json"
        platform = platform_of(nodes.read_text() if nodes.exists() else "")
        then = next_step(into.entries, platform, "debug" if how.debug else how.how, "manage.py collect", str(options["target"]))
        return not any(entry.how is How.FAILED for entry in into.entries), then

    def _redacted(self, target: Target, options: dict[str, Any]) -> Target:
        """Return a target with what was collected under other names."""
        second = target.second()
        renaming = redact(FolderFiles(target.folder, Limits.from_settings()), second.folder, key_in(options["key"]))
        if options["names"]:
            write_names(renaming, options["names"])
        self._say(REDACTED)
        return second

    def _say(self, text: str) -> None:
        self.stderr.write(text, style_func=str)
