import json
import os
import stat
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from spotify_ai_assets.observability.audit.heads import Heads, SignedHead, is_genuine, outdated, sign_head, witness
from spotify_ai_assets.resources.chain_records import Head

SEED, OTHER = bytes(32), bytes([1]) * 32
NOW = datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
HEAD = Head(7, "a" * 64)


def test_a_signed_head_is_genuine_to_its_key_alone():
    signed = sign_head("audit", HEAD, NOW, SEED)
    assert signed.head == HEAD and is_genuine(signed, SEED) and not is_genuine(signed, OTHER)


@pytest.mark.parametrize(
    "change",
    [
        {"sequence": 8},
        {"digest": "b" * 64},
        {"chain": "erasure"},
        {"at": "x"},
        {"signature": "0" * 128},
        {"signature": "zz"},
        {"public_key": "0" * 64},
    ],
)
def test_a_changed_head_is_not_genuine(change):
    assert not is_genuine(replace(sign_head("audit", HEAD, NOW, SEED), **change), SEED)


def test_the_signature_is_ed25519_over_the_documented_text():
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    signed = sign_head("audit", HEAD, NOW, SEED)
    text = (
        f'{{"at":"2026-03-29T01:30:00.000000+00:00","chain":"audit","digest":"{"a" * 64}","public_key":"{signed.public_key}","sequence":7}}'
    )
    Ed25519PublicKey.from_public_bytes(bytes.fromhex(signed.public_key)).verify(bytes.fromhex(signed.signature), text.encode())


def test_exported_heads_come_back_by_chain(tmp_path):
    heads = Heads(str(tmp_path / "heads"))
    assert heads.read(SEED) == ({}, [])
    told = witness({"audit": lambda: HEAD, "erasure": lambda: Head(0, "c" * 64)}, heads, NOW, SEED)
    heads.put(sign_head("audit", Head(9, "d" * 64), NOW, SEED))
    assert heads.read(SEED) == ({"audit": [HEAD, Head(9, "d" * 64)], "erasure": [Head(0, "c" * 64)]}, [])
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "heads").iterdir()} == {0o600}
    assert (tmp_path / "heads" / told[0].file).exists()


def test_a_forged_or_broken_head_is_told_and_is_no_witness(tmp_path):
    heads = Heads(str(tmp_path))
    heads.put(sign_head("audit", HEAD, NOW, OTHER))
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "strange.json").write_text(json.dumps({"chain": "audit"}))
    found, wrong = heads.read(SEED)
    assert found == {} and len(wrong) == 3 and all("head" in sentence for sentence in wrong)


def test_of_old_heads_the_last_of_each_day_stays(tmp_path):
    heads = Heads(str(tmp_path))
    for hour in range(24 * 10):
        heads.put(sign_head("audit", Head(hour + 1, f"{hour:064x}"), NOW - timedelta(hours=240 - hour), SEED))
    heads.put(sign_head("erasure", Head(1, "e" * 64), NOW - timedelta(days=9), SEED))
    removed = heads.thin(NOW)
    kept = heads.read(SEED)[0]
    assert len(kept["audit"]) + removed == 240 and len(kept["erasure"]) == 1
    young = [head for head in kept["audit"] if head.sequence > 240 - 7 * 24]
    assert len(young) == 7 * 24, "nothing of the last week is removed"
    assert len(kept["audit"]) - len(young) == 3, "one of each of the three days before; the last of the fourth is young"
    assert heads.thin(NOW) == 0


def test_a_clock_that_went_back_removes_nothing_too_early():
    signed = {
        each.file: each for each in (sign_head("audit", Head(n, f"{n:064x}"), NOW + timedelta(days=n), SEED) for n in range(1, 400, 100))
    }
    assert outdated(signed, NOW - timedelta(days=1000)) == []


def test_a_full_disk_leaves_no_half_head(tmp_path, monkeypatch):
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError):
        Heads(str(tmp_path)).put(sign_head("audit", HEAD, NOW, SEED))
    assert list(tmp_path.iterdir()) == []


def test_heads_are_kept_in_a_bucket_too(s3_bucket):
    heads = Heads(f"{s3_bucket}/backups/heads")
    assert heads.read(SEED) == ({}, [])
    heads.put(sign_head("audit", HEAD, NOW - timedelta(days=30), SEED))
    heads.put(sign_head("audit", Head(8, "b" * 64), NOW - timedelta(days=30), SEED))
    assert heads.read(SEED) == ({"audit": [HEAD, Head(8, "b" * 64)]}, [])
    assert heads.thin(NOW) == 1 and heads.read(SEED)[0] == {"audit": [Head(8, "b" * 64)]}
    heads.set_aside([name for name, _ in heads.genuine(SEED)])
    assert heads.read(SEED) == ({}, [])


def test_a_head_is_one_line_of_json(tmp_path):
    Heads(str(tmp_path)).put(signed := sign_head("audit", HEAD, NOW, SEED))
    (path,) = tmp_path.iterdir()
    assert SignedHead(**json.loads(path.read_text())) == signed
