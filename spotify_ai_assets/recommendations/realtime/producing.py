"""Sending listens to the stream: real ids are swapped for pseudonyms here, before anything leaves.

A producer checks listens by the rules of intake and sends the good ones; the others it counts, with the rule that each breaks.
A send that failed may be repeated: the same listen twice has the effect of once.
"""

import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from spotify_ai_assets.catalog.ids import with_ids
from spotify_ai_assets.errors import UnreadableFileError
from spotify_ai_assets.listening.contracts import EVENTS, UNKNOWN_COUNTRY
from spotify_ai_assets.listening.formats import Batch, Member, detect, explain, open_members
from spotify_ai_assets.listening.intake import ERASED, Erased
from spotify_ai_assets.recommendations.realtime.messages import SOURCE, encode, encode_forget
from spotify_ai_assets.resources.identities import USER_ID, Vault
from spotify_ai_assets.resources.stream import Stream, StreamError, Topic

PIECE = 500
"""Lines that are sent together at most."""

_USER_ID = re.compile(USER_ID)
_PATIENCE_S = 60.0


@dataclass(slots=True)
class Sent:
    """What became of listens.

    Attributes:
        rows: Records read: sent + refused.
        sent: Records that the stream accepted.
        refused: Records refused, by rule.
    """

    rows: int = 0
    sent: int = 0
    refused: Counter[str] = field(default_factory=Counter)

    def __iadd__(self, other: "Sent") -> "Sent":
        """Add up."""
        self.rows += other.rows
        self.sent += other.sent
        self.refused += other.refused
        return self


class Producer:
    """Sends listens and erasures.

    Args:
        stream: Takes them.
        vault: Swaps real user ids for pseudonyms.
        listener: Whose listens records hold that name nobody.
        clock: Tells the present; listens more than a day later are refused.
        patience_s: How long a stream that does not answer is tried again.
        erased: Gives those of some real ids whose owners are to be forgotten; nothing of them is sent.
    """

    def __init__(
        self,
        stream: Stream,
        vault: Vault,
        *,
        listener: str = "local",
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        patience_s: float = _PATIENCE_S,
        erased: Erased = lambda users: set(),
    ) -> None:
        self._stream, self._vault, self._listener = stream, vault, listener
        self._clock, self._patience_s, self._erased = clock, patience_s, erased

    def send(self, batch: Batch) -> Sent:
        """Send checked listens, durable when this returns.

        Args:
            batch: ``formats.LISTENS`` and what was refused of them.

        Raises:
            StreamError: The stream did not answer for too long; send all of them again.
            TransientError: The vault does not answer.
        """
        refused = Counter(batch.rejected["rule"].to_list())
        users = batch.frame.with_columns(pl.col("user").fill_null(pl.lit(self._listener)))
        bad = [user for user in users["user"].unique() if not _USER_ID.fullmatch(user)]
        frame = users.filter(~pl.col("user").is_in(bad))
        if frame.height < users.height:
            refused["bad_user_id"] += users.height - frame.height
        if gone := self._erased(frame["user"].unique()):
            known = frame.height
            frame = frame.filter(~pl.col("user").is_in(list(gone)))
            refused[ERASED] += known - frame.height
        rows = self._vault.pseudonymise(with_ids(frame), "user", "listener_id").with_columns(
            pl.col("country").fill_null(UNKNOWN_COUNTRY), day=pl.col("started_at").dt.date(), source=pl.lit(SOURCE)
        )
        self._append("listen", encode(rows.select(*EVENTS.schema)))
        return Sent(batch.height, rows.height, refused)

    def send_file(self, path: Path) -> Iterator[Sent]:
        """Send a file of listens in any format that intake knows, piece by piece; what is no listen is refused as a whole."""
        try:
            for member in open_members(path):
                yield from self._send_member(member)
        except UnreadableFileError as error:
            yield Sent(1, 0, Counter([error.rule]))

    def send_lines(self, lines: Iterable[bytes]) -> Iterator[Sent]:
        """Send listens of our own format, one in JSON a line, as they come; a piece is what there is, or ``PIECE`` lines."""
        piece: list[bytes] = []
        for line in lines:
            piece.append(line)
            if len(piece) >= PIECE:
                yield from self._send_piece(piece)
                piece = []
        if piece:
            yield from self._send_piece(piece)

    def forget(self, listeners: Iterable[str]) -> None:
        """Tell the stream's readers to forget listeners, given by their pseudonyms.

        Raises:
            StreamError: The stream did not answer for too long.
        """
        self._append("forget", [encode_forget(listener) for listener in listeners])

    def _send_piece(self, lines: list[bytes]) -> Iterator[Sent]:
        content = b"".join(line if line.endswith(b"\n") else line + b"\n" for line in lines if line.strip())
        if content:
            yield from self._send_member(Member("lines.jsonl", lambda: iter([content])))

    def _send_member(self, member: Member) -> Iterator[Sent]:
        found = detect(member)
        if found is None or found.kind != "listens":
            yield Sent(1, 0, Counter([explain(member) if found is None else "not_listens"]))
            return
        try:
            for batch in found.read(member, self._clock()):
                yield self.send(batch)
        except UnreadableFileError as error:
            yield Sent(1, 0, Counter([error.rule]))

    def _append(self, topic: Topic, bodies: list[bytes]) -> None:
        end, pause_s = time.monotonic() + self._patience_s, 0.05
        while True:
            try:
                self._stream.append(topic, bodies)
                return
            except StreamError:
                if time.monotonic() + pause_s > end:
                    raise
            time.sleep(pause_s)
            pause_s = min(pause_s * 2, 2.0)
