"""What is played: the sound of each artist, and tempo, key, metre and chords of each track.

Tonality is meant to be plain: a song begins and ends on its tonic chord, ends with dominant and tonic, and minor has the raised
seventh of harmonic minor in its dominant. How it sounds belongs to ``rendering``.
"""

from dataclasses import dataclass

import numpy as np

from spotify_ai_assets.demo.music import GENRES
from spotify_ai_assets.demo.names import draw_from

MAJOR, MINOR = (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 11)
SECONDS = (9.0, 11.2)


@dataclass(frozen=True, slots=True)
class Style:
    """How a genre is played.

    Attributes:
        tempo: Least and greatest BPM.
        minor: Share of songs in minor.
        triple: Share of songs in 3/4.
        loudness: Least and greatest integrated loudness in LUFS.
        kit: Patterns of drums, each a text of sixteenths: ``X`` accented, ``x`` plain, ``o`` soft, ``.`` nothing.
        bass, chords: Patterns of these.
        lead: Chance of a note of melody on each beat.
        gains: Levels of the layers ``bass``, ``chords`` and ``lead``.
        dampening: Steepness of the chords' harmonics, as the power by which they sink.
        decay: Seconds in which a chord's tone sinks to 1/e.
        drive: How hard the chords are overdriven; 0 is clean.
        voice: Level of the singing or, in hip hop, speaking voice.
        air: Level of broadband noise against the music.
        acoustic, merry: What acousticness and valence such music tends to.
    """

    tempo: tuple[float, float]
    minor: float
    triple: float
    loudness: tuple[float, float]
    kit: dict[str, str]
    bass: str
    chords: str
    lead: float
    gains: tuple[float, float, float]
    dampening: float
    decay: float
    drive: float
    voice: float
    air: float
    acoustic: float
    merry: float


STYLES = {
    "indie pop": Style(
        (100, 134), 0.35, 0.2, (-17, -14.5), {"kick": "X.......X.......", "snare": "....X.......X...", "hat": "x.o.x.o.x.o.x.o."},
        "X...x...X...x...", "X.o.x.o.X.o.x.o.", 0.5, (0.75, 0.45, 0.25), 2.1, 0.35, 0.0, 0.5, 0.001, 0.45, 0.65,
    ),
    "hip hop": Style(
        (80, 98), 0.6, 0.0, (-17, -14.5), {"kick": "X.....o.X.......", "snare": "....X.......X...", "hat": "x.o.x.o.x.o.x.o."},
        "X...o...X...o...", "X...x...X...x...", 0.15, (0.7, 0.55, 0.2), 2.4, 0.6, 0.0, 0.45, 0.0012, 0.15, 0.5,
    ),
    "techno": Style(
        (122, 140), 0.7, 0.0, (-15, -13), {"kick": "X...X...X...X...", "clap": "....x.......x...", "hat": "..x...x...x...x."},
        "o.x.o.x.o.x.o.x.", "X...x...x...x...", 0.1, (0.6, 0.8, 0.2), 1.9, 0.25, 0.0, 0.0, 0.001, 0.03, 0.4,
    ),
    "metal": Style(
        (118, 160), 0.85, 0.1, (-14.5, -12.5), {"kick": "X.o.X.o.X.o.X.o.", "snare": "....X.......X...", "crash": "X..............."},
        "X.o.x.o.X.o.x.o.", "X.o.x.o.X.o.x.o.", 0.4, (0.6, 0.65, 0.2), 2.3, 0.9, 1.3, 0.1, 0.002, 0.02, 0.25,
    ),
    "jazz": Style(
        (104, 150), 0.4, 0.25, (-20, -16), {"ride": "X...x..ox...x..o", "kick": "o...o...o...o...", "brush": "....x.......x..."},
        "X...x...x...x...", "X.......x.......", 0.75, (0.8, 0.4, 0.35), 2.1, 0.7, 0.0, 0.1, 0.003, 0.8, 0.55,
    ),
    "classical": Style(
        (84, 126), 0.45, 0.35, (-23, -18), {},
        "X...x...x...x...", "X.o.x.o.x.o.x.o.", 0.6, (0.6, 0.5, 0.35), 2.2, 0.45, 0.0, 0.0, 0.002, 0.95, 0.45,
    ),
    "latin": Style(
        (92, 118), 0.35, 0.0, (-17.5, -15), {"kick": "X...x...X...x...", "conga": "o.x.....o.x...oo", "shaker": "x.o.x.o.x.o.x.o."},
        "X.....o.x.....o.", "X...x.o.X...x.o.", 0.45, (0.6, 0.55, 0.3), 2.0, 0.3, 0.0, 0.35, 0.001, 0.55, 0.8,
    ),
    "ambient": Style(
        (70, 86), 0.4, 0.0, (-25, -20), {},
        "X...............", "X...............", 0.12, (0.35, 0.7, 0.25), 2.2, 6.0, 0.0, 0.0, 0.004, 0.5, 0.35,
    ),
}  # fmt: skip
"""In the order of ``GENRES``."""

_TRIPLE = {"kick": "X...........", "snare": "....x...x...", "brush": "....x...x...", "ride": "X...x..ox...", "crash": "X..........."}

_CADENCES = {  # degrees of the scale, repeated as often as there is room, before dominant and tonic
    0: ((0, 3, 0, 4), (0, 5, 0, 3), (0, 0, 3, 0), (0, 0, 4, 0)),
    1: ((0, 3, 0, 4), (0, 5, 0, 3), (0, 0, 3, 0), (0, 0, 4, 0)),
}


