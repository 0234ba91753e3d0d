"""Promotion and rollback as runs, so that the run history has them, what was refused among them."""

from typing import Any

import dagster as dg
from pydantic import Field

from spotify_ai_assets.errors import PermanentError, PlatformError
from spotify_ai_assets.launching import run_in_foreground
from spotify_ai_assets.locale import translate as _
from spotify_ai_assets.resources.lake import Lake
from spotify_ai_assets.resources.tracking import DAGSTER_RUN
from spotify_ai_assets.runs import claim, launch_tags
from spotify_ai_assets.settings import Settings
from spotify_ai_assets.training.gates import GateResult
from spotify_ai_assets.training.images import record_champion
from spotify_ai_assets.training.registry import CHALLENGER, Entry, open_registry

MODEL, VERSION = "spotify_ai/model", "spotify_ai/model_version"
"""Tags of these runs."""

_MODEL_NAME, _VERSION = r"^[a-z0-9_]+/[a-z0-9_]+$", r"^[0-9A-Za-z_.-]+$"


class Promotion(dg.Config):
    """Which version is to serve.

    Attributes:
        model: Such as ``audio/sound_model``.
        version: 16 hexadecimal digits, or an alias.
    """

    model: str = Field(description=_("A model, such as audio/sound_model."), pattern=_MODEL_NAME, max_length=100)
    version: str = Field(CHALLENGER, description=_("16 hexadecimal digits, or an alias."), pattern=_VERSION, max_length=64)


class Rollback(dg.Config):
    """Which model is to go back.

    Attributes:
        model: Such as ``audio/sound_model``.
    """

    model: str = Field(description=_("A model, such as audio/sound_model."), pattern=_MODEL_NAME, max_length=100)


@dg.op(required_resource_keys={"settings", "lake"})
def promote_version(context: dg.OpExecutionContext, config: Promotion) -> None:
    """Verify a version's bytes, judge its figures again by its gate, and make it the champion if that lets it."""
    registry, origin = open_registry(context.resources.settings), {DAGSTER_RUN: claim(context).run_id}
    _tag(context, config.model, config.version)
    try:
        entry, result = registry.promote(config.model, config.version, origin=origin)
    except PermanentError as error:
        raise _failure(error) from error
    _tag(context, config.model, entry.version)
    record_champion(context.resources.lake, registry, entry.name, claim(context))
    context.log.info(f"{entry.name} {entry.version} is the champion")
    context.add_output_metadata({**_described(entry), "gate": _gate(result)})


@dg.op(required_resource_keys={"settings", "lake"})
def restore_version(context: dg.OpExecutionContext, config: Rollback) -> None:
    """Make the champion before the champion again, after its bytes were verified."""
    registry, origin = open_registry(context.resources.settings), {DAGSTER_RUN: claim(context).run_id}
    _tag(context, config.model)
    try:
        entry = registry.rollback(config.model, origin)
    except PermanentError as error:
        raise _failure(error) from error
    _tag(context, config.model, entry.version)
    record_champion(context.resources.lake, registry, entry.name, claim(context))
    context.log.info(f"{entry.name} {entry.version} is the champion again")
    context.add_output_metadata(_described(entry))


@dg.job(description=_("Makes a version of a model the champion, if its bytes are whole and its gate lets it; else the run fails."))
def promote_model() -> None:
    """Promote a version."""
    promote_version()


@dg.job(description=_("Makes the champion before the champion again."))
def rollback_model() -> None:
    """Restore the version before."""
    restore_version()


def run_promotion(instance: dg.DagsterInstance, lake: Lake, settings: Settings, model: str, version: str = CHALLENGER) -> str:
    """Promote a version in this process, by the job of the UI.

    Returns:
        The id of the run.

    Raises:
        PermanentError: It is not promoted; the message says why.
    """
    return _run(promote_model, promote_version.name, Promotion, {"model": model, "version": version}, instance, lake, settings)


def run_rollback(instance: dg.DagsterInstance, lake: Lake, settings: Settings, model: str) -> str:
    """Restore the champion before in this process, by the job of the UI.

    Returns:
        The id of the run.

    Raises:
        PermanentError: There is none, or it is damaged.
    """
    return _run(rollback_model, restore_version.name, Rollback, {"model": model}, instance, lake, settings)


def _run(
    job: dg.JobDefinition,
    op: str,
    kind: type[dg.Config],
    config: dict[str, str],
    instance: dg.DagsterInstance,
    lake: Lake,
    settings: Settings,
) -> str:
    try:
        kind(**config)
    except ValueError:  # of which pydantic's are; they quote what was given
        raise PermanentError("a model is named such as audio/sound_model, a version by 16 hexadecimal digits or an alias") from None
    resources = {"settings": settings, "lake": lake}
    result = run_in_foreground(job, instance, launch_tags(), {"ops": {op: {"config": config}}}, resources=resources)
    for event in result.filter_events(lambda event: event.is_step_failure):
        failure = event.step_failure_data.user_failure_data
        if failure and failure.description:
            raise PermanentError(failure.description)
    if not result.success:
        raise PlatformError(f"the run failed; see run {result.run_id}")
    return result.run_id


def _tag(context: dg.OpExecutionContext, model: str, version: str | None = None) -> None:
    context.instance.add_run_tags(context.run.run_id, {MODEL: model, **({VERSION: version} if version else {})})


def _failure(error: PermanentError) -> dg.Failure:
    return dg.Failure(str(error), metadata={"reason": type(error).__name__}, allow_retries=False)


def _described(entry: Entry) -> dict[str, Any]:
    return {"model": entry.name, "version": entry.version, "made_at": entry.created_at, **dict(entry.origin)}


def _gate(result: GateResult) -> dg.MetadataValue:
    return dg.MetadataValue.json(result.as_json())
