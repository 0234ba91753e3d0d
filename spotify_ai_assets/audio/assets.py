"""The assets of audio: what landed, what one pass over each file measured, models, and what they say of each file."""

from datetime import UTC, datetime

import dagster as dg
import polars as pl

from spotify_ai_assets.audio import pictures
from spotify_ai_assets.audio.contracts import (
    ANOMALIES,
    DRIFT,
    EMBEDDINGS,
    ENCODER,
    EVIDENCE,
    EXPLANATIONS,
    FEATURES,
    FILES,
    FINGERPRINTS,
    GIVEN_LINKS,
    LABELS,
    PERCEPTUAL,
    PERCEPTUAL_LABELS,
    PERCEPTUAL_MODEL,
    PREDICTIONS,
    REJECTED,
    SOUND_MODEL,
    SPECTROGRAMS,
    TRACK_LINKS,
)
from spotify_ai_assets.audio.studio import Studio
from spotify_ai_assets.errors import TransientError
from spotify_ai_assets.loading import (
    asset_key,
    filled_table,
    landed_table,
    made_table,
    partition_metadata,
    show_partition,
)
from spotify_ai_assets.making import Inputs
from spotify_ai_assets.partitions import run_shards
from spotify_ai_assets.resources.lake import Lake
from spotify_ai_assets.runs import claim
from spotify_ai_assets.tables import TABLES


@filled_table(FILES, kinds=("soundfile",), required_resource_keys={"lake", "studio", "audio_landing"})
def files(context: dg.AssetExecutionContext) -> None:
    """Audio files, one row each: format, length, tags, whether they break off.

    Takes whatever landed in `data/landing/audio`, of whatever shard: content decides the format, the SHA-256 of the bytes is the
    identity. Each file is decoded once, in a process with limits on memory, time and files; what cannot be decoded goes to
    `audio/rejected` with its reason. Only new files are measured, and a run that was killed goes on where it stopped.
    """
    from spotify_ai_assets.audio.intake.receiving import Reception

    lake: Lake = context.resources.lake
    studio: Studio = context.resources.studio.at(context)
    reception = Reception(context.resources.audio_landing, studio, lake, datetime.now(UTC).date(), claim(context))
    try:
        reception.receive()
    except TransientError as error:
        raise dg.RetryRequested(max_retries=3, seconds_to_wait=2) from error
    asked = set(run_shards(context.run.tags))
    for key, partitions in reception.touched.items():
        _note(context, lake, key, {str(each or "") for each in partitions} - (asked if key == FILES.key else set()))
    states = lake.states(FILES.key)
    for shard in sorted(asked & states.keys()):
        shown = show_partition(lake, FILES, states[shard], pictures.PICTURES.get(FILES.key)) if shard == max(asked & states.keys()) else {}
        context.add_asset_metadata({**partition_metadata(states[shard]), **shown}, asset_key=asset_key(FILES), partition_key=shard)
    context.log.info(f"{FILES.key}: {reception.counts()}")
    context.add_output_metadata(reception.counts())


def _note(context: dg.AssetExecutionContext, lake: Lake, key: str, names: set[str]) -> None:
    """One materialisation for each partition that changed beside those of the run."""
    table, states = TABLES[key], lake.states(key)
    for name in sorted(names & states.keys()):
        shown = show_partition(lake, table, states[name], pictures.PICTURES.get(key))
        event = dg.AssetMaterialization(asset_key(table), partition=name or None, metadata=partition_metadata(states[name]) | shown)
        context.log_event(event)


@landed_table(REJECTED)
def rejected() -> None:
    """Files that could not be taken, each with the rule that it breaks and the reason.

    The file itself lies in `data/quarantine/audio` under its digest. One that is taken after all leaves this table.
    """


@landed_table(GIVEN_LINKS)
def given_links() -> None:
    """Which file is which track, as a CSV that landed with the audio says: columns `file` and `track_id`."""


