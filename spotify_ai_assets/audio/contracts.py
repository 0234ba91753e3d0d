"""The tables of audio. Those of one partition per file shard hold what is known of each file; those of models are ``training``'s."""

import polars as pl

from spotify_ai_assets.audio.extractor import RECORDED
from spotify_ai_assets.contracts import SHARD, SHARDS, Column, Reads, Table, by_key
from spotify_ai_assets.training.model_tables import model_table

_OWNER = "team:audio"
_SHARD = Column(SHARD, pl.String, "Shard of the file's id.", allowed=SHARDS)
_FILE = Column("file_id", pl.String, "SHA-256 of the file's bytes.", pattern=r"[0-9a-f]{64}")
_EXTRACTOR = Column("extractor", pl.String, "Digest of the extractor: of every measure's version and parameters.", pattern=r"[0-9a-f]{16}")
_MODEL = Column("model_version", pl.String, "Version of the model in the registry.")
FLOATS = pl.List(pl.Float32)


def _share(name: str, description: str, *, nullable: bool = True) -> Column:
    return Column(name, pl.Float64, description, nullable=nullable, minimum=0, maximum=1)


FILES = Table(
    key="audio/files",
    owner=_OWNER,
    partitioned_by=SHARD,
    primary_key=("file_id",),
    columns=(
        _SHARD,
        _FILE,
        Column("bytes", pl.Int64, "Size of the file.", minimum=1),
        Column("container", pl.String, "Container found in the content: wav, flac, ogg, mp3, aiff."),
        Column("codec", pl.String, "Coding of the samples."),
        Column("sample_rate", pl.Int64, "Samples a second, in Hz.", minimum=1),
        Column("channels", pl.Int64, "Number of channels.", minimum=1),
        Column("declared_ms", pl.Int64, "Length that the header declares, in milliseconds.", nullable=True, minimum=0),
        Column("duration_ms", pl.Int64, "Length that can be decoded, in milliseconds.", minimum=0),
        Column("analysed_ms", pl.Int64, "Length that was measured, in milliseconds: the first part of a very long file.", minimum=0),
        Column("is_partial", pl.Boolean, "Whether it breaks off or is shorter than it declares: what is there was measured."),
        Column("is_excerpt", pl.Boolean, "Whether only its first part was measured, since it is very long."),
        Column("audio_digest", pl.String, "Digest of the decoded samples: equal for the same audio in another lossless container."),
        Column("name", pl.String, "Name of the file when it landed; may be about a person.", personal="derived", nullable=True),
        Column("title", pl.String, "Title in its tags.", nullable=True),
        Column("artist", pl.String, "Artist in its tags.", nullable=True),
        Column("album", pl.String, "Album in its tags.", nullable=True),
        Column("isrc", pl.String, "International Standard Recording Code in its tags.", nullable=True),
        Column("recording_mbid", pl.String, "MusicBrainz recording id in its tags.", nullable=True),
        Column("landed_on", pl.Date, "UTC day on which it landed first."),
    ),
)

REJECTED = Table(
    key="audio/rejected",
    owner=_OWNER,
    partitioned_by=None,
    primary_key=("file_id",),
    columns=(
        _FILE,
        Column("bytes", pl.Int64, "Size of the file.", minimum=0),
        Column("rule", pl.String, "The broken rule, a stable identifier such as decoder_crashed."),
        Column("reason", pl.String, "What is wrong, in words."),
        Column("landed_on", pl.Date, "UTC day on which it was refused first."),
    ),
)

GIVEN_LINKS = Table(
    key="audio/given_links",
    owner=_OWNER,
    partitioned_by=None,
    primary_key=("file",),
    columns=(
        Column("file", pl.String, "A file by its SHA-256 or its name.", personal="derived"),
        Column("track_id", pl.String, "The track that it is a recording of."),
    ),
)

LABELS = Table(
    key="audio/labels",
    owner=_OWNER,
    partitioned_by=None,
    primary_key=("file",),
    columns=(
        Column("file", pl.String, "A file by its SHA-256 or its name.", personal="derived"),
        Column("label", pl.String, "Its class: a genre, a mood, any set of labels."),
        Column("artist", pl.String, "Its artist, where known: no artist trains and tests a model.", nullable=True),
        Column("fold", pl.String, "The fold it belongs to, where the set has official ones.", nullable=True),
    ),
)

