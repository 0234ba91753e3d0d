"""How each part of the platform is graded: from a few figures to a grade and one sentence; no Dagster, no clock, no environment.

``warning`` wants somebody to look within days, ``failing`` now. Limits come from what the platform promises (a backup a day, a drill
a week, an erasure within a month) and from baselines that others measured: heartbeats of daemons come 28 to 87 s apart (95th
percentile), and a queue is stuck after a quarter of an hour (mitodl/ol-infrastructure #5476).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from spotify_ai_assets.locale import translate as _
from spotify_ai_assets.locale import translate_plural

MINUTE_S, HOUR_S, DAY_S = 60.0, 3600.0, 86_400.0
SHOWN = 5
"""How many names a sentence lists."""


@dataclass(frozen=True, slots=True)
class Limits:
    """From where on a figure is a warning, and from where on it fails.

    Attributes:
        warning: The least value that warns.
        failing: The least value that fails.
    """

    warning: float
    failing: float

    def grade(self, value: float) -> str:
        """The grade of a value."""
        return "failing" if value >= self.failing else "warning" if value >= self.warning else "good"


LATE = Limits(1.0, DAY_S)
"""Seconds that an asset is late by its freshness policy."""
QUEUED = Limits(15 * MINUTE_S, HOUR_S)
"""Seconds that the oldest run waits in the queue."""
BEAT = Limits(5 * MINUTE_S, 10 * MINUTE_S)
"""Seconds since the heartbeat of a daemon."""
TICK = Limits(10 * MINUTE_S, 30 * MINUTE_S)
"""Seconds since any sensor ticked, though the daemon lives."""
BACKLOG = Limits(5 * MINUTE_S, 30 * MINUTE_S)
"""Seconds that the oldest message waits in the stream."""
MODEL = Limits(21 * DAY_S, 60 * DAY_S)
"""Seconds since a model was made that is out of date; one is trained every week."""
BACKUP = Limits(30 * HOUR_S, 3 * DAY_S)
"""Seconds since the last good backup; one is made every day."""
DRILL = Limits(8 * DAY_S, 15 * DAY_S)
"""Seconds since the last good drill; one is run every week."""
ERASURE = Limits(7 * DAY_S, 21 * DAY_S)
"""Seconds since the oldest open erasure was requested; the law gives a month (GDPR, Art. 12(3))."""
EXPIRY_DAYS = 14
DISK_WARNING, DISK_FAILING = 0.10, 0.05
"""The free part of the disk below which it warns and fails: a rewrite of a table needs its size once more."""
UNSENT = Limits(15 * MINUTE_S, HOUR_S)
"""Seconds that the oldest alert waits to be sent."""


@dataclass(frozen=True, slots=True)
class Finding:
    """How a part of the platform is.

    Attributes:
        component: The part.
        grade: ``good``, ``warning``, ``failing`` or ``unknown``.
        reason: Why, in one sentence without a personal value.
        value: The figure that decided, if there is one.
        unit: Its unit.
    """

    component: str
    grade: str
    reason: str
    value: float | None = None
    unit: str | None = None


def grade_lake(unreadable: Sequence[str], tables: int) -> Finding:
    """Whether every table can be read and the end of every log is whole."""
    if unreadable:
        count = len(unreadable)
        reason = translate_plural(
            "{count} table cannot be read or ends in a torn commit: {names}; `spotify-ai lake mend` sets that aside",
            "{count} tables cannot be read or end in a torn commit: {names}; `spotify-ai lake mend` sets that aside",
            count,
        )
        return Finding("lake", "failing", reason.format(count=count, names=_some(unreadable)), count, "tables")
    return Finding("lake", "good", _("all {count} tables can be read").format(count=tables), 0, "tables")


def grade_staleness(stale: Mapping[str, int]) -> Finding:
    """Whether partitions are out of date; the sensors make them again within minutes, so what stays is refused or nobody makes it."""
    found = {key: count for key, count in stale.items() if count}
    if not found:
        return Finding("staleness", "good", _("nothing is out of date"), 0, "partitions")
    count = sum(found.values())
    reason = translate_plural("{count} partition is out of date, of {names}", "{count} partitions are out of date, of {names}", count)
    return Finding("staleness", "warning", reason.format(count=count, names=_some(sorted(found))), count, "partitions")


def grade_freshness(late_s: Mapping[str, float], policies: int) -> Finding:
    """Whether assets are as fresh as their policies ask.

    Args:
        late_s: By asset, for how long it has been late, in seconds.
        policies: How many assets have a policy.
    """
    if not policies:
        return Finding("freshness", "unknown", _("no asset has a freshness policy"))
    if not late_s:
        return Finding("freshness", "good", _("all {count} assets with a policy are fresh").format(count=policies), 0, "s")
    worst = max(late_s.values())
    reason = _("late since {hours} hours: {names}").format(hours=round(worst / HOUR_S, 1), names=_some(sorted(late_s)))
    return Finding("freshness", LATE.grade(worst), reason, worst, "s")


def grade_checks(errors: Sequence[str], warnings: Sequence[str], count: int) -> Finding:
    """Whether the checks of assets passed when they were evaluated last.

    Args:
        errors: Failed checks of severity error.
        warnings: Failed checks of severity warning.
        count: How many checks were ever evaluated.
    """
    if not count:
        return Finding("checks", "unknown", _("no check was evaluated yet"))
    if failed := errors or warnings:
        reason = translate_plural("{count} check failed: {names}", "{count} checks failed: {names}", len(failed))
        reason = reason.format(count=len(failed), names=_some(failed))
        return Finding("checks", "failing" if errors else "warning", reason, len(failed), "checks")
    return Finding("checks", "good", _("all {count} checks passed").format(count=count), 0, "checks")


def grade_queue(queued_s: float | None) -> Finding:
    """How long the oldest run waits.

    Args:
        queued_s: For how long, in seconds; ``None`` where none waits.
    """
    if queued_s is None:
        return Finding("queue", "good", _("no run waits"), 0, "s")
    reason = _("the oldest run waits since {minutes} minutes").format(minutes=round(queued_s / MINUTE_S))
    return Finding("queue", QUEUED.grade(queued_s), reason, queued_s, "s")


def grade_daemons(silent_s: Mapping[str, float | None]) -> Finding:
    """Whether the daemons beat.

    Args:
        silent_s: By daemon, seconds since its heartbeat; ``None`` where it never beat.
    """
    beaten = {name: seconds for name, seconds in silent_s.items() if seconds is not None}
    if not beaten:
        return Finding("daemons", "unknown", _("no daemon has run on this instance"))
    if never := sorted(set(silent_s) - set(beaten)):
        return Finding("daemons", "warning", _("never started: {names}").format(names=_some(never)), len(never), "daemons")
    name, worst = max(beaten.items(), key=lambda each: each[1])
    reason = _("{name} beat {seconds} seconds ago").format(name=name, seconds=round(worst))
    return Finding("daemons", BEAT.grade(worst), reason, worst, "s")


def grade_location(error: str | None, idle_s: float | None) -> Finding:
    """Whether the code location loads, and its sensors tick.

    Args:
        error: Kind of the error that loading it ended in; empty where it loads, ``None`` where nobody tried.
        idle_s: Seconds since a sensor ticked that is on; ``None`` where none is or the daemon is silent, which is another trouble.
    """
    if error:
        return Finding("code_location", "failing", _("the code location does not load: {kind}").format(kind=error))
    if idle_s is None:
        if error is None:
            return Finding("code_location", "unknown", _("no sensor has ticked yet"))
        return Finding("code_location", "good", _("the code location loads"))
    reason = _("the newest tick of a sensor is {seconds} seconds old").format(seconds=round(idle_s))
    return Finding("code_location", TICK.grade(idle_s), reason, idle_s, "s")


def grade_disk(free: int, size: int) -> Finding:
    """How much of the disk is free, in bytes."""
    part = free / max(size, 1)
    grade = "failing" if part < DISK_FAILING else "warning" if part < DISK_WARNING else "good"
    return Finding("disk", grade, _("{gigabytes} GB are free").format(gigabytes=round(free / 1e9, 1)), round(part, 4), "free part")


def grade_databases(answers: Mapping[str, str]) -> Finding:
    """Whether the databases answer and are whole.

    Args:
        answers: By database what is wrong with it; empty where nothing is.
    """
    broken = {name: text for name, text in answers.items() if text}
    if broken:
        told = "; ".join(f"{name}: {text}" for name, text in sorted(broken.items()))
        return Finding("databases", "failing", told, len(broken), "databases")
    return Finding("databases", "good", _("{names} answer").format(names=", ".join(sorted(answers))), 0, "databases")


def grade_stream(waiting: int, oldest_s: float | None) -> Finding:
    """Whether what streams in is stored.

    Args:
        waiting: Messages that are not stored yet.
        oldest_s: Seconds since the oldest was accepted; ``None`` where none waits or nobody knows.
    """
    if not waiting:
        return Finding("stream", "good", _("no message waits"), oldest_s or 0.0, "s")
    reason = translate_plural(
        "{count} message waits, since {seconds} seconds", "{count} messages wait, the oldest since {seconds} seconds", waiting
    )
    grade = BACKLOG.grade(oldest_s) if oldest_s is not None else "good"
    return Finding("stream", grade, reason.format(count=waiting, seconds=round(oldest_s or 0)), oldest_s or 0.0, "s")


def grade_models(age_s: Mapping[str, float], outdated: Collection[str]) -> Finding:
    """Whether models that serve are out of date for long.

    Args:
        age_s: By model the age of the version in use, in seconds.
        outdated: Those whose inputs or code have changed since.
    """
    if not age_s:
        return Finding("models", "unknown", _("no model is in use yet"))
    old = {name: age for name, age in age_s.items() if name in outdated}
    name, worst = max((old or age_s).items(), key=lambda each: each[1])
    reason = _("the oldest in use is {name}, {days} days").format(name=name, days=round(worst / DAY_S, 1))
    return Finding("models", MODEL.grade(worst) if old else "good", reason, worst, "s")


def grade_backups(age_s: float | None) -> Finding:
    """How old the last good backup is, in seconds; ``None`` where there is none."""
    if age_s is None:
        return Finding("backups", "warning", _("there is no backup yet"))
    reason = _("the last good backup is {hours} hours old").format(hours=round(age_s / HOUR_S, 1))
    return Finding("backups", BACKUP.grade(age_s), reason, age_s, "s")


def grade_drills(age_s: float | None) -> Finding:
    """How old the last good restore drill is, in seconds; ``None`` where there is none."""
    if age_s is None:
        return Finding("drills", "warning", _("no restore was drilled yet"))
    reason = _("the last good restore drill is {days} days old").format(days=round(age_s / DAY_S, 1))
    return Finding("drills", DRILL.grade(age_s), reason, age_s, "s")


def grade_erasures(count: int, oldest_s: float | None) -> Finding:
    """Whether people who asked to be forgotten wait.

    Args:
        count: Open requests.
        oldest_s: Seconds since the oldest was made.
    """
    if not count or oldest_s is None:
        return Finding("erasures", "good", _("no request is open"), 0, "requests")
    reason = translate_plural(
        "{count} request is open, since {days} days", "{count} requests are open, the oldest since {days} days", count
    )
    return Finding("erasures", ERASURE.grade(oldest_s), reason.format(count=count, days=round(oldest_s / DAY_S, 1)), oldest_s, "s")


def grade_audit(breaks: Sequence[str], records: int) -> Finding:
    """Whether the chains are whole.

    Args:
        breaks: What is wrong with them, in sentences.
        records: How many records they have.
    """
    if breaks:
        return Finding("audit", "failing", "; ".join(breaks[:SHOWN]), len(breaks), "breaks")
    if not records:
        return Finding("audit", "unknown", _("nothing was recorded yet"))
    return Finding("audit", "good", _("all {count} records follow each other").format(count=records), 0, "breaks")


def grade_alerts(waiting: int, oldest_s: float | None, given_up: int) -> Finding:
    """Whether alerts reach whoever is to know.

    Args:
        waiting: Alerts that wait to be sent.
        oldest_s: Seconds since the oldest of them was told.
        given_up: Alerts that no channel took within a day.
    """
    if waiting and oldest_s is not None and UNSENT.grade(oldest_s) != "good":
        reason = translate_plural(
            "{count} alert waits to be sent, since {minutes} minutes",
            "{count} alerts wait to be sent, the oldest since {minutes} minutes",
            waiting,
        )
        return Finding("alerts", UNSENT.grade(oldest_s), reason.format(count=waiting, minutes=round(oldest_s / MINUTE_S)), oldest_s, "s")
    if given_up:
        reason = translate_plural("{count} alert was taken by no channel", "{count} alerts were taken by no channel", given_up)
        return Finding("alerts", "warning", reason.format(count=given_up), given_up, "alerts")
    return Finding("alerts", "good", _("no alert is overdue"), 0, "alerts")


def grade_secrets(exposed: Sequence[str], unreadable: Sequence[str], expires: Mapping[str, date], today: date) -> Finding:
    """Whether secrets are kept safe and live on.

    Args:
        exposed: Names of keys and variables whose files others may read.
        unreadable: Names of those that cannot be read or hold nothing usable.
        expires: By the name of a secret the day on which it expires.
        today: The present day.
    """
    gone = sorted(name for name, day in expires.items() if day <= today)
    soon = sorted(name for name, day in expires.items() if 0 < (day - today).days <= EXPIRY_DAYS)
    troubles: Iterable[tuple[Sequence[str], str, str]] = (
        (gone, "failing", _("expired: {names}")),
        (unreadable, "failing", _("cannot be used: {names}")),
        (exposed, "failing", _("can be read by others: {names}")),
        (soon, "warning", _("about to expire: {names}")),
    )
    for names, grade, text in troubles:
        if names:
            return Finding("secrets", grade, text.format(names=_some(names)), len(names), "secrets")
    return Finding("secrets", "good", _("no secret is exposed or about to expire"), 0, "secrets")


def overall(findings: Iterable[Finding]) -> str:
    """The worst grade; what is unknown does not count."""
    grades = {finding.grade for finding in findings}
    return next((grade for grade in ("failing", "warning") if grade in grades), "good")


def word_for(grade: str) -> str:
    """The word for a grade in the reader's language."""
    return {"good": _("good"), "warning": _("not as it should be"), "failing": _("failing"), "unknown": _("unknown")}[grade]


def _some(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (_(" and {count} more").format(count=more) if more > 0 else "")
