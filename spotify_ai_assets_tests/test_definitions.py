"""The whole graph: its shape is reviewed as text, each table has its asset, and loading it stays light."""

import ast
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import dagster as dg
import pytest

from spotify_ai_assets.contracts import Column, Table
from spotify_ai_assets.definitions import defs
from spotify_ai_assets.loading import asset_key, describe
from spotify_ai_assets.settings import ROOT
from spotify_ai_assets.tables import DOMAINS, TABLES

SNAPSHOT = Path(__file__).with_name("graph.txt")
UPDATE = "UPDATE_GRAPH"
HEAVY = ("torch", "faiss", "librosa", "sentence_transformers", "mlflow", "pandera", "duckdb", "matplotlib", "sqlalchemy")
GRAPH = defs().resolve_asset_graph()
REPOSITORY = defs().get_repository_def()


def listed(values: Sequence[object]) -> str:
    return ",".join(sorted(map(str, values))) or "-"


def condition_label(node) -> str:
    return node.automation_condition.get_label() if node.automation_condition else "-"


def freshness(key: dg.AssetKey) -> str:
    policy = GRAPH.get(key).freshness_policy
    return f"{policy.deadline_cron}" if isinstance(policy, dg.FreshnessPolicy) and hasattr(policy, "deadline_cron") else "-"


def asset_line(key: dg.AssetKey) -> str:
    node = GRAPH.get(key)
    checks = sorted(GRAPH.get_check_keys_for_assets({key}), key=lambda check: check.name)
    told = {
        "deps": listed([parent.to_user_string() for parent in node.parent_keys]),
        "partitions": "daily" if isinstance(node.partitions_def, dg.DailyPartitionsDefinition) else "-",
        "group": node.group_name,
        "owners": listed(node.owners),
        "kinds": listed(node.kinds),
        "checks": listed([f"{'!' if GRAPH.get(check).blocking else '~'}{check.name}" for check in checks]),
        "pool": listed(node.pools or []),
        "automation": condition_label(node),
        "fresh": freshness(key).replace(" ", "_"),
    }
    return " ".join([f"asset {key.to_user_string()}", *(f"{name}={value}" for name, value in told.items())])


def graph_text() -> str:
    """One line per asset, job, schedule and sensor."""
    lines = [asset_line(key) for key in sorted(GRAPH.get_all_asset_keys())]
    for job in sorted(REPOSITORY.get_all_jobs(), key=lambda job: job.name):
        if not job.name.startswith("__"):
            nodes = [job.asset_layer.asset_graph.get(key) for key in job.asset_layer.asset_graph.get_all_asset_keys()]
            made = [node.key.to_user_string() for node in nodes if node.is_executable]
            lines.append(f"job {job.name} assets={listed(made)} checks={len(job.asset_layer.asset_graph.asset_check_keys)}")
    for each in sorted(REPOSITORY.schedule_defs, key=lambda each: each.name):
        lines.append(
            f"schedule {each.name} job={each.job_name} cron={each.cron_schedule} {each.execution_timezone} {each.default_status.value}"
        )
    for each in sorted(REPOSITORY.sensor_defs, key=lambda each: each.name):
        targets = "-" if isinstance(each, dg.AutomationConditionSensorDefinition) else listed([target.job_name for target in each.targets])
        lines.append(f"sensor {each.name} job={targets} every={each.minimum_interval_seconds}s {each.default_status.value}")
    return "\n".join(lines) + "\n"


def lonely_tables(tables: Sequence[Table], keys: set[dg.AssetKey]) -> tuple[set[str], set[str]]:
    """Tables without an asset, and assets without a table."""
    declared = {asset_key(table) for table in tables}
    return {key.to_user_string() for key in declared - keys}, {key.to_user_string() for key in keys - declared}


def ruff(code: str, tmp_path: Path, place: str) -> str:
    """What ruff says of a file at a place of the project, under the project's own configuration."""
    return subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--no-cache", "--output-format=concise", f"--stdin-filename={ROOT / place}", "-"],
        input=code,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "NO_COLOR": "1"},
    ).stdout


