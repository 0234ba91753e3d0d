"""Each format by tiny samples: what becomes of its fields, and which rule refuses a bad record."""

import json
from datetime import UTC, date, datetime

import polars as pl
import pytest
from format_reading import NOW, read_bytes

from spotify_ai_assets.listening.contracts import PLATFORMS
from spotify_ai_assets.listening.formats.rows import name_platform, parse_times

EXTENDED = {
    "ts": "2024-04-20T18:15:22Z",
    "username": "someone",
    "platform": "Android OS 9 API 28 (samsung, SM-G950F)",
    "ms_played": 22_000,
    "conn_country": "DE",
    "ip_addr": "192.0.2.7",
    "user_agent_decrypted": "agent",
    "city": "Nowhere",
    "master_metadata_track_name": "Amber Lanes",
    "master_metadata_album_artist_name": "Nine Kites",
    "master_metadata_album_album_name": "Low Tide",
    "spotify_track_uri": "spotify:track:0123456789abcdefABCDEF",
    "episode_name": None,
    "episode_show_name": None,
    "spotify_episode_uri": None,
    "audiobook_title": None,
    "audiobook_uri": None,
    "audiobook_chapter_uri": None,
    "audiobook_chapter_title": None,
    "reason_start": "fwdbtn",
    "reason_end": "unexpected-exit-while-paused",
    "shuffle": True,
    "skipped": None,
    "offline": False,
    "offline_timestamp": 1514143428800,
    "incognito_mode": False,
}
NO_TRACK = dict.fromkeys([name for name in EXTENDED if name.startswith("master")] + ["spotify_track_uri"])
NATIVE = {"user_id": "u1", "started_at": "2024-04-20T18:15:22+02:00", "track_name": "Amber Lanes", "artist_name": "Nine Kites"}


def listen(**fields):
    return {"listened_at": 1_700_000_000, "track_metadata": {"artist_name": "Nine Kites", "track_name": "Amber Lanes"}, **fields}


def lines(*records):
    return "\n".join(json.dumps(record) for record in records)


def at(*parts):
    return datetime(*parts, tzinfo=UTC)


def test_an_extended_record_starts_when_it_ended_less_what_was_played(tmp_path):
    result = read_bytes(tmp_path, json.dumps([EXTENDED]))
    assert result.format == "spotify_extended"
    assert result.rows == [
        {
            "row": 1,
            "user": "someone",
            "started_at": at(2024, 4, 20, 18, 15),
            "played_ms": 22_000,
            "duration_ms": None,
            "kind": "track",
            "track_name": "Amber Lanes",
            "artist_name": "Nine Kites",
            "album_name": "Low Tide",
            "spotify_id": "spotify:track:0123456789abcdefABCDEF",
            "recording_mbid": None,
            "isrc": None,
            "country": "DE",
            "platform": "android",
            "reason_start": "fwdbtn",
            "reason_end": "unexpected-exit-while-paused",
            "was_skipped": None,
            "is_shuffle": True,
            "is_offline": False,
            "is_incognito": False,
            "playlist_id": None,
            "is_minute_grain": False,
        }
    ]


@pytest.mark.parametrize("secret", ["192.0.2.7", "agent", "Nowhere", "SM-G950F"])
def test_nothing_personal_but_the_user_leaves_the_parser(tmp_path, secret):
    assert secret not in str(read_bytes(tmp_path, json.dumps([EXTENDED])).rows)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            {"episode_name": "One", "episode_show_name": "Talks", "spotify_episode_uri": "spotify:episode:0123456789abcdefABCDEF"},
            ("episode", "One", "Talks"),
        ),
        ({"audiobook_title": "Moss", "audiobook_chapter_title": "Chapter 2"}, ("audiobook", "Chapter 2", "Moss")),
        ({"audiobook_title": "Moss"}, ("audiobook", "Moss", "Moss")),
    ],
)
def test_podcasts_and_books_have_no_track(tmp_path, fields, expected):
    (row,) = read_bytes(tmp_path, json.dumps([{**EXTENDED, **NO_TRACK, **fields}])).rows
    assert (row["kind"], row["track_name"], row["artist_name"]) == expected
    assert row["spotify_id"] == fields.get("spotify_episode_uri")


