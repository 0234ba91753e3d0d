"""The demo's files are read back by the importers that read real ones."""

import datetime as dt
import gzip
import json
import zipfile
from collections import Counter
from pathlib import Path

import polars as pl
from demo_worlds import World

from spotify_ai_assets.errors import UnreadableFileError
from spotify_ai_assets.listening.formats import detect, explain, open_members

NOW = dt.datetime(2026, 6, 29, tzinfo=dt.UTC)
PLAY = ("user", "started_at", "track_name", "artist_name")


class Imported:
    """What the importers find below a folder."""

    def __init__(self, folder: Path) -> None:
        self.rows: Counter[str] = Counter()
        self.formats: Counter[str] = Counter()
        self.rejected: list[tuple[str, int | None, str]] = []
        self.others: dict[str, str] = {}
        self.listens: list[pl.DataFrame] = []
        self.catalogue: list[pl.DataFrame] = []
        for path in sorted(path for part in ("landing", "late") for path in (folder / part).rglob("*") if path.is_file()):
            self._read(path, path.relative_to(folder).as_posix())

    def _read(self, path: Path, name: str) -> None:
        owner = next((part.partition("=")[2] for part in path.parts if part.startswith("listener=")), None)
        for member in open_members(path):
            form = detect(member)
            if form is None:
                self.others[name if member.path else f"{name}/{member.name}"] = explain(member)
                continue
            try:
                for batch in form.read(member, NOW):
                    self.rejected.extend((name, *row) for row in batch.rejected.iter_rows())
                    if form.kind == "catalog":
                        self.catalogue.append(batch.frame)
                        continue
                    self.rows[name] += batch.height
                    self.formats[form.name] += batch.height
                    if form.name != "spotify_account":
                        self.listens.append(batch.frame.with_columns(user=pl.coalesce("user", pl.lit(owner, dtype=pl.String))))
            except UnreadableFileError as error:
                self.rejected.append((name, None, error.rule))


def test_every_record_is_read_and_counted_as_the_truth_says(world: World) -> None:
    found, listens = Imported(world.folder), world.truth["listens"]
    assert dict(found.rows) == {entry["file"]: entry["rows"] for entry in listens["files"]}
    assert dict(found.formats) == listens["per_format"]
    assert set(listens["per_format"]) == {
        *("native_jsonl", "native_parquet", "spotify_extended", "spotify_account"),
        *("listenbrainz_dump", "lastfm_1k", "maloja", "audioscrobbler"),
    }
    assert set(found.others) == set(world.truth["not_data"])
    expected = {(entry["file"], entry["row"], entry["rule"]) for entry in world.truth["malformed"]}
    assert set(found.rejected) == expected
    assert {rule for _, _, rule in expected} == {
        *("malformed_json", "negative_duration", "time_before_2002", "time_in_future", "missing_artist", "truncated_gzip")
    }


def test_different_plays_are_as_many_as_the_truth_says_each_day(world: World) -> None:
    listens = world.truth["listens"]
    assert listens["rows"] == listens["plays"] + listens["duplicates"] + listens["malformed"]
    plays = pl.concat(Imported(world.folder).listens).unique(PLAY)
    assert plays.height == listens["plays"]
    per_day = Counter(plays["started_at"].dt.date().cast(pl.String).to_list())
    assert per_day == {entry["day"]: entry["plays"] for entry in listens["per_day"]}


def test_a_clean_world_has_nothing_to_reject_and_no_duplicate(clean_world: World) -> None:
    found, truth = Imported(clean_world.folder), clean_world.truth
    assert found.rejected == []
    assert pl.concat(found.listens).height == truth["listens"]["rows"] == truth["listens"]["plays"]
    assert found.others == {"landing/README.txt": "not_a_listening_file"}
    for key in ("breakouts", "volume_anomalies", "duplicates", "late_files", "malformed"):
        assert truth[key] == []
    assert truth["artificial_streaming"] == {"looping": [], "farms": [], "night_bursts": []}
    assert truth["canary"] is None


