"""Traces through the stream: what a message was sent for is known to its reader, and to the commit that holds it."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from deltalake import DeltaTable
from stream_rows import listens

from spotify_ai_assets.listening.contracts import EVENTS
from spotify_ai_assets.recommendations.realtime.batches import Batches
from spotify_ai_assets.recommendations.realtime.live import SqliteLive
from spotify_ai_assets.recommendations.realtime.messages import encode
from spotify_ai_assets.recommendations.realtime.worker import Pace, Worker
from spotify_ai_assets.resources import traceparent
from spotify_ai_assets.resources.lake import Lake
from spotify_ai_assets.resources.stream import SpoolStream, Stream
from spotify_ai_assets.resources.traceparent import Context

SENDER = Context("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")


@pytest.fixture(autouse=True)
def sending(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Lets this process be started by something."""
    monkeypatch.setattr(traceparent, "_now", None)
    monkeypatch.delenv("TRACEPARENT", raising=False)
    return lambda context: monkeypatch.setenv("TRACEPARENT", context)


def test_a_message_carries_what_its_sender_was_started_by(open_stream: Callable[..., Stream], sending: Callable[[str], None]) -> None:
    stream = open_stream()
    stream.append("listen", [b"1"])
    sending(str(SENDER))
    stream.append("listen", [b"2", b"3"])
    stream.append("forget", [b"4"])
    sending("no context at all")
    stream.append("listen", [b"5"])
    found = []
    while messages := stream.read(100, 0.01):
        found += messages
    assert [(message.body, message.sent_by) for message in found] == [
        (b"1", None),
        (b"2", SENDER),
        (b"3", SENDER),
        (b"4", SENDER),
        (b"5", None),
    ]
    stream.acknowledge([message.id for message in found])
    assert stream.waiting() == 0


def test_a_commit_belongs_to_the_trace_of_its_messages_where_that_is_one(
    lake: Lake, tmp_path: Path, sending: Callable[[str], None]
) -> None:
    stream, live = SpoolStream(tmp_path / "stream", pause_s=0.001), SqliteLive(tmp_path / "live.db")

    def commit(first: int, *senders: Context) -> str:
        for number, sender in enumerate(senders):
            sending(str(sender))
            stream.append("listen", encode(listens(5, first=first + 5 * number)))
        batches = Batches(lake, tmp_path / "journal.json", clock=lambda: datetime.now(UTC))
        pace = Pace(batch_s=0.2, wait_s=0.01, gather_s=0.0)
        assert Worker(stream, live, batches, clock=lambda: datetime.now(UTC), pace=pace, until_empty=True).run().stored == 5 * len(senders)
        return DeltaTable(lake.storage.uri(EVENTS.key)).history(1)[0].get("trace_id") or ""

    assert commit(0, SENDER) == SENDER.trace_id
    assert commit(5, Context("1" * 32, "2" * 16), Context("3" * 32, "2" * 16)) == ""
    stream.close()
    live.close()
