"""Play a song: place its sounds, mix them, give the mix its artist's colour and room, and set it to its loudness."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from spotify_ai_assets.demo.audio.composition import MAJOR, MINOR, STYLES, Song, chord_at, pattern_of
from spotify_ai_assets.demo.audio.instruments import cycle, drum, harmonics, sung, tone
from spotify_ai_assets.demo.audio.reference import block_energies, fast_size, gate, true_peak

LEAD_IN, TAIL = 0.06, 0.9
MOST_DBTP = -1.8
"""Above this no clean file peaks before encoding; lossy encoding adds a little."""

LOWEST_G = 440 * 2 ** (-38 / 12)
"""49 Hz: tonics lie in the octave above."""

_LEVELS = {"X": 1.0, "x": 0.7, "o": 0.4}
_DRUMS = {"kick": 1.0, "snare": 0.7, "clap": 0.6, "hat": 0.3, "ride": 0.3, "crash": 0.3, "brush": 0.3, "conga": 0.5, "shaker": 0.25}
_PANS = {"bass": 0.0, "chords": -0.35, "lead": 0.3, "drums": 0.05, "voice": 0.0}


@dataclass(slots=True)
class _Mix:
    """Layers that grow as sounds are placed in them."""

    frames: int
    rate: int
    layers: dict[str, np.ndarray] = field(default_factory=dict)
    kept: dict[tuple, np.ndarray] = field(default_factory=dict)

    def place(self, layer: str, seconds: float, sound: np.ndarray, level: float) -> None:
        track = self.layers.setdefault(layer, np.zeros(self.frames, dtype=np.float32))
        begin = int((LEAD_IN + seconds) * self.rate)
        end = min(self.frames, begin + len(sound))
        track[begin:end] += sound[: end - begin] * np.float32(level)

    def keep(self, key: tuple, make: Callable[[], np.ndarray]) -> np.ndarray:
        if key not in self.kept:
            self.kept[key] = make()
        return self.kept[key]


def render(song: Song, rate: int, channels: int, transpose: int = 0) -> tuple[np.ndarray, float]:
    """Play a song.

    Args:
        song: What to play.
        rate: Sample rate in Hz.
        channels: 1 or 2.
        transpose: Semitones by which it is played higher, the rest unchanged.

    Returns:
        Shape (frames, channels), float32, and its integrated loudness in LUFS: the song's, or lower by what keeps the true peak below
        ``MOST_DBTP``.
    """
    rng = np.random.default_rng(song.seed)
    mix = _Mix(int((LEAD_IN + song.seconds + TAIL) * rate), rate)
    tonic = LOWEST_G * 2 ** ((song.key - 7) % 12 / 12 + transpose / 12)
    _play_drums(song, mix, rng, tonic)
    _play_bass(song, mix, tonic)
    _play_chords(song, mix, tonic * 4)
    _play_lead(song, mix, rng, tonic * 8)
    _play_voice(song, mix, rng, tonic * 4)
    return _finish(song, _colour(song, mix, rng, channels), rate)


def _strokes(song: Song, layer: str) -> list[tuple[int, float, float]]:
    """Bar, second and level of each stroke of a layer; the last bar has its first stroke only."""
    step, found = song.beat / 4, []
    pattern = pattern_of(song.genre, layer, song.time_signature)
    for bar in range(len(song.bars)):
        last = bar == len(song.bars) - 1
        for place, mark in enumerate(pattern):
            if mark != "." and not (last and place >= 4 * (song.time_signature - 1)):
                found.append((bar, (bar * 4 * song.time_signature + place) * step, _LEVELS[mark]))
    return found


def _play_drums(song: Song, mix: _Mix, rng: np.random.Generator, tonic: float) -> None:
    for name in STYLES[song.genre].kit:
        sound = drum(name, mix.rate, rng, song.sound, tonic if tonic < 70 else tonic / 2)
        for _, second, level in _strokes(song, name):
            mix.place("drums", second, sound, level * _DRUMS[name])


def _play_bass(song: Song, mix: _Mix, tonic: float) -> None:
    style, strokes = STYLES[song.genre], _strokes(song, "bass")
    held = song.beat * (0.9 if strokes[1][1] - strokes[0][1] >= song.beat else 0.45) if song.has_beat else song.beat * 4
    weights = harmonics(2.2 + song.sound.brightness, 12)
    weights[0] = 0.6  # what small speakers and short transforms know of a bass is its second harmonic
    for place, (bar, second, level) in enumerate(strokes):
        root, third, fifth = chord_at(song, bar)
        pitch = root
        if song.genre == "jazz":
            pitch = (root, third, fifth, third)[place % song.time_signature]
        elif song.genre == "latin" and place % 4 == 2:
            pitch = fifth
        frequency = tonic * 2 ** (pitch % 12 / 12)
        sound = mix.keep(
            ("bass", frequency, held),
            lambda frequency=frequency: tone(
                cycle(weights, mix.rate, frequency), mix.rate, frequency, held, 0.006 if song.has_beat else 0.4, max(style.decay, 0.3)
            ),
        )
        mix.place("bass", second, sound, level * style.gains[0])


def _play_chords(song: Song, mix: _Mix, middle: float) -> None:
    style = STYLES[song.genre]
    strokes = _strokes(song, "chords")
    weights = harmonics(style.dampening + song.sound.brightness)
    longest = min(song.beat * song.time_signature, 3 * style.decay) if song.has_beat else song.beat * song.time_signature * 1.1
    attack = 0.004 if song.has_beat else 0.9
    for number, (bar, second, level) in enumerate(strokes):
        pitches = chord_at(song, bar)
        # Who strikes a string again damps it. Tones that ring on would add to the next stroke's or cancel them, a chord's each in its way.
        again = strokes[number + 1][1] - second + 0.01 if song.has_beat and number + 1 < len(strokes) else longest
        held = round(min(longest, again), 6)
        sound = mix.keep(
            ("chord", pitches, held), lambda pitches=pitches, held=held: _strum(song, mix, middle, pitches, weights, held, attack)
        )
        mix.place("chords", second, sound, level * style.gains[1])


def _strum(
    song: Song, mix: _Mix, middle: float, pitches: tuple[int, int, int], weights: np.ndarray, held: float, attack: float
) -> np.ndarray:
    style = STYLES[song.genre]
    # Close around the middle, so that voices move little from chord to chord.
    voices = [middle * 2 ** (((pitch + 5) % 12 - 5) / 12) for pitch in pitches]
    root, third, fifth = (tone(cycle(weights, mix.rate, one), mix.rate, one, held, attack, style.decay) for one in voices)
    # The fifth harmonic of the root is a major third: in minor the chord must outweigh it.
    minor = 0.8 if style.drive else 1.05
    third_share = 0.7 if song.mode else minor
    if style.drive:
        # Root and fifth in one amplifier make a sum that is a major third, root and third make worse: each has its own.
        growl = np.tanh(np.float32(style.drive) * root)
        return np.float32(0.55) * growl + np.float32(0.25) * fifth + np.float32(0.6 * third_share) * third
    return (root + np.float32(third_share) * third + np.float32(0.42) * fifth) / np.float32(2.2)


def _play_lead(song: Song, mix: _Mix, rng: np.random.Generator, high: float) -> None:
    style = STYLES[song.genre]
    weights = harmonics(song.sound.lead + (0.8 if song.genre in ("classical", "ambient") else 0.0), 24)
    for bar, beat, pitch in _melody(song, rng, style.lead):
        frequency = high * 2 ** (pitch / 12)
        held = song.beat * (0.95 if song.has_beat else 3.0)
        sound = mix.keep(
            ("lead", pitch),
            lambda frequency=frequency, held=held: tone(
                cycle(weights, mix.rate, frequency), mix.rate, frequency, held, 0.008, max(style.decay, 0.3), 0.003
            ),
        )
        mix.place("lead", (bar * song.time_signature + beat) * song.beat, sound, style.gains[2])


def _melody(song: Song, rng: np.random.Generator, chance: float) -> list[tuple[int, int, int]]:
    """Bar, beat and semitones above the tonic: mostly notes of the chord, some of the scale between, the tonic at the end."""
    scale, found = MAJOR if song.mode else MINOR, []
    for bar in range(len(song.bars) - 1):
        for beat in range(song.time_signature):
            heard, chordal, pick = rng.random(), rng.random(), _pick_voice(rng)
            if heard < chance:
                pitch = chord_at(song, bar)[pick] % 12 if beat == 0 or chordal < 0.7 else scale[(0, 2, 4)[pick]]
                found.append((bar, beat, pitch))
    return [*found, (len(song.bars) - 1, 0, 0)]


def _pick_voice(rng: np.random.Generator) -> int:
    """Root, third or fifth of a chord; more often the root, as a key's first note is its most frequent."""
    return int(np.searchsorted((0.5, 0.8), rng.random(), side="right"))


