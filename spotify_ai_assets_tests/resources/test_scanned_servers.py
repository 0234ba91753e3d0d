"""The byte scan reads servers too: PostgreSQL's relations and files, Redis' keys, a bucket's objects."""

import gzip
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
import redis
from sqlalchemy import make_url

from benchmarks.redis_server import RedisServer
from spotify_ai_assets.maintenance.erasure.forms import Needles
from spotify_ai_assets.maintenance.erasure.scanning import scan

VALUE = "canaryuser0123"
ABSENT = Needles.of("canaryuser9999")


def test_a_value_is_found_in_every_kind_of_column_and_in_the_files(postgres):
    address = make_url(postgres)
    folder = Path(str(address.query["host"])) / "data"
    with closing(psycopg2.connect(host=address.query["host"], user=address.username, dbname=address.database)) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute("create schema canary")
        for kind, value in {
            "text": VALUE,
            "json": f'{{"a": "{VALUE}"}}',
            "jsonb": f'{{"a": ["{VALUE}"]}}',
            "text[]": f'{{"x", "{VALUE}"}}',
            "bytea": b"\0" + VALUE.encode() + b"\0",
        }.items():
            cursor.execute(f'create table canary."of {kind}" (a {kind})')
            cursor.execute(f'insert into canary."of {kind}" values (%s)', (value,))
        cursor.execute("create table canary.deleted (a text)")
        cursor.execute("insert into canary.deleted values (%s)", (VALUE,))
        cursor.execute("delete from canary.deleted")
        cursor.execute("select lo_from_bytea(0, %s)", (VALUE.encode(),))
        cursor.execute("checkpoint")
        found = {hit.path for hit in scan({}, Needles.of(VALUE), databases={"db": postgres}).hits}
        assert {f'canary."of {kind}"' for kind in ("text", "json", "jsonb", "text[]", "bytea")} <= found
        assert any(path.startswith("large object") for path in found)
        assert "canary.deleted" not in found, "what was deleted is told by no server"
        in_files = {hit.path.split("/")[0] for hit in scan({"files": folder}, Needles.of(VALUE)).hits}
        assert {"base", "pg_wal"} <= in_files, "but stands in its files"
        nothing = scan({}, ABSENT, databases={"db": postgres})
        assert nothing.is_clean
        assert nothing.files > 50
        cursor.execute("drop schema canary cascade")
        cursor.execute("select lo_unlink(oid) from pg_largeobject_metadata")


def test_a_value_is_found_in_every_kind_of_key(tmp_path):
    server = RedisServer(tmp_path).start()
    try:
        with redis.Redis.from_url(server.url) as client:
            client.set("string", VALUE)
            client.set(f"of {VALUE}", 1)
            client.rpush("list", "x", VALUE)
            client.sadd("set", VALUE)
            client.zadd("zset", {VALUE: 1.0})
            client.hset("hash", mapping={"a": VALUE, VALUE: "b"})
            client.xadd("stream", {"body": f'{{"user_id": "{VALUE}"}}'})
            client.xgroup_create("stream", f"group of {VALUE}", id="0")
        result = scan({}, Needles.of(VALUE), databases={"live": server.url})
        assert {(hit.path, hit.count) for hit in result.hits} == {
            ("string", 2),
            ("list", 1),
            ("set", 1),
            ("zset", 1),
            ("hash", 2),
            ("stream", 2),
        }
        assert scan({}, ABSENT, databases={"live": server.url}).is_clean
    finally:
        server.kill()


def test_a_value_is_found_in_the_objects_of_a_bucket(monkeypatch):
    pytest.importorskip("moto.server")
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        for name, value in {
            "ENDPOINT_URL": f"http://{host}:{port}",
            "ACCESS_KEY_ID": "a",
            "SECRET_ACCESS_KEY": "b",
            "REGION": "us-east-1",
        }.items():
            monkeypatch.setenv(f"AWS_{name}", value)
        monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
        client = boto3.client("s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1")
        client.create_bucket(Bucket="lake")
        client.put_object(Bucket="lake", Key="here/a/packed", Body=gzip.compress(f"{VALUE} ".encode() * 9))
        client.put_object(Bucket="lake", Key="elsewhere/b", Body=VALUE.encode())
        result = scan({}, Needles.of(VALUE), databases={"lake": "s3://lake/here"})
        assert [(hit.path, hit.inside, hit.count) for hit in result.hits] == [("a/packed", "gzip", 9)]
        assert result.undecodable == ()
    finally:
        server.stop()