PERCEPTUAL_LABELS = Table(
    key="audio/perceptual_labels",
    owner=_OWNER,
    partitioned_by=None,
    primary_key=("item", "feature"),
    columns=(
        Column("item", pl.String, "A file by its SHA-256 or name, or a track by its id or ISRC.", personal="derived"),
        Column("artist", pl.String, "Its artist, where known.", nullable=True),
        Column("feature", pl.String, "What was labelled, such as valence."),
        _share("value", "The label.", nullable=False),
    ),
)

TRACK_LINKS = Table(
    key="audio/track_links",
    owner=_OWNER,
    partitioned_by=None,
    primary_key=("file_id",),
    reads=(
        Reads("audio/files", drives=False, awaited=True),
        Reads("audio/given_links", drives=False),
        Reads("catalog/tracks", drives=False),
    ),
    columns=(
        _FILE,
        Column("track_id", pl.String, "The track that it is a recording of."),
        Column("method", pl.String, "How that is known.", allowed=("csv", "isrc", "mbid", "names_and_duration", "names", "file_name")),
        _share("confidence", "How sure that is.", nullable=False),
    ),
)


def _spread(name: str, unit: str, what: str) -> tuple[Column, Column]:
    of = f"{what}, over the frames of 2,048 samples at 22,050 Hz, as librosa defines it"
    named = f"{name}_{unit}" if unit else name
    return (
        Column(f"{named}_mean", pl.Float64, f"Mean {of}.", nullable=True),
        Column(f"{named}_std", pl.Float64, f"Standard deviation of the {of}.", nullable=True, minimum=0),
    )


def _vector(name: str, length: int, what: str) -> Column:
    return Column(name, FLOATS, f"{what}: {length} numbers.")


FEATURES = Table(
    key="audio/features",
    owner=_OWNER,
    code_version=RECORDED,
    partitioned_by=SHARD,
    primary_key=("file_id",),
    reads=(Reads("audio/files"),),
    columns=(
        _SHARD,
        _FILE,
        _EXTRACTOR,
        Column("duration_ms", pl.Int64, "Length in milliseconds.", minimum=0),
        Column(
            "tempo",
            pl.Float64,
            "Beats a minute: librosa's tempo, its octave and fraction refined on the autocorrelation of onsets.",
            nullable=True,
            minimum=0,
        ),
        _share("tempo_confidence", "How much clearer the tempo's periodicity is than its rivals'."),
        Column("tempo_alternative", pl.Float64, "The half or double that is the next likely, in beats a minute.", nullable=True, minimum=0),
        Column(
            "key",
            pl.Int64,
            "Tonic as a pitch class, 0 is C, by correlation of chroma with key profiles.",
            nullable=True,
            minimum=0,
            maximum=11,
        ),
        Column("mode", pl.Int64, "1 major, 0 minor.", nullable=True, minimum=0, maximum=1),
        _share("key_confidence", "How much better the key fits than the next."),
        Column("loudness", pl.Float64, "Integrated loudness in LUFS, ITU-R BS.1770-4; null for silence.", nullable=True),
        Column("loudness_short_term_max_lufs", pl.Float64, "Loudest 3 seconds, in LUFS.", nullable=True),
        Column("loudness_range_lu", pl.Float64, "Loudness range in LU, EBU Tech 3342.", nullable=True, minimum=0),
        Column("true_peak_dbtp", pl.Float64, "True peak in dBTP, ITU-R BS.1770-4 annex 2.", nullable=True),
        Column("dynamic_range_db", pl.Float64, "Peak to loudness ratio: true peak less integrated loudness, in dB.", nullable=True),
        Column("silence_start_ms", pl.Int64, "Silence before the first sound, in milliseconds.", minimum=0),
        Column("silence_end_ms", pl.Int64, "Silence after the last sound, in milliseconds.", minimum=0),
        _share("energy", "Intensity from loudness, its range, onsets and brightness; the formula is in `measures/energy.py`."),
        _share("danceability", "Regularity of the beat by detrended fluctuation analysis, Streich and Herrera 2005."),
        Column("time_signature", pl.Int64, "Beats in a bar, by the periodicity of accents.", nullable=True, minimum=2, maximum=12),
        _share("time_signature_confidence", "How much clearer that bar is than the next."),
        Column("onset_rate_hz", pl.Float64, "Onsets a second.", nullable=True, minimum=0),
        Column("tuning", pl.Float64, "Deviation from 440 Hz in fractions of a semitone.", nullable=True, minimum=-0.5, maximum=0.5),
        *_spread("centroid", "hz", "spectral centroid in Hz"),
        *_spread("bandwidth", "hz", "spectral bandwidth in Hz"),
        *_spread("rolloff", "hz", "frequency below which 85 % of the energy lies, in Hz"),
        *_spread("flatness", "", "spectral flatness"),
        *_spread("zcr", "", "zero crossing rate"),
        *_spread("rms", "", "root mean square"),
        *_spread("onset_strength", "", "onset strength"),
        _vector("mfcc_mean", 20, "Mean of each mel-frequency cepstral coefficient"),
        _vector("mfcc_std", 20, "Their standard deviations"),
        _vector("mfcc_delta_std", 20, "Standard deviations of their slopes"),
        _vector("mfcc_delta2_std", 20, "Standard deviations of their curvatures"),
        _vector("chroma_mean", 12, "Mean energy of each pitch class, from C"),
        _vector("chroma_std", 12, "Their standard deviations"),
        _vector("contrast_mean", 7, "Mean spectral contrast of each octave band in dB"),
        _vector("contrast_std", 7, "Their standard deviations"),
        _vector("tonnetz_mean", 6, "Mean tonal centroid, from STFT chroma"),
        _vector("tonnetz_std", 6, "Their standard deviations"),
        _vector("log_mel_mean", 128, "Mean of each mel band in dB"),
        _vector("log_mel_std", 128, "Their standard deviations"),
        Column("beats_ms", pl.List(pl.Int32), "When the beats are, in milliseconds."),
    ),
)

