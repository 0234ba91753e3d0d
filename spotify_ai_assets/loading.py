"""From contracts and domain packages to Dagster: what a declaration becomes, and how a domain is collected.

``made_table`` makes an asset of a function, ``filled_table`` of a step of its own that fills a table from outside the lake,
``landed_table`` declares one that intake fills; ``load_domain`` collects what a domain's ``assets``, ``checks`` and ``jobs``
modules declare. Nobody registers anything anywhere.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from importlib import import_module, util
from typing import Any, NamedTuple, cast

import dagster as dg
import polars as pl
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition  # what define_asset_job gives

from spotify_ai_assets.contracts import Partition, Table, name_of
from spotify_ai_assets.errors import TransientError
from spotify_ai_assets.locale import translate
from spotify_ai_assets.making import Inputs, Made, make_partitions
from spotify_ai_assets.partitions import partitions_definition
from spotify_ai_assets.resources.costs import Meter
from spotify_ai_assets.resources.lake import Lake, State
from spotify_ai_assets.resources.plots import Plot, plot_markdown, preview_markdown
from spotify_ai_assets.runs import ONLY_STALE, claim
from spotify_ai_assets.settings import Settings
from spotify_ai_assets.staleness import Ledger

CONTRACT_CHECK = "contract"
KINDS = {"polars", "deltalake"}
TRAININGS = "trainings"
"""The pool of all assets that train: one at a time."""
Picture = Callable[[pl.LazyFrame], Plot]
"""Gives the plot of one partition from its public rows."""
Afterwards = Callable[[Lake, Settings, list[Any], list[Any]], None]
"""Told the partitions that were made, and all of the run."""
Present = Callable[..., Mapping[str, str | float]]
"""Gives metadata from the tools, if there are any, and the rows of a partition; texts are Markdown."""


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


def made_table(
    table: Table,
    *,
    picture: Picture | None = None,
    public: pl.Expr | None = None,
    afterwards: Afterwards | None = None,
    tools: str | None = None,
    present: Present | None = None,
    kinds: Iterable[str] = (),
    **options: Any,
) -> Callable[[Callable[..., pl.DataFrame]], dg.AssetsDefinition]:
    """Make an asset of a function from inputs to rows: daily, sharded or whole, as its contract says.

    The asset makes the run's partitions in one step; what is refused is told by its ``contract`` check and fails the step after
    every other partition was made. What waits for an input that was never made is told in the log and left alone.

    Args:
        table: The contract: key, columns, inputs and owner of the asset.
        picture: The plot shown with the last partition of a run.
        public: Which rows may be shown; all of them, in their public columns, unless given.
        afterwards: Called when the partitions are committed, for what is made of them outside the lake.
        tools: A resource that the function needs beside its inputs, its second argument: a model registry, a pool of processes. Its
            ``at(context)`` gives what the step works with.
        present: Gives more metadata for the last partition of a run, from its rows and the tools: pictures, links.
        kinds: What the asset is made with, beside the lake and polars.
        options: Further arguments of ``dg.asset``, such as a freshness policy.
    """

    def declare(make: Callable[..., pl.DataFrame]) -> dg.AssetsDefinition:
        @dg.asset(
            key=asset_key(table),
            deps=list(dict.fromkeys(dg.AssetKey(reads.key.split("/")) for reads in table.reads if reads.key != table.key)),
            partitions_def=partitions_definition(table),
            backfill_policy=dg.BackfillPolicy.single_run() if table.partitioned_by else None,
            pool=TRAININGS if table.is_model else table.key.replace("/", "_"),
            check_specs=[contract_check(table)],
            required_resource_keys={"lake", "settings", *([tools] if tools else [])},
            # What waits for an input is not recorded as made.
            output_required=not any(reads.awaited for reads in table.reads),
            **describe_asset(table, make, kinds),
            **options,
        )
        def made(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
            yield from _materialise(context, table, make, tools, afterwards, _Show(picture, public, present))

        return cast("dg.AssetsDefinition", made)

    return declare


class _Show(NamedTuple):
    """What is shown of the last partition of a run."""

    picture: Picture | None = None
    public: pl.Expr | None = None
    present: Present | None = None


def filled_table(table: Table, *, kinds: Iterable[str] = (), **options: Any) -> Callable[[Callable[..., None]], dg.AssetsDefinition]:
    """Make an asset of a step of its own that fills a table from outside the lake.

    Args:
        table: The contract: key and columns of the asset.
        kinds: What the asset is made with, beside the lake and polars.
        options: Further arguments of ``dg.asset``, such as the resources of the step.
    """

    def declare(fill: Callable[..., None]) -> dg.AssetsDefinition:
        asset = dg.asset(
            key=asset_key(table),
            partitions_def=partitions_definition(table),
            backfill_policy=dg.BackfillPolicy.single_run() if table.partitioned_by else None,
            pool=table.key.replace("/", "_"),
            **describe_asset(table, fill, kinds),
            **options,
        )
        return cast("dg.AssetsDefinition", asset(fill))

    return declare


def landed_table(table: Table) -> Callable[[Callable[[], None]], dg.AssetSpec]:
    """Declare an asset that intake fills; the function is there for its docstring, the asset's description."""

    def declare(described: Callable[[], None]) -> dg.AssetSpec:
        return dg.AssetSpec(asset_key(table), partitions_def=partitions_definition(table), **describe_asset(table, described))

    return declare


