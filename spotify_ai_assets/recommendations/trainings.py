"""How the recommender comes to be: the rehearsal of its recipe, and the fit of the winner on everything."""

import hashlib
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from spotify_ai_assets.errors import MissingInputError
from spotify_ai_assets.locale import translate as _
from spotify_ai_assets.making import Inputs
from spotify_ai_assets.recommendations.contracts import EVALUATION, MODEL
from spotify_ai_assets.recommendations.interactions import PARTS, Histories, make_histories
from spotify_ai_assets.recommendations.manifests import ITEMS
from spotify_ai_assets.recommendations.rehearsal import CHALLENGER, SEED, Knowledge, rehearse
from spotify_ai_assets.recommendations.workshop import Workshop
from spotify_ai_assets.training.gates import GateResult
from spotify_ai_assets.training.manifests import DataWindow, Manifest, Metric, installed_packages
from spotify_ai_assets.training.workplace import if_enough

if TYPE_CHECKING:
    from spotify_ai_assets.recommendations.content import Content

RECIPE = "recommendations/recipe"
"""The artifact that keeps each rehearsed recipe with what its gate said."""

_TRIALS = {"full": 24, "demo": 3}
_HELD, _SHOWN = "winner", ("recall", "ndcg", "coverage", "novelty", "popularity_bias")
_LOG = logging.getLogger(__name__)
_PACKAGES = ("numpy", "scipy", "implicit", "numba", "torch")


def rehearse_recipes(read: Inputs, workshop: Workshop) -> pl.DataFrame:
    """Tune a recipe, measure it beside the baselines and the champion's, and keep it with what its gate said.

    Returns:
        Rows of ``recommendations/evaluation``; none where too few listeners come back to say anything.
    """
    from spotify_ai_assets.recommendations.models.recipes import Recipe

    interactions = read("recommendations/interactions").collect()
    champion = workshop.champion(MODEL.key)
    with workshop.tracked(EVALUATION.key) as run:
        trials = _TRIALS[workshop.settings.model_size]
        run.log_parameters({"trials": trials, "seed": SEED, "interactions": interactions.height})
        try:
            found = rehearse(
                interactions,
                know(read, interactions),
                Recipe.from_json(champion.manifest.config["recipe"]) if champion else None,
                champion.version if champion else None,
                trials=trials,
                is_thorough=workshop.settings.model_size == "full",
                store=workshop.scratch / "search.db",
                watch=workshop.tell,
            )
        except MissingInputError as error:
            _LOG.warning("%s: nothing was rehearsed: %s", EVALUATION.key, error)
            return EVALUATION.empty()
        facts = {
            "recipe": found.challenger.as_json(),
            _HELD: found.winner.as_json(),
            "gate": found.gate.as_json(),
            "earnings": list(found.earnings),
            "skipped": dict(found.skipped),
            "trials": found.trials,
        }
        evidence = found.rows.write_json().encode()
        kept = workshop.artifacts.publish(RECIPE, {"evaluation.json": evidence}, facts, workshop.origin(run))
        said = found.rows.filter(pl.col("recipe") == CHALLENGER, pl.col("slice") == "", pl.col("metric").is_in(_SHOWN)).drop_nulls("value")
        run.log_metrics({f"{table}/{metric}": value for table, metric, value in said.select("table", "metric", "value").iter_rows()})
    is_challenger = pl.col("recipe") == CHALLENGER
    rows = found.rows.with_columns(recipe_version=pl.when(is_challenger).then(pl.lit(kept.version)).otherwise("recipe_version"))
    return rows.select(*EVALUATION.schema).sort(EVALUATION.primary_key)


def kept_recipe(workshop: Workshop, evaluation: pl.DataFrame) -> Mapping[str, Any]:
    """What was kept of the recipe that an evaluation tells of: ``recipe``, ``winner``, ``gate`` and ``trials``.

    Raises:
        MissingInputError: It tells of none.
    """
    versions = evaluation.filter(pl.col("recipe") == CHALLENGER)["recipe_version"].unique()
    if len(versions) != 1:
        raise MissingInputError("no recipe was rehearsed")
    return workshop.artifacts.describe(RECIPE, versions.item()).facts


