"""What the commands share: the open platform, words for failures, progress, tables, JSON."""

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table as RichTable

from spotify_ai_assets.errors import PlatformError
from spotify_ai_assets.locale import translate as _
from spotify_ai_assets.settings import Settings

if TYPE_CHECKING:
    import dagster as dg

    from spotify_ai_assets.resources.lake import Lake

# What is printed comes from data: [a title] is no markup and :a_name: no emoji.
err = Console(stderr=True, markup=False, emoji=False)
out = Console(markup=False, emoji=False)

Json = Annotated[bool, typer.Option("--json", help=_("Print one JSON document."))]


@contextmanager
def open_platform() -> Iterator["tuple[dg.DagsterInstance, Lake]"]:
    """The instance and the lake, after the dead were buried and what they committed was recorded; failures end in words."""
    from spotify_ai_assets.maintenance.jobs import settle_dead_runs
    from spotify_ai_assets.resources import open_lake
    from spotify_ai_assets.runs import open_instance
    from spotify_ai_assets.tables import TABLES

    with failing_in_words(), open_instance() as instance:
        lake = open_lake(Settings.from_environment(), TABLES)
        settle_dead_runs(instance, lake)
        yield instance, lake


@contextmanager
def failing_in_words() -> Iterator[None]:
    """A failure of the platform ends the process with status 1 and one sentence."""
    try:
        yield
    except PlatformError as error:
        err.print(f"{type(error).__name__}: {error}", style="red", highlight=False, soft_wrap=True)
        raise typer.Exit(1) from error


class Advance:
    """Moves a progress bar: a text, and steps done of all where they are known."""

    def __init__(self, progress: Progress | None, title: str) -> None:
        self._progress = progress
        self._task = progress.add_task(title, total=None) if progress else None
        self._title = title

    def __call__(self, text: str, done: int, total: int | None = None) -> None:
        """Show a text, and how far the work is."""
        if self._progress and self._task is not None:
            self._progress.update(self._task, description=f"{self._title} {text}", completed=done, total=total)


@contextmanager
def show_progress(is_quiet: bool, title: str) -> Iterator[Advance]:
    """A progress bar on a terminal; none elsewhere, nor beside ``--json``."""
    if is_quiet or not err.is_terminal:
        yield Advance(None, title)
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True) as progress:
        yield Advance(progress, title)


def make_table(*headings: str) -> RichTable:
    """A table that folds what is too long; the key of a table stays in one piece."""
    table = RichTable()
    for heading in headings:
        table.add_column(heading, overflow="fold", no_wrap=heading == _("Table"))
    return table


def harmless(text: str) -> str:
    """Text from outside without what speaks to a terminal: control characters, and those that turn the direction of text."""
    return re.sub("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", "", text)


def print_json(value: object) -> None:
    """One JSON document on a line of its own."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, default=str) + "\n")
