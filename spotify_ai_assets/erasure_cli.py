"""``spotify-ai erase`` and ``spotify-ai erasure``: forgetting a person, and what became of requests to be forgotten."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spotify_ai_assets.locale import translate as _
from spotify_ai_assets.locale import translate_plural
from spotify_ai_assets.settings import LANGUAGES, Settings
from spotify_ai_assets.terminal import Json, err, failing_in_words, make_table, open_platform, out, print_json, show_progress

if TYPE_CHECKING:
    from spotify_ai_assets.maintenance.erasure.cases import Case

erasure = typer.Typer(
    help=_("Requests to be forgotten: how far they are, their receipts, and whether these are genuine."), no_args_is_help=True
)

Request = Annotated[str, typer.Argument(help=_("The number of a request, or the beginning of it."))]


def add_erasure(app: typer.Typer) -> None:
    """Add the commands of this module to the command line."""
    app.command("erase", help=_("Forget a listener everywhere, read every byte afterwards, and sign a receipt."))(erase_command)
    app.add_typer(erasure, name="erasure")


def erase_command(
    listener: Annotated[str, typer.Option(help=_("The listener, as the imported files name them."))],
    dry_run: Annotated[bool, typer.Option("--dry-run", help=_("Only tell where something of them is; nothing is changed."))] = False,
    as_json: Json = False,
) -> None:
    """Take up a request and bring it, with all other open ones, to its receipt."""
    from spotify_ai_assets.maintenance.erasure.machine import Tools, preview
    from spotify_ai_assets.resources import open_vault

    settings = Settings.from_environment()
    with open_platform() as (instance, lake), show_progress(as_json, _("Erasing")):
        tools = Tools(settings, lake, open_vault(settings), instance)
        if dry_run:
            _print_preview(preview(tools, listener), as_json)
            return
        request = tools.desk.accept(listener)
        case = _finish(instance, settings, request)
    _print_outcome(settings, case, as_json)
    raise typer.Exit(1 if case.is_open else 0)


@erasure.command("run", help=_("Bring all open requests to their receipts now, instead of in the coming night."))
def run_command(as_json: Json = False) -> None:
    """Finish what is open."""
    settings = Settings.from_environment()
    with open_platform() as (instance, _lake), show_progress(as_json, _("Erasing")):
        _finish(instance, settings, None)
    status_command(as_json)


@erasure.command("status", help=_("All requests, how far they are, and until when they must be done."))
def status_command(as_json: Json = False) -> None:
    """Tell how far requests are."""
    from spotify_ai_assets.maintenance.erasure.cases import read_cases
    from spotify_ai_assets.resources.audit import open_ledger

    with failing_in_words():
        cases = read_cases(open_ledger(Settings.from_environment()))
    if as_json:
        waiting = [case for case in cases if case.is_open]
        late = sum(case.due < datetime.now(UTC) for case in waiting)
        print_json({"open": len(waiting), "late": late, "requests": [case.as_json() for case in cases]})
        return
    table = make_table(_("Request"), _("State"), _("Asked"), _("Due"), _("Done"), _("Left"))
    for case in cases:
        times = [each.date().isoformat() if each else "–" for each in (case.requested_at, case.due, case.completed_at)]
        table.add_row(case.request, case.state, *times, "\n".join(case.left))
    out.print(table if cases else _("Nobody asked to be forgotten."))


@erasure.command("receipt", help=_("The receipt of a request, for the person to read."))
def receipt_command(
    request: Request,
    language: Annotated[str | None, typer.Option(help=_("en, de or fr; the language of the settings unless given."))] = None,
    as_json: Json = False,
) -> None:
    """Print a receipt."""
    from spotify_ai_assets.maintenance.erasure.receipts import read_receipt, tell

    settings = Settings.from_environment()
    if language is not None and language not in LANGUAGES:
        raise typer.BadParameter(", ".join(LANGUAGES), param_hint="--language")
    with failing_in_words():
        told = read_receipt(settings, request)
    if as_json:
        print_json(told)
    else:
        out.print(tell(told, language or settings.language), highlight=False, soft_wrap=True)


@erasure.command("verify", help=_("Whether receipts are genuine and agree with the ledger, and whether the ledger is whole."))
def verify_command(
    request: Annotated[str | None, typer.Argument(help=_("One request; all with a receipt unless given."))] = None, as_json: Json = False
) -> None:
    """Verify receipts and the ledger."""
    from spotify_ai_assets.maintenance.erasure.cases import read_cases
    from spotify_ai_assets.maintenance.erasure.receipts import read_receipt, verify_receipt
    from spotify_ai_assets.resources.audit import open_ledger

    settings = Settings.from_environment()
    with failing_in_words():
        ledger = open_ledger(settings)
        wanted = (
            [read_receipt(settings, request)["request"]] if request else [each.request for each in read_cases(ledger) if not each.is_open]
        )
        found = {each: verify_receipt(settings, ledger, each) for each in wanted}
        broken = ledger.verify()
    if as_json:
        print_json({"ledger": broken, "receipts": found})
    for sentence in [] if as_json else [*broken, *(f"{each[:8]}: {what}" for each, wrong in found.items() for what in wrong)]:
        err.print(sentence, style="red", highlight=False)
    if not as_json and not broken and not any(found.values()):
        told = translate_plural(
            "{count} receipt is genuine, and the ledger is whole.", "{count} receipts are genuine, and the ledger is whole.", len(found)
        )
        out.print(told.format(count=len(found)))
    raise typer.Exit(1 if broken or any(found.values()) else 0)


def _finish(instance: Any, settings: Settings, request: str | None) -> "Case":
    """Run the job; a case that stays open is told of, not raised."""
    from spotify_ai_assets.errors import PlatformError
    from spotify_ai_assets.launching import run_job
    from spotify_ai_assets.maintenance.erasure.cases import read_cases
    from spotify_ai_assets.maintenance.erasure.jobs import ERASURE, erasure_config
    from spotify_ai_assets.resources.audit import open_ledger
    from spotify_ai_assets.runs import launch_tags

    failure: PlatformError | None = None
    try:
        run_job(instance, ERASURE, {}, launch_tags(), config=erasure_config(dry_run=False))
    except PlatformError as error:
        failure = error
    cases = {case.request: case for case in read_cases(open_ledger(settings))}
    case = cases[request] if request else max(cases.values(), key=lambda each: each.requested_at, default=None)
    if case is None or (failure and not case.left and case.is_open):
        raise failure or PlatformError("no request is open")
    return case


def _print_outcome(settings: Settings, case: "Case", as_json: bool) -> None:
    from spotify_ai_assets.maintenance.erasure.receipts import folder_of, read_receipt, tell

    if as_json:
        scanned = case.figures("scanned")
        told = {name: scanned.get(name) for name in ("files", "bytes", "decoded_bytes", "hits", "undecodable", "seconds")}
        receipt = None if case.is_open else str(folder_of(settings) / f"{case.request}.json")
        seconds = sum(float(record.body.get("figures", {}).get("seconds", 0)) for record in case.records)
        print_json({**case.as_json(), "scanned": told, "seconds": round(seconds, 1), "receipt": receipt})
    elif case.is_open:
        err.print(_("The request {request} is still open:").format(request=case.request), style="yellow", highlight=False)
        for what in case.left:
            err.print(f"* {what}", highlight=False)
    else:
        out.print(tell(read_receipt(settings, case.request), settings.language), highlight=False, soft_wrap=True)


def _print_preview(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    if not found["is_known"]:
        out.print(_("The vault knows of no such listener."))
    table = make_table(_("Where"), _("Partitions"), _("Rows"))
    for key, each in found["tables"].items():
        table.add_row(key, str(each["partitions"]), str(each["rows"]))
    out.print(table)
    stores = make_table(_("Store"), _("Finds"))
    for name, count in found["stores"].items():
        stores.add_row(name, str(count))
    out.print(stores)
    out.print(
        _("Made again afterwards: {count} tables; versions of models and indices that name them: {versions}").format(
            count=len(found["made_again"]), versions=sum(found["versions"].values())
        )
    )
