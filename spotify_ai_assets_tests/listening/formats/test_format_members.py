"""Archives and compression: what is opened, what is refused, and what is saved from a broken file."""

import gzip
import io
import json
import os
import tarfile
import zipfile
from pathlib import Path

import polars as pl
import pytest
import zstandard
from format_reading import NOW, read_all, read_bytes

from spotify_ai_assets.errors import UnreadableFileError
from spotify_ai_assets.listening.formats import detect, members, open_members, streams

RECORD = {"user_id": "u1", "started_at": 1713636900, "track_name": "Amber Lanes", "artist_name": "Nine Kites"}
LINES = "\n".join(json.dumps({**RECORD, "started_at": 1713636900 + i, "track_name": os.urandom(30).hex()}) for i in range(2000)).encode()


def tar(*entries: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in entries:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def zipped(*entries: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in entries:
            archive.writestr(name, data)
    return buffer.getvalue()


PACKED = {
    "plain": LINES,
    "gzip": gzip.compress(LINES),
    "two gzip members": gzip.compress(LINES[:1000]) + gzip.compress(LINES[1000:]) + b"\0" * 512,
    "zstd": zstandard.compress(LINES),
    "two zstd frames": zstandard.compress(LINES[:1000]) + zstandard.compress(LINES[1000:]),
    "zip": zipped(("a/b.json", LINES)),
    "tar": tar(("a/b.json", LINES)),
    "tar.gz": gzip.compress(tar(("a/b.json", LINES))),
    "tar.zst": zstandard.compress(tar(("a/b.json", LINES))),
    "utf-8 with mark": b"\xef\xbb\xbf" + LINES,
    "utf-16": LINES.decode().encode("utf-16"),
    "utf-16 big": b"\xfe\xff" + LINES.decode().encode("utf-16-be"),
    "carriage returns": LINES.replace(b"\n", b"\r\n"),
}


@pytest.mark.parametrize("kind", PACKED)
def test_packing_makes_no_difference(tmp_path, kind):
    result = read_bytes(tmp_path, PACKED[kind])
    assert (result.format, len(result.rows), result.rejected) == ("native_jsonl", 2000, [])


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.zst"])
def test_an_archive_has_a_member_for_each_file(tmp_path, kind):
    entries = ("readme", b"hello"), ("listens/2024/1.listens", LINES), ("x", b"")
    pack = {"zip": lambda data: zipped(*entries), "tar": bytes, "tar.gz": gzip.compress, "tar.zst": zstandard.compress}[kind]
    (tmp_path / "a").write_bytes(pack(tar(*entries)))
    assert [(one.format, one.reason, len(one.rows)) for one in read_all(tmp_path / "a")] == [
        (None, "not_a_listening_file", 0),
        ("native_jsonl", None, 2000),
        (None, "empty_file", 0),
    ]


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.zst"])
def test_members_can_be_read_twice_and_after_the_iterator_has_gone_on(tmp_path, kind, monkeypatch):
    monkeypatch.setattr(members, "HEAD", 1000)
    (tmp_path / "a").write_bytes({"zip": zipped(("x", b"."), ("b", LINES), ("c", LINES)), "tar": PACKED["tar"]}.get(kind) or PACKED[kind])
    found = list(open_members(tmp_path / "a"))
    texts = [b"".join(member.chunks()) for member in found if member.name != "x" for _ in range(2)]
    assert texts and all(text == LINES for text in texts)


def test_parquet_in_a_stream_is_read(tmp_path):
    buffer = io.BytesIO()
    pl.DataFrame([RECORD] * 5).write_parquet(buffer)
    (tmp_path / "a").write_bytes(zstandard.compress(tar(("1.parquet", buffer.getvalue()), ("2.parquet", buffer.getvalue()))))
    assert [(one.format, len(one.rows)) for one in read_all(tmp_path / "a")] == [("native_parquet", 5)] * 2


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/etc/evil", "C:\\evil", "..\\evil"])
@pytest.mark.parametrize("pack", [tar, zipped, lambda *entries: gzip.compress(tar(*entries))])
def test_a_path_out_of_the_archive_is_refused_and_the_others_go_on(tmp_path, name, pack):
    (tmp_path / "a").write_bytes(pack((name, LINES), ("good", LINES)))
    refused, good = read_all(tmp_path / "a")
    assert (refused.reason, refused.rows, len(good.rows)) == ("unsafe_path", [], 2000)
    with pytest.raises(UnreadableFileError):
        next(next(open_members(tmp_path / "a")).chunks())


@pytest.mark.parametrize(
    ("kind", "rule"), [(tarfile.SYMTYPE, "unsafe_link"), (tarfile.LNKTYPE, "unsafe_link"), (tarfile.FIFOTYPE, "not_a_regular_file")]
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_links_and_devices_in_a_tar_are_refused(tmp_path, kind, rule, pack):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo("link")
        info.type, info.linkname = kind, "/etc/passwd"
        archive.addfile(info)
        info = tarfile.TarInfo("good")
        info.size = len(LINES)
        archive.addfile(info, io.BytesIO(LINES))
    (tmp_path / "a").write_bytes(pack(buffer.getvalue()))
    refused, good = read_all(tmp_path / "a")
    assert (refused.reason, len(good.rows)) == (rule, 2000)


def test_links_and_secrets_in_a_zip_are_refused(tmp_path):
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(link, "/etc/passwd")
        archive.writestr("secret", LINES)
        archive.writestr("good", LINES)
    data = bytearray(buffer.getvalue())
    # The flag of encryption, in the directory at the end.
    data[data.rindex(b"secret") - 46 + 8] |= 1
    (tmp_path / "a").write_bytes(data)
    link_member, secret, good = read_all(tmp_path / "a")
    assert (link_member.reason, secret.reason, len(good.rows)) == ("unsafe_link", "encrypted_zip", 2000)


@pytest.mark.parametrize("inner", [PACKED["gzip"], PACKED["zip"], PACKED["tar"], PACKED["zstd"]])
def test_an_archive_in_an_archive_is_refused(tmp_path, inner):
    for number, packed in enumerate((zipped(("a", inner), ("b", LINES)), tar(("a", inner), ("b", LINES)))):
        (tmp_path / str(number)).write_bytes(packed)
        nested, good = read_all(tmp_path / str(number))
        assert (nested.reason, len(good.rows)) == ("nested_archive", 2000)


def test_a_packed_archive_other_than_tar_is_refused(tmp_path):
    assert read_bytes(tmp_path, gzip.compress(PACKED["zip"])).reason == "nested_archive"


@pytest.mark.parametrize(
    "pack", [gzip.compress, zstandard.compress, lambda data: zipped(("a", data)), lambda data: gzip.compress(tar(("a", data)))]
)
def test_a_bomb_is_refused(tmp_path, monkeypatch, pack):
    monkeypatch.setattr(streams, "FREE_SIZE", 1 << 20)
    monkeypatch.setattr(streams, "MAX_RATIO", 50)
    (tmp_path / "bomb").write_bytes(pack(LINES + b"\n" * (20 << 20)))
    with pytest.raises(UnreadableFileError) as raised:
        for member in open_members(tmp_path / "bomb"):
            for _ in member.chunks():
                pass
    assert raised.value.rule == "compression_bomb"


def test_a_small_file_may_be_packed_as_tightly_as_it_likes(tmp_path):
    result = read_bytes(tmp_path, zstandard.compress(json.dumps(RECORD).encode() + b"\n" * (20 << 20)))
    assert len(result.rows) == 1


def test_too_many_members_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(members, "MAX_MEMBERS", 3)
    (tmp_path / "a").write_bytes(zipped(*((str(number), b"") for number in range(5))))
    with pytest.raises(UnreadableFileError, match="too many"):
        list(open_members(tmp_path / "a"))


@pytest.mark.parametrize(
    ("kind", "rule", "least"),
    [
        ("gzip", "truncated_gzip", 950),
        ("zstd", "truncated_zstd", 100),
        ("zip", "truncated_zip", 950),
        ("tar", "truncated_tar", 950),
        ("tar.gz", "truncated_gzip", 500),
    ],
)
def test_what_lies_before_a_break_is_delivered(tmp_path, kind, rule, least):
    (tmp_path / "a").write_bytes(PACKED[kind][: len(PACKED[kind]) // 2])
    rows, errors = 0, []
    try:
        for member in open_members(tmp_path / "a"):
            try:
                found = detect(member)
                assert found is not None
                for batch in found.read(member, NOW):
                    rows += batch.frame.height
                    assert batch.rejected.height == 0
            except UnreadableFileError as error:
                errors.append(error)
    except UnreadableFileError as error:
        errors.append(error)
    assert least <= rows < 1100
    assert errors[0].rule in (rule, "truncated_tar")
    assert errors[0].row == rows + 1


def test_a_zip_without_directory_gives_the_files_before_its_break(tmp_path):
    whole = zipped(("a", LINES), ("b", LINES))
    (tmp_path / "a").write_bytes(whole[: len(whole) * 3 // 4])
    seen = []
    with pytest.raises(UnreadableFileError) as raised:
        for member in open_members(tmp_path / "a"):
            found = detect(member)
            try:
                seen.append(sum(batch.height for batch in found.read(member, NOW)) if found else 0)
            except UnreadableFileError as error:
                seen.append(error.rule)
    assert (seen, raised.value.rule) == ([2000, "truncated_zip"], "truncated_zip")


@pytest.mark.parametrize("kind", ["gzip", "zstd", "zip", "tar.gz"])
def test_damage_is_an_error_and_no_traceback(tmp_path, kind):
    # Without a checksum zstd may not notice.
    packed = zstandard.ZstdCompressor(write_checksum=True).compress(LINES) if kind == "zstd" else PACKED[kind]
    data = bytearray(packed)
    data[len(data) // 2 : len(data) // 2 + 40] = b"\xff" * 40
    (tmp_path / "a").write_bytes(data)
    try:
        errors = [one.error for one in read_all(tmp_path / "a")]
    except UnreadableFileError as error:
        errors = [error]
    assert any(error is not None and error.rule.startswith(("malformed", "truncated")) for error in errors)


def test_paths_that_are_no_files_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    rules = []
    for path in (tmp_path, tmp_path / "missing", tmp_path / "pipe", Path("a\0b")):
        with pytest.raises(UnreadableFileError) as raised:
            list(open_members(path))
        rules.append(raised.value.rule)
    assert rules == ["not_a_file", "missing_file", "not_a_file", "missing_file"]


def test_no_message_names_the_file(tmp_path):
    with pytest.raises(UnreadableFileError) as raised:
        list(open_members(tmp_path / "private-name"))
    assert "private" not in str(raised.value) and raised.value.__cause__ is None
