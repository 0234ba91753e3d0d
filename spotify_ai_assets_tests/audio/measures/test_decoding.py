"""From files to samples: formats, breaks, limits, and the collection of odd files."""

import csv
import io
import json
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile

from spotify_ai_assets.audio.measures.decoding import decode, downmix, resample
from spotify_ai_assets.errors import UnreadableFileError

ODD = Path(__file__).resolve().parents[3] / "../shared/data/audio-odd"
RATE = 44_100
STEREO = np.stack([0.4 * np.sin(np.arange(2 * RATE) / 20), 0.2 * np.sin(np.arange(2 * RATE) / 33)], axis=1).astype(np.float32)


def encoded(kind: str, samples: np.ndarray = STEREO, rate: int = RATE, subtype: str | None = None) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=kind, subtype=subtype)
    return buffer.getvalue()


def placed(folder: Path, data: bytes, name: str = "file.bin") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def rule_of(path: Path, **limits) -> str:
    with pytest.raises(UnreadableFileError) as caught:
        decode(path, **limits)
    return caught.value.rule


@pytest.mark.parametrize("kind", ["WAV", "AIFF", "FLAC", "AU", "CAF", "W64"])
def test_lossless_samples_come_back(tmp_path, kind):
    decoded = decode(placed(tmp_path, encoded(kind)))
    assert (decoded.container, decoded.codec, decoded.sample_rate) == (kind.lower(), "pcm_16", RATE)
    assert decoded.samples.dtype == np.float32
    assert np.abs(decoded.samples - STEREO).max() < 1e-4
    assert decoded.frames == decoded.declared_frames == len(STEREO)
    assert not decoded.is_partial
    assert not decoded.is_excerpt


@pytest.mark.parametrize(("kind", "codec"), [("OGG", "vorbis"), ("MP3", "mpeg_layer_iii")])
def test_lossy_samples_come_back_about_right(tmp_path, kind, codec):
    decoded = decode(placed(tmp_path, encoded(kind), "wrong.wav"))
    assert decoded.codec == codec
    assert not decoded.is_partial
    assert abs(decoded.frames - len(STEREO)) < 3_000
    inner = slice(5_000, 80_000)
    assert np.corrcoef(decoded.samples[inner, 0], STEREO[inner, 0])[0, 1] > 0.99


@pytest.mark.parametrize("name", ["song.raw", "song", "song.mp3", "s\u00f6ng \U0001f3b5.txt"])
def test_the_name_says_nothing(tmp_path, name):
    assert decode(placed(tmp_path, encoded("FLAC"), name)).container == "flac"


