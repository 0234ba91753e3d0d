"""What every format has in common: the frames that come out, and the names of what may be wrong.

The kinds of frame are plain schemas. Turning a file's own fields into them belongs to the module of each format, the rules for
a listen to ``rows.py``.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import polars as pl

from spotify_ai_assets.contracts import TIME
from spotify_ai_assets.errors import UnreadableFileError
from spotify_ai_assets.listening.contracts import CHART_ENTRIES
from spotify_ai_assets.listening.formats.members import Member
from spotify_ai_assets.listening.formats.sample import Sample

Kind = Literal["listens", "charts", "catalog"]

LISTENS: dict[str, pl.DataType] = {
    "row": pl.Int64(),
    "user": pl.String(),
    "started_at": TIME,
    "played_ms": pl.Int64(),
    "duration_ms": pl.Int64(),
    "kind": pl.String(),
    "track_name": pl.String(),
    "artist_name": pl.String(),
    "album_name": pl.String(),
    "spotify_id": pl.String(),
    "recording_mbid": pl.String(),
    "isrc": pl.String(),
    "country": pl.String(),
    "platform": pl.String(),
    "reason_start": pl.String(),
    "reason_end": pl.String(),
    "was_skipped": pl.Boolean(),
    "is_shuffle": pl.Boolean(),
    "is_offline": pl.Boolean(),
    "is_incognito": pl.Boolean(),
    "playlist_id": pl.String(),
    "is_minute_grain": pl.Boolean(),
}
"""A frame of listens. ``user`` is the name in the file, to be replaced by a pseudonym at once; nothing else personal is here."""

CHARTS: dict[str, pl.DataType] = {
    "row": pl.Int64(),
    "spotify_id": pl.String(),
    **{name: dtype for name, dtype in CHART_ENTRIES.schema.items() if name not in ("source", "track_id", "artist_id")},
}
"""A frame of published chart entries."""

CATALOG: dict[str, pl.DataType] = {
    "row": pl.Int64(),
    "type": pl.String(),
    "spotify_id": pl.String(),
    "name": pl.String(),
    "artist_name": pl.String(),
    "artist_spotify_id": pl.String(),
    "album_spotify_id": pl.String(),
    "album_name": pl.String(),
    "album_artist_name": pl.String(),
    "released_on": pl.Date(),
    "total_tracks": pl.Int64(),
    "duration_ms": pl.Int64(),
    "is_explicit": pl.Boolean(),
    "isrc": pl.String(),
    "genre": pl.String(),
}
"""A frame of tracks, albums and artists, told apart by ``type``.

For a track ``album_*``, ``released_on`` and ``total_tracks`` describe its album, as far as the file tells. For an album they
repeat its own id, name and first artist. ``artist_*`` is the first artist; for an artist, itself.
"""

REJECTED: dict[str, pl.DataType] = {"row": pl.Int64(), "rule": pl.String()}


@dataclass(frozen=True, slots=True)
class Batch:
    """Some consecutive records of a file; each is in exactly one of the two frames.

    Attributes:
        frame: Good records: ``LISTENS``, ``CHARTS`` or ``CATALOG``. ``row`` is the record's 1-based number in its member.
        rejected: The others, with the rule that each breaks: ``REJECTED``.
    """

    frame: pl.DataFrame
    rejected: pl.DataFrame

    @property
    def height(self) -> int:
        """Number of records."""
        return self.frame.height + self.rejected.height


@dataclass(frozen=True, slots=True)
class Format:
    """A file format.

    Attributes:
        name: Stable identifier, stored as the ``source`` of what is read.
        kind: What its records are.
        accepts: Whether a file's beginning is of this format.
        parse: Reads all records; the second argument is the present time.
    """

    name: str
    kind: Kind
    accepts: Callable[[Sample], bool]
    parse: Callable[[Member, datetime], Iterator[Batch]]

    def read(self, member: Member, now: datetime) -> Iterator[Batch]:
        """Read a member batch by batch; at most about 150,000 records and 20 MiB of text are held at a time.

        Args:
            member: A member that ``detect`` found to be of this format.
            now: The present, with a time zone: listens more than a day later are rejected.

        Raises:
            UnreadableFileError: The file breaks off or is damaged. All records before the break have been delivered; ``row``
                is the number of the first that was not.
        """
        done = 0
        try:
            for batch in self.parse(member, now):
                done += batch.height
                yield batch
        except UnreadableFileError as error:
            raise UnreadableFileError(error.rule, str(error), row=done + 1) from None


def split_batch(frame: pl.DataFrame, schema: dict[str, pl.DataType]) -> Batch:
    """Divide checked records by whether ``rule`` is null.

    Args:
        frame: The columns of ``schema`` in any order, and ``rule``.
        schema: The schema of the good records.
    """
    good = frame if frame["rule"].null_count() == frame.height else frame.filter(pl.col("rule").is_null())
    return Batch(good.select(schema.keys()), frame.filter(pl.col("rule").is_not_null()).select(REJECTED.keys()))
