"""A value hidden in every kind of file that the platform, or one of its tools, writes."""

import base64
import bz2
import gzip
import io
import json
import lzma
import sqlite3
import tarfile
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import duckdb
import fastavro
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard
from cryptography.fernet import Fernet
from safetensors.numpy import save_file

KEY = Fernet.generate_key()


def zipped(name: str, contents: bytes, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        archive.writestr(name, contents)
    return file.getvalue()


def tarred(name: str, contents: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(contents)
        archive.addfile(member, io.BytesIO(contents))
    return file.getvalue()


def saved(save: Callable[..., object], *arrays, **named) -> bytes:
    file = io.BytesIO()
    save(file, *arrays, **named)
    return file.getvalue()


def parquet(frame: pl.DataFrame, **options) -> bytes:
    file = io.BytesIO()
    frame.write_parquet(file, compression="zstd", **options)
    return file.getvalue()


def sqlite_rows(path: Path, text: str) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("create table a (b, c)")
        # A value over the end of a page stands nowhere in one piece.
        database.executemany("insert into a values (?, ?)", [(n, "x" * (4069 - n) + f" {text}") for n in range(30)])
        database.commit()


def sqlite_deleted(path: Path, text: str) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("pragma secure_delete = 0")
        database.execute("create table a (b)")
        database.executemany("insert into a values (?)", [(f"{text} {n}",) for n in range(50)])
        database.commit()
        database.execute("delete from a")
        database.commit()


def sqlite_blob(path: Path, text: str) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("create table a (b)")
        database.execute("insert into a values (?)", (gzip.compress(f"{text} in a cell".encode()),))
        database.commit()


def duckdb_rows(path: Path, text: str) -> None:
    with duckdb.connect(str(path)) as database:
        database.execute("create table a as select ? || i as b, [{'c': ?}] as d from range(5000) t(i)", [text, text])


def avro(path: Path, text: str) -> None:
    schema = {"type": "record", "name": "r", "fields": [{"name": "a", "type": {"type": "array", "items": "string"}}]}
    with path.open("wb") as file:
        fastavro.writer(file, schema, [{"a": ["x" * n, f"{text} {n}"]} for n in range(100)], codec="deflate")


def nested(path: Path, text: str) -> None:
    rows = pa.table({"a": [[{"b": {text: 1}}], [], None], "c": [None, {"d": text}, None]})
    pq.write_table(rows.append_column("dictionary", pa.array([text, None, text]).dictionary_encode()), path, compression="zstd")


def escaped(text: str) -> str:
    return "".join(f"\\u{ord(letter):04X}" if n % 2 else letter for n, letter in enumerate(text))


PLACES: dict[str, Callable[[Path, str], object]] = {
    "plain": lambda path, text: path.write_text(f"x {text} x"),
    "json": lambda path, text: path.write_text(json.dumps({"a": [text]})),
    "json escapes": lambda path, text: path.write_text(f'{{"a": "{escaped(text)}"}}'),
    "utf-16-le": lambda path, text: path.write_bytes(f"x {text} x".encode("utf-16-le")),
    "utf-16-be": lambda path, text: path.write_bytes(b"\0" + f"x {text} x".encode("utf-16-be")),
    "hex": lambda path, text: path.write_text(f"20{text.encode().hex()}2c"),
    "hex upper": lambda path, text: path.write_text(f"20{text.encode().hex().upper()}2C"),
    "base64": lambda path, text: path.write_bytes(base64.b64encode(text.encode())),
    "base64 in the middle": lambda path, text: path.write_bytes(base64.b64encode(b"ab " + b"x " + text.encode() + b" and more")),
    "base64 at one": lambda path, text: path.write_bytes(b'"' + base64.b64encode(b" " + text.encode() + b" and") + b'"'),
    "base64 for addresses": lambda path, text: path.write_bytes(base64.urlsafe_b64encode(b"\xff\xfe\xff " + text.encode() + b" \xff\xfe")),
    "gzip": lambda path, text: path.write_bytes(gzip.compress(b"abc" * 1000 + f" {text} ".encode())),
    "gzip of two members": lambda path, text: path.write_bytes(gzip.compress(b"a" * 9) + gzip.compress(f" {text} ".encode())),
    "gzip that breaks off": lambda path, text: path.write_bytes(
        gzip.compress(f"{text} ".encode() * 3 + np.random.default_rng(0).bytes(5000))[:-900]
    ),
    "zstd": lambda path, text: path.write_bytes(zstandard.compress(b"abc" * 1000 + f" {text} ".encode())),
    "bzip2": lambda path, text: path.write_bytes(bz2.compress(f" {text} ".encode() * 3)),
    "xz": lambda path, text: path.write_bytes(lzma.compress(f" {text} ".encode() * 3)),
    "zip": lambda path, text: path.write_bytes(zipped("a", f" {text} ".encode() * 3)),
    "zip member's name": lambda path, text: path.write_bytes(zipped(f"of {text}.txt", b"")),
    "tar": lambda path, text: path.write_bytes(tarred("a", gzip.compress(f" {text} ".encode() * 3))),
    "zip in tar in gzip": lambda path, text: path.write_bytes(gzip.compress(tarred("b", zipped("a", f"{text} ".encode() * 3)))),
    "parquet in zip": lambda path, text: path.write_bytes(zipped("t", parquet(pl.DataFrame({"a": [f"{text} {n}" for n in range(99)]})))),
    "sqlite in zip": lambda path, text: (sqlite_rows(path, text), path.write_bytes(zipped("t", path.read_bytes()))),
    "parquet": lambda path, text: path.write_bytes(parquet(pl.DataFrame({"a": [text, "b"] * 500, "n": range(1000)}), statistics=False)),
    "parquet statistics": lambda path, text: path.write_bytes(parquet(pl.DataFrame({"a": [text] * 50}))),
    "parquet footer": lambda path, text: path.write_bytes(parquet(pl.DataFrame({"a": [1]}), metadata={"a": f"of {text}"})),
    "parquet in parquet": nested,
    "parquet bytes": lambda path, text: path.write_bytes(
        parquet(pl.DataFrame({"a": [b"\0\xff" + text.encode() + b"\0"] * 9}), statistics=False)
    ),
    "avro": avro,
    "sqlite": sqlite_rows,
    "sqlite, deleted": sqlite_deleted,
    "sqlite, packed cell": sqlite_blob,
    "duckdb": duckdb_rows,
    "npy": lambda path, text: path.write_bytes(saved(np.save, np.array(["b", text]))),
    "npz": lambda path, text: path.write_bytes(saved(np.savez_compressed, a=np.array([text] * 9), b=np.zeros(9))),
    "npz of bytes": lambda path, text: path.write_bytes(saved(np.savez_compressed, a=np.array([text.encode()] * 9))),
    "safetensors": lambda path, text: save_file({"a": np.zeros(3)}, path, {"of": f'"{text}"'}),
    "safetensors tensor": lambda path, text: save_file({"a": np.frombuffer(f"\0{text}\0".encode(), np.uint8)}, path),
    "kept": lambda path, text: path.write_bytes(
        Fernet(KEY).encrypt(b"abc " + text.encode() + b" ") + b"\n" + Fernet(KEY).encrypt(b"x") + b"\n"
    ),
    "kept and packed": lambda path, text: path.write_bytes(Fernet(KEY).encrypt(gzip.compress(f"{text} ".encode() * 3))),
    "link": lambda path, text: path.symlink_to(f"to {text}"),
    "folder": lambda path, text: (path / f"listener={text}" / "deeper").mkdir(parents=True),
    "name": lambda path, text: (path.mkdir(), (path / f"of {text}.json").touch()),
}
"""How a value is hidden at a path: by kind."""
