"""Run configuration: the instance keeps it and the UI shows it, so no field asks for a secret, and no value is without bounds."""

import re
import typing
from collections.abc import Iterator
from typing import Any, Literal

import annotated_types as at
import dagster as dg
import pytest
from pydantic import Field
from pydantic.fields import FieldInfo

from spotify_ai_assets.definitions import defs

SECRET = re.compile(r"(^|_)(secrets?|tokens?|passwords?|passwd|pass|keys?|credentials?|dsn|auth|webhook|private)(_|$)", re.IGNORECASE)


def fields_of(schema: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path of every field of a configuration schema, however deep."""
    for name, field in getattr(schema, "fields", {}).items():
        yield (*path, name)
        yield from fields_of(field.config_type, (*path, name))
    for inner in getattr(schema, "inner_type", None), getattr(schema, "scalar_type", None), getattr(schema, "non_scalar_type", None):
        if inner is not None:
            yield from fields_of(inner, path)


def asked_for(definitions: dg.Definitions) -> set[tuple[str, ...]]:
    """What the operations and resources of all jobs ask for; loggers and executors are Dagster's own."""
    found = set()
    for job in definitions.get_repository_def().get_all_jobs():
        schema = job.run_config_schema.run_config_schema_type
        found |= {path for path in fields_of(schema) if path[0] in ("ops", "resources")}
    return found


def suspicious(paths: set[tuple[str, ...]]) -> set[str]:
    return {path[-1] for path in paths if "config" in path and SECRET.search(path[-1])}


def test_no_run_configuration_asks_for_a_secret() -> None:
    paths = asked_for(defs())
    assert ("ops", "promote", "config") in paths or any(path[-1] == "config" for path in paths)
    assert suspicious(paths) == set()


@pytest.mark.parametrize("name", ["api_token", "password", "slack_webhook", "client_secret", "key", "api_keys", "sentry_dsn"])
def test_a_field_for_a_secret_would_be_found(name: str) -> None:
    @dg.op(config_schema={"deep": [{name: str}]})
    def leaky(context: dg.OpExecutionContext) -> None:
        """Ask for a secret."""

    @dg.job
    def leak() -> None:
        leaky()

    assert suspicious(asked_for(dg.Definitions(jobs=[leak]))) == {name}


# Bounds --------------------------------------------------------------------------------------------------------------------


def own_configurations() -> list[type[dg.Config]]:
    """Every class of run configuration of the platform."""
    defs()
    found, todo = [], [dg.Config]
    while todo:
        for each in todo.pop().__subclasses__():
            todo.append(each)
            if each.__module__.startswith("spotify_ai_assets."):
                found.append(each)
    return found


def unbounded(field: FieldInfo) -> bool:
    """Whether a field takes a number, a text or a list of any size."""
    kinds = set(typing.get_args(field.annotation)) or {field.annotation}
    if typing.get_origin(field.annotation) is Literal or kinds <= {bool, type(None)}:
        return False
    told = {type(each) for each in field.metadata} | {
        kind for each in field.metadata for kind in (at.MaxLen,) if getattr(each, "pattern", None) or getattr(each, "max_length", None)
    }
    if kinds & {int, float}:
        return not (told & {at.Ge, at.Gt} and told & {at.Le, at.Lt})
    return at.MaxLen not in told


def test_every_field_of_run_configuration_has_bounds_and_a_description() -> None:
    configurations = own_configurations()
    assert configurations
    fields = {f"{each.__module__}.{each.__name__}.{name}": field for each in configurations for name, field in each.model_fields.items()}
    assert sorted(name for name, field in fields.items() if unbounded(field)) == []
    assert sorted(name for name, field in fields.items() if not field.description) == []


def test_a_field_without_bounds_would_be_found() -> None:
    class Loose(dg.Config):
        days: int = 1
        least: int = Field(default=1, ge=1)
        text: str = ""
        names: list[str] = Field(default=[], description="Any.")
        maybe: int | None = None

    class Tight(dg.Config):
        days: int = Field(default=1, ge=1, le=30)
        share: float | None = Field(default=None, gt=0, lt=1)
        name: str = Field(default="", max_length=10)
        pattern: str = Field(default="a", pattern="^[a-z]{1,5}$")
        names: list[str] = Field(default=[], max_length=10)
        kind: Literal["a", "b"] = "a"
        dry_run: bool = True

    assert {name for name, field in Loose.model_fields.items() if unbounded(field)} == set(Loose.model_fields)
    assert {name for name, field in Tight.model_fields.items() if unbounded(field)} == set()
