"""Looking at the platform: gathers the figures of each part and has them graded. A part that cannot be looked at fails.

Nothing here changes anything.
"""

import os
import shutil
import sqlite3
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from spotify_ai_assets.errors import PlatformError, SettingsError
from spotify_ai_assets.locale import translate as _
from spotify_ai_assets.maintenance.health import grading
from spotify_ai_assets.maintenance.health.contracts import COMPONENTS, HEALTH
from spotify_ai_assets.maintenance.health.grading import Finding
from spotify_ai_assets.observability.metrics import care_samples, instance_samples, lake_samples
from spotify_ai_assets.observability.metrics.keeping import BACKED_UP, DRILLED, Keeping, Ledgers, is_there
from spotify_ai_assets.observability.metrics.roster import Policy
from spotify_ai_assets.resources.lake import Lake
from spotify_ai_assets.settings import SECRETS, Settings, secret
from spotify_ai_assets.staleness import Ledger, reasons

if TYPE_CHECKING:
    from dagster import DagsterInstance  # noqa: TID251 - for the type alone

EXPIRES = "_EXPIRES_ON"
"""After the name of a secret: a variable with the day on which it expires, ``<NAME>_EXPIRES_ON=2027-01-31``."""

_AWS_EXPIRES = "AWS_CREDENTIAL_EXPIRATION"
_KEY_BYTES = 32
_OPEN_S = 5.0


@dataclass(frozen=True, slots=True)
class View:
    """From where the platform is looked at.

    Attributes:
        instance: Runs, ticks, events.
        lake: Tables.
        settings: Everything else.
        now: The time, UTC.
        environment: Variables, for the names of secrets.
        policies: Freshness policies by asset key.
        location_error: Kind of the error that loading the code location ended in; empty where it loads, ``None`` where nobody tried.
    """

    instance: "DagsterInstance"
    lake: Lake
    settings: Settings
    now: datetime
    environment: Mapping[str, str]
    policies: Mapping[str, Policy]
    location_error: str | None = None


def look(view: View) -> list[Finding]:
    """How every part of the platform is, in the order of ``COMPONENTS``."""
    eyes = _Eyes(view)
    return [_look_at(name, getattr(eyes, name)) for name in COMPONENTS]


def _look_at(name: str, grade: Callable[[], Finding]) -> Finding:
    try:
        return grade()
    except Exception as error:  # a part that cannot be looked at is a finding, not the end of looking
        told = str(error) if isinstance(error, PlatformError) else type(error).__name__
        return Finding(name, "failing", _("it cannot be looked at: {error}").format(error=told))