def test_catalogue_and_listens_agree(world: World) -> None:
    found = Imported(world.folder)
    catalogue = pl.concat(found.catalogue)
    assert dict(catalogue.group_by("type").len().iter_rows()) == {
        kind: world.truth["catalogue"][f"{kind}s"] for kind in ("artist", "album", "track")
    }
    heard = pl.concat(found.listens).filter(pl.col("spotify_id").str.contains("track")).with_columns(pl.col("spotify_id").str.tail(22))
    known = catalogue.filter(pl.col("type") == "track").with_columns(pl.col("spotify_id").str.tail(22))
    same = heard.join(known, on=["spotify_id", "artist_name"], how="left")
    assert (same["track_name"] == same["name"]).all()
    assert same["name"].null_count() == 0
    with_album = same.filter(pl.col("album_name").is_not_null())
    assert (with_album["album_name"] == with_album["album_name_right"]).all()


def test_late_files_hold_plays_of_their_day_that_came_with_no_other_file(world: World) -> None:
    late = world.truth["late_files"]
    assert late[0]["day"] == world.truth["listens"]["per_day"][9]["day"]
    for entry in late:
        lines = gzip.decompress((world.folder / entry["file"]).read_bytes()).splitlines()
        assert len(lines) == entry["rows"] > 0
        assert {json.loads(line)["started_at"][:10] for line in lines} == {entry["day"]}
        delivered = set(gzip.decompress((world.folder / f"landing/native/listens-{entry['day']}.jsonl.gz").read_bytes()).splitlines())
        assert not delivered & set(lines)


def test_duplicates_are_exact(world: World) -> None:
    found = {entry["kind"]: entry for entry in world.truth["duplicates"]}
    assert set(found) == {"exact_rows", "delivered_twice", "account_data", "truncated"}
    again, first = (gzip.decompress((world.folder / found["delivered_twice"][key]).read_bytes()).splitlines() for key in ("file", "of"))
    assert len(set(again) & set(first)) == found["delivered_twice"]["rows"] == len(again) - 1
    repeated = gzip.decompress((world.folder / found["exact_rows"]["file"]).read_bytes()).splitlines()
    assert len(repeated) - len(set(repeated)) == found["exact_rows"]["rows"]


def test_account_data_tells_the_same_plays_as_the_extended_history(world: World) -> None:
    [entry] = [entry for entry in world.truth["duplicates"] if entry["file"].endswith("StreamingHistory_music_0.json")]
    account = json.loads((world.folder / entry["file"]).read_text(encoding="utf-8"))
    with zipfile.ZipFile(world.folder / entry["of"]) as archive:
        history = [row for name in archive.namelist() for row in json.loads(archive.read(name))]
    told = Counter((row["endTime"], row["artistName"], row["trackName"], row["msPlayed"]) for row in account)
    known = Counter(
        (row["ts"][:16].replace("T", " "), row["master_metadata_album_artist_name"], row["master_metadata_track_name"], row["ms_played"])
        for row in history
        if row["spotify_track_uri"]
    )
    assert told == known


def test_the_canarys_values_lie_only_where_they_were_put(world: World) -> None:
    canary = world.truth["canary"]
    own = world.folder / f"landing/listener={canary['user_id']}"
    endsong = (own / canary["file_name"]).read_text(encoding="utf-8")
    for key in ("user_id", "ip_address", "user_agent", "device", "country"):
        assert canary[key] in endsong
    days = {row["ts"][:10] for row in json.loads(endsong)}
    assert len(days) == 5
    elsewhere = [path for path in (world.folder / "landing").rglob("*.jsonl.gz") if "-part" not in path.name]
    lines = [line for path in elsewhere for line in gzip.decompress(path.read_bytes()).splitlines() if canary["user_id"].encode() in line]
    assert len(lines) == 1
    assert canary["track_name"].encode() in lines[0]
    others = [path for path in own.parent.rglob("*") if path.is_file() and path.parent != own and path.suffix != ".gz"]
    assert not any(canary["user_id"].encode() in path.read_bytes() for path in others)