def _play_voice(song: Song, mix: _Mix, rng: np.random.Generator, middle: float) -> None:
    """Singing on the beats, or in hip hop syllables at twice their pace whose formants move and whose pitch hardly does."""
    level = STYLES[song.genre].voice
    if not level:
        return
    speaks = song.genre == "hip hop"
    pace, length = (song.beat / 2, song.beat * 0.4) if speaks else (song.beat, song.beat * 0.85)
    for number in range(int((song.seconds - song.beat * song.time_signature) / pace)):
        silent, glide, pick = rng.random() < 0.35, float(rng.choice((0.8, 1.0, 1.25))), _pick_voice(rng)
        bar = int(number * pace / (song.beat * song.time_signature))
        if silent:
            continue
        pitch = 0 if speaks else chord_at(song, bar)[pick] % 12
        frequency = middle * 2 ** (pitch / 12)
        sound = mix.keep(
            ("voice", pitch, glide),
            lambda frequency=frequency, glide=glide: tone(
                cycle(sung(frequency, song.sound.formants, glide), mix.rate, frequency), mix.rate, frequency, length, 0.03, 0.6, 0.006
            ),
        )
        mix.place("voice", number * pace, sound, 0.35 * level)


def _colour(song: Song, mix: _Mix, rng: np.random.Generator, channels: int) -> np.ndarray:
    """Mix the layers, and apply the artist's equaliser and room in one transform."""
    size = fast_size(mix.frames + mix.rate // 2)
    hertz = np.fft.rfftfreq(size, 1 / mix.rate).clip(20)
    sound = song.sound
    gain = sound.tilt_db * np.log2(hertz / 1_000).clip(-4, 4) + sound.bump_db * np.exp(-0.5 * (np.log2(hertz / sound.bump_hz) / 0.5) ** 2)
    response = 10 ** (gain / 20) * (1 - np.exp(-((hertz / 28) ** 4)))
    response = response.astype(np.float32)
    mixed = np.empty((mix.frames, channels), dtype=np.float32)
    air = _blow(song, mix, rng)
    for channel in range(channels):
        total = np.zeros(mix.frames, dtype=np.float32)
        for name, layer in mix.layers.items():
            side = _PANS[name] * (1 if channel else -1) if channels == 2 else 0.0
            total += np.float32(1 + side) * layer
        # Tape and bus compressors keep peaks near the rest; the less acoustic the music, the more.
        drive = (0.15 + 0.3 * (1 - STYLES[song.genre].acoustic)) / np.sqrt(np.square(total).mean())
        total = np.tanh(np.float32(drive) * total) + np.roll(air, 7_919 * channel)
        decay = rng.standard_normal(int(sound.room_seconds * mix.rate), dtype=np.float32)
        decay *= np.exp(np.arange(len(decay), dtype=np.float32) * np.float32(-6.9 / len(decay)))
        decay *= np.float32(sound.room / np.sqrt(np.square(decay).sum()))
        decay[0] += 1.0
        spectrum = np.fft.rfft(total, size) * np.fft.rfft(decay, size) * response
        mixed[:, channel] = np.fft.irfft(spectrum, size)[: mix.frames]
    return mixed


def _blow(song: Song, mix: _Mix, rng: np.random.Generator) -> np.ndarray:
    """Noise up to the highest frequencies, as microphones and amplifiers have it, and an audience where there is one."""
    level = STYLES[song.genre].air + song.sound.live
    noise = rng.standard_normal(mix.frames, dtype=np.float32) * np.float32(level)
    if song.sound.live:
        swell = np.interp(np.arange(mix.frames), np.linspace(0, mix.frames, 12), rng.uniform(0.4, 1.0, 12))
        noise *= swell.astype(np.float32)
    return noise


def _finish(song: Song, mixed: np.ndarray, rate: int) -> tuple[np.ndarray, float]:
    """Fade the end out and scale to the loudness that was asked for, or as near as the peaks allow."""
    fade, rise = int((TAIL - 0.1) * rate), int(0.02 * rate)
    mixed[-fade:] *= (np.linspace(1, 0, fade, dtype=np.float32) ** 2)[:, None]
    mixed[:rise] *= np.linspace(0, 1, rise, dtype=np.float32)[:, None]
    energy = block_energies(mixed, rate)
    gain_db = song.loudness - gate(energy)
    # One of the gates is absolute: what a gain lets through moves the loudness a little further than the gain.
    gain_db += song.loudness - gate(energy * 10 ** (gain_db / 10))
    gain_db = min(gain_db, MOST_DBTP - true_peak(mixed))
    return mixed * np.float32(10 ** (gain_db / 20)), gate(energy * 10 ** (gain_db / 10))
