"""``spotify-ai models``: which models there are, who serves, promotion and rollback.

Promotion and rollback are the jobs that the UI has too, run in this process on the same instance.
"""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from spotify_ai_assets.locale import translate as _
from spotify_ai_assets.settings import Settings
from spotify_ai_assets.terminal import Json, failing_in_words, harmless, make_table, open_platform, out, print_json, show_progress

if TYPE_CHECKING:
    from spotify_ai_assets.training.registry import Entry, Registry

models = typer.Typer(help=_("Trained models: their versions, which of them serves, promotion and rollback."), no_args_is_help=True)

Model = Annotated[str, typer.Argument(help=_("The model, such as audio/sound_model."))]


@models.command("list", help=_("List all versions of all models, or of one; with --history what happened to them."))
def list_models(
    model: Annotated[str | None, typer.Argument(help=_("One model; all unless given."))] = None,
    history: Annotated[bool, typer.Option("--history", help=_("What happened: added, promoted, refused, rolled back."))] = False,
    as_json: Json = False,
) -> None:
    """List versions, or what happened to them."""
    from spotify_ai_assets.training.registry import open_registry

    with failing_in_words():
        registry = open_registry(Settings.from_environment())
        names = [model] if model else registry.names()
        if as_json:
            print_json({"models": [_as_json(registry, name, history) for name in names]})
        elif history:
            _print_history(registry, names)
        else:
            _print_versions(registry, names)


@models.command("train", help=_("Train a model, or all of them, on what is there; each serves only if its gate lets it."))
def train(model: Annotated[str | None, typer.Argument(help=_("One model; all unless given."))] = None, as_json: Json = False) -> None:
    """Train models by the job of the UI and the schedule."""
    from spotify_ai_assets.audio.studio import Studio
    from spotify_ai_assets.audio_runs import train_models
    from spotify_ai_assets.recommendation_runs import RECOMMENDER, train_recommender
    from spotify_ai_assets.recommendations.workshop import Workshop

    settings = Settings.from_environment()
    with open_platform() as (instance, lake), show_progress(as_json, _("Training")) as advance:
        if model != RECOMMENDER:
            train_models(instance, lake, Studio(settings, watch=advance), model)
        if model in (None, RECOMMENDER):
            train_recommender(instance, lake, Workshop(settings, watch=advance))
    list_models(model, as_json=as_json)


@models.command("promote", help=_("Make a version the champion, if its gate lets it; a refusal is recorded."))
def promote(
    model: Model,
    version: Annotated[str, typer.Argument(help=_("A version or an alias."))] = "challenger",
    as_json: Json = False,
) -> None:
    """Promote a version by the job of that name."""
    from spotify_ai_assets.training.jobs import run_promotion

    with open_platform() as (instance, lake):
        _tell(model, run_promotion(instance, lake, Settings.from_environment(), model, version), as_json)


@models.command("rollback", help=_("Make the champion before the champion again."))
def rollback(model: Model, as_json: Json = False) -> None:
    """Restore the previous champion by the job of that name."""
    from spotify_ai_assets.training.jobs import run_rollback

    with open_platform() as (instance, lake):
        _tell(model, run_rollback(instance, lake, Settings.from_environment(), model), as_json)


def _tell(model: str, run: str, as_json: bool) -> None:
    """Tell who serves now."""
    from spotify_ai_assets.training.registry import open_registry

    entry = open_registry(Settings.from_environment()).entry(model)
    if as_json:
        print_json({"model": entry.name, "champion": entry.version, "run": run})
    else:
        out.print(_("{model}: the champion is {version}").format(model=entry.name, version=entry.version), highlight=False)


def _as_json(registry: "Registry", name: str, history: bool) -> dict[str, Any]:
    found: dict[str, Any] = {"model": name, "versions": [_described(entry) for entry in registry.entries(name)]}
    return {**found, "history": registry.history(name)} if history else found


def _described(entry: "Entry") -> dict[str, Any]:
    manifest = entry.manifest
    return {
        "version": entry.version,
        "aliases": list(entry.aliases),
        "created_at": entry.created_at,
        "kind": manifest.kind,
        "is_demo": manifest.is_demo,
        "extractor": manifest.extractor,
        "metrics": [
            {"name": each.name, "value": each.value, "low": each.low, "high": each.high} for each in manifest.metrics if not each.part
        ],
        "gate": manifest.gate.as_json() if manifest.gate else None,
        "origin": dict(entry.origin),
    }


def _print_versions(registry: "Registry", names: list[str]) -> None:
    table = make_table(_("Model"), _("Version"), _("Alias"), _("Made"), _("Gate"), _("Figures"))
    for name in names:
        for entry in registry.entries(name):
            gate = entry.manifest.gate
            verdict = "–" if gate is None else _("passed") if gate.passed else _("failed")
            figures = [f"{each.name} {each.value:.3g}" for each in entry.manifest.metrics if not each.part][:3]
            demo = [_("demo")] if entry.manifest.is_demo else []
            table.add_row(
                name, entry.version, "\n".join(entry.aliases), entry.created_at[:16], verdict, harmless("\n".join([*figures, *demo]))
            )
    out.print(table if table.row_count else _("No model has been trained yet."))


def _print_history(registry: "Registry", names: list[str]) -> None:
    from spotify_ai_assets.training.gates import GateResult

    words = {
        "added": _("added"),
        "promoted": _("promoted"),
        "refused": _("refused"),
        "rolled back": _("rolled back"),
        "removed": _("removed"),
    }
    table = make_table(_("When"), _("Model"), _("What"), _("Version"), _("Before"), _("Why"))
    for name in names:
        for event in registry.history(name):
            gate = GateResult.from_json(event["gate"]) if "gate" in event else None
            why = "\n".join(gate.failed) or gate.gate if gate else ""
            table.add_row(
                event["at"][:19],
                name,
                words.get(event["event"], event["event"]),
                event["version"],
                event.get("before") or "",
                harmless(why),
            )
    out.print(table if table.row_count else _("No model has been trained yet."))