def contract_check(table: Table) -> dg.AssetCheckSpec:
    """The blocking check that every asset with a contract has."""
    return dg.AssetCheckSpec(
        CONTRACT_CHECK,
        asset=asset_key(table),
        blocking=True,
        description=translate("Columns, types, keys and values are as the table's contract declares them."),
    )


def describe_asset(table: Table, described: Callable[..., Any], kinds: Iterable[str] = ()) -> dict[str, Any]:
    """What the UI tells of an asset: from its contract, and its description from a docstring."""
    metadata: dict[str, Any] = {
        "dagster/column_schema": dg.TableSchema([_column(column) for column in table.columns]),
        "primary_key": ", ".join(table.primary_key),
        "retention": f"{table.retention_days} d" if table.retention_days else "unlimited",
    }
    classes = {column.personal for column in table.columns}
    return {
        "description": describe(described),
        "group_name": table.domain,
        "owners": [table.owner],
        "tags": {"personal_data": next(each for each in ("pseudonym", "derived", "none") if each in classes)},
        "kinds": {*KINDS, *kinds},
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
    make: Callable[..., pl.DataFrame],
    tools: str | None,
    afterwards: Afterwards | None,
    show: _Show,
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    lake: Lake = context.resources.lake
    only_stale = ONLY_STALE in context.run.tags
    needed = (getattr(context.resources, tools).at(context),) if tools else ()
    partitions: list[Partition] = [table.partition(name) for name in context.partition_keys] if table.partitioned_by else [None]
    made: list[Made] = []

    def from_inputs(inputs: Inputs) -> pl.DataFrame:
        return make(inputs, *needed)

    try:
        with Meter() as meter:
            for each in make_partitions(table, from_inputs, partitions, lake, Ledger(lake.states), claim(context), only_stale=only_stale):
                made.append(each)
                _tell(context, table, each, len(made), len(partitions))
    except TransientError as error:
        raise dg.RetryRequested(max_retries=3, seconds_to_wait=2) from error
    if afterwards:
        afterwards(lake, context.resources.settings, [each.partition for each in made if each.written], partitions)
    refused = {name_of(each.partition) or table.key: each.reason for each in made if each.reason}
    yield dg.AssetCheckResult(
        check_name=CONTRACT_CHECK,
        passed=not refused,
        metadata={
            "partitions": len(made),
            "made": sum(each.written is not None for each in made),
            "rows": sum(each.written.state.rows for each in made if each.written),
            **meter.figures(),
            **({"refused": dg.MetadataValue.json(dict(list(refused.items())[:10]))} if refused else {}),
        },
    )
    if refused:
        raise dg.Failure(f"{len(refused)} of {len(made)} partitions refused", metadata={"refused": refused}, allow_retries=False)
    if not all(each.waits_for for each in made):
        _describe(context, table, lake, partitions, show._replace(present=partial(show.present, *needed) if show.present else None))
        yield dg.MaterializeResult()


def _tell(context: dg.AssetExecutionContext, table: Table, made: Made, done: int, total: int) -> None:
    """A log line for what was refused or waits, and for each other partition; of a long range only for every tenth part."""
    if made.reason:
        context.log.error(f"{name_of(made.partition) or table.key} refused: {made.reason}")
    elif made.waits_for and done == 1:
        context.log.info(f"{table.key}: not made, since it waits for {', '.join(made.waits_for)}")
    elif done % max(total // 10, 1) == 0:
        context.log.info(f"{table.key}: {done} of {total} partitions")


def _describe(context: dg.AssetExecutionContext, table: Table, lake: Lake, partitions: list[Partition], show: _Show) -> None:
    """Metadata of each partition; preview and plot on the last only, since an instance keeps them all."""
    known = lake.states(table.key)
    states = {name: known[name] for name in sorted(map(name_of, partitions)) if name in known}
    for name, state in states.items():
        metadata = partition_metadata(state)
        if name == max(states):
            metadata |= show_partition(lake, table, state, show.picture, show.public)
            shown = show.present(lake.open(table.key, [state])) if show.present else {}
            metadata |= {what: dg.MetadataValue.md(value) if isinstance(value, str) else value for what, value in shown.items()}
        context.add_asset_metadata(metadata, asset_key=asset_key(table), partition_key=name or None)


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
