"""``spotify-ai metrics``: figures for Prometheus, served or printed; and ``spotify-ai health``."""

import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spotify_ai_assets.locale import translate as _
from spotify_ai_assets.settings import Settings
from spotify_ai_assets.terminal import Json, err, failing_in_words, harmless, make_table, open_platform, out, print_json

if TYPE_CHECKING:
    from spotify_ai_assets.observability.metrics.exporter import Exporter, Platform

metrics = typer.Typer(help=_("Figures for Prometheus."), no_args_is_help=True)

_HEALTH_S = 30.0


@metrics.command("serve", help=_("Serve /metrics for Prometheus and /health as JSON until it is stopped."))
def serve(
    host: Annotated[str, typer.Option(help=_("Where to listen."))] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help=_("Where to listen; 0 takes any that is free."))] = 9464,
    public: Annotated[bool, typer.Option("--public", help=_("Let others than this machine ask; there is no login here."))] = False,
) -> None:
    """Serve until stopped."""
    from spotify_ai_assets.observability.metrics.exporter import Exporter, Kept, Platform
    from spotify_ai_assets.observability.metrics.serving import Endpoint, refuse_others

    with failing_in_words():
        refuse_others(host, is_public=public)
    with open_platform() as (instance, lake):
        platform = Platform(instance, lake, Settings.from_environment())
        exporter = Exporter(platform)
        health = Kept(lambda: find_health(platform, exporter), _HEALTH_S)

        def tell_health() -> Mapping[str, Any]:
            found = health.get()
            return found if found is not None else {"grade": "failing", "error": type(health.error).__name__}

        with Endpoint(exporter.show, tell_health, host, port, is_public=public) as endpoint:
            exporter.show()  # reads once what is slow, so that the first scrape need not wait
            name = f"[{host.strip('[]')}]" if ":" in host else host
            err.print(_("Serving on http://{host}:{port}/metrics").format(host=name, port=endpoint.port), highlight=False, soft_wrap=True)
            try:
                endpoint.serve_forever()
            except KeyboardInterrupt:
                err.print(_("Stopped."))


@metrics.command("textfile", help=_("Print the metrics once, such as for node_exporter's textfile collector."))
def textfile() -> None:
    """Print the metrics."""
    from spotify_ai_assets.observability.metrics.exporter import Exporter, Platform

    with open_platform() as (instance, lake):
        exporter = Exporter(Platform(instance, lake, Settings.from_environment()), is_once=True)
        sys.stdout.buffer.write(exporter.show())
        sys.stdout.flush()
        for part, error in exporter.errors.items():
            err.print(_("{part} cannot be read: {error}").format(part=part, error=type(error).__name__), style="red", highlight=False)
    raise typer.Exit(1 if exporter.errors else 0)


def find_health(platform: "Platform", exporter: "Exporter | None" = None) -> dict[str, Any]:
    """How the platform is, as JSON; read only.

    Args:
        platform: What is looked at.
        exporter: Knows whether the code location loads in a process of its own; else this process loads it.
    """
    from spotify_ai_assets.maintenance.health.looking import View, as_json, look
    from spotify_ai_assets.observability.metrics.roster import read_roster

    now = datetime.now(UTC)
    roster = exporter.roster() if exporter else read_roster()
    view = View(platform.instance, platform.lake, platform.settings, now, os.environ, roster.policies, roster.error)
    return as_json(look(view), now)


def health(
    record: Annotated[bool, typer.Option("--record", help=_("Keep the grades and alert, as the schedule does."))] = False,
    as_json: Json = False,
) -> None:
    """Look at every part of the platform."""
    from spotify_ai_assets.launching import run_job
    from spotify_ai_assets.maintenance.health.grading import word_for
    from spotify_ai_assets.observability.metrics.exporter import Platform
    from spotify_ai_assets.runs import launch_tags

    with open_platform() as (instance, lake):
        settings = Settings.from_environment()
        if record:
            run_job(instance, "check_health", {"lake": lake, "settings": settings}, launch_tags())
        found = find_health(Platform(instance, lake, settings))
    if as_json:
        print_json(found)
    else:
        table = make_table(_("Part"), _("Grade"), _("Why"))
        for name, each in found["components"].items():
            table.add_row(name.replace("_", " "), word_for(each["grade"]), harmless(each["reason"]))
        out.print(table)
    raise typer.Exit(1 if found["grade"] == "failing" else 0)


def add_health(app: typer.Typer) -> None:
    """Add ``spotify-ai health``."""
    app.command("health", help=_("Show how each part of the platform is; status 1 where one fails."))(health)