class _Eyes:
    """One method for each part, by its name; what several look at is read once."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._now = view.now.timestamp()

    def _age(self, at: float | None) -> float | None:
        return None if at is None else max(self._now - at, 0.0)

    @cached_property
    def _tables(self) -> lake_samples.Tables:
        return lake_samples.read_tables(self._view.lake)

    @cached_property
    def _keeping(self) -> Keeping:
        return Ledgers(self._view.settings).read()

    @cached_property
    def _silent_s(self) -> dict[str, float | None]:
        from spotify_ai_assets.resources.instance_facts import read_daemons

        return {each.kind: self._age(each.beat_at) for each in read_daemons(self._view.instance)}

    def lake(self) -> Finding:
        return grading.grade_lake(self._tables.unreadable, len(self._view.lake.tables))

    def staleness(self) -> Finding:
        return grading.grade_staleness(self._tables.stale)

    def freshness(self) -> Finding:
        from spotify_ai_assets.resources.instance_facts import read_made

        made = read_made(self._view.instance, list(self._view.policies))
        deadlines = instance_samples.find_deadlines(self._view.policies, made, self._now)
        made_at = {key: each.at for key, each in made.items() if each.at is not None}
        late = {key: self._now - end for key, (end, required) in deadlines.items() if made_at.get(key, required) < required}
        return grading.grade_freshness(late, len(deadlines))

    def checks(self) -> Finding:
        from spotify_ai_assets.resources.instance_facts import read_checked

        found = [each for each in read_checked(self._view.instance) if each.asset != HEALTH.key]
        failed = [(f"{each.asset}:{each.name}", each.severity) for each in found if not each.passed]
        errors = [name for name, severity in failed if severity == "ERROR"]
        return grading.grade_checks(errors, [name for name, severity in failed if severity != "ERROR"], len(found))

    def queue(self) -> Finding:
        from spotify_ai_assets.resources.instance_facts import read_runs

        waiting = [run.since for run in read_runs(self._view.instance, self._now).active if run.status == "queued"]
        return grading.grade_queue(self._age(min(waiting, default=None)))

    def daemons(self) -> Finding:
        return grading.grade_daemons(self._silent_s)

    def code_location(self) -> Finding:
        from spotify_ai_assets.resources.instance_facts import read_tickers

        beats = [seconds for seconds in self._silent_s.values() if seconds is not None]
        is_daemon_alive = bool(beats) and grading.BEAT.grade(min(beats)) == "good"
        ticks = [each.last_at for each in read_tickers(self._view.instance) if each.kind == "sensor" and each.is_running and each.last_at]
        idle = self._age(max(ticks, default=None)) if is_daemon_alive else None
        return grading.grade_location(self._view.location_error, idle)

    def disk(self) -> Finding:
        usage = shutil.disk_usage(care_samples.nearest(self._view.settings.data))
        return grading.grade_disk(usage.free, usage.total)

    def databases(self) -> Finding:
        settings = self._view.settings
        answers = {"dagster": _ask(lambda: self._view.instance.get_runs_count())}
        for name, url in (("vault", settings.vault_url), ("ledger", settings.ledger_url), ("mlflow", settings.tracking_url)):
            if url.startswith(("sqlite", "postgresql")) and is_there(url):
                answers[name] = _ask(lambda url=url: _check_database(url))
        return grading.grade_databases(answers)

    def stream(self) -> Finding:
        waiting = care_samples.read_waiting(self._view.settings)
        return grading.grade_stream(waiting.messages, self._age(waiting.oldest_at))

    def models(self) -> Finding:
        from spotify_ai_assets.resources.artifacts import open_artifacts

        artifacts = open_artifacts(self._view.settings)
        ages, tables, ledger = {}, self._view.lake.tables, Ledger(lambda key: self._tables.states.get(key, {}))
        for name in artifacts.names():
            for version in set(artifacts.pointers(name).aliases.values()):
                age = self._now - datetime.fromisoformat(artifacts.describe(name, version).created_at).timestamp()
                ages[name] = max(age, ages.get(name, 0.0))
        outdated = [name for name in ages if name in tables and reasons(tables[name], None, tables, ledger)]
        return grading.grade_models(ages, outdated)

    def _last(self, action: str) -> float | None:
        return self._age(self._keeping.deeds[action].succeeded_at) if action in self._keeping.deeds else None

    def backups(self) -> Finding:
        return grading.grade_backups(self._last(BACKED_UP))

    def drills(self) -> Finding:
        return grading.grade_drills(self._last(DRILLED))

    def erasures(self) -> Finding:
        found = self._keeping.erasures
        return grading.grade_erasures(found.open, self._age(found.oldest_at))

    def audit(self) -> Finding:
        from spotify_ai_assets.observability.audit.verification import open_heads, verify_chains

        if not is_there(self._view.settings.ledger_url):
            # Nothing was recorded yet, or what was is gone.
            seen = open_heads(self._view.settings).newest().items()
            return grading.grade_audit([f"{name}: it is gone, though record {last} was witnessed" for name, last in seen if last], 0)
        breaks = [f"{name}: {sentence}" for name, sentences in verify_chains(self._view.settings).items() for sentence in sentences]
        return grading.grade_audit(breaks, 0 if breaks else sum(head.sequence for head in self._keeping.heads.values()))

    def alerts(self) -> Finding:
        from spotify_ai_assets.observability.alerts.incidents import open_incidents

        figures = open_incidents(self._view.settings).figures()
        oldest = figures.oldest_waiting_at.timestamp() if figures.oldest_waiting_at else None
        return grading.grade_alerts(figures.waiting, self._age(oldest), figures.given_up)

    def secrets(self) -> Finding:
        exposed, unreadable = look_at_keys(self._view.settings.data / "keys")
        for name in SECRETS:
            try:
                secret(name, self._view.environment)
            except SettingsError:
                unreadable.append(name)
            if (file := self._view.environment.get(f"{name}_FILE")) and _is_exposed(Path(file)):
                exposed.append(f"{name}_FILE")
        expires, strange = find_expiries(self._view.environment)
        return grading.grade_secrets(exposed, [*unreadable, *strange], expires, self._view.now.astimezone(UTC).date())


def _ask(answer: Callable[[], Any]) -> str:
    """What is wrong with what answers: the kind of its failure, or what it says itself."""
    try:
        told = answer()
    except Exception as error:  # a driver's message may hold an address
        return type(error).__name__
    return told if isinstance(told, str) else ""


def _check_database(url: str) -> str:
    """What is wrong with a database, without writing to it: SQLite looks through its file, another has to answer."""
    if url.startswith("sqlite:///"):
        # Read only, so that a damaged or a foreign file stays as it is.
        path = quote(str(Path(url.removeprefix("sqlite:///")).resolve()))
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=_OPEN_S)
        try:
            (told,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        finally:
            connection.close()
        return "" if told == "ok" else _("its file is damaged")
    from sqlalchemy import NullPool, create_engine, text

    engine = create_engine(url, poolclass=NullPool, connect_args={"connect_timeout": int(_OPEN_S)})
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    return ""


def look_at_keys(folder: Path) -> tuple[list[str], list[str]]:
    """The names of kept keys that others may read, and of those that are no keys."""
    exposed, unusable = [], []
    for path in sorted(folder.glob("*.key")):
        if _is_exposed(path):
            exposed.append(path.name)
        if path.stat().st_size != _KEY_BYTES:
            unusable.append(path.name)
    return exposed, unusable


def _is_exposed(path: Path) -> bool:
    try:
        return bool(stat.S_IMODE(path.stat().st_mode) & (stat.S_IROTH | stat.S_IWOTH | stat.S_IWGRP))
    except OSError:
        return False


def find_expiries(environment: Mapping[str, str] = os.environ) -> tuple[dict[str, date], list[str]]:
    """When secrets expire, by their names, and the variables that say so in no way that can be read."""
    found: dict[str, date] = {}
    strange = []
    variables = {f"{name}{EXPIRES}": name for name in SECRETS} | {_AWS_EXPIRES: "AWS_SESSION_TOKEN"}
    for variable, name in variables.items():
        if told := environment.get(variable):
            try:
                found[name] = datetime.fromisoformat(told).date()
            except ValueError:
                strange.append(variable)
    return found, strange


def as_json(findings: list[Finding], now: datetime) -> dict[str, Any]:
    """What ``/health`` and ``spotify-ai health --json`` say."""
    return {
        "grade": grading.overall(findings),
        "checked_at": now.isoformat(timespec="seconds"),
        "components": {
            each.component: {"grade": each.grade, "reason": each.reason, "value": each.value, "unit": each.unit} for each in findings
        },
    }
