"""Model cards (after Mitchell et al., 2019), generated from a manifest: Markdown for people, JSON for programs.

A card says nothing that the manifest does not. Text from outside, such as labels, cannot become Markdown or HTML in it.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from spotify_ai_assets.locale import translate as _
from spotify_ai_assets.resources.plots import escape_markdown
from spotify_ai_assets.training.manifests import Manifest, Metric

MARKDOWN, JSON = "card.md", "card.json"
_LONG = 400


def card_files(name: str, manifest: Manifest) -> dict[str, bytes]:
    """Both cards, by file name."""
    document = {"model": name, **manifest.as_json()}
    return {
        MARKDOWN: card_markdown(name, manifest).encode(),
        JSON: (json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode(),
    }


def card_markdown(name: str, manifest: Manifest) -> str:
    """The card for people."""
    return "\n".join(line for section in _sections(name, manifest) for line in [*section, ""]).rstrip() + "\n"


def _sections(name: str, manifest: Manifest) -> Iterable[list[str]]:
    yield [f"# {_text(name)}"]
    if manifest.is_demo:
        yield [
            "> **"
            + _("Tiny demo configuration.")
            + "** "
            + _("Made to show the way, not to be good; its figures say nothing of a full training.")
        ]
    yield [_text(manifest.purpose)]
    yield [f"## {_('Data')}", *_rows([_("What"), ""], _data_rows(manifest))]
    overall = [metric for metric in manifest.metrics if not metric.part]
    parts = [metric for metric in manifest.metrics if metric.part]
    yield [f"## {_('Figures')}", *(_metric_table(overall) if overall else [_("Nothing was measured, so nothing is claimed.")])]
    if parts:
        yield [f"## {_('Slices')}", *_metric_table(parts)]
    yield [f"## {_('Gate')}", *_gate_lines(manifest)]
    yield [f"## {_('Limits')}", *([f"* {_text(limit)}" for limit in manifest.limits] or [_("None were stated.")])]
    yield [f"## {_('Input')}", *_rows([_("What"), ""], _input_rows(manifest))]
    yield [f"## {_('Training')}", *_rows([_("Setting"), _("Value")], _training_rows(manifest))]


def _data_rows(manifest: Manifest) -> list[Sequence[str]]:
    data = manifest.data
    window = f"{data.first} – {data.last}" if data.first and data.last else _("not by days")
    return [
        (_("trained on"), data.description),
        (_("cases"), str(data.cases)),
        (_("window"), window),
        (_("digest"), data.digest or "–"),
        (_("erasures carried out up to"), data.erasure_watermark or _("no personal data in it")),
    ]


def _input_rows(manifest: Manifest) -> list[Sequence[str]]:
    inputs = manifest.inputs
    shape = " x ".join(_("any") if length is None else str(length) for length in inputs.shape)
    return [
        (inputs.name, f"{inputs.dtype}, {shape}; {inputs.meaning}"),
        (_("extractor"), manifest.extractor or _("none")),
        (_("answers"), ", ".join(manifest.labels) or _("numbers")),
    ]


def _training_rows(manifest: Manifest) -> list[Sequence[str]]:
    settings = [(key, json.dumps(value, ensure_ascii=False)) for key, value in sorted(manifest.config.items())]
    packages = ", ".join(f"{package} {version}" for package, version in sorted(manifest.packages.items()))
    return [*settings, (_("seeds"), ", ".join(map(str, manifest.seeds)) or "–"), (_("made with"), packages or "–")]


def _metric_table(metrics: Sequence[Metric]) -> list[str]:
    rows = [
        (
            metric.name + (f": {metric.part}" if metric.part else ""),
            f"{metric.value:.4g}",
            "–" if metric.low is None or metric.high is None else f"{metric.low:.4g} – {metric.high:.4g}",
            "–" if metric.count is None else str(metric.count),
            metric.data or "–",
        )
        for metric in metrics
    ]
    return _rows([_("Figure"), _("Value"), _("95 % interval"), _("Cases"), _("On")], rows)


def _gate_lines(manifest: Manifest) -> list[str]:
    if manifest.gate is None:
        return [_("No gate has judged it; it cannot be promoted.")]
    verdict = _("passed") if manifest.gate.passed else _("failed")
    rows: list[Sequence[Any]] = [
        (check.name, "–" if check.value is None else f"{check.value:.4g}", check.needed, _("yes") if check.passed else _("no"))
        for check in manifest.gate.checks
    ]
    return [f"{_text(manifest.gate.gate)}: {verdict}", "", *_rows([_("Check"), _("Value"), _("Needed"), _("Passed")], rows)]


def _rows(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [headings, ["---"] * len(headings), *([_text(cell) for cell in row] for row in rows)]
    return [f"| {' | '.join(line)} |" for line in lines]


def _text(text: str) -> str:
    return escape_markdown(text, _LONG)