@dataclass(frozen=True, slots=True)
class Sound:
    """What all tracks of an artist have in common.

    Attributes:
        brightness: Added to how steeply harmonics sink; below 0 is brighter.
        tilt_db: Slope of the mix in dB per octave around 1 kHz.
        bump_hz, bump_db: A band that is raised or lowered.
        room: Share of reverberation.
        room_seconds: Seconds in which it sinks by 60 dB.
        drums: Factor of the drums' pitch.
        formants: Resonances of the voice in Hz.
        lead: Harmonics of the lead sink with this power.
        live: Level of the audience's noise, 0 for a studio.
    """

    brightness: float
    tilt_db: float
    bump_hz: float
    bump_db: float
    room: float
    room_seconds: float
    drums: float
    formants: tuple[float, float]
    lead: float
    live: float


@dataclass(frozen=True, slots=True)
class Song:
    """One track as it shall be played.

    Attributes:
        seed: Seed of all that is drawn in playing it.
        genre: Its style's name.
        sound: Its artist's sound.
        tempo: Beats per minute.
        has_beat: Whether there is a beat that one could tap.
        key: Tonic as a pitch class, 0 is C.
        mode: 1 for major, 0 for minor.
        time_signature: Beats in a bar.
        bars: Degree of the scale of each bar's chord.
        loudness: Integrated loudness to reach in LUFS.
    """

    seed: int
    genre: str
    sound: Sound
    tempo: float
    has_beat: bool
    key: int
    mode: int
    time_signature: int
    bars: tuple[int, ...]
    loudness: float

    @property
    def beat(self) -> float:
        """Seconds from beat to beat."""
        return 60.0 / self.tempo

    @property
    def seconds(self) -> float:
        """From the first beat to the end of the last bar."""
        return len(self.bars) * self.time_signature * self.beat


def draw_sound(seed: int, artist: str, genre: str) -> Sound:
    """The sound of an artist: that of the genre, varied by the artist's id."""
    rng = draw_from(seed, f"sound of {artist}")
    acoustic = STYLES[genre].acoustic
    live = float(rng.uniform(0.01, 0.03)) if rng.random() < 0.25 and STYLES[genre].voice else 0.0
    return Sound(
        brightness=float(rng.uniform(-0.3, 0.35)),
        tilt_db=float(rng.uniform(-1.6, 1.2)),
        bump_hz=float(np.exp(rng.uniform(np.log(350), np.log(4_500)))),
        bump_db=float(rng.uniform(3, 7) * rng.choice((-1, 1))),
        room=float(rng.uniform(0.04, 0.16) + 0.12 * (acoustic > 0.7) + 0.25 * (genre == "ambient")),
        room_seconds=float(rng.uniform(0.25, 0.7) + 1.0 * (genre in ("ambient", "classical"))),
        drums=float(rng.uniform(0.8, 1.3)),
        formants=(float(rng.uniform(420, 850)), float(rng.uniform(1_000, 2_300))),
        lead=float(rng.uniform(1.0, 2.6)),
        live=live,
    )


def compose_song(seed: int, track: str, artist: str, genre: str) -> Song:
    """Write a song.

    Args:
        seed: The world's seed.
        track: Id of the track; with the seed it decides everything.
        artist: Id of its artist.
        genre: One of ``GENRES``.
    """
    rng = draw_from(seed, f"song {track}")
    style = STYLES[genre]
    tempo = round(float(rng.uniform(*style.tempo)), 2)
    mode = int(rng.random() >= style.minor)
    metre = 3 if rng.random() < style.triple else 4
    longest = rng.uniform(*SECONDS)
    count = max(4, int(longest / (metre * 60.0 / tempo)))
    close = (4, 0) if count < 6 else (4, 0, 0)
    turns = _CADENCES[mode][int(rng.integers(len(_CADENCES[mode])))]
    bars = (*(turns[number % 4] for number in range(count - len(close))), *close)
    return Song(
        seed=int(rng.integers(1 << 40)),
        genre=genre,
        sound=draw_sound(seed, artist, genre),
        tempo=tempo,
        has_beat=genre != "ambient",
        key=int(rng.integers(12)),
        mode=mode,
        time_signature=metre,
        bars=bars,
        loudness=round(float(rng.uniform(*style.loudness)), 2),
    )


def pattern_of(genre: str, layer: str, metre: int) -> str:
    """The sixteenths of a bar in which a layer of a genre is heard."""
    style = STYLES[genre]
    text = {"bass": style.bass, "chords": style.chords, **style.kit}[layer]
    if metre == 4:
        return text
    return _TRIPLE.get(layer, text[:12] if layer != "bass" or genre == "jazz" else "X...o...o...")


def chord_at(song: Song, bar: int) -> tuple[int, int, int]:
    """Pitch classes above the tonic of a bar's triad: root, third, fifth, each above the one before."""
    scale = MAJOR if song.mode else MINOR
    degree = song.bars[bar]
    root, third, fifth = (scale[(degree + step) % 7] + 12 * ((degree + step) // 7) for step in (0, 2, 4))
    if not song.mode and degree not in (4, 6):
        # Only dominant chords have the raised seventh; elsewhere it would make augmented chords.
        root, third, fifth = (pitch - 1 if pitch % 12 == 11 else pitch for pitch in (root, third, fifth))
    return root, third, fifth


assert tuple(STYLES) == GENRES