@landed_table(LABELS)
def labels() -> None:
    """What files are labelled with, a genre or a mood, from a CSV that landed: `file`, `label`, and where known `artist` and `fold`.

    The sound model learns them. Without an artist or a fold nobody can say how good it is, and it says so.
    """


@landed_table(PERCEPTUAL_LABELS)
def perceptual_labels() -> None:
    """How tracks are perceived, from a CSV that landed: valence, acousticness, speechiness, liveness, instrumentalness, from 0 to 1.

    In plain columns beside `file` or `track_id`, or as the Echo Nest table of the Free Music Archive data set.
    """


@made_table(TRACK_LINKS, picture=pictures.links_by_method)
def track_links(read: Inputs) -> pl.DataFrame:
    """Which track of the catalogue each file is a recording of, how that is known and how sure it is.

    By a table that somebody gave, by ISRC or MusicBrainz id in the tags, or by names and duration. All that is said of tracks from
    their audio goes through this table.
    """
    from spotify_ai_assets.audio.intake.links import link_tracks

    found = read("audio/files").rename({"name": "file_name"}).collect()
    return link_tracks(found, read("catalog/tracks").collect(), read("audio/given_links").collect()).select(*TRACK_LINKS.schema)


@made_table(FEATURES, tools="studio", picture=pictures.tempo_histogram, present=pictures.present_features, kinds=("librosa", "numba"))
def features(read: Inputs, studio: Studio) -> pl.DataFrame:
    """What each file sounds like in numbers: tempo, key, loudness, energy, danceability, timbre.

    Spotify's audio features from your own audio, under their names where the meaning is the same; each column says how it is
    computed. What cannot be computed honestly is not there: for valence and its like see `audio/perceptual`.
    """
    from spotify_ai_assets.audio.measurements import tabulate_features

    return tabulate_features(read.shard, studio.analyses(_file_ids(read)))


@made_table(SPECTROGRAMS, tools="studio", present=pictures.present_spectrograms, kinds=("numba",))
def spectrograms(read: Inputs, studio: Studio) -> pl.DataFrame:
    """A small mel spectrogram of each file, at most 30 seconds from its middle: what models learn from and answer by."""
    from spotify_ai_assets.audio.measurements import tabulate_spectrograms

    return tabulate_spectrograms(read.shard, studio.analyses(_file_ids(read)))


@made_table(FINGERPRINTS, tools="studio", picture=pictures.landmarks_by_file)
def fingerprints(read: Inputs, studio: Studio) -> pl.DataFrame:
    """Landmarks of each file, by which the same recording is found again in another coding, level or excerpt."""
    from spotify_ai_assets.audio.measurements import tabulate_fingerprints

    return tabulate_fingerprints(read.shard, studio.analyses(_file_ids(read)))


@made_table(EVIDENCE, tools="studio", picture=pictures.evidence_by_measure)
def evidence(read: Inputs, studio: Studio) -> pl.DataFrame:
    """What the detectors of faults measured of each file at its own rate: levels, flat tops, offsets, channels, ends, clicks, bandwidth."""
    from spotify_ai_assets.audio.measurements import tabulate_evidence

    return tabulate_evidence(read.shard, studio.analyses(_file_ids(read)))


def _file_ids(read: Inputs) -> list[str]:
    return read("audio/files").select("file_id").collect()["file_id"].to_list()


@made_table(ENCODER, tools="studio", present=pictures.present_model, kinds=("torch", "mlflow"))
def encoder(read: Inputs, studio: Studio) -> pl.DataFrame:
    """The champion among encoders of sound, and the evidence for it.

    A small network learns without labels which excerpts are of the same recording. It serves only if it finds recordings again
    better than a random network and better than the features alone, by its interval; else the features serve.
    """
    from spotify_ai_assets.audio.trainings import learn_encoder

    return learn_encoder(read, studio)