SPECTROGRAMS = Table(
    key="audio/spectrograms",
    owner=_OWNER,
    code_version=RECORDED,
    partitioned_by=SHARD,
    primary_key=("file_id",),
    reads=(Reads("audio/files"),),
    columns=(
        _SHARD,
        _FILE,
        _EXTRACTOR,
        Column("frames", pl.Int64, "Frames of 23.2 ms, at most 30 seconds from the middle.", minimum=0),
        Column("mel", pl.Binary, "64 mel bands by frames, a byte each, row by row: what models learn from and answer by."),
        Column("wave", FLOATS, "Outline of the wave for pictures: seconds, lowest and highest samples of 240 equal parts."),
    ),
)

FINGERPRINTS = Table(
    key="audio/fingerprints",
    owner=_OWNER,
    code_version=RECORDED,
    partitioned_by=SHARD,
    primary_key=("file_id",),
    reads=(Reads("audio/files"),),
    columns=(
        _SHARD,
        _FILE,
        _EXTRACTOR,
        Column("hashes", pl.List(pl.UInt32), "Landmarks: pairs of spectral peaks, after Wang 2003."),
        Column("frames", pl.List(pl.UInt32), "The frame of each."),
    ),
)

EVIDENCE = Table(
    key="audio/evidence",
    owner=_OWNER,
    code_version=RECORDED,
    partitioned_by=SHARD,
    primary_key=("file_id", "measure"),
    reads=(Reads("audio/files"),),
    columns=(
        _SHARD,
        _FILE,
        Column("measure", pl.String, "What was measured."),
        Column("value", pl.Float64, "The measurement."),
    ),
)

ENCODER = model_table("audio/encoder", _OWNER, "audio/spectrograms", "audio/features", "audio/files", "audio/labels")
SOUND_MODEL = model_table("audio/sound_model", _OWNER, "audio/spectrograms", "audio/labels", "audio/files")
PERCEPTUAL_MODEL = model_table(
    "audio/perceptual_model", _OWNER, "audio/features", "audio/perceptual_labels", "audio/files", "audio/track_links", "catalog/tracks"
)

EMBEDDINGS = Table(
    key="audio/embeddings",
    owner=_OWNER,
    partitioned_by=SHARD,
    primary_key=("file_id",),
    reads=(Reads("audio/spectrograms"), Reads("audio/features"), Reads("audio/encoder", drives=False, awaited=True)),
    columns=(_SHARD, _FILE, _MODEL, Column("embedding", FLOATS, "What it sounds like, a vector of unit length.")),
)

