"""The audit trail: who did what, when, to which inputs and outputs by digest, in one chain; and the chain of erasures beside it.

A record says things by digest, count and name of a table or job, never by a personal value. Who acts is the operating system's
user, a schedule, a sensor, or ``ui``: the open-source web server knows no person.
"""

import getpass
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from spotify_ai_assets.resources.chain import Chain, Entry, Head, Record
from spotify_ai_assets.settings import Settings

AUDIT, ERASURE = "audit", "erasure"
"""Names of the chains."""

USER = "spotify_ai/user"
"""The tag of a run that says who launched it by hand."""

_TAGS = {
    "dagster/schedule_name": "schedule",
    "dagster/sensor_name": "sensor",
    USER: "user",
}

_PARENT, _RETRY = "dagster/parent_run_id", "dagster/retry_number"

Who = Mapping[str, str]
"""``kind``: ``user``, ``schedule``, ``sensor`` or ``ui``; and ``name``, but for ``ui``."""


@dataclass(frozen=True, slots=True)
class Deed:
    """Something that was done, to be recorded.

    Attributes:
        action: Such as ``materialised``, ``job``, ``promoted``, ``erased``, ``backed_up``, ``drilled``, ``restored``, ``configured``.
        subject: To what: a table, a job, a model, a keyed hash. Never a person's value.
        who: Who did it, as ``who_asks`` and ``who_of`` say it.
        outcome: How it ended.
        run_id: The run that did it.
        trace_id: The trace that it belongs to.
        inputs: Digests of what it read, by name.
        outputs: Digests of what it made, by name.
        figures: Counts, seconds, bytes.
        once: Names the event that this tells of, where that could be told of twice.
    """

    action: str
    subject: str
    who: Who
    outcome: str = "success"
    run_id: str = ""
    trace_id: str = ""
    inputs: Mapping[str, Any] = field(default_factory=dict)
    outputs: Mapping[str, Any] = field(default_factory=dict)
    figures: Mapping[str, Any] = field(default_factory=dict)
    once: str | None = None

    def body(self) -> dict[str, Any]:
        """What the record holds."""
        return {
            "who": dict(self.who),
            "subject": self.subject,
            "outcome": self.outcome,
            "run_id": self.run_id,
            "trace_id": self.trace_id,
            "inputs": dict(self.inputs),
            "outputs": dict(self.outputs),
            "figures": dict(self.figures),
        }


class Audit:
    """Records deeds and finds them again.

    Args:
        chain: Where they are kept.
    """

    def __init__(self, chain: Chain) -> None:
        self.chain = chain

    def record(
        self,
        action: str,
        *,
        subject: str,
        who: Who,
        outcome: str = "success",
        run_id: str = "",
        trace_id: str = "",
        inputs: Mapping[str, Any] | None = None,
        outputs: Mapping[str, Any] | None = None,
        figures: Mapping[str, Any] | None = None,
    ) -> Record:
        """Record one deed; durable when this returns. Arguments as of ``Deed``.

        Raises:
            ChainError: The record is not plain JSON, or too long.
            TransientError: The database does not answer; nothing was recorded.
        """
        deed = Deed(action, subject, who, outcome, run_id, trace_id, inputs or {}, outputs or {}, figures or {})
        return self.chain.append(deed.action, deed.body())

    def record_all(self, deeds: Iterable[Deed]) -> list[Record]:
        """Record several deeds, all of them or none; one whose ``once`` was recorded before is left out.

        Returns:
            The new records.

        Raises:
            ChainError, TransientError: As for ``record``.
        """
        return self.chain.append_all([Entry(deed.action, deed.body(), deed.once) for deed in deeds])

    def newest(self, action: str) -> Record | None:
        """The newest record of an action, ``None`` where there is none."""
        return self.chain.newest(action)

    def head(self) -> Head:
        """The end of the trail."""
        return self.chain.head()

    def search(
        self,
        *,
        action: str | None = None,
        subject: str | None = None,
        who: str | None = None,
        outcome: str | None = None,
        run_id: str | None = None,
        trace_id: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Iterator[Record]:
        """Records, the newest first.

        Args:
            action: Of this action.
            subject: About this subject, or one below it: ``listening`` finds ``listening/plays``.
            who: By someone of this kind or name.
            outcome: That ended so.
            run_id: Of a run, or of those whose id begins so.
            trace_id: Of a trace.
            since: Not before this moment.
            until: Before this moment. Clocks jump, so no order of times is relied on.
        """
        wanted = {"outcome": outcome, "trace_id": trace_id}
        for record in self.chain.backwards(action):
            body = record.body
            if (
                all(value is None or body.get(name) == value for name, value in wanted.items())
                and (run_id is None or str(body.get("run_id", "")).startswith(run_id))
                and (subject is None or f"{body.get('subject', '')}/".startswith(f"{subject.rstrip('/')}/"))
                and (who is None or who in body.get("who", {}).values())
                and (since is None or record.at >= since)
                and (until is None or record.at < until)
            ):
                yield record


def open_audit(settings: Settings) -> Audit:
    """The audit trail of the platform."""
    return Audit(Chain(settings.ledger_url, AUDIT))


def open_ledger(settings: Settings) -> Chain:
    """The ledger of erasures: keyed hashes, states and counts."""
    return Chain(settings.ledger_url, ERASURE)


def who_asks() -> dict[str, str]:
    """Who runs this process: the user of the operating system."""
    return {"kind": "user", "name": user_name()}


def user_name() -> str:
    """The name of the operating system's user, or its number where it has no name, as in many containers."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # 3.13 raises the one, those before the other
        return f"uid {os.getuid()}"


def who_of(run_tags: Mapping[str, str]) -> dict[str, str]:
    """Who launched a run, as its tags tell: a schedule, a sensor, a user at the command line, else the web interface."""
    # The web interface copies the tags of a run that it launches again; only retries of the daemon are numbered.
    is_relaunched_by_hand = _PARENT in run_tags and _RETRY not in run_tags
    for tag, kind in () if is_relaunched_by_hand else _TAGS.items():
        if name := run_tags.get(tag):
            return {"kind": kind, "name": name}
    return {"kind": "ui"}
