import io
import math
import subprocess
import sys
import types
import wave
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotify_ai_assets.audio import analysis as module
from spotify_ai_assets.audio.analysis import EXTRACTOR, OUTLINE, VERSIONS, Analysis, analyse, from_npz, name_extractor, read_constants
from spotify_ai_assets.audio.extractor import RECORDED
from spotify_ai_assets.errors import UnreadableFileError

pytestmark = pytest.mark.xdist_group("audio_sandbox")

# fmt: off
SCALARS = [
    "duration_ms", "tempo", "tempo_confidence", "tempo_alternative", "key", "mode", "key_confidence", "loudness",
    "loudness_short_term_max_lufs", "loudness_range_lu", "true_peak_dbtp", "dynamic_range_db", "silence_start_ms", "silence_end_ms",
    "energy", "danceability", "time_signature", "time_signature_confidence", "tuning", "centroid_hz_mean", "centroid_hz_std",
    "bandwidth_hz_mean", "bandwidth_hz_std", "rolloff_hz_mean", "rolloff_hz_std", "flatness_mean", "flatness_std", "zcr_mean",
    "zcr_std", "rms_mean", "rms_std", "onset_strength_mean", "onset_strength_std", "onset_rate_hz",
]
# fmt: on
VECTORS = {
    "mfcc_mean": 20,
    "mfcc_std": 20,
    "mfcc_delta_std": 20,
    "mfcc_delta2_std": 20,
    "chroma_mean": 12,
    "chroma_std": 12,
    "contrast_mean": 7,
    "contrast_std": 7,
    "tonnetz_mean": 6,
    "tonnetz_std": 6,
    "log_mel_mean": 128,
    "log_mel_std": 128,
    "wave": 3 * OUTLINE,
}


def write_wav(path: Path, samples: np.ndarray, rate: int) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setparams((samples.shape[1], 2, rate, 0, "NONE", ""))
        file.writeframes(np.rint(samples * 32767).astype("<i2").tobytes())
    return path


def clicks(seconds: float, rate: int = 44_100, channels: int = 2) -> np.ndarray:
    """A tone with a click each half second."""
    time = np.arange(int(seconds * rate)) / rate
    chord = sum(0.07 * np.sin(2 * np.pi * tone * time) for tone in (220, 440, 554.37, 659.26))  # A major
    sound = chord + 0.5 * (time % 0.5 < 0.01) * np.sin(2 * np.pi * 2000 * time)
    return np.repeat(sound[:, None], channels, axis=1)


def small(**more) -> Analysis:
    values = {"facts": {"container": "wav", "declared_ms": None}, "values": {"tempo": 120.5, "key": None}, "evidence": {"peak": 0.25}}
    arrays = {"prints": np.arange(6, dtype=np.uint32).reshape(3, 2), "mel": np.zeros((64, 2), np.uint8)}
    return Analysis(**{**values, **arrays, "vectors": {"a": np.ones(3, np.float32)}, "extractor": "e", **more})


@pytest.fixture(scope="module")
def analysed(tmp_path_factory) -> Analysis:
    return analyse(write_wav(tmp_path_factory.mktemp("analysed") / "a.wav", clicks(10), 44_100))


def test_one_pass_gives_every_column_of_the_features(analysed):
    assert sorted(analysed.values) == sorted(SCALARS)
    assert {name: len(vector) for name, vector in analysed.vectors.items() if name != "beats_ms"} == VECTORS
    assert {vector.dtype for name, vector in analysed.vectors.items() if name != "beats_ms"} == {np.dtype(np.float32)}
    assert analysed.vectors["beats_ms"].dtype == np.int32
    assert analysed.mel.dtype == np.uint8 and analysed.mel.shape[0] == 64 and analysed.extractor == EXTRACTOR
    assert analysed.evidence and all(math.isfinite(value) for value in analysed.evidence.values())


def test_the_facts_are_those_of_the_file_and_the_measures_those_of_its_sound(analysed):
    facts = {"container": "wav", "codec": "pcm_16", "sample_rate": 44_100, "channels": 2, "declared_ms": 10_000, "duration_ms": 10_000}
    found = dict(analysed.facts)
    assert len(found.pop("audio_digest")) == 64
    assert found == facts | {"analysed_ms": 10_000, "is_partial": False, "is_excerpt": False}
    assert analysed.values["tempo"] == pytest.approx(120, rel=0.02)
    assert analysed.values["key"] == 9  # A


def test_the_same_file_gives_the_same_bytes(analysed, tmp_path):
    again = analyse(write_wav(tmp_path / "another name", clicks(10), 44_100))
    assert again.to_npz() == analysed.to_npz()


def test_what_was_written_is_read_again(analysed):
    read = from_npz(analysed.to_npz())
    assert read.to_npz() == analysed.to_npz()
    assert (read.facts, read.values, read.evidence, read.extractor) == (analysed.facts, analysed.values, analysed.evidence, EXTRACTOR)
    assert np.array_equal(read.mel, analysed.mel) and np.array_equal(read.prints, analysed.prints)


def test_the_order_of_names_and_of_memory_makes_no_difference():
    one = small(values={"b": 1.0, "a": 2.0}, mel=np.asfortranarray(np.arange(128, dtype=np.uint8).reshape(64, 2)))
    two = small(values={"a": 2.0, "b": 1.0}, mel=np.arange(128, dtype=np.uint8).reshape(64, 2))
    assert one.to_npz() == two.to_npz()


