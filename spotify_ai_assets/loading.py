"""From contracts and domain packages to Dagster: what a declaration becomes, and how a domain is collected.

``daily_table`` makes an asset of a pure function, ``landed_table`` declares one that intake fills; ``load_domain`` collects
what a domain's ``assets``, ``checks`` and ``jobs`` modules declare. Nobody registers anything anywhere.
"""

import inspect
from collections.abc import Callable, Iterator
from datetime import date
from importlib import import_module, util
from typing import Any, cast

import dagster as dg
import polars as pl
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition  # what define_asset_job gives

from spotify_ai_assets.contracts import Table
from spotify_ai_assets.errors import TransientError
from spotify_ai_assets.locale import translate
from spotify_ai_assets.making import Made, Make, make_days
from spotify_ai_assets.partitions import DAYS
from spotify_ai_assets.resources.lake import Lake, State
from spotify_ai_assets.resources.plots import Plot, plot_markdown, preview_markdown
from spotify_ai_assets.runs import ONLY_STALE, claim
from spotify_ai_assets.settings import Settings
from spotify_ai_assets.staleness import Ledger

CONTRACT_CHECK = "contract"
KINDS = {"polars", "deltalake"}
Picture = Callable[[pl.LazyFrame], Plot]
"""Gives the plot of one partition from its public rows."""
Afterwards = Callable[[Lake, Settings, list[date], list[date]], None]
"""Told the days that were made, and all days of the run."""


def load_domain(name: str) -> dg.Definitions:
    """Everything that a domain package declares.

    Args:
        name: The package, such as ``spotify_ai_assets.listening``.
    """
    modules = {part: import_module(f"{name}.{part}") for part in ("assets", "checks", "jobs") if util.find_spec(f"{name}.{part}")}
    found = [value for module in modules.values() for value in vars(module).values()]
    return dg.Definitions(
        assets=dg.load_assets_from_modules([modules["assets"]], include_specs=True) if "assets" in modules else [],
        asset_checks=dg.load_asset_checks_from_modules([modules["checks"]]) if "checks" in modules else [],
        jobs=_of_kind(found, dg.JobDefinition, UnresolvedAssetJobDefinition),
        schedules=_of_kind(found, dg.ScheduleDefinition),
        sensors=_of_kind(found, dg.SensorDefinition),
    )


def _of_kind(found: list[Any], *kinds: type) -> list[Any]:
    return list({id(value): value for value in found if isinstance(value, kinds)}.values())


def asset_key(table: Table) -> dg.AssetKey:
    """The asset key of a table."""
    return dg.AssetKey(table.key.split("/"))


def describe(function: Callable[..., Any]) -> str:
    """The description of an asset, check or job: its docstring in the language of the settings."""
    return translate(inspect.cleandoc(function.__doc__ or ""))


def sensor(**options: Any) -> Callable[[Callable[..., Any]], dg.SensorDefinition]:
    """``dg.sensor``, running from the start and described by its docstring."""
    return lambda decide: dg.sensor(description=describe(decide), default_status=dg.DefaultSensorStatus.RUNNING, **options)(decide)


def schedule(**options: Any) -> Callable[[Callable[..., Any]], dg.ScheduleDefinition]:
    """``dg.schedule``, running from the start and described by its docstring."""
    return lambda decide: dg.schedule(description=describe(decide), default_status=dg.DefaultScheduleStatus.RUNNING, **options)(decide)


def check(table: Table, **options: Any) -> Callable[[Callable[..., Any]], dg.AssetChecksDefinition]:
    """``dg.asset_check`` on a table's asset, described by its docstring."""
    return lambda look: dg.asset_check(asset=asset_key(table), description=describe(look), **options)(look)