@made_table(SOUND_MODEL, tools="studio", picture=pictures.recall_by_class, present=pictures.present_model, kinds=("torch", "mlflow"))
def sound_model(read: Inputs, studio: Studio) -> pl.DataFrame:
    """The champion among classifiers of sound, and how good it was found to be on artists or folds that it never heard.

    Learns whatever `audio/labels` names, from spectrograms, without weights from elsewhere; its probabilities are calibrated. A
    version that fails its gate is kept as the challenger and does not serve.
    """
    from spotify_ai_assets.audio.trainings import learn_sounds

    return learn_sounds(read, studio)


@made_table(PERCEPTUAL_MODEL, tools="studio", picture=pictures.error_by_feature, present=pictures.present_model, kinds=("mlflow",))
def perceptual_model(read: Inputs, studio: Studio) -> pl.DataFrame:
    """The champion among estimators of valence, acousticness, speechiness, liveness and instrumentalness, and its errors.

    Learns from `audio/perceptual_labels`, that is from people's judgement; without labels there is nothing to make.
    """
    from spotify_ai_assets.audio.trainings import learn_perception

    return learn_perception(read, studio)


@made_table(EMBEDDINGS, tools="studio", kinds=("torch",), present=pictures.present_embeddings)
def embeddings(read: Inputs, studio: Studio) -> pl.DataFrame:
    """What each file sounds like as a vector of unit length: files that sound alike are near each other.

    Made by the champion of `audio/encoder`; `spotify-ai audio similar` searches them.
    """
    from spotify_ai_assets.audio.answers import embed_files

    return embed_files(read, studio)


@made_table(PREDICTIONS, tools="studio", picture=pictures.files_by_label, kinds=("torch",))
def predictions(read: Inputs, studio: Studio) -> pl.DataFrame:
    """The probability of each class of the sound model for each file, calibrated."""
    from spotify_ai_assets.audio.answers import classify_files

    return classify_files(read, studio)


@made_table(EXPLANATIONS, tools="studio", present=pictures.present_explanations, kinds=("torch", "captum"))
def explanations(read: Inputs, studio: Studio) -> pl.DataFrame:
    """Why the sound model answers as it does: for the clearest file of each class the regions of time and frequency that spoke for it.

    By integrated gradients; the completeness gap says how much of the answer they leave unexplained.
    """
    from spotify_ai_assets.audio.answers import explain_classes

    return explain_classes(read, studio)


@made_table(PERCEPTUAL, tools="studio", picture=pictures.perceptual_means)
def perceptual(read: Inputs, studio: Studio) -> pl.DataFrame:
    """Valence, acousticness, speechiness, liveness and instrumentalness of each file, estimated and calibrated.

    Made by the champion of `audio/perceptual_model`; its card tells the error of each.
    """
    from spotify_ai_assets.audio.answers import perceive_files

    return perceive_files(read, studio)


@made_table(ANOMALIES, tools="studio", picture=pictures.files_by_fault, present=pictures.present_faults)
def anomalies(read: Inputs, studio: Studio) -> pl.DataFrame:
    """What is wrong with files: silence, clipping, offset, lost or inverted channels, lost bandwidth, broken ends, clicks,
    duplicates, other speeds of the same recording, and tracks that do not sound like their artist.

    One closed form for each fault, with a score, the numbers behind it and a picture.
    """
    from spotify_ai_assets.audio.anomalies import find_anomalies

    return find_anomalies(read, studio)


@made_table(DRIFT, picture=pictures.drift_by_feature)
def drift(read: Inputs) -> pl.DataFrame:
    """Whether features of one shard, or of one month's files, are distributed unlike the others': the population stability index.

    Shards are drawn by digest, so that one that differs points to a fault of measuring; months differ when the music does.
    """
    from spotify_ai_assets.audio.stability import compare_catalogue

    return compare_catalogue(read("audio/features").collect(), read("audio/files").select("file_id", "landed_on").collect())
