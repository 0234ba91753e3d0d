"""``spotify-ai audit``: whether the audit trail is whole, what it says, and its head.

``verify`` counts the audit trail and the erasure ledger again, record by record, and holds them against every head that was exported.
"""

from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spotify_ai_assets.locale import translate as _
from spotify_ai_assets.settings import Settings
from spotify_ai_assets.terminal import Json, err, failing_in_words, harmless, make_table, open_platform, out, print_json

if TYPE_CHECKING:
    from spotify_ai_assets.resources.chain_records import Record

audit = typer.Typer(help=_("The audit trail: verify it, search it, export its head."), no_args_is_help=True)

_MOMENTS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]


@audit.command("verify", help=_("Count the audit trail and the erasure ledger again, also against the exported heads."))
def verify(as_json: Json = False) -> None:
    """Verify both chains; exit status 1 where one is broken."""
    from spotify_ai_assets.observability.audit.verification import open_chains, verify_chains

    settings = Settings.from_environment()
    with failing_in_words():
        broken = verify_chains(settings)
        is_whole = not any(broken.values())
        # A damaged database may not even tell its head.
        records = {name: chain.head().sequence for name, chain in open_chains(settings).items()} if is_whole else {}
    if as_json:
        print_json({"whole": is_whole, "records": records, "broken": broken})
    elif is_whole:
        for name, count in records.items():
            out.print(_("{chain}: {records} records, whole").format(chain=name, records=count), highlight=False)
    else:
        for name, sentences in broken.items():
            for sentence in sentences:
                err.print(f"{name}: {sentence}", style="red", highlight=False, soft_wrap=True)
    raise typer.Exit(0 if is_whole else 1)


@audit.command("search", help=_("Find records, the newest first; what has happened since the daemon looked last is recorded before."))
def search(
    action: Annotated[str | None, typer.Option(help=_("Such as materialised, job, promoted, erased, backed_up, configured."))] = None,
    subject: Annotated[str | None, typer.Option(help=_("A table such as listening/plays, a domain, a job, a model."))] = None,
    who: Annotated[str | None, typer.Option(help=_("user, schedule, sensor or ui, or the name of one."))] = None,
    outcome: Annotated[str | None, typer.Option(help=_("Such as success or failure."))] = None,
    run: Annotated[str | None, typer.Option(help=_("A run, or how its id begins."))] = None,
    trace: Annotated[str | None, typer.Option(help=_("A trace id."))] = None,
    since: Annotated[datetime | None, typer.Option(formats=_MOMENTS, help=_("Not before this day or moment, UTC."))] = None,
    until: Annotated[datetime | None, typer.Option(formats=_MOMENTS, help=_("Before this day or moment, UTC."))] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help=_("How many at most."))] = 50,
    as_json: Json = False,
) -> None:
    """Find records of the audit trail."""
    from spotify_ai_assets.observability.audit.jobs import catch_up
    from spotify_ai_assets.resources.audit import open_audit

    settings = Settings.from_environment()
    with open_platform() as (instance, lake):
        trail = open_audit(settings)
        catch_up(instance, lake, settings, trail)
        found = trail.search(
            action=action,
            subject=subject,
            who=who,
            outcome=outcome,
            run_id=run,
            trace_id=trace,
            since=since and since.replace(tzinfo=UTC),
            until=until and until.replace(tzinfo=UTC),
        )
        records = list(islice(found, limit))
    if as_json:
        print_json({"records": [record.as_json() for record in records]})
    else:
        _print_records(records)


@audit.command("head", help=_("Show the newest record's number and digest of each chain; with --export sign them and keep them apart."))
def head(
    export: Annotated[bool, typer.Option("--export", help=_("Verify both chains, then sign their heads and keep those apart."))] = False,
    accept: Annotated[
        bool, typer.Option("--accept-loss", help=_("Go on after a restore though later records were witnessed; the trail tells of it."))
    ] = False,
    as_json: Json = False,
) -> None:
    """Show the heads of both chains, or export them."""
    from spotify_ai_assets.observability.audit.verification import accept_loss, export_heads, open_chains
    from spotify_ai_assets.resources.audit import who_asks

    settings = Settings.from_environment()
    with failing_in_words():
        if accept:
            lost = accept_loss(settings, who_asks())
            err.print(_("{heads} heads witnessed what is lost; they were set aside").format(heads=lost))
        if export:
            export_heads(settings, who_asks())
        heads = {name: chain.head() for name, chain in open_chains(settings).items()}
    if as_json:
        print_json({name: each._asdict() for name, each in heads.items()})
        return
    table = make_table(_("Chain"), _("Records"), _("Digest"))
    for name, each in heads.items():
        table.add_row(name, str(each.sequence), each.digest)
    out.print(table)


def _print_records(records: "list[Record]") -> None:
    table = make_table(_("Number"), _("When"), _("Who"), _("Action"), _("Subject"), _("Outcome"), _("Run"), _("Figures"))
    for record in records:
        told = record.body
        who = " ".join(str(value) for value in told.get("who", {}).values())
        cells = [who, record.kind, _text(told, "subject"), _text(told, "outcome"), _text(told, "run_id")[:8], _figures(told.get("figures"))]
        table.add_row(str(record.sequence), f"{record.at:%Y-%m-%d %H:%M:%S}", *map(harmless, cells))
    out.print(table if records else _("Nothing was recorded."))


def _text(body: Any, name: str) -> str:
    return str(body.get(name, ""))


def _figures(figures: Any) -> str:
    return ", ".join(f"{name} {value}" for name, value in figures.items()) if isinstance(figures, dict) else ""
