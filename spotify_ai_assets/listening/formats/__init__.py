"""File formats of listening histories, charts and catalogues: which a file is, and its records in frames.

::

    for member in open_members(path):           # undoes gzip, zstd, zip and tar; refuses what is unsafe
        found = detect(member)                  # by content, never by name
        if found is None:
            print(explain(member))              # e.g. not_a_listening_file
        else:
            for batch in found.read(member, now):
                ...                             # batch.frame: good records; batch.rejected: row and rule of the others

Whatever the file, each of its records ends in exactly one of the two frames, and nothing but ``UnreadableFileError`` is raised.
Memory does not grow with the file. Of personal data only ``user`` comes out, in listens; addresses, places and descriptions of
devices stay inside. What is done with the records belongs to intake.

Rooms: ``archives``, ``tars``, ``zips``, ``members`` and ``streams`` (bytes); ``sample`` (what the beginning shows); ``jsonrows``,
``delimited`` and ``columnar`` (records as text); ``rows`` (rules of a listen); ``base`` (the frames); then one module for each
family of formats.

To add a format, write a function that finds its layout in a ``Sample``, one that reads a ``Member`` into batches, usually by
renaming columns and calling ``rows.check_listens``, and put a ``Format`` of both into the ``FORMATS`` of its module; a new module
is added to the list below. The first format that accepts a file wins.
"""

from spotify_ai_assets.errors import UnreadableFileError
from spotify_ai_assets.listening.formats import catalog, charts, lastfm, listenbrainz, native, scrobbles, spotify
from spotify_ai_assets.listening.formats.archives import open_members
from spotify_ai_assets.listening.formats.base import CATALOG, CHARTS, LISTENS, REJECTED, Batch, Format, Kind
from spotify_ai_assets.listening.formats.members import Member
from spotify_ai_assets.listening.formats.sample import Sample

FORMATS: tuple[Format, ...] = (
    *native.FORMATS,
    *spotify.FORMATS,
    *listenbrainz.FORMATS,
    *scrobbles.FORMATS,
    *lastfm.FORMATS,
    *charts.FORMATS,
    *catalog.FORMATS,
)

__all__ = [
    "CATALOG",
    "CHARTS",
    "FORMATS",
    "LISTENS",
    "REJECTED",
    "Batch",
    "Format",
    "Kind",
    "Member",
    "detect",
    "explain",
    "open_members",
]


def detect(member: Member) -> Format | None:
    """The format of a member, or ``None`` if it is of none; ``explain`` then says why.

    Raises:
        UnreadableFileError: Not one byte can be read, or it is a Parquet file that is damaged.
    """
    if member.refused:
        return None
    sample = Sample(member)
    return next((form for form in FORMATS if form.accepts(sample)), None)


def explain(member: Member) -> str:
    """Why a member has no format, as a stable identifier: the rule of its refusal or damage, ``empty_file``, ``playlists``,
    ``side_table`` or ``not_a_listening_file``.
    """
    if member.refused:
        return member.refused
    sample = Sample(member)
    try:
        if sample.columns:
            return "side_table"
        if sample.is_empty:
            return "empty_file"
        return "playlists" if sample.json_layout(lambda record: "pid" in record, (("playlists",),), bare=False) else "not_a_listening_file"
    except UnreadableFileError as error:
        return error.rule
