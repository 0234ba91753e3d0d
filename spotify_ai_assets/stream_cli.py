"""``spotify-ai stream`` and ``spotify-ai send``: the worker that takes listens as they come, and what sends them.

The worker runs until it is told to stop (SIGTERM or Ctrl-C), then commits what waits. It may be killed at any point and started
again; nothing is lost or counted twice.
"""

import re
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spotify_ai_assets.locale import translate as _
from spotify_ai_assets.settings import Settings
from spotify_ai_assets.terminal import Json, err, failing_in_words, make_table, out, print_json, show_progress

if TYPE_CHECKING:
    from spotify_ai_assets.recommendations.realtime.worker import Report
    from spotify_ai_assets.resources.lake import Lake
    from spotify_ai_assets.stream_runs import StreamReporter

streaming = typer.Typer(help=_("The stream of listens: the worker that takes them, and sending."), no_args_is_help=True)

_FOLLOW_S = 1.0
"""How long after a request to be forgotten listens of that person may still be taken."""
_READER = re.compile(r"[0-9A-Za-z_.-]{1,64}")


@streaming.command("stream", help=_("Take listens from the stream as they come: seen by recommendations at once, in the lake soon after."))
def stream_command(
    reader: Annotated[
        str | None, typer.Option(help=_("Name of this worker, to go on under when it is started again; the host's name unless given."))
    ] = None,
    batch_rows: Annotated[int, typer.Option(min=1, help=_("Commit when so many listens wait."))] = 20_000,
    batch_seconds: Annotated[float, typer.Option(min=0.1, help=_("Commit after so many seconds."))] = 30.0,
    until_empty: Annotated[bool, typer.Option("--until-empty", help=_("Stop when nothing is left to take."))] = False,
    as_json: Json = False,
) -> None:
    """Work until told to stop."""
    from spotify_ai_assets.recommendations.realtime.batches import Batches
    from spotify_ai_assets.recommendations.realtime.folding import Folding
    from spotify_ai_assets.recommendations.realtime.live import open_live
    from spotify_ai_assets.recommendations.realtime.worker import Pace, Worker
    from spotify_ai_assets.recommendations.releases import open_releases
    from spotify_ai_assets.resources import open_lake
    from spotify_ai_assets.resources.stream import open_stream
    from spotify_ai_assets.resources.suppression import Suppression
    from spotify_ai_assets.tables import TABLES

    settings, name = Settings.from_environment(), reader or socket.gethostname()
    if not _READER.fullmatch(name):
        raise typer.BadParameter(_("letters, digits, dots, dashes and underscores, 64 at most"), param_hint="--reader")
    stop = threading.Event()
    with _stopping(stop), failing_in_words(), show_progress(as_json, _("Stream")) as advance:
        stream, live, lake = open_stream(settings, name), open_live(settings), open_lake(settings, TABLES)
        tell = _Telling(lake)
        _warn_of_loss(stream)
        batches = Batches(lake, settings.data / "live" / f"{name}.journal.json", clock=_now)
        worker = Worker(
            stream,
            live,
            batches,
            clock=_now,
            pace=Pace(batch_rows=batch_rows, batch_s=batch_seconds),
            fold=Folding(open_releases(settings), live),
            watch=lambda report: advance(_describe(report), report.messages),
            report=tell,
            until_empty=until_empty,
            erased=Suppression(settings, pause_s=_FOLLOW_S).are_suppressed_pseudonyms,
        )
        total = worker.run(stop)
        tell.close()
        stream.close()
        live.close()
    if as_json:
        print_json(_as_json(total))
    else:
        _print_total(total)


@streaming.command("send", help=_("Send listens to the stream, from a file or line by line from standard input."))
def send_command(
    source: Annotated[str, typer.Argument(metavar="FILE|-", help=_("A file of any known format, or - for JSON lines."))],
    listener: Annotated[str | None, typer.Option(help=_("Whose listens they are where they name nobody."))] = None,
    as_json: Json = False,
) -> None:
    """Send listens; real ids are swapped for pseudonyms before anything is sent."""
    from spotify_ai_assets.recommendations.realtime.producing import Producer, Sent
    from spotify_ai_assets.resources import open_vault
    from spotify_ai_assets.resources.stream import open_stream
    from spotify_ai_assets.resources.suppression import Suppression

    settings = Settings.from_environment()
    path = Path(source)
    if source != "-" and not path.is_file():
        raise typer.BadParameter(_("there is no such file"), param_hint="FILE")
    total = Sent()
    with failing_in_words(), show_progress(as_json, _("Sending")) as advance:
        stream = open_stream(settings)
        erased = Suppression(settings, pause_s=_FOLLOW_S).is_suppressed
        producer = Producer(stream, open_vault(settings), listener=listener or settings.listener, erased=erased)
        for sent in producer.send_lines(sys.stdin.buffer) if source == "-" else producer.send_file(path):
            total += sent
            advance("", total.rows)
        stream.close()
    if as_json:
        print_json(asdict(total))
    else:
        table = make_table(_("Rows"), _("Sent"), _("Refused"))
        table.add_row(str(total.rows), str(total.sent), "\n".join(f"{rule} {count}" for rule, count in total.refused.items()) or "0")
        out.print(table)
    raise typer.Exit(0 if total.sent or not total.rows else 1)


class _Telling:
    """Tells Dagster; its import takes seconds, in which listens are taken already."""

    def __init__(self, lake: "Lake") -> None:
        self._lake = lake
        self._reporter: StreamReporter | None = None

    def __call__(self, report: "Report") -> None:
        if report.days:
            from spotify_ai_assets.stream_runs import StreamReporter

            self._reporter = self._reporter or StreamReporter(self._lake)
            self._reporter(report)

    def close(self) -> None:
        if self._reporter:
            self._reporter.close()


@contextmanager
def _stopping(stop: threading.Event) -> Iterator[None]:
    """SIGTERM and Ctrl-C say stop; a second one ends at once."""
    before = {}

    def tell(number: int, _frame: object) -> None:
        stop.set()
        signal.signal(number, before[number])

    for number in (signal.SIGTERM, signal.SIGINT):
        before[number] = signal.signal(number, tell)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _now() -> datetime:
    return datetime.now(UTC)


def _warn_of_loss(stream: object) -> None:
    """Say so where the stream may forget what it has accepted."""
    from spotify_ai_assets.resources.redis_stream import RedisStream
    from spotify_ai_assets.resources.stream import StreamError

    try:
        may_lose = isinstance(stream, RedisStream) and stream.is_durable() is False
    except StreamError:  # it will be waited for
        return
    if may_lose:
        err.print(_("This Redis may lose listens that it has accepted: set appendonly yes and appendfsync always."), style="yellow")


def _describe(report: "Report") -> str:
    return _("{rate} a second, seen after {lag} s (95 %), {stored} in the lake, {waiting} waiting").format(
        rate=round(report.lag.per_second), lag=round(report.lag.p95_s, 2), stored=report.stored, waiting=report.waiting
    )


def _as_json(report: "Report") -> dict[str, Any]:
    return {**asdict(report), "days": sorted(map(str, report.days))}


def _print_total(report: "Report") -> None:
    table = make_table(_("Messages"), _("Visible"), _("Stored"), _("Duplicate"), _("Rejected"), _("Forgotten"), _("Batches"))
    counts = (report.messages, report.visible, report.stored, report.duplicate, report.rejected, report.forgotten, report.batches)
    table.add_row(*map(str, counts))
    out.print(table)