def test_numpy_reads_it_too_without_objects():
    with np.load(io.BytesIO(small().to_npz()), allow_pickle=False) as found:
        assert sorted(found) == ["head", "mel", "prints", "vector/a"]


@pytest.mark.parametrize(("seconds", "rate"), [(0.00003, 44_100), (0.01, 8_000), (0.3, 96_000), (2, 22_050)])
@pytest.mark.parametrize("level", [0.0, 1.0])
def test_silence_and_the_shortest_sounds_have_numbers_or_nothing(tmp_path, seconds, rate, level):
    samples = np.full((max(1, int(seconds * rate)), 1), level)
    found = analyse(write_wav(tmp_path / "a.wav", samples, rate))
    assert sorted(found.values) == sorted(SCALARS)
    assert all(value is None or math.isfinite(value) for value in found.values.values())
    assert all(np.isfinite(vector).all() for vector in found.vectors.values())
    assert found.values["loudness"] is None or level
    assert from_npz(found.to_npz()).to_npz() == found.to_npz()


def test_what_is_no_audio_is_refused_by_rule(tmp_path):
    (tmp_path / "a").write_text("no audio")
    with pytest.raises(UnreadableFileError) as error:
        analyse(tmp_path / "a")
    assert error.value.rule == "not_audio"


# Bytes of others -------------------------------------------------------------------------------------------------------------


def packed(*, compress: int = zipfile.ZIP_STORED, **entries: bytes) -> bytes:
    """An analysis with other entries."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(small().to_npz())) as source, zipfile.ZipFile(file, "w", compress) as target:
        for name in source.namelist():
            target.writestr(name, entries.pop(name.removesuffix(".npy"), None) or source.read(name))
        for name, data in entries.items():
            target.writestr(f"{name}.npy", data)
    return file.getvalue()


def array(values, *, allow_pickle: bool = False) -> bytes:
    file = io.BytesIO()
    np.save(file, values, allow_pickle=allow_pickle)
    return file.getvalue()


def header_of(shape: tuple[int, ...]) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return file.getvalue() + b"x"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK",
        packed(compress=zipfile.ZIP_DEFLATED),
        packed(mel=header_of((2**50,))),
        packed(mel=header_of((64, 2**33))),
        packed(mel=array(np.zeros((64, 2), np.float64))),
        packed(mel=array(np.zeros(64, np.uint8))),
        packed(prints=array(np.array([object()]), allow_pickle=True)),
        packed(head=array(np.frombuffer(b"[1]", np.uint8))),
        packed(head=array(np.frombuffer(b"{", np.uint8))),
        packed(**{f"more{number}": array(np.zeros(1, np.uint8)) for number in range(70)}),
        small().to_npz()[:-30],
    ],
)
def test_other_bytes_are_refused_and_nothing_is_believed(data):
    with pytest.raises(ValueError):
        from_npz(data)


@given(st.binary(max_size=300), st.integers(0, 3000))
def test_bytes_of_any_kind_are_an_analysis_or_refused(noise, place):
    data = small().to_npz()
    place %= len(data)
    try:
        found = from_npz(data[:place] + noise + data[place + len(noise) :])
    except ValueError:
        return
    assert isinstance(found, Analysis)


# The extractor ---------------------------------------------------------------------------------------------------------------


def test_another_version_or_constant_is_another_extractor():
    versions, constants = {"a": 1, "b": 1}, {"a": {"X": "1"}, "b": {}}
    names = {
        name_extractor(versions, constants),
        name_extractor({"a": 2, "b": 1}, constants),
        name_extractor(versions, {"a": {"X": "2"}, "b": {}}),
        name_extractor(versions, {"a": {"X": "1", "Y": "1"}, "b": {}}),
    }
    assert len(names) == 4
    assert name_extractor({"b": 1, "a": 1}, {"b": {}, "a": {"X": "1"}}) in names


def test_constants_are_plain_values_in_capitals_whatever_the_layout_of_the_source():
    def constants(source: str) -> dict[str, str]:
        made = types.ModuleType("made")
        exec(source, made.__dict__)
        return read_constants(made)

    source = "import os\nX = 1.5\n_Y = (1, 'a')\nZ = {'b': 1, 'a': {2, 1}}\nlower = 3\nE = os\n"
    assert constants(source) == {"X": "1.5", "_Y": "(1, 'a')", "Z": "{'a': {1, 2}, 'b': 1}"}
    assert constants("# a comment\n\n" + source.replace(" = ", "   =   ")) == constants(source)
    assert constants(source.replace("1.5", "1.6")) != constants(source)


def test_every_measure_is_declared():
    folder = Path(module.__file__).parent / "measures"
    assert {f"measures.{path.stem}" for path in folder.glob("*.py")} - {"measures.__init__", "measures.kernels"} <= set(VERSIONS)


def test_the_extractor_is_the_same_in_another_process_and_loads_nothing_heavy():
    script = (
        "import sys; from spotify_ai_assets.audio.intake import taking, landing, sandbox\n"
        "from spotify_ai_assets.audio.analysis import EXTRACTOR\n"
        "heavy = {'numba', 'librosa', 'scipy', 'soundfile', 'soxr', 'torch', 'tinytag', 'dagster'} & set(sys.modules)\n"
        "print(EXTRACTOR, sorted(heavy))"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert told.split(maxsplit=1) == [EXTRACTOR, "[]\n"]


def test_the_recorded_name_of_the_extractor_is_what_the_measures_give():
    assert RECORDED == EXTRACTOR, "a measure was changed: write its new name into audio/extractor.py"