EXTENDED_RULES = [
    (NO_TRACK, "missing_track"),
    ({"master_metadata_album_artist_name": " "}, "missing_artist"),
    ({"master_metadata_track_name": "\0"}, "missing_track"),
    ({"master_metadata_track_name": "x" * 2001}, "name_too_long"),
    ({"master_metadata_track_name": 7}, "wrong_type"),
    ({"master_metadata_track_name": ["a"]}, "wrong_type"),
    ({"ts": None}, "missing_time"),
    ({"ts": ""}, "missing_time"),
    ({"ts": "yesterday"}, "bad_time"),
    ({"ts": "2024-04-20T18:15:22"}, "bad_time"),
    ({"ts": "1999-04-20T18:15:22Z"}, "time_before_2002"),
    ({"ts": "2026-07-02T00:00:30Z"}, "time_in_future"),
    ({"ms_played": -1}, "negative_duration"),
    ({"ms_played": float("nan")}, "nan_duration"),
    ({"ms_played": 86_400_001}, "duration_too_long"),
    ({"ms_played": 10**30}, "duration_too_long"),
    ({"ms_played": "soon"}, "bad_duration"),
    ({"ms_played": {"a": 1}}, "bad_duration"),
    ({"skipped": "maybe"}, "wrong_type"),
]


@pytest.mark.parametrize(("fields", "rule"), EXTENDED_RULES)
def test_a_bad_record_is_rejected_by_its_rule_and_alone(tmp_path, fields, rule):
    result = read_bytes(tmp_path, json.dumps([EXTENDED, {**EXTENDED, **fields}, EXTENDED], indent=1))
    assert result.rejected == [(2, rule)]
    assert [row["row"] for row in result.rows] == [1, 3]


@pytest.mark.parametrize(
    "fields",
    [
        {"ms_played": 0},
        {"ms_played": 86_400_000},
        {"ms_played": "22000"},
        {"ms_played": 22000.0},
        {"offline_timestamp": 0},
        {"offline_timestamp": None},
        {"skipped": None, "shuffle": None, "incognito_mode": None, "offline": None},
        {"reason_end": None, "reason_start": ""},
        {"master_metadata_track_name": "[Untitled]"},
        {"master_metadata_track_name": "1999"},
        {"master_metadata_track_name": "true"},
        {"ts": "2024-04-20T18:15Z"},
        {"ts": "2026-07-01T23:59:59Z"},
        {"conn_country": "ZZ"},
        {"conn_country": "nowhere"},
    ],
)
def test_an_odd_record_is_still_a_listen(tmp_path, fields):
    result = read_bytes(tmp_path, json.dumps([{**EXTENDED, **fields}]))
    assert (len(result.rows), result.rejected) == (1, [])


def test_a_record_without_time_played_starts_at_its_time_stamp(tmp_path):
    (row,) = read_bytes(tmp_path, json.dumps([{name: value for name, value in EXTENDED.items() if name != "ms_played"}])).rows
    assert (row["started_at"], row["played_ms"]) == (at(2024, 4, 20, 18, 15, 22), None)


def test_account_data_has_minutes_and_the_end(tmp_path):
    track = {"endTime": "2024-04-20 18:15", "artistName": "Nine Kites", "trackName": "Amber Lanes", "msPlayed": 60_000}
    podcast = {"endTime": "2024-04-20 18:20", "podcastName": "Talks", "episodeName": "One", "msPlayed": 0}
    result = read_bytes(tmp_path, json.dumps([track, podcast, {**track, "endTime": "20.4.2024"}], indent=2))
    assert result.format == "spotify_account"
    assert [(row["started_at"], row["kind"], row["is_minute_grain"]) for row in result.rows] == [
        (at(2024, 4, 20, 18, 14), "track", True),
        (at(2024, 4, 20, 18, 20), "episode", True),
    ]
    assert result.rejected == [(3, "bad_time")]