PREDICTIONS = Table(
    key="audio/predictions",
    owner=_OWNER,
    partitioned_by=SHARD,
    primary_key=("file_id", "label"),
    reads=(Reads("audio/spectrograms"), Reads("audio/sound_model", drives=False, awaited=True)),
    columns=(
        _SHARD,
        _FILE,
        Column("label", pl.String, "A class of the sound model."),
        _share("probability", "Its calibrated probability.", nullable=False),
        Column("rank", pl.Int64, "1 is the most probable.", minimum=1),
        _MODEL,
    ),
)

EXPLANATIONS = Table(
    key="audio/explanations",
    owner=_OWNER,
    partitioned_by=None,
    primary_key=("label", "file_id"),
    reads=(
        Reads("audio/predictions", drives=False, awaited=True),
        Reads("audio/spectrograms", drives=False),
        Reads("audio/sound_model", drives=False, awaited=True),
    ),
    columns=(
        Column("label", pl.String, "The class that is explained."),
        _FILE,
        _share("probability", "Its calibrated probability.", nullable=False),
        Column("completeness_gap", pl.Float64, "How far the attributions' sum is from what they explain, as a share of it.", minimum=0),
        Column("bands", FLOATS, "Share of the attribution of each of the 64 mel bands."),
        Column("picture", pl.Binary, "PNG: which regions of time and frequency spoke for the class."),
        _MODEL,
    ),
)

PERCEPTUAL = Table(
    key="audio/perceptual",
    owner=_OWNER,
    partitioned_by=SHARD,
    primary_key=("file_id", "feature"),
    reads=(Reads("audio/features"), Reads("audio/perceptual_model", drives=False, awaited=True)),
    columns=(
        _SHARD,
        _FILE,
        Column("feature", pl.String, "What was estimated, such as valence."),
        _share("value", "The estimate, calibrated.", nullable=False),
        _MODEL,
    ),
)

ANOMALIES = Table(
    key="audio/anomalies",
    owner=_OWNER,
    partitioned_by=None,
    primary_key=("file_id", "fault", "other_file_id"),
    reads=(
        Reads("audio/files", drives=False, awaited=True),
        Reads("audio/evidence", drives=False),
        Reads("audio/fingerprints", drives=False),
        Reads("audio/embeddings", drives=False),
        Reads("audio/track_links", drives=False),
        Reads("catalog/tracks", drives=False),
    ),
    columns=(
        _FILE,
        Column("fault", pl.String, "What is wrong, such as clipping or near_duplicate."),
        Column("other_file_id", pl.String, "The file that it is a duplicate of; empty for other faults."),
        _share("score", "How sure the detector is.", nullable=False),
        Column("severity", pl.String, "How much of it there is.", allowed=("slight", "clear", "severe")),
        Column("evidence", pl.String, "The numbers behind it, as JSON."),
        Column("picture", pl.Binary, "PNG that shows it, where there is something to see.", nullable=True),
    ),
)

DRIFT = Table(
    key="audio/drift",
    owner=_OWNER,
    partitioned_by=None,
    primary_key=("comparison", "feature"),
    reads=(Reads("audio/features", drives=False, awaited=True), Reads("audio/files", drives=False)),
    columns=(
        Column("comparison", pl.String, "What is compared: `shard 07` with all others, `2026-06` with what landed before."),
        Column("feature", pl.String, "The feature."),
        Column("psi", pl.Float64, "Population stability index.", minimum=0),
        Column("psi_by_chance", pl.Float64, "What the index stays below without a change, 999 times in 1,000.", minimum=0),
        Column("change", pl.String, "What that means.", allowed=("unknown", "none", "moderate", "major")),
        Column("files", pl.Int64, "Files in the compared group.", minimum=0),
        Column("reference_files", pl.Int64, "Files it is compared with.", minimum=0),
        Column("median", pl.Float64, "Median in the compared group.", nullable=True),
        Column("reference_median", pl.Float64, "Median of those it is compared with.", nullable=True),
    ),
)

TABLES = by_key(
    FILES,
    REJECTED,
    GIVEN_LINKS,
    LABELS,
    PERCEPTUAL_LABELS,
    TRACK_LINKS,
    FEATURES,
    SPECTROGRAMS,
    FINGERPRINTS,
    EVIDENCE,
    ENCODER,
    SOUND_MODEL,
    PERCEPTUAL_MODEL,
    EMBEDDINGS,
    PREDICTIONS,
    EXPLANATIONS,
    PERCEPTUAL,
    ANOMALIES,
    DRIFT,
)