def imported(path: Path) -> set[str]:
    """The top-level names of all modules that a file imports."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return {name.partition(".")[0] for name in plain | {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}}


def test_the_graph_is_the_one_that_was_reviewed() -> None:
    text = graph_text()
    if os.environ.get(UPDATE):
        SNAPSHOT.write_text(text)
    assert text.splitlines() == SNAPSHOT.read_text().splitlines(), f"if the change is meant: {UPDATE}=1 pytest {Path(__file__).name}"


@pytest.mark.parametrize("key", sorted(GRAPH.get_all_asset_keys()), ids=lambda key: key.to_user_string())
def test_every_asset_says_what_it_is(key: dg.AssetKey) -> None:
    node = GRAPH.get(key)
    schema = node.metadata["dagster/column_schema"]
    assert isinstance(schema, dg.TableSchema)
    assert node.owners
    assert {"polars", "deltalake"} <= node.kinds
    assert node.description
    assert len(node.description) > 40
    assert node.group_name == key.path[0]
    assert key.path[0] in DOMAINS
    assert node.code_version
    assert [column.name for column in schema.columns] == [column.name for column in TABLES["/".join(key.path)].columns]
    assert all(column.description for column in schema.columns)
    assert GRAPH.get_check_keys_for_assets({key})


@pytest.mark.parametrize("kind", ["jobs", "sensors", "schedules", "checks"])
def test_everything_else_has_a_description(kind: str) -> None:
    found: dict[str, str | None] = {
        "jobs": {job.name: job.description for job in REPOSITORY.get_all_jobs() if not job.name.startswith("__")},
        "sensors": {each.name: each.description for each in REPOSITORY.sensor_defs},
        "schedules": {each.name: each.description for each in REPOSITORY.schedule_defs},
        "checks": {f"{key.asset_key}:{key.name}": GRAPH.get_check_spec(key).description for key in GRAPH.asset_check_keys},
    }[kind]
    assert found
    assert [name for name, text in found.items() if not text] == []


def test_every_table_has_an_asset_and_every_asset_a_table() -> None:
    assert lonely_tables(list(TABLES.values()), set(GRAPH.get_all_asset_keys())) == (set(), set())


def test_an_asset_without_a_contract_is_found() -> None:
    nobody = Table("listening/nobody", (Column("name", str, "A name."),), ("name",), "team:x", partitioned_by=None)
    keys = {*GRAPH.get_all_asset_keys(), dg.AssetKey(["listening", "stray"])}
    assert lonely_tables([*TABLES.values(), nobody], keys) == ({"listening/nobody"}, {"listening/stray"})


def test_no_two_tables_share_a_pool_but_those_that_train() -> None:
    pools = {key.to_user_string(): list(GRAPH.get(key).pools or ()) for key in GRAPH.get_all_asset_keys()}
    by_own_steps = ("audio/files", "maintenance/health")
    made = {table.key: table for table in TABLES.values() if table.reads or table.key in by_own_steps}
    assert {key: found for key, found in pools.items() if found} == {
        key: ["trainings" if table.is_model else key.replace("/", "_")] for key, table in made.items()
    }


def test_loading_the_graph_imports_nothing_heavy() -> None:
    code = (
        "import sys; from spotify_ai_assets.definitions import defs; defs().get_repository_def().load_all_definitions();"
        f"print(*sorted(set(sys.modules) & set({HEAVY!r})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_an_indented_docstring_is_a_description_without_its_indentation() -> None:
    def thing() -> None:
        """One.

        - two
        """

    assert describe(thing) == "One.\n\n- two"


def test_ruff_keeps_dagster_out_of_pure_modules(tmp_path: Path) -> None:
    code = '"""M."""\n\nimport dagster as dg\n\nkeep = dg\n'
    assert "TID251" in ruff(code, tmp_path, "spotify_ai_assets/listening/pure.py")
    assert "TID251" not in ruff(code, tmp_path, "spotify_ai_assets/listening/assets.py")


@pytest.mark.parametrize("name", HEAVY)
def test_ruff_keeps_heavy_imports_inside_functions(name: str, tmp_path: Path) -> None:
    at_top = f'"""M."""\n\nimport {name}\n\nkeep = {name}\n'
    inside = f'"""M."""\n\n\ndef look() -> object:\n    """Look."""\n    import {name}\n\n    return {name}\n'
    for place in ("spotify_ai_assets/listening/pure.py", "spotify_ai_assets/listening/assets.py", "spotify_ai_assets/resources/thing.py"):
        assert "TID253" in ruff(at_top, tmp_path, place)
        assert "TID253" not in ruff(inside, tmp_path, place)


@pytest.mark.parametrize("name", ["pickle", "joblib", "dill"])
def test_ruff_bans_pickle(name: str, tmp_path: Path) -> None:
    code = f'"""M."""\n\n\ndef look() -> object:\n    """Look."""\n    import {name}\n\n    return {name}\n'
    assert "TID251" in ruff(code, tmp_path, "spotify_ai_assets/listening/pure.py")


def test_nothing_imports_pickle() -> None:
    """Where Dagster is allowed, ruff's ban of single modules is off; so each file is looked at here."""
    files = sorted((ROOT / "spotify_ai_assets").rglob("*.py"))
    found = {path.name: imported(path) & {"pickle", "joblib", "dill", "cloudpickle", "shelve", "marshal"} for path in files}
    assert len(files) > 50
    assert {name: modules for name, modules in found.items() if modules} == {}
