import numpy as np
import pytest

from spotify_ai_assets.demo.audio.composition import MAJOR, MINOR, STYLES, Song, chord_at, compose_song
from spotify_ai_assets.demo.audio.damage import FAULTS, IN_STEREO, change_speed, cut_band
from spotify_ai_assets.demo.audio.reference import integrated_loudness, true_peak
from spotify_ai_assets.demo.audio.rendering import MOST_DBTP, TAIL, render
from spotify_ai_assets.demo.music import GENRES

RATE = 22_050
KRUMHANSL = {  # Krumhansl and Kessler 1982, as printed by Temperley 1999
    1: (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88),
    0: (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17),
}


@pytest.fixture(scope="session")
def played() -> list[tuple[Song, np.ndarray]]:
    """Three songs of each genre and how they sound, in mono."""
    return [(song, render(song, RATE, 1)[0]) for song in songs(3)]


def songs(count: int = 1) -> list[Song]:
    return [compose_song(11, f"track {number}", f"artist {number % 3}", genre) for genre in GENRES for number in range(count)]


def test_loudness_is_as_told_and_peaks_leave_room() -> None:
    for song, channels in zip(songs(), (1, 2) * 4, strict=True):
        samples, loudness = render(song, RATE, channels)
        assert samples.shape[1] == channels
        assert integrated_loudness(samples, RATE) == pytest.approx(loudness, abs=0.01)
        assert loudness <= song.loudness + 0.1
        assert loudness > song.loudness - 4
        assert true_peak(samples) < MOST_DBTP + 0.05
        assert 9 < len(samples) / RATE < 16


def test_a_song_sounds_the_same_each_time_and_others_do_not() -> None:
    one, other = compose_song(1, "one", "artist", "jazz"), compose_song(1, "other", "artist", "jazz")
    assert one == compose_song(1, "one", "artist", "jazz")
    assert one.sound == other.sound
    assert one.sound != compose_song(1, "one", "another", "jazz").sound
    assert one != other
    first, again = render(one, RATE, 1)[0], render(one, RATE, 1)[0]
    assert first.tobytes() == again.tobytes()


def test_songs_begin_and_end_on_the_tonic_with_a_cadence_and_stay_in_their_scale() -> None:
    for song in songs(6):
        assert (song.bars[0], song.bars[-1]) == (0, 0)
        assert 4 in song.bars[-3:-1]
        low, high = STYLES[song.genre].tempo
        assert low <= song.tempo <= high
        chords = [chord_at(song, bar) for bar in range(len(song.bars))]
        scale = set(MAJOR if song.mode else (*MINOR, 10))
        assert {pitch % 12 for chord in chords for pitch in chord} <= scale
        root, third, fifth = chords[0]
        assert (root, third - root, fifth - root) == (0, 4 if song.mode else 3, 7)
        dominant = chords[len(chords) - 1 - song.bars[::-1].index(4)]
        assert dominant[1] % 12 == 11, "the dominant has the leading note"


def test_ends_fade_so_that_no_clean_file_seems_cut(played: list[tuple[Song, np.ndarray]]) -> None:
    for _, samples in played:
        assert np.abs(samples[-200:]).max() < 1e-3
        assert np.abs(samples[: -int(TAIL * RATE)]).max() > 0.05


def test_what_a_textbook_hears_is_the_key_and_the_tempo_that_were_written(played: list[tuple[Song, np.ndarray]]) -> None:
    import librosa

    right, fast = 0, 0
    for song, samples in played:
        mono = samples[:, 0]
        chroma = librosa.feature.chroma_stft(y=mono, sr=RATE).mean(axis=1)
        score = {(key, mode): np.corrcoef(chroma, np.roll(profile, key))[0, 1] for mode, profile in KRUMHANSL.items() for key in range(12)}
        right += max(score, key=score.__getitem__) == (song.key, song.mode)
        tempo = librosa.feature.tempo(onset_envelope=librosa.onset.onset_strength(y=mono, sr=RATE), sr=RATE).item()
        # Frames of 23 ms: a neighbouring lag is up to 4 % away at these tempos.
        fast += song.has_beat and abs(tempo / song.tempo - 1) < 0.04
    assert right >= len(played) - 2
    assert fast >= sum(song.has_beat for song, _ in played) - 1


def test_transposing_changes_the_pitch_and_nothing_else() -> None:
    song = compose_song(11, "up", "artist", "classical")
    plain, higher = (render(song, RATE, 1, transpose=step)[0][:, 0] for step in (0, 1))
    assert len(plain) == len(higher)
    spectra = [np.abs(np.fft.rfft(sound * np.hanning(len(sound)))) for sound in (plain, higher)]
    place = np.fft.rfftfreq(len(plain), 1 / RATE)
    band = (place > 60) & (place < 900)
    shifts = 2 ** (np.arange(-24, 25) / 96)
    fit = [np.corrcoef(spectra[1][band], np.interp(place[band], place * shift, spectra[0]))[0, 1] for shift in shifts]
    assert shifts[int(np.argmax(fit))] == pytest.approx(2 ** (1 / 12), rel=0.008)


def test_speed_shortens_and_raises() -> None:
    wave = np.sin(2 * np.pi * 1_000 * np.arange(RATE) / RATE, dtype=np.float64).astype(np.float32)[:, None]
    faster = change_speed(wave, 1.03)
    assert len(faster) == round(RATE / 1.03)
    peak = np.abs(np.fft.rfft(faster[:, 0])).argmax() * RATE / len(faster)
    assert peak == pytest.approx(1_030, abs=1.5)
    assert np.abs(faster[1_000:-1_000]).max() == pytest.approx(1, abs=0.02)


def test_a_cut_band_is_empty() -> None:
    noise = np.random.default_rng(0).standard_normal((RATE, 1)).astype(np.float32)
    spectrum = np.abs(np.fft.rfft(cut_band(noise, RATE, 5_512.5)[:, 0]))
    place = np.fft.rfftfreq(RATE, 1 / RATE)
    assert spectrum[place > 5_750].max() < 1e-3 * spectrum[place < 5_000].mean()


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_is_in_the_signal(fault: str) -> None:
    song = compose_song(11, "victim", "artist", "indie pop")
    samples, _ = render(song, RATE, 2 if fault in IN_STEREO else 1)
    spoiled = FAULTS[fault](samples, RATE, np.random.default_rng(3))
    shown = {
        "silence": lambda: np.abs(spoiled).max() < 10 ** (-60 / 20),
        "dropout": lambda: (spoiled == 0).sum() >= 3 * 0.06 * RATE,
        "clipping": lambda: 0.015 < (np.abs(spoiled) >= 0.989).mean() < 0.05,
        "dc_offset": lambda: abs(spoiled.mean()) > 0.1,
        "dropped_channel": lambda: (np.abs(spoiled).max(axis=0) == 0).sum() == 1,
        "inverted_phase": lambda: np.corrcoef(spoiled.T)[0, 1] < -0.5 < 0.5 < np.corrcoef(samples.T)[0, 1],
        "bandwidth_cutoff": lambda: np.abs(np.fft.rfft(spoiled[:, 0]))[-1_000:].max() < 0.1,
        "truncated_end": lambda: len(spoiled) < 0.85 * len(samples) and np.abs(spoiled[-50:]).max() > 0.1,
        "clicks": lambda: 14 <= (np.abs(spoiled - samples) > 0.1).sum() <= 28,
    }
    assert shown[fault]()
