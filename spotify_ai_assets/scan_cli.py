"""``spotify-ai scan``: in which stores a listener's identifiers stand, by a scan of every byte."""

from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated

import typer

from spotify_ai_assets.errors import MissingInputError
from spotify_ai_assets.locale import translate as _
from spotify_ai_assets.settings import Settings
from spotify_ai_assets.terminal import Json, failing_in_words, harmless, make_table, out, print_json, show_progress

if TYPE_CHECKING:
    from spotify_ai_assets.maintenance.erasure.scanning import ScanResult

Listener = Annotated[str | None, typer.Option(help=_("The listener, as the imported files name them."))]
Pseudonym = Annotated[str | None, typer.Option(help=_("A listener's id in the tables, also where the vault does not know it."))]
LeftOut = Annotated[list[str] | None, typer.Option("--leave-out", help=_("A folder below the data folder that is not read."))]


def add_scan(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("scan", help=_("Read every byte of the platform for a listener's identifiers, packed and decoded: where do they stand?"))(
        scan
    )


def scan(listener: Listener = None, pseudonym: Pseudonym = None, leave_out: LeftOut = None, as_json: Json = False) -> None:
    """Seek a listener everywhere; what was found and what could not be read are told, neither is a failure."""
    from spotify_ai_assets.maintenance.erasure.forms import Needles
    from spotify_ai_assets.maintenance.erasure.places import places_of
    from spotify_ai_assets.maintenance.erasure.scanning import scan as scan_everything
    from spotify_ai_assets.resources import open_vault

    with failing_in_words(), show_progress(as_json, _("Reading")) as advance:
        settings = Settings.from_environment()
        if listener is None and pseudonym is None:
            raise typer.BadParameter(_("name a listener or a pseudonym"), param_hint="--listener")
        if not settings.data.is_dir():
            raise MissingInputError("there is no data folder")
        found = pseudonym or open_vault(settings).find(listener or "")
        places = places_of(settings, leave_out=leave_out or ())
        result = scan_everything(places.roots, Needles.of(listener, found), databases=places.databases, keys=places.keys, progress=advance)
    if as_json:
        print_json(result.as_json())
    else:
        _print(result)


def _print(result: "ScanResult") -> None:
    table = make_table(_("Store"), _("Files"), _("Bytes"), _("Decoded"), _("Found"), _("Not readable"))
    for name, count in result.by_store.items():
        table.add_row(name, *map(str, (count.files, count.bytes, count.decoded, count.hits, count.undecodable)))
    out.print(table)
    if result.hits:
        places = make_table(_("Store"), _("Where"), _("Inside"), _("What"), _("Written as"), _("Files"), _("Times"))
        for where, counts in _by_folder(result).items():
            places.add_row(*(harmless(each) for each in where), str(len(counts)), str(sum(counts)))
        out.print(places)
    for each in result.undecodable:
        out.print(_("Not readable: {store}/{place} ({rule})").format(store=each.store, place=harmless(each.place), rule=each.rule))
    if result.narrowed:
        out.print(_("So short a value was sought in text only: {names}").format(names=", ".join(result.narrowed)))
    out.print(_("Found nowhere, and everything was read.") if result.is_clean else _("Found, or not everything could be read."))


def _by_folder(result: "ScanResult") -> dict[tuple[str, ...], list[int]]:
    """How often a value stands in each file, by store, the first two folders in it, and what was found how."""
    found: dict[tuple[str, ...], list[int]] = {}
    for hit in result.hits:
        folder = "/".join(PurePath(hit.place).parts[:2])
        found.setdefault((hit.store, folder, hit.inside or "–", hit.value, hit.form), []).append(hit.count)
    return found
