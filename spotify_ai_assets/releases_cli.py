"""``spotify-ai releases``: which model, indices and items serve together, letting another serve, going back, forgetting tracks."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from spotify_ai_assets.locale import translate as _
from spotify_ai_assets.settings import Settings
from spotify_ai_assets.terminal import Json, failing_in_words, harmless, make_table, out, print_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from spotify_ai_assets.recommendations.releases import KeptRelease, Releases

releases = typer.Typer(
    help=_("Releases of recommendations: what serves together, letting another serve, going back."), no_args_is_help=True
)

Which = Annotated[str, typer.Argument(help=_("A release: 16 hexadecimal digits, or the first of them; the one that serves unless given."))]


@releases.command("list", help=_("List all releases; with --history what happened to them."))
def list_releases(
    history: Annotated[bool, typer.Option("--history", help=_("What happened: flipped, refused, rolled back, scrubbed, removed."))] = False,
    as_json: Json = False,
) -> None:
    """List releases, or what happened to them."""
    with failing_in_words():
        opened = _open()
        if as_json:
            found: dict[str, Any] = {"releases": [_described(each) for each in opened.kept()]}
            print_json({**found, "history": opened.history()} if history else found)
        elif history:
            _print_history(opened.history())
        else:
            _print_releases(opened.kept())


@releases.command("show", help=_("Show what a release pins."))
def show(release: Which = "", as_json: Json = False) -> None:
    """Show one release."""
    with failing_in_words():
        found = _choose(_open(), release)
        if as_json:
            print_json(_described(found))
            return
        table = make_table(_("Component"), _("Version"))
        for name, version in _components(found):
            table.add_row(name, version or "–")
        out.print(table)


@releases.command("promote", help=_("Let a release serve, if its gate lets it; a refusal is recorded."))
def promote(
    release: Which,
    force: Annotated[bool, typer.Option("--force", help=_("Though its gate did not let it through; that is recorded."))] = False,
    as_json: Json = False,
) -> None:
    """Let a release serve."""
    with failing_in_words():
        opened = _open()
        opened.flip(_choose(opened, release).version, force=force, origin={"command": "releases promote"})
        _tell(opened, as_json)


@releases.command("rollback", help=_("Let the release before serve again."))
def rollback(as_json: Json = False) -> None:
    """Go back."""
    with failing_in_words():
        opened = _open()
        opened.rollback(origin={"command": "releases rollback"})
        _tell(opened, as_json)


@releases.command("forget", help=_("Remove tracks from all models, indices and releases, and their bytes from the disk."))
def forget_tracks(
    tracks: Annotated[list[str], typer.Argument(help=_("Ids of tracks."))],
    yes: Annotated[bool, typer.Option("--yes", help=_("Do it; otherwise only say where they are."))] = False,
    as_json: Json = False,
) -> None:
    """Forget tracks; without ``--yes`` only tell which versions hold them."""
    from spotify_ai_assets.recommendations.removal import find_mentions, forget

    with failing_in_words():
        opened = _open()
        if not yes:
            found = find_mentions(opened.artifacts, tracks=tracks)
            _tell_versions(_("would be written anew or removed"), found, as_json)
            return
        done = forget(opened.artifacts, tracks=tracks, origin={"command": "releases forget"})
        _tell_versions(_("removed"), done.removed, as_json)


def _open() -> "Releases":
    from spotify_ai_assets.recommendations.releases import open_releases

    return open_releases(Settings.from_environment())


def _choose(opened: "Releases", release: str) -> "KeptRelease":
    """The only release that begins so, or the one that serves."""
    from spotify_ai_assets.recommendations.releases import UnknownReleaseError

    found = [each for each in opened.kept() if (each.version.startswith(release) if release else each.is_current)]
    if len(found) != 1:
        raise UnknownReleaseError("several releases begin like that" if found else "there is no such release")
    return found[0]


def _described(kept: "KeptRelease") -> dict[str, Any]:
    whole = {"version": kept.version, "created_at": kept.created_at, "is_current": kept.is_current, "is_former": kept.is_former}
    return {**whole, **kept.release.as_json()}


def _components(kept: "KeptRelease") -> "Iterator[tuple[str, str]]":
    release, basis = kept.release, kept.release.basis
    yield _("release"), kept.version
    yield from release.pins.items()
    yield _("items"), basis.items
    yield _("encoder"), basis.encoder
    yield _("extractor"), basis.extractor
    yield _("recipe"), release.recipe
    yield _("plays up to"), release.as_of
    yield _("gate"), _verdict(kept)


def _verdict(kept: "KeptRelease") -> str:
    gate = kept.release.gate
    return "–" if gate is None else _("passed") if gate.passed else "\n".join([_("failed"), *gate.failed])


def _print_releases(kept: "list[KeptRelease]") -> None:
    table = make_table(_("Release version"), _("Made"), _("Model"), _("Plays up to"), _("Gate"), _("State"))
    for each in kept:
        state = _("serves") if each.is_current else _("served before") if each.is_former else ""
        table.add_row(
            each.version, each.created_at[:19], each.release.basis.model, each.release.as_of[:19], harmless(_verdict(each)), state
        )
    out.print(table if table.row_count else _("There is no release yet."))


def _print_history(history: "list[Mapping[str, Any]]") -> None:
    words = {
        "flipped": _("flipped"),
        "refused": _("refused"),
        "rolled back": _("rolled back"),
        "scrubbed": _("scrubbed"),
        "removed": _("removed"),
    }
    table = make_table(_("When"), _("What"), _("Release version"), _("Before"))
    for event in history:
        what = words.get(event["event"], event["event"])
        table.add_row(
            event["at"][:19], f"{what} ({_('forced')})" if event.get("is_forced") else what, event["version"], event.get("before")
        )
    out.print(table if table.row_count else _("There is no release yet."))


def _tell(opened: "Releases", as_json: bool) -> None:
    """Tell what serves now."""
    current = opened.current()
    if as_json:
        print_json({"current": current})
    else:
        out.print(_("Release {version} serves.").format(version=current), highlight=False)


def _tell_versions(what: str, versions: "Mapping[str, list[str]]", as_json: bool) -> None:
    """Tell of versions by artifact."""
    if as_json:
        print_json({"versions": {name: list(each) for name, each in versions.items()}})
        return
    for name, each in versions.items():
        out.print(f"{name}: {', '.join(each)} {what}", highlight=False)
    if not versions:
        out.print(_("No version holds them."))