@pytest.mark.parametrize(
    ("text", "format_name"),
    [
        (lines(listen()), "listenbrainz_export"),
        (lines(listen(inserted_at=1.5)), "listenbrainz_export"),
        (lines({**listen(user_name="n"), "timestamp": 1_700_000_000}), "listenbrainz_dump"),
        (lines({"user_id": 5, "ts_since_epoch": 1_700_000_000, "track_metadata": listen()["track_metadata"]}), "listenbrainz_dump"),
        (json.dumps({"listen_type": "import", "payload": [listen()]}), "listenbrainz_submission"),
        (json.dumps({"payload": [listen()], "listen_type": "single"}, indent=4), "listenbrainz_submission"),
    ],
)
def test_listenbrainz_in_all_its_forms(tmp_path, text, format_name):
    result = read_bytes(tmp_path, text)
    assert result.format == format_name
    assert [row["started_at"] for row in result.rows] == [datetime.fromtimestamp(1_700_000_000, UTC)]


def test_listenbrainz_fields(tmp_path):
    mapped, info = "01234567-89ab-cdef-0123-456789abcdef", "11234567-89ab-cdef-0123-456789abcdef"
    full = listen(user_name="someone", user_id=5)
    full["track_metadata"] |= {
        "release_name": "Low Tide",
        "mbid_mapping": {"recording_mbid": mapped.upper(), "artists": [{"artist_mbid": "x"}]},
        "additional_info": {
            "recording_mbid": info,
            "duration": 3,
            "duration_played": 2,
            "isrc": "gb-aye-81-00053",
            "origin_url": "https://open.spotify.com/track/0123456789abcdefABCDEF",
        },
    }
    bare = listen(user_id=5)
    bare["track_metadata"] |= {
        "mbid_mapping": None,
        "additional_info": {"recording_mbid": info, "duration_ms": 200, "duration": 5, "isrc": "none"},
    }
    first, second = read_bytes(tmp_path, lines(full, bare)).rows
    assert (first["user"], first["recording_mbid"], first["duration_ms"], first["played_ms"], first["isrc"]) == (
        "someone",
        mapped,
        3000,
        2000,
        "GBAYE8100053",
    )
    assert first["spotify_id"].endswith("/0123456789abcdefABCDEF")
    assert (second["user"], second["recording_mbid"], second["duration_ms"], second["isrc"]) == ("5", info, 200, None)


@pytest.mark.parametrize(
    ("record", "rule"),
    [
        ({"listened_at": 1_700_000_000}, "missing_metadata"),
        (listen(track_metadata="text"), "missing_metadata"),
        (listen(listened_at=None), "missing_time"),
        (listen(listened_at=float("nan")), "bad_time"),
        (listen(listened_at=float("inf")), "bad_time"),
        (listen(listened_at=100), "time_before_2002"),
        (listen(listened_at=-(10**25)), "bad_time"),
        ("text", "malformed_row"),
        (None, "malformed_row"),
        ([], "malformed_row"),
    ],
)
def test_a_bad_submission_is_rejected(tmp_path, record, rule):
    result = read_bytes(tmp_path, json.dumps({"listen_type": "import", "payload": [listen(), record, listen()]}))
    assert result.rejected == [(2, rule)]
    assert len(result.rows) == 2


@pytest.mark.parametrize("order", [1, -1])
def test_what_plays_now_is_no_listen_wherever_the_file_says_so(tmp_path, order):
    submission = {"listen_type": "playing_now", "payload": [{"track_metadata": listen()["track_metadata"]}]}
    result = read_bytes(tmp_path, json.dumps(dict(list(submission.items())[::order])))
    assert result.rejected == [(1, "playing_now")]


