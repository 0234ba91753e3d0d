"""The figures of a page as files for machines: JSON by a published schema, and CSV for spreadsheets.

Both say the same in every language. The schemas lie in ``schemas/``, one per report, and are copied next to the pages. A name is
data here as well: JSON holds it exactly, with every unusual character escaped; in CSV nothing that a spreadsheet would take for
a formula is left at its beginning.
"""

import json
import re
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl

from spotify_ai_assets.reports.pages.frame import Sources

SCHEMAS = Path(__file__).parent / "schemas"
FORMAT = 1
"""Version of the JSON documents; another major one would break their readers."""

_HEAD = 512
_K = re.compile(rb'\{\s*"format": \d+,\s*"report": "[a-z_/]+",\s*"day": "[0-9-]+",\s*"k_anonymity": (\d{1,9}),')
"""How a document begins: what comes before its first name."""

_FORMULA = r"^[\s\p{Cf}]*[=+\-@＝＋－＠|%]"
_CONTROL = r"^[\t\r\n]"
_UNPRINTED = r"[\p{Cc}\u202A-\u202E\u2066-\u2069]"


def schema_path(key: str) -> Path:
    """The JSON Schema of a report's documents."""
    return SCHEMAS / f"{key.partition('/')[2]}.json"


def write_json(key: str, figures: pl.DataFrame, day: date, sources: Sources, k: int = 1) -> str:
    """The figures of a day with where they come from, as a JSON document that ``schemas/`` describes.

    Args:
        key: The report's table.
        figures: Its rows of the day.
        day: The day.
        sources: The partitions behind them.
        k: Of how many listeners they tell something, at least.
    """
    document: dict[str, Any] = {
        "format": FORMAT,
        "report": key,
        "day": day.isoformat(),
        "k_anonymity": k,
        "sources": [
            {
                "asset": part.asset,
                "partition": part.partition,
                "run_id": part.run_id,
                "run_url": part.link,
                "code_version": part.code_version,
                "digest": part.digest,
            }
            for parts in sources.values()
            for part in parts
        ],
        "figures": figures.drop("day").to_dicts(),
    }
    # One row a line: differences between two documents can be read.
    rows = ",\n".join(json.dumps(row, allow_nan=False) for row in document.pop("figures"))
    return json.dumps(document, indent=1, allow_nan=False)[:-2] + f',\n "figures": [\n{rows}\n]\n}}\n'


def read_json(text: str) -> list[dict[str, Any]]:
    """The figures of such a document, one per row, without their day."""
    return json.loads(text)["figures"]


def read_k(path: Path) -> int:
    """Of how many listeners a document tells something, at least; 0 where it does not say so, or is none."""
    try:
        with path.open("rb") as file:
            told = _K.match(file.read(_HEAD))
    except FileNotFoundError:
        return 0
    return int(told[1]) if told else 0


def write_csv(figures: pl.DataFrame) -> str:
    """The figures as CSV, each cell in quotes, no cell a formula.

    By the advice of OWASP on CSV injection a text that begins like a formula gets an apostrophe before it; control characters
    and turns of direction are left out.
    """
    cells = []
    for name in figures.select(pl.col(pl.String)).columns:
        text = pl.col(name).str.replace_all(_UNPRINTED, "")
        is_formula = text.str.contains(_FORMULA) | pl.col(name).str.contains(_CONTROL)
        cells.append(pl.when(is_formula).then(pl.concat_str(pl.lit("'"), text)).otherwise(text).alias(name))
    return figures.with_columns(cells).write_csv(quote_style="always", line_terminator="\r\n")