def daily_table(
    table: Table,
    *,
    picture: Picture | None = None,
    public: pl.Expr | None = None,
    afterwards: Afterwards | None = None,
    **options: Any,
) -> Callable[[Make], dg.AssetsDefinition]:
    """Make a daily asset of a pure function from inputs to rows.

    The asset makes the run's days in one step, each day one commit; what is refused is told by its ``contract`` check and
    fails the step after every other day was made.

    Args:
        table: The contract: key, columns, inputs and owner of the asset.
        picture: The plot shown with the newest day of a run.
        public: Which rows may be shown; all of them, in their public columns, unless given.
        afterwards: Called when the days are committed, for what is made of them outside the lake.
        options: Further arguments of ``dg.asset``, such as a freshness policy.
    """

    def declare(make: Make) -> dg.AssetsDefinition:
        @dg.asset(
            key=asset_key(table),
            description=describe(make),
            deps=list(dict.fromkeys(dg.AssetKey(reads.key.split("/")) for reads in table.reads if reads.key != table.key)),
            partitions_def=DAYS,
            backfill_policy=dg.BackfillPolicy.single_run(),
            pool=table.key.replace("/", "_"),
            check_specs=[
                dg.AssetCheckSpec(
                    CONTRACT_CHECK,
                    asset=asset_key(table),
                    blocking=True,
                    description=translate("Columns, types, keys and values are as the table's contract declares them."),
                )
            ],
            required_resource_keys={"lake", "settings"},
            **_common(table),
            **options,
        )
        def made(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
            yield from _materialise(context, table, make, picture, public, afterwards)

        return cast("dg.AssetsDefinition", made)

    return declare


def landed_table(table: Table) -> Callable[[Callable[[], None]], dg.AssetSpec]:
    """Declare an asset that intake fills; the function is there for its docstring, the asset's description."""

    def declare(described: Callable[[], None]) -> dg.AssetSpec:
        return dg.AssetSpec(
            asset_key(table), description=describe(described), partitions_def=DAYS if table.is_daily else None, **_common(table)
        )

    return declare


def _common(table: Table) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "dagster/column_schema": dg.TableSchema([_column(column) for column in table.columns]),
        "primary_key": ", ".join(table.primary_key),
        "retention": f"{table.retention_days} d" if table.retention_days else "unlimited",
    }
    classes = {column.personal for column in table.columns}
    return {
        "group_name": table.domain,
        "owners": [table.owner],
        "tags": {"personal_data": next(each for each in ("pseudonym", "derived", "none") if each in classes)},
        "kinds": KINDS,
        "code_version": table.code_version,
        "metadata": metadata,
    }


def _column(column: Any) -> dg.TableColumn:
    return dg.TableColumn(
        column.name,
        str(column.dtype),
        column.description,
        dg.TableColumnConstraints(nullable=column.nullable),
        tags={} if column.personal == "none" else {"personal_data": column.personal},
    )


def _materialise(
    context: dg.AssetExecutionContext,
    table: Table,
    make: Make,
    picture: Picture | None,
    public: pl.Expr | None,
    afterwards: Afterwards | None,
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    lake: Lake = context.resources.lake
    only_stale = ONLY_STALE in context.run.tags
    days = [date.fromisoformat(name) for name in context.partition_keys]
    made: list[Made] = []
    try:
        for each in make_days(table, make, days, lake, Ledger(lake.states), claim(context), only_stale=only_stale):
            made.append(each)
            _tell(context, table, each, len(made), len(days))
    except TransientError as error:
        raise dg.RetryRequested(max_retries=3, seconds_to_wait=2) from error
    if afterwards:
        afterwards(lake, context.resources.settings, [each.day for each in made if each.written], days)
    refused = {each.day.isoformat(): each.reason for each in made if each.reason}
    yield dg.AssetCheckResult(
        check_name=CONTRACT_CHECK,
        passed=not refused,
        metadata={
            "days": len(made),
            "made": sum(each.written is not None for each in made),
            "rows": sum(each.written.state.rows for each in made if each.written),
            **({"refused": dg.MetadataValue.json(dict(list(refused.items())[:10]))} if refused else {}),
        },
    )
    if refused:
        raise dg.Failure(f"{len(refused)} of {len(made)} days refused", metadata={"refused": refused}, allow_retries=False)
    _describe(context, table, lake, days, picture, public)
    yield dg.MaterializeResult()


def _tell(context: dg.AssetExecutionContext, table: Table, made: Made, done: int, total: int) -> None:
    """A log line for a refused day, and for each other day; of a long range only for every tenth part."""
    if made.reason:
        context.log.error(f"{made.day} refused: {made.reason}")
    elif done % max(total // 10, 1) == 0:
        context.log.info(f"{table.key}: {done} of {total} days")


def _describe(
    context: dg.AssetExecutionContext, table: Table, lake: Lake, days: list[date], picture: Picture | None, public: pl.Expr | None
) -> None:
    """Metadata of each partition; preview and plot on the newest only, since an instance keeps them all."""
    known = lake.states(table.key)
    states = {name: known[name] for name in map(date.isoformat, sorted(days)) if name in known}
    for name, state in states.items():
        metadata = partition_metadata(state)
        if name == max(states):
            metadata |= show_partition(lake, table, state, picture, public)
        context.add_asset_metadata(metadata, asset_key=asset_key(table), partition_key=name)


def show_partition(lake: Lake, table: Table, state: State, picture: Picture | None, public: pl.Expr | None = None) -> dict[str, Any]:
    """A few rows and a plot of a partition, from the rows and columns that anyone may see."""
    rows = lake.open(table.key, [state])
    shown = (rows if public is None else rows.filter(public)).select(table.public_columns)
    found: dict[str, Any] = {"preview": dg.MetadataValue.md(preview_markdown(shown.head(5).collect(), table.public_columns))}
    if picture and state.rows:
        found["plot"] = dg.MetadataValue.md(plot_markdown(*picture(shown)))
    return found


def partition_metadata(state: State) -> dict[str, Any]:
    """What is recorded of a partition: counts and its digest, never a value."""
    return {
        "dagster/partition_row_count": state.rows,
        "bytes": state.size,
        "digest": state.digest[:16],
        "seconds": round(state.seconds, 3),
    }