def test_lastfm_1k_takes_quotes_as_they_are(tmp_path):
    text = (
        'user_000001\t2009-05-04T23:08:57Z\tid\tNine "Kites\t\tAmber 12" Lanes\n'
        'user_000001\t2009-05-04T23:08:58Z\t\t"Nine" Kites\t01234567-89ab-cdef-0123-456789abcdef\tx\n'
        "user_000002\t2009-05-04T23:08:58Z\tshort\n"
        "user_000002\t2013-09-29T18:32:04Z\t\tNine Kites\t\t\n"
    )
    result = read_bytes(tmp_path, text)
    assert result.format == "lastfm_1k"
    assert [(row["artist_name"], row["track_name"], row["user"]) for row in result.rows] == [
        ('Nine "Kites', 'Amber 12" Lanes', "user_000001"),
        ('"Nine" Kites', "x", "user_000001"),
    ]
    assert result.rows[1]["recording_mbid"] == "01234567-89ab-cdef-0123-456789abcdef"
    assert result.rejected == [(3, "malformed_row"), (4, "missing_track")]


def test_lastfm_api_page(tmp_path):
    def track(**fields):
        return {"name": "Amber Lanes", "mbid": "", "artist": {"#text": "Nine Kites", "mbid": ""}, "album": {"#text": ""}, **fields}

    page = {
        "recenttracks": {
            "track": [track(**{"@attr": {"nowplaying": "true"}}), track(date={"uts": "1713636900", "#text": "x"})],
            "@attr": {"user": "zoë", "page": "1"},
        }
    }
    result = read_bytes(tmp_path, json.dumps(page, ensure_ascii=False))
    assert result.format == "lastfm_api"
    assert result.rejected == [(1, "playing_now")]
    assert [(row["user"], row["started_at"]) for row in result.rows] == [("zoë", at(2024, 4, 20, 18, 15))]


LASTFM_HEADER = "uts,utc_time,artist,artist_mbid,album,album_mbid,track,track_mbid\n"


@pytest.mark.parametrize(
    ("text", "minute"),
    [
        (LASTFM_HEADER + '"1713636900","20 Apr 2024, 18:15","Nine Kites","","Low ""Tide""","","Amber Lanes",""\n', False),
        ('Nine Kites,"Low ""Tide""",Amber Lanes,"20 Apr 2024 18:15"\r\n', True),
        ('Nine Kites,"Low ""Tide""",Amber Lanes,"20 Apr 2024, 18:15"\n', True),
    ],
)
def test_lastfm_tables_with_and_without_header(tmp_path, text, minute):
    result = read_bytes(tmp_path, text)
    (row,) = result.rows
    assert result.format == "lastfm_csv"
    assert (row["started_at"], row["album_name"], row["is_minute_grain"]) == (at(2024, 4, 20, 18, 15), 'Low "Tide"', minute)


def test_a_quoted_field_may_run_over_lines_and_a_stray_quote_spoils_one(tmp_path):
    text = LASTFM_HEADER + '1,,"Nine\nKites",,,,Amber,\n1713636900,,A 12" mix,,,,B,\n1713636900,,"stray,,,,C,\n1713636900,,D,,,,E,\n'
    result = read_bytes(tmp_path, text)
    assert [row["artist_name"] for row in result.rows] == ['A 12" mix', "D"]
    assert result.rejected == [(1, "time_before_2002"), (3, "malformed_row")]


def test_librefm_begins_after_its_comments(tmp_path):
    text = "+ACM- exported,,,\n# comment\n\nuserid,Artist,track,Album,time\n7,#1 Kites,Amber Lanes,,1690347960\n7,,Amber,,1690347960\n"
    result = read_bytes(tmp_path, text)
    assert result.format == "librefm_csv"
    assert [(row["user"], row["artist_name"], row["album_name"]) for row in result.rows] == [("7", "#1 Kites", None)]
    assert result.rejected == [(2, "missing_artist")]


