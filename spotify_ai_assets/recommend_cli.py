"""``spotify-ai recommend``, ``similar``, ``block`` and ``unblock``: what a listener is shown, why, and what nobody shall be shown."""

import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spotify_ai_assets.locale import translate as _
from spotify_ai_assets.settings import LANGUAGES, Settings
from spotify_ai_assets.terminal import Json, failing_in_words, harmless, make_table, open_platform, out, print_json

if TYPE_CHECKING:
    from spotify_ai_assets.recommendations.serving.answers import Recommended, SimilarArtist
    from spotify_ai_assets.recommendations.serving.recommender import Recommender

Item = Annotated[str, typer.Argument(help=_("The id of a track or an artist."))]
Country = Annotated[str | None, typer.Option(help=_("Where, as two letters such as DE."))]


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this module to the command line."""
    app.command("recommend", help=_("What a listener is recommended, and with --explain why."))(recommend)
    app.command("similar", help=_("The tracks or artists most like one."))(similar)
    app.command("block", help=_("Recommend a track or an artist no more: nowhere, in a country, or to one listener."))(block)
    app.command("unblock", help=_("Take a block back."))(unblock)


def recommend(
    listener: Annotated[str, typer.Option(help=_("The listener, as the imported files name them."))],
    shelf: Annotated[str, typer.Option(help=_("daily_mix, discovery, fresh_releases or back_catalogue."))] = "daily_mix",
    k: Annotated[int, typer.Option("--k", min=1, max=500, help=_("How many tracks."))] = 20,
    explain: Annotated[bool, typer.Option("--explain", help=_("Tell the reason of each."))] = False,
    country: Country = None,
    explicit: Annotated[bool, typer.Option("--explicit/--no-explicit", help=_("Whether explicit lyrics may be among them."))] = True,
    as_json: Json = False,
) -> None:
    """Recommend tracks; somebody unknown is recommended what is popular."""
    from spotify_ai_assets.recommendations.contracts import SHELVES
    from spotify_ai_assets.recommendations.serving.filters import Filters
    from spotify_ai_assets.resources import open_vault

    if shelf not in SHELVES:
        raise typer.BadParameter(", ".join(SHELVES), param_hint="--shelf")
    settings = Settings.from_environment()
    with failing_in_words():
        pseudonym = open_vault(settings).find(listener) or ""
        filters = Filters(_checked_country(country), explicit)
        tracks = _open_recommender(settings).recommend(pseudonym, shelf, k, filters, explain=explain)
    if as_json:
        print_json({"shelf": shelf, "is_known": bool(pseudonym), "tracks": [_as_json(track) for track in tracks]})
        return
    if not pseudonym:
        out.print(_("Nothing was heard of this listener yet: this is what others play."))
    _print_tracks(tracks)


def similar(
    item: Item,
    count: Annotated[int, typer.Option(min=1, max=500, help=_("How many."))] = 10,
    country: Country = None,
    as_json: Json = False,
) -> None:
    """Find what is like a track or an artist."""
    from spotify_ai_assets.recommendations.serving.filters import Filters

    filters = Filters(_checked_country(country))
    with failing_in_words():
        recommender = _open_recommender(Settings.from_environment())
        if item.startswith("artist:"):
            _tell_artists(recommender.similar_artists(item, count, filters), as_json)
        else:
            _tell_tracks(recommender.similar_tracks(item, count, filters), as_json)


def block(
    item: Item,
    country: Country = None,
    listener: Annotated[str | None, typer.Option(help=_("For this listener only, as the imported files name them."))] = None,
    as_json: Json = False,
) -> None:
    """Block a track or an artist."""
    _change_blocks(item, country, listener, is_blocked=True, as_json=as_json)


def unblock(
    item: Item,
    country: Country = None,
    listener: Annotated[str | None, typer.Option(help=_("For this listener only, as the imported files name them."))] = None,
    as_json: Json = False,
) -> None:
    """Take a block back."""
    _change_blocks(item, country, listener, is_blocked=False, as_json=as_json)


def _change_blocks(item: str, country: str | None, listener: str | None, *, is_blocked: bool, as_json: bool) -> None:
    from spotify_ai_assets.errors import MissingInputError
    from spotify_ai_assets.recommendations.blocking import change_blocks
    from spotify_ai_assets.resources import open_vault

    where = _checked_country(country) or ""
    with open_platform() as (_instance, lake):
        pseudonym = open_vault(Settings.from_environment()).find(listener) if listener else ""
        if pseudonym is None:
            raise MissingInputError("no listens of this listener were imported")
        is_changed = change_blocks(lake, item, where, pseudonym, is_blocked=is_blocked)
    if as_json:
        print_json({"item": item, "country": where or None, "is_blocked": is_blocked, "is_changed": is_changed})
    elif not is_changed:
        out.print(_("It is so already."))
    else:
        out.print(_("It is recommended no more.") if is_blocked else _("It may be recommended again."))


def _open_recommender(settings: Settings) -> "Recommender":
    from spotify_ai_assets.recommendations.realtime.live import open_live
    from spotify_ai_assets.recommendations.serving.recommender import Recommender

    return Recommender(settings, open_live(settings))


def _checked_country(country: str | None) -> str | None:
    if country is not None and not re.fullmatch("[A-Z]{2}", country):
        raise typer.BadParameter(_("two capital letters, such as DE"), param_hint="--country")
    return country


def _as_json(answer: "Recommended | SimilarArtist") -> dict[str, Any]:
    document = asdict(answer)
    if reason := answer.reason:
        told = {"kind": reason.kind, "because": list(reason.because), "shares": [round(share, 6) for share in reason.shares]}
        document["reason"] = {**told, "sentences": {language: reason.say(language) for language in LANGUAGES}}
    return document


def _tell_artists(artists: "list[SimilarArtist]", as_json: bool) -> None:
    if as_json:
        print_json({"similar": [_as_json(each) for each in artists]})
        return
    table = make_table("", _("Artist"), _("Id"), _("Score"), _("Why"))
    for each in artists:
        table.add_row(str(each.rank), harmless(each.name), each.artist_id, f"{each.score:.3f}", harmless(each.reason.say()))
    out.print(table)


def _tell_tracks(tracks: "list[Recommended]", as_json: bool) -> None:
    if as_json:
        print_json({"similar": [_as_json(each) for each in tracks]})
    else:
        _print_tracks(tracks)


def _print_tracks(tracks: "list[Recommended]") -> None:
    has_reasons = any(each.reason for each in tracks)
    table = make_table("", _("Track"), _("Artist"), _("Id"), _("Score"), *([_("Why")] if has_reasons else []))
    for each in tracks:
        reason = [harmless(each.reason.say())] if each.reason else []
        table.add_row(str(each.rank), harmless(each.name), harmless(each.artist_name), each.track_id, f"{each.score:.3f}", *reason)
    out.print(table if tracks else _("There is nothing to recommend."))