@if_enough
def fit_winner(read: Inputs, workshop: Workshop) -> pl.DataFrame:
    """Fit the recipe that won on all interactions, keep it and let it serve.

    Returns:
        Rows of ``recommendations/model``.
    """
    from spotify_ai_assets.recommendations.models.recipes import Recipe, fit_recipe, pack
    from spotify_ai_assets.training.adapters.contract import InputContract

    evaluation = read("recommendations/evaluation").collect()
    kept = kept_recipe(workshop, evaluation)
    recipe = Recipe.from_json(kept[_HELD])
    interactions = read("recommendations/interactions").collect()
    histories = make_histories(interactions, PARTS)
    with workshop.tracked(MODEL.key) as run:
        run.log_parameters({"recipe": recipe.digest, "listeners": len(histories.listeners), "tracks": len(histories.items)})
        members = sum(weight > 0 for weight in recipe.weights.values())
        fitted: list[str] = []

        def told(name: str) -> None:
            fitted.append(name)
            workshop.tell(_("members of the recommender"), len(fitted), members)

        model = fit_recipe(recipe, histories.matrix, know(read, interactions)(histories), told)
        config, _arrays = model.parts()
        held_by = CHALLENGER if recipe.as_json() == kept["recipe"] else "champion"
        manifest = Manifest(
            purpose="What somebody may like, by what they played.",
            kind="own",
            make={
                "class": "spotify_ai_assets.recommendations.models.answering:Answering",
                "config": {"kind": model.name, "config": config},
            },
            inputs=InputContract("histories", (None, len(histories.items)), "float32", "ln(1 + value) of plays by track; 0 for none"),
            extractor="",
            data=_window(interactions, histories),
            config={"recipe": recipe.as_json(), "recipe_digest": recipe.digest},
            seeds=(SEED,),
            metrics=tuple(_metrics(evaluation, held_by)),
            limits=(
                "Knows tracks by who played them: one that nobody played is placed by its text and sound alone.",
                "Learns what was played, and so what was offered before.",
            ),
            # The champion's recipe has passed its gate before; against itself there is nothing to compare.
            gate=GateResult.from_json(kept["gate"]) if held_by == CHALLENGER else _standing(workshop),
            is_demo=workshop.settings.model_size == "demo",
            packages=installed_packages(*_PACKAGES),
        )
        return workshop.serve(run, MODEL.key, {**pack(model), ITEMS: _items(histories)}, manifest)


def know(read: Inputs, interactions: pl.DataFrame) -> Knowledge:
    """What models may know of histories: countries, ages, artists, and what tracks read and sound like; read once."""
    from spotify_ai_assets.recommendations.models.contract import Facts

    describe = describer(read)
    tracks = interactions.select("track_id", "artist_id").unique("track_id", keep="first", maintain_order=True)

    def of(histories: Histories) -> Facts:
        named = pl.DataFrame({"track_id": histories.items}).join(tracks, on="track_id", how="left", maintain_order="left")
        return Facts(
            countries=histories.countries.tolist(),
            ages=histories.ages,
            artists=named["artist_id"].rank("dense").cast(pl.Int32).to_numpy() - 1,
            content=describe(histories.items).vectors,
        )

    return of


def describer(read: Inputs) -> "Callable[[np.ndarray], Content]":
    """Tells what tracks read and sound like."""
    from spotify_ai_assets.recommendations.content import content_of

    known = [read(key).collect() for key in ("catalog/text_embeddings", "audio/embeddings", "audio/track_links")]
    return lambda items: content_of(items, *known)


def _standing(workshop: Workshop) -> GateResult | None:
    champion = workshop.champion(MODEL.key)
    return champion.manifest.gate if champion else None


def _window(interactions: pl.DataFrame, histories: Histories) -> DataWindow:
    digest = hashlib.sha256(interactions.hash_rows().to_numpy().tobytes()).hexdigest()[:16]
    first, last = interactions["first_on"].min(), interactions["last_on"].max()
    return DataWindow("listeners and tracks that they like", histories.matrix.nnz, str(first), str(last), digest)


def _metrics(evaluation: pl.DataFrame, recipe: str) -> list[Metric]:
    rows = evaluation.filter(pl.col("recipe") == recipe, pl.col("slice") == "").drop_nulls("value")
    return [
        Metric(f"{row['metric']}_at_{row['k']}", row["value"], row["low"], row["high"], row["cases"], "test window", row["table"])
        for row in rows.iter_rows(named=True)
    ]


def _items(histories: Histories) -> bytes:
    import io

    written = io.BytesIO()
    pl.DataFrame({"track_id": histories.items}, schema={"track_id": pl.String}).write_parquet(written)
    return written.getvalue()


def show_evaluation(workshop: Workshop, rows: pl.LazyFrame) -> dict[str, str]:
    """The table of recipes against the baselines, and what the gate said, as Markdown."""
    found = rows.filter(pl.col("slice") == "", pl.col("metric").is_in(_SHOWN)).collect()
    if found.is_empty():
        return {}
    kept = kept_recipe(workshop, rows.collect())
    gate = GateResult.from_json(kept["gate"])
    checks = [f"| {'✓' if check.passed else '✗'} | {check.name} | {_number(check.value)} | {check.needed} |" for check in gate.checks]
    earned = [
        f"| {each['member']} | " + " | ".join(_number(each[name]) for name in ("weight", "alone", "gain", "gain_low")) + " |"
        for each in kept["earnings"]
    ]
    skipped = [f"| {name} | – | {why} | | |" for name, why in kept["skipped"].items()]
    titles = (_("member"), _("weight"), _("NDCG alone"), _("NDCG that it adds"), _("lower end"))
    return {
        "recipes": "\n\n".join(_table(found.filter(pl.col("table") == table), table) for table in found["table"].unique().sort()),
        "gate": "\n".join([f"| | {_('check')} | {_('figure')} | {_('needed')} |", "|---|---|---|---|", *checks]),
        "blend": "\n".join([f"| {' | '.join(titles)} |", "|---|---|---|---|---|", *earned, *skipped]),
    }


def _table(rows: pl.DataFrame, title: str) -> str:
    wide = rows.pivot("metric", index="recipe", values="value").sort("ndcg", descending=True)
    columns = [name for name in _SHOWN if name in wide.columns]
    lines = [f"| {row['recipe']} | " + " | ".join(_number(row[name]) for name in columns) + " |" for row in wide.iter_rows(named=True)]
    return "\n".join([f"**{title}**", "", f"| {_('recipe')} | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|", *lines])


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"