def test_maloja_lengths_are_seconds(tmp_path):
    scrobble = {
        "time": 1760532613,
        "track": {"artists": ["Nine Kites", "B"], "title": "Amber", "album": {"albumtitle": "Low"}, "length": 220},
        "duration": 200,
    }
    plain = {"time": 1760532614, "track": {"artists": ["Nine Kites"], "title": "Amber", "album": None, "length": None}, "duration": None}
    result = read_bytes(tmp_path, json.dumps({"maloja": {}, "scrobbles": [scrobble, plain, {"time": 1, "track": []}]}))
    assert result.format == "maloja"
    assert [(row["artist_name"], row["album_name"], row["duration_ms"], row["played_ms"]) for row in result.rows] == [
        ("Nine Kites", "Low", 220_000, 200_000),
        ("Nine Kites", None, None, None),
    ]
    assert result.rejected == [(3, "missing_track")]


def test_an_audioscrobbler_log_tells_what_was_skipped(tmp_path):
    text = (
        "#AUDIOSCROBBLER/1.1\n#TZ/UNKNOWN\n#CLIENT/x\n"
        'Nine "Kites\tLow\tAmber\t1\t259\tL\t1577836800\t\n'
        "#1 Dads\t\tSo\t\t-1\tS\t1577836801\tx\n#1 Dads\t\tSo\t\t1\tS\t1577836801\tx\n"
    )
    result = read_bytes(tmp_path, text)
    assert result.format == "audioscrobbler"
    assert [(row["artist_name"], row["was_skipped"], row["duration_ms"]) for row in result.rows] == [
        ('Nine "Kites', False, 259_000),
        ("#1 Dads", True, 1000),
    ]
    assert result.rejected == [(2, "negative_duration")]


def test_pano_scrobbler_counts_milliseconds(tmp_path):
    record = {"timeMs": 1762957898933, "artist": "Nine Kites", "track": "Amber", "album": "", "durationMs": 346958, "event": "scrobble"}
    result = read_bytes(tmp_path, lines(record, {**record, "event": "love"}))
    assert result.format == "pano_scrobbler"
    assert [(row["started_at"].microsecond, row["duration_ms"]) for row in result.rows] == [(933_000, 346_958)]
    assert result.rejected == [(2, "not_a_listen")]


def test_spinitron_times_have_offsets(tmp_path):
    text = (
        '"DJ Name","X"\n\nDate-time,Artist,Song,Release,Label\n'
        '2024-09-05T03:03:07-0500,Nine Kites,"Amber, Lanes",Low,L\nnever,A,B,C,D\n2024-09-05T02:50:00-0500,,,"",""\n'
    )
    result = read_bytes(tmp_path, text)
    assert result.format == "spinitron"
    assert [(row["started_at"], row["track_name"]) for row in result.rows] == [(at(2024, 9, 5, 8, 3, 7), "Amber, Lanes")]
    assert result.rejected == [(2, "bad_time"), (3, "missing_track")]


