"""``spotify-ai experiment``: who gets which variant, whether the counts fit, and what logs of shelves say of two recommenders."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spotify_ai_assets.locale import translate as _
from spotify_ai_assets.terminal import Json, failing_in_words, harmless, make_table, out, print_json

if TYPE_CHECKING:
    from spotify_ai_assets.training.metrics import Interval

experiment = typer.Typer(help=_("Compare recommenders: variants, interleaved shelves, estimates from logs."), no_args_is_help=True)

Name = Annotated[str, typer.Argument(help=_("Name of the experiment."))]
Variants = Annotated[list[str], typer.Option("--variant", help=_("A variant and its share, such as blend=50; once for each."))]
Log = Annotated[Path, typer.Argument(help=_("The log: Parquet, CSV or JSON lines."), exists=True, dir_okay=False)]


@experiment.command("assign", help=_("Say which variant units get; nothing is kept, the answer is always the same."))
def assign_units(
    name: Name,
    units: Annotated[list[str], typer.Argument(help=_("Who is assigned, such as pseudonyms of listeners."))],
    variant: Variants,
    as_json: Json = False,
) -> None:
    """Say which variant units get."""
    from spotify_ai_assets.recommendations.experiments.assignment import assign

    shares = _read_shares(variant)
    assigned = {unit: assign(name, unit, shares) for unit in units}
    if as_json:
        print_json({"experiment": name, "assigned": assigned})
        return
    table = make_table(_("Unit"), _("Variant"))
    for unit, chosen in assigned.items():
        table.add_row(harmless(unit), harmless(chosen))
    out.print(table)


@experiment.command("check", help=_("Check a log of who saw which variant: columns unit and variant."))
def check_exposures(name: Name, log: Log, variant: Variants, as_json: Json = False) -> None:
    """Compare the counts with the shares, and every unit with its variant; ends with status 1 where they do not fit."""
    from spotify_ai_assets.recommendations.experiments.assignment import assign, check_ratio
    from spotify_ai_assets.recommendations.experiments.logs import read_log

    shares = _read_shares(variant)
    with failing_in_words():
        seen = read_log(log, ("unit", "variant")).select("unit", "variant").unique()
    units, chosen = (seen[column].cast(str).to_list() for column in ("unit", "variant"))
    try:
        found = check_ratio(chosen, shares)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="FILE") from error
    strays = sum(assign(name, unit, shares) != had for unit, had in zip(units, chosen, strict=True))
    is_sound = found.fits and not strays
    if as_json:
        document = {"counts": found.counts, "expected": found.expected, "p": found.p, "strays": strays, "is_sound": is_sound}
        print_json({"experiment": name, **document})
    else:
        table = make_table(_("Variant"), _("Units"), _("Expected"))
        for each, count in found.counts.items():
            table.add_row(harmless(each), f"{count:,}", f"{found.expected[each]:,.1f}")
        out.print(table)
        out.print(_("p = {p:.3g}; units with another variant than theirs: {strays}").format(p=found.p, strays=strays), highlight=False)
    if not is_sound:
        raise typer.Exit(1)


@experiment.command("estimate", help=_("Estimate from logged shelves and their propensities what another policy would have earned."))
def estimate_policy(log: Log, as_json: Json = False) -> None:
    """Estimate what another policy would have earned a shelf."""
    from spotify_ai_assets.recommendations.experiments.counterfactual import estimate_log
    from spotify_ai_assets.recommendations.experiments.logs import read_log

    with failing_in_words():
        found = estimate_log(read_log(log, ()))
    figures = {
        "snips": (_("Other policy, self-normalised"), found.snips),
        "ips": (_("Other policy, not normalised"), found.ips),
        "logged": (_("As logged"), found.logged),
        "gain": (_("Gain"), found.gain),
        "mean_weight": (_("Mean weight, 1 by chance alone"), found.mean_weight),
    }
    effective, shelves = float(found.effective_shelves.min()), found.shelves
    if as_json:
        document = {name: _as_json(interval) for name, (_title, interval) in figures.items()}
        print_json({**document, "shelves": shelves, "effective_shelves": effective, "is_covered": found.is_covered})
        return
    table = make_table(_("Reward of a shelf"), _("Value"), _("95 % interval"))
    for title, interval in figures.values():
        table.add_row(title, f"{interval.value:.4f}", f"{interval.low:.4f} – {interval.high:.4f}")
    out.print(table)
    said = _("{shelves:,} shelves count like {effective:,.0f} of equal weight.").format(shelves=shelves, effective=effective)
    out.print(said, highlight=False)
    if not found.is_covered:
        out.print(_("The log lacks shelves that the other policy would draw: the estimate does not hold."), style="yellow")


@experiment.command("interleave", help=_("Say from a log of interleaved shelves which ranking listeners prefer."))
def tell_preference(log: Log, as_json: Json = False) -> None:
    """Say which ranking listeners prefer: columns listener_id, team (ours or theirs) and picks."""
    from spotify_ai_assets.recommendations.experiments.interleaving import COLUMNS, prefer_log
    from spotify_ai_assets.recommendations.experiments.logs import read_log

    with failing_in_words():
        shelves = read_log(log, COLUMNS)
    try:
        found = prefer_log(shelves)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="FILE") from error
    share = _as_json(found.share) if found.share else None
    if as_json:
        print_json({"ours": found.ours, "theirs": found.theirs, "ties": found.ties, "p": found.p, "share": share, "winner": found.winner})
        return
    table = make_table(_("Ours"), _("Theirs"), _("Ties"), "p", _("Share of ours"), _("Preferred"))
    shown = f"{found.share.value:.3f} ({found.share.low:.3f} – {found.share.high:.3f})" if found.share else "–"
    winner = {"ours": _("ours"), "theirs": _("theirs"), None: _("neither")}[found.winner]
    table.add_row(f"{found.ours:,}", f"{found.theirs:,}", f"{found.ties:,}", f"{found.p:.3g}", shown, winner)
    out.print(table)


def _read_shares(variants: list[str]) -> dict[str, float]:
    """Variants and shares from texts such as ``blend=50``."""
    shares: dict[str, float] = {}
    for each in variants:
        name, _equals, share = each.partition("=")
        try:
            shares[name] = float(share)
        except ValueError:
            raise typer.BadParameter(_("a variant is a name and its share, such as blend=50"), param_hint="--variant") from None
        if not name or not 0 < shares[name] < float("inf"):
            raise typer.BadParameter(_("a variant is a name and its share, such as blend=50"), param_hint="--variant")
    return shares


def _as_json(interval: "Interval") -> dict[str, Any]:
    return {"value": interval.value, "low": interval.low, "high": interval.high}