@pytest.mark.parametrize("kind", ["WAV", "AIFF", "FLAC", "OGG"])
def test_a_file_that_breaks_off_gives_what_is_there(tmp_path, kind):
    noise = np.random.default_rng(3).normal(0, 0.1, (6 * RATE, 1)).astype(np.float32)
    data = encoded(kind, noise)
    decoded = decode(placed(tmp_path, data[: len(data) * 2 // 3]))
    assert decoded.is_partial
    assert 0.5 * len(noise) < decoded.frames < 0.7 * len(noise)
    assert np.isfinite(decoded.samples).all()


def test_an_mp3_shorter_than_its_header_says_is_partial(tmp_path):
    noise = np.random.default_rng(0).normal(0, 0.1, (10 * RATE, 1)).astype(np.float32)
    data = encoded("MP3", noise)
    assert not decode(placed(tmp_path, data)).is_partial
    cut = decode(placed(tmp_path, data[: len(data) // 2]))
    assert cut.declared_frames is None or cut.is_partial


def test_damage_in_the_middle_keeps_the_part_before(tmp_path):
    noise = np.random.default_rng(1).normal(0, 0.1, (3 * RATE, 1)).astype(np.float32)
    data = bytearray(encoded("FLAC", noise))
    half = len(data) // 2
    data[half : half + 20_000] = bytes(20_000)
    decoded = decode(placed(tmp_path, bytes(data)))
    assert decoded.frames > RATE
    assert np.abs(decoded.samples[:RATE] - noise[:RATE]).max() < 1e-4
    assert decoded.is_partial


def test_junk_and_tags_in_front_are_passed(tmp_path):
    mp3 = encoded("MP3")
    plain = decode(placed(tmp_path, mp3))
    tag = b"ID3\x04\x00\x00\x00\x00\x02\x00" + bytes(256)
    for front in (b"no audio at all " * 40, tag, tag * 2):
        decoded = decode(placed(tmp_path, front + mp3))
        assert decoded.container == "mp3"
        assert abs(decoded.frames - plain.frames) < 3_000
    assert decode(placed(tmp_path, tag + encoded("FLAC"))).frames == len(STEREO)


def test_an_excerpt_is_kept_and_the_rest_counted(tmp_path):
    decoded = decode(placed(tmp_path, encoded("FLAC")), most_seconds=0.5)
    assert decoded.samples.shape == (RATE // 2, 2)
    assert decoded.frames == len(STEREO)
    assert decoded.is_excerpt
    assert not decoded.is_partial


def test_limits_have_names(tmp_path):
    wave = placed(tmp_path, encoded("WAV"))
    assert rule_of(wave, most_channels=1) == "too_many_channels"
    assert rule_of(wave, rates=(1_000, 44_000)) == "bad_rate"
    assert rule_of(wave, longest_seconds=1) == "too_long"


@pytest.mark.parametrize("value", [np.nan, np.inf, -1e7])
def test_samples_that_are_no_sound_are_refused(tmp_path, value):
    samples = STEREO.copy()
    samples[70_000, 1] = value
    assert rule_of(placed(tmp_path, encoded("WAV", samples, subtype="FLOAT"))) == "not_finite"


def test_a_float_file_above_full_scale_is_read(tmp_path):
    assert decode(placed(tmp_path, encoded("WAV", STEREO * 20, subtype="FLOAT"))).samples.max() > 7


def test_what_is_no_audio_says_so(tmp_path):
    assert rule_of(placed(tmp_path, b"")) == "not_audio"
    assert rule_of(placed(tmp_path, b"some text, no sound")) == "not_audio"
    assert rule_of(placed(tmp_path, b"FORM\x00\x00\x00\x40ILBMBMHD" + bytes(64))) == "not_audio"
    assert rule_of(placed(tmp_path, b"\x00\x00\x00\x20ftypM4A " + bytes(64))) == "unsupported_format"
    assert rule_of(placed(tmp_path, encoded("WAV")[:44])) == "no_audio"
    assert rule_of(placed(tmp_path, b"ID3\x04\x00\x00\x00\x00\x00\x20" + bytes(40))) == "no_audio"


def test_a_header_does_not_decide_about_memory(tmp_path):
    data = bytearray(encoded("WAV", STEREO[:100]))
    at = data.index(b"data") + 4
    data[at : at + 4] = struct.pack("<I", 0x7FFFFFF0)
    flac = bytearray(encoded("FLAC", STEREO[:5_000]))
    flac[21:26] = bytes((flac[21] | 0x0F, 0xFF, 0xFF, 0xFF, 0xFF))  # 36 bits of samples in STREAMINFO
    for body in (data, flac):
        path = placed(tmp_path, bytes(body))
        decode(path)
        tracemalloc.start()
        decoded = decode(path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert decoded.is_partial
        assert decoded.frames <= 5_000
        assert peak < 8e6


def test_the_mean_of_channels_is_that_of_numpy():
    samples = np.random.default_rng(2).normal(size=(1_000, 5)).astype(np.float32)
    for channels in (1, 2, 3, 5):
        part = samples[:, :channels]
        assert np.allclose(downmix(part), part.mean(axis=1), atol=1e-6)
    assert np.array_equal(downmix(samples[:, :2]), (samples[:, 0] + samples[:, 1]) * np.float32(0.5))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # librosa imports audioread, which imports what Python 3.13 drops
def test_loading_is_that_of_librosa(tmp_path):
    import librosa

    for rate in (8_000, 22_050, 44_100, 48_000):
        path = placed(tmp_path, encoded("FLAC", STEREO, rate), "file.flac")
        theirs, _ = librosa.load(path, sr=22_050)
        decoded = decode(path)
        ours = resample(downmix(decoded.samples), rate)
        assert ours.shape == theirs.shape
        assert np.abs(ours - theirs).max() < 1e-6


def test_a_single_sample_can_be_resampled():
    for rate in (1_000, 44_100, 384_000):
        assert len(resample(np.ones(1, np.float32), rate)) == -(-22_050 // rate)


def odd_files() -> list[dict[str, str]]:
    if not (ODD / "manifest.csv").exists():
        pytest.skip("the shared collection of odd audio files is not here")
    with (ODD / "manifest.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_odd_files_are_read_or_refused_with_a_reason(capfd):
    outcomes = {}
    for row in odd_files():
        try:
            decoded = decode(ODD / row["path"])
            assert decoded.frames > 0
            assert downmix(decoded.samples).shape == (decoded.frames,)
            outcomes[row["path"]] = "decoded"
        except UnreadableFileError as error:
            outcomes[row["path"]] = error.rule
            assert row["kind"] != "valid", row["path"]
            assert row["path"] not in str(error)
        if row["libsndfile"] == "ok" and row["seconds"] != "0.0":
            assert outcomes[row["path"]] == "decoded", row["path"]
    assert len(outcomes) == 75
    assert set(outcomes.values()) <= {"decoded", "not_audio", "unsupported_format", "no_audio"}
    assert sum(outcome == "decoded" for outcome in outcomes.values()) >= 33
    assert outcomes["gpl2-mutagen/silence-44-s.ac3"] == "unsupported_format"
    assert outcomes["mit-tinytag/variable-block.flac"] == "decoded"


def test_odd_mp3_files_last_as_long_as_they_should():
    if not ODD.is_dir():
        pytest.skip("the shared collection of odd audio files is not here")
    for number in (1, 2):
        expected = json.loads((ODD / f"mit-audioread/test-{number}.json").read_text())
        decoded = decode(ODD / f"mit-audioread/test-{number}.mp3")
        assert (decoded.samples.shape[1], decoded.sample_rate) == (expected["channels"], expected["samplerate"])
        assert abs(decoded.frames / decoded.sample_rate - expected["duration"]) < 0.15