def test_native_lines_keep_every_field_and_drop_the_others(tmp_path):
    full = {
        **NATIVE,
        **{
            "played_ms": 1000,
            "duration_ms": 2000,
            "track_id": "spotify:track:0123456789abcdefABCDEF",
            "isrc": "GBAYE8100053",
            "kind": "episode",
        },
        **{
            "recording_mbid": "01234567-89ab-cdef-0123-456789abcdef",
            "album_name": "Low",
            "country": "de",
            "platform": "iOS 13",
            "reason_start": "playbtn",
        },
        **{"reason_end": "trackdone", "skipped": False, "shuffle": True, "offline": 0, "incognito": "true", "ip": "192.0.2.7"},
    }
    result = read_bytes(tmp_path, lines(full, {**NATIVE, "started_at": 1713636900}, {**NATIVE, "started_at": 1713636900123}))
    assert result.format == "native_jsonl"
    first, second, third = result.rows
    assert {name: first[name] for name in ("kind", "country", "platform", "was_skipped", "is_shuffle", "is_offline", "is_incognito")} == {
        "kind": "episode",
        "country": "DE",
        "platform": "ios",
        "was_skipped": False,
        "is_shuffle": True,
        "is_offline": False,
        "is_incognito": True,
    }
    assert first["started_at"] == at(2024, 4, 20, 16, 15, 22)
    assert (second["started_at"], third["started_at"].microsecond) == (at(2024, 4, 20, 18, 15), 123_000)
    assert second["platform"] == "unknown"


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ("spotify:playlist:0123456789abcdefABCDEF", "spotify:playlist:0123456789abcdefABCDEF"),
        ("https://open.spotify.com/intl-de/playlist/0123456789abcdefABCDEF?si=1", "spotify:playlist:0123456789abcdefABCDEF"),
        ("spotify:user:somebody:playlist:0123456789abcdefABCDEF", "spotify:playlist:0123456789abcdefABCDEF"),
        (" 37i9dQZF1DX ", "37i9dQZF1DX"),
        ("spotify:user:somebody:collection", None),
        ("Spotify:User:somebody:collection", None),
        ("somebody@example.org", None),
        ("Songs for Ann", None),
        ("x" * 201, None),
        ("", None),
    ],
)
def test_a_playlist_is_kept_by_its_id_and_without_a_user(tmp_path, told, kept):
    result = read_bytes(tmp_path, lines(NATIVE, {**NATIVE, "playlist_id": told}))
    assert [row["playlist_id"] for row in result.rows] == [None, kept]


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({"user_id": ""}, "missing_user"),
        ({"user_id": None}, "missing_user"),
        ({"kind": "opera"}, "bad_kind"),
        ({"started_at": "2024-04-20T18:15:22"}, "bad_time"),
    ],
)
def test_native_rules(tmp_path, fields, rule):
    assert read_bytes(tmp_path, lines(NATIVE, {**NATIVE, **fields})).rejected == [(2, rule)]


def test_native_parquet_takes_whatever_types_its_columns_have(tmp_path):
    frame = pl.DataFrame(
        {
            "user_id": [1, 2, None],
            "started_at": [at(2024, 4, 20), at(1999, 1, 1), at(2024, 4, 20)],
            "track_name": pl.Series(["Amber", "B", "C"], dtype=pl.Categorical),
            "artist_name": ["Nine Kites"] * 3,
            "played_ms": [1.5e3, None, float("nan")],
            "duration_ms": ["2000", "x", None],
            "country": [None, None, None],
            "skipped": [1, 0, None],
            "album_name": [["a"], ["b"], None],
        }
    )
    frame.write_parquet(tmp_path / "frame")
    result = read_bytes(tmp_path, (tmp_path / "frame").read_bytes())
    (row,) = result.rows
    assert result.format == "native_parquet"
    assert (row["user"], row["played_ms"], row["duration_ms"], row["was_skipped"], row["album_name"]) == ("1", 1500, 2000, True, None)
    assert result.rejected == [(2, "bad_duration"), (3, "missing_user")]


@pytest.mark.parametrize("started_at", [datetime(2024, 4, 20), 1713571200, 1713571200.0, 1713571200000, "2024-04-20T00:00:00Z"])
def test_native_parquet_times(tmp_path, started_at):
    pl.DataFrame([{**NATIVE, "started_at": started_at}]).write_parquet(tmp_path / "frame")
    (row,) = read_bytes(tmp_path, (tmp_path / "frame").read_bytes()).rows
    assert row["started_at"] == at(2024, 4, 20)


def test_text_in_parquet_that_is_no_utf8_rejects_its_row(tmp_path):
    names = pl.Series([b"ok", b"\xff\xfe", b"fine"])
    frame = pl.DataFrame([NATIVE] * 3).with_columns(track_name=names)
    frame.write_parquet(tmp_path / "frame")
    result = read_bytes(tmp_path, (tmp_path / "frame").read_bytes())
    assert result.rejected == [(2, "bad_encoding")]
    assert [row["track_name"] for row in result.rows] == ["ok", "fine"]


NEW_CHART = "\ufeffrank,uri,artist_names,track_name,source,peak_rank,previous_rank,weeks_on_chart,streams\n"


def test_a_chart_is_dated_by_its_name(tmp_path):
    text = (
        NEW_CHART
        + '1,spotify:track:0123456789abcdefABCDEF,"Nine Kites, B",Amber,L,1,-1,2,1000\n'
        + "0,u,A,B,L,1,1,1,1\n3,u,A,,L,1,1,1,1\n4,u,A,B,L,1,1,1,-5\nx\n"
    )
    result = read_bytes(tmp_path, text, "regional-de-weekly-2023-02-09.csv")
    assert result.format == "spotify_chart"
    assert result.rows == [
        {
            "row": 1,
            "spotify_id": "spotify:track:0123456789abcdefABCDEF",
            "day": date(2023, 2, 9),
            "period": "weekly",
            "country": "DE",
            "rank": 1,
            "track_name": "Amber",
            "artist_name": "Nine Kites, B",
            "streams": 1000,
            "previous_rank": None,
            "peak_rank": 1,
            "periods_on_chart": 2,
        }
    ]
    assert result.rejected == [(2, "bad_rank"), (3, "missing_track"), (4, "bad_number"), (5, "malformed_row")]


def test_an_old_chart_has_a_note_above_its_header(tmp_path):
    text = (
        ',,,"Note that these figures, too, are made up.",\nPosition,"Track Name",Artist,Streams,URL\n'
        '1,"Amber ""Lanes""",Nine Kites,253019,https://open.spotify.com/track/0123456789abcdefABCDEF\n'
    )
    daily = read_bytes(tmp_path, text, "regional-global-daily-2017-01-05.csv")
    weekly = read_bytes(tmp_path, text, "regional-global-weekly-2016-12-30--2017-01-06.csv")
    assert [(row["day"], row["country"], row["period"], row["track_name"]) for row in daily.rows + weekly.rows] == [
        (date(2017, 1, 5), "global", "daily", 'Amber "Lanes"'),
        (date(2017, 1, 5), "global", "weekly", 'Amber "Lanes"'),
    ]


@pytest.mark.parametrize(
    "name",
    [
        "chart.csv",
        "regional-de-weekly-2023-02-31.csv",
        "regional-deu-weekly-2023-02-09.csv",
        "regional-de-weekly-0001-01-01--0001-01-01.csv",
    ],
)
def test_a_chart_without_a_usable_name_is_refused(tmp_path, name):
    result = read_bytes(tmp_path, NEW_CHART + "1,u,A,B,L,1,1,1,1\n", name)
    assert result.error is not None
    assert (result.error.rule, result.error.row) == ("chart_without_edition", 1)


ALBUM = {
    "type": "album",
    "id": "a" * 22,
    "name": "Low",
    "release_date": "2020-05",
    "total_tracks": 9,
    "artists": [{"name": "Nine Kites", "id": "b" * 22}],
}
TRACK = {
    "type": "track",
    "uri": "spotify:track:" + "c" * 22,
    "name": "Amber",
    "artists": ALBUM["artists"],
    "duration_ms": 1000,
    "explicit": False,
}
ARTIST = {"external_urls": {}, "type": "artist", "id": "b" * 22, "name": "Nine Kites", "genres": ["rock", "pop"]}


@pytest.mark.parametrize(
    "text",
    [
        lines(TRACK, ALBUM, ARTIST),
        json.dumps([TRACK, ALBUM, ARTIST], indent=2),
        json.dumps({"href": "x", "items": [TRACK, ALBUM, ARTIST], "next": None}),
        json.dumps({"tracks": {"href": "x", "items": [TRACK, ALBUM, ARTIST]}}),
    ],
)
def test_catalogue_objects_in_lines_arrays_and_answers(tmp_path, text):
    result = read_bytes(tmp_path, text)
    assert (result.format, result.rejected) == ("catalog", [])
    assert [(row["type"], row["name"], row["artist_name"], row["genre"], row["released_on"]) for row in result.rows] == [
        ("track", "Amber", "Nine Kites", None, None),
        ("album", "Low", "Nine Kites", None, date(2020, 5, 1)),
        ("artist", "Nine Kites", "Nine Kites", "rock", None),
    ]
    assert result.rows[1]["album_spotify_id"] == "a" * 22


def test_a_full_track_tells_of_its_album(tmp_path):
    full = {**TRACK, "album": {**ALBUM, "release_date": "2020"}, "external_ids": {"isrc": "gbaye8100053"}}
    (row,) = read_bytes(tmp_path, json.dumps(full, indent=1)).rows
    assert (row["isrc"], row["released_on"], row["total_tracks"], row["album_artist_name"]) == (
        "GBAYE8100053",
        date(2020, 1, 1),
        9,
        "Nine Kites",
    )


@pytest.mark.parametrize(
    ("record", "rule"),
    [
        ({**TRACK, "name": ""}, "missing_name"),
        ({**TRACK, "artists": []}, "missing_artist"),
        ({**TRACK, "type": "episode"}, "unknown_type"),
        ({**ALBUM, "id": None}, "missing_id"),
        ({**TRACK, "duration_ms": -1}, "negative_duration"),
        (None, "malformed_row"),
    ],
)
def test_a_bad_catalogue_object_is_rejected(tmp_path, record, rule):
    assert read_bytes(tmp_path, lines(TRACK, record)).rejected == [(2, rule)]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty_file"),
        (b" \n\n", "empty_file"),
        (b"\xef\xbb\xbf", "empty_file"),
        (b"Read me first.", "not_a_listening_file"),
        (b"[]", "not_a_listening_file"),
        (b'{"a": 1}', "not_a_listening_file"),
        (bytes(range(256)), "not_a_listening_file"),
        (b"a,b,c\n1,2,3\n", "not_a_listening_file"),
        (json.dumps({"info": {}, "playlists": [{"pid": 1, "tracks": []}]}).encode(), "playlists"),
    ],
)
def test_other_files_have_no_format_but_a_reason(tmp_path, data, reason):
    result = read_bytes(tmp_path, data)
    assert (result.format, result.reason) == (None, reason)


def test_the_unit_of_an_epoch_follows_from_its_size():
    second = 1_713_636_900
    times = parse_times(pl.Series([str(second * unit) for unit in (1, 10**3, 10**6, 10**9)]))
    assert times.to_list() == [at(2024, 4, 20, 18, 15)] * 4
    assert parse_times(pl.Series(["1e400", "nan", "-inf", "", None])).null_count() == 5
    assert NOW.tzinfo is UTC


@pytest.mark.parametrize(
    ("description", "platform"),
    [
        ("Android OS 9 API 28 (samsung, SM-G950F)", "android"),
        ("iOS 13.3.1 (iPhone9,3)", "ios"),
        ("Windows 10 (10.0.19042; x64)", "windows"),
        ("OS X 10.15.7 [x86 8]", "macos"),
        ("Linux [x86-64 0]", "linux"),
        ("web_player windows 10;chrome 87.0", "web"),
        ("Partner google cast;Chromecast", "cast"),
        ("Partner android_tv Sony;BRAVIA", "tv"),
        ("Partner scei_ps4 playstation", "console"),
        ("Partner sonos_ppc", "speaker"),
        ("Android Auto", "car"),
        ("not_applicable", "unknown"),
        ("", "unknown"),
        ("Abacus", "other"),
    ],
)
def test_devices_have_few_kinds(description, platform):
    assert name_platform(description) == platform


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_kind_of_device_is_called_by_its_own_name(platform):
    assert name_platform(f" {platform.title()}") == platform
