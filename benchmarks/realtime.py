"""From a listen that the stream has accepted to a recommendation that counts it, at 2,000 listens a second on Redis.

Four processes: a Redis that has everything on disk before it answers, one that sends (pseudonyms and checks included),
``spotify-ai stream``, and this one, which asks a ``Recommender`` again and again for listeners that it sends a listen for now and then.
The lag of such a listen ends when an answer that counts it is there. First nobody is disturbed; then the worker and the Redis are
killed (SIGKILL) in turn and started again. In the end every listen is counted: in the lake, in the live store, in the notes of
imports.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.measuring import ROOT, main
from benchmarks.realtime_world import World, serve
from benchmarks.redis_server import RedisServer
from spotify_ai_assets.listening.contracts import EVENTS, IMPORTS
from spotify_ai_assets.recommendations.indices.histories import play_key
from spotify_ai_assets.recommendations.realtime.live import LiveError, open_live
from spotify_ai_assets.recommendations.realtime.producing import Producer
from spotify_ai_assets.recommendations.serving.recommender import Recommender
from spotify_ai_assets.resources import open_lake, open_vault
from spotify_ai_assets.resources.stream import open_stream
from spotify_ai_assets.settings import Settings
from spotify_ai_assets.tables import TABLES

PIECE = 100
PROBES = 10_000_000
"""Listens of probes are numbered from here, so that none is one of the crowd."""

_ASK_S = 0.005
_GIVE_UP_S = 60.0
_PROBE_S = 0.1


def measure(rate: int, seconds: int, listeners: int, tracks: int, seed: int) -> dict[str, object]:
    """Run both phases and count.

    Args:
        rate: Listens a second.
        seconds: Length of each phase.
        listeners: Number of listeners; probes ask for some of them.
        tracks: Number of tracks.
        seed: Of the world.
    """
    folder, world = Path(tempfile.mkdtemp(prefix="stream-")), World(listeners, tracks, seed)
    redis = RedisServer(folder)
    try:
        redis.start()
        environment = {"SPOTIFY_AI_DATA": str(folder / "data"), "SPOTIFY_AI_STREAM_URL": redis.url, "DAGSTER_HOME": str(folder)}
        settings = Settings.from_environment(environment)
        serve(settings, world)
        _say("the release is made")
        stage = Stage(folder, redis, environment, settings, world)
        with stage.working():
            quiet = stage.play("quiet", rate, seconds, ())
            harsh = stage.play("killed", rate, seconds, (("worker", 0.1), ("redis", 0.35), ("worker", 0.55), ("redis", 0.8)))
            stage.wait_until_taken()
        return {**_told(quiet, harsh), **_count(settings, quiet.sent + harsh.sent + stage.probed), "seed": seed}
    finally:
        redis.kill()
        shutil.rmtree(folder)


@dataclass(slots=True)
class Phase:
    """What one phase showed.

    Attributes:
        sent: Listens of the crowd that were accepted.
        per_second: How many in a second.
        lags: Seconds from the acceptance of a probe's listen to the answer that counts it.
        changed: Answers that are not those from before.
        answers: Seconds that an answer takes.
        missed: Probes that saw nothing for a minute.
        worker_cpu_s: CPU seconds of the worker that ends the phase.
        load: Processes that wanted to run on this machine, on average of the last minute.
    """

    sent: int = 0
    per_second: float = 0.0
    lags: list[float] = field(default_factory=list)
    changed: int = 0
    answers: list[float] = field(default_factory=list)
    missed: int = 0
    worker_cpu_s: float = 0.0
    load: float = 0.0


class Stage:
    """The processes, and the probes.

    Args:
        folder: Of everything.
        redis: The Redis.
        environment: Settings of the processes.
        settings: The same, read.
        world: Who listens to what.
    """

    def __init__(self, folder: Path, redis: RedisServer, environment: dict[str, str], settings: Settings, world: World) -> None:
        self._folder, self._redis, self._world, self._settings = folder, redis, world, settings
        self._environment = {**os.environ, **environment, "OMP_NUM_THREADS": "1"}
        self._worker: subprocess.Popen[bytes] | None = None
        self._live = open_live(settings)
        self._recommender = Recommender(settings, self._live)
        self._pseudonyms = open_vault(settings).swap(world.user(listener) for listener in range(world.listeners))
        self._producer = Producer(open_stream(settings), open_vault(settings))
        self.probed = 0

    @contextmanager
    def working(self) -> Iterator[None]:
        """A worker works; in the end it is told to stop and must come to a clean end."""
        self._start_worker()
        try:
            self._wait_for_the_worker()
            yield
            assert self._worker
            self._worker.send_signal(signal.SIGTERM)
            if self._worker.wait(120):
                raise RuntimeError(f"the worker failed:\n{(self._folder / 'worker.log').read_text()[-4000:]}")
        finally:
            if self._worker and self._worker.poll() is None:
                self._worker.kill()

    def play(self, name: str, rate: int, seconds: int, kills: tuple[tuple[str, float], ...]) -> Phase:
        """Send listens at a rate while probes look and, at shares of the time, processes are killed and started again."""
        phase, stop, cpu_s = Phase(), threading.Event(), self._worker_cpu_s()
        first = 0 if name == "quiet" else rate * seconds
        arguments = (str(self._settings.data), self._settings.stream_url, first, rate, seconds, *vars_of(self._world))
        command = f"from benchmarks.realtime import send; send(*{arguments!r})"
        with subprocess.Popen([sys.executable, "-c", command], cwd=ROOT, env=self._environment, stdout=subprocess.PIPE) as sender:
            assert sender.stdout
            sender.stdout.readline()  # it is ready
            started = time.monotonic()
            killer = threading.Thread(target=self._kill, args=(started, seconds, kills))
            killer.start()
            probing = threading.Thread(target=self._probe_until, args=(phase, stop))
            probing.start()
            told = json.loads(sender.stdout.read())
            stop.set()
            killer.join()
            probing.join()
        if sender.returncode:
            raise RuntimeError("the sender failed")
        phase.sent, phase.per_second = told["sent"], told["per_second"]
        phase.worker_cpu_s, phase.load = self._worker_cpu_s() - cpu_s, os.getloadavg()[0]
        _say(f"{name}: {phase.sent} sent, {phase.per_second:.0f} a second, {len(phase.lags)} probes, {_quantiles(phase.lags)}")
        return phase

    def wait_until_taken(self) -> None:
        """Let the worker commit and acknowledge all."""
        stream, end = open_stream(self._settings), time.monotonic() + 300
        while stream.waiting():
            if time.monotonic() > end:
                raise RuntimeError(f"{stream.waiting()} messages are still waiting")
            time.sleep(0.2)
        stream.close()

    def _start_worker(self) -> None:
        command = "from spotify_ai_assets.stream_cli import streaming; streaming()"
        arguments = ("stream", "--reader", "benchmark", "--batch-rows", "20000", "--batch-seconds", "5")
        with (self._folder / "worker.log").open("ab") as log:
            self._worker = subprocess.Popen([sys.executable, "-c", command, *arguments], env=self._environment, stdout=log, stderr=log)

    def _worker_cpu_s(self) -> float:
        assert self._worker
        fields = Path(f"/proc/{self._worker.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _wait_for_the_worker(self) -> None:
        probe, phase = self._send_probe(), Phase()
        while not self._look(probe, phase):
            time.sleep(_ASK_S)
        if phase.missed:
            raise RuntimeError(f"the worker does not work:\n{(self._folder / 'worker.log').read_text()[-4000:]}")

    def _kill(self, started: float, seconds: int, kills: tuple[tuple[str, float], ...]) -> None:
        for what, share in kills:
            time.sleep(max(started + share * seconds - time.monotonic(), 0))
            _say(f"SIGKILL to the {what}")
            if what == "redis":
                self._redis.kill()
                time.sleep(0.5)
                self._redis.start()
            elif self._worker:
                self._worker.kill()
                self._worker.wait()
                self._start_worker()

    def _probe_until(self, phase: Phase, stop: threading.Event) -> None:
        """Send a listen ten times a second, however long others take, and ask for all that are not counted yet."""
        waiting: list[_Probe] = []
        due = time.monotonic()
        while waiting or not stop.is_set():
            if time.monotonic() >= due and not stop.is_set():
                waiting.append(self._send_probe())
                due += _PROBE_S
            waiting = [probe for probe in waiting if not self._look(probe, phase)]
            time.sleep(_ASK_S)

    def _send_probe(self) -> "_Probe":
        batch = self._world.listens(1, datetime.now(UTC), PROBES + self.probed)
        self.probed += 1
        user, started_at = batch.frame.select("user", "started_at").row(0)
        listener = self._pseudonyms[user]
        before = self._answer(listener)
        self._producer.send(batch)
        return _Probe(listener, started_at, before, time.monotonic())

    def _look(self, probe: "_Probe", phase: Phase) -> bool:
        """Whether a probe is over: its listen is counted by the next answer, or was not for a minute."""
        try:
            # What the recommender's store has is counted by its next answer.
            if not any(play.started_at == probe.started_at for play in self._live.plays(probe.listener)):
                raise LiveError("not yet")
        except LiveError:  # or the Redis is being killed
            is_lost = time.monotonic() - probe.accepted > _GIVE_UP_S
            phase.missed += is_lost
            return is_lost
        asked = time.monotonic()
        after = self._answer(probe.listener)
        phase.lags.append(time.monotonic() - probe.accepted)
        phase.answers.append(time.monotonic() - asked)
        phase.changed += probe.before != after
        return True

    def _answer(self, listener: str) -> list[str]:
        return [each.track_id for each in self._recommender.recommend(listener)]


@dataclass(frozen=True, slots=True)
class _Probe:
    """A listen that is waited for.

    Attributes:
        listener: Whose.
        started_at: When it began, which is unique.
        before: The answer before it.
        accepted: When the stream had it, by the monotonic clock.
    """

    listener: str
    started_at: datetime
    before: list[str]
    accepted: float


def vars_of(world: World) -> tuple[int, int, int]:
    """What makes a world."""
    return world.listeners, world.tracks, world.seed


def send(data: str, url: str, first: int, rate: int, seconds: int, listeners: int, tracks: int, seed: int) -> None:
    """Send listens at a rate, in a process of its own, and print how many."""
    settings = Settings.from_environment({"SPOTIFY_AI_DATA": data, "SPOTIFY_AI_STREAM_URL": url})
    world, now = World(listeners, tracks, seed), datetime.now(UTC)
    producer = Producer(open_stream(settings), open_vault(settings))
    prepared = [world.listens(PIECE, now, first + start) for start in range(0, rate * seconds, PIECE)]
    print("ready", flush=True)
    started, sent = time.monotonic(), 0
    for number, batch in enumerate(prepared):
        time.sleep(max(started + number * PIECE / rate - time.monotonic(), 0))
        sent += producer.send(batch).sent
    print(json.dumps({"sent": sent, "per_second": sent / (time.monotonic() - started)}))


def _count(settings: Settings, sent: int) -> dict[str, object]:
    """Look for every listen in the lake, in the live store and in the notes."""
    lake, live = open_lake(settings, TABLES), open_live(settings)
    rows = lake.scan(EVENTS.key).select(EVENTS.primary_key).collect()
    unique = rows.unique().height
    noted = lake.scan(IMPORTS.key).select(pl.sum("rows", "stored", "duplicate", "rejected")).collect().row(0, named=True)
    keys = {play_key(*row) for row in rows.select("listener_id", "started_at", "track_id").iter_rows()}
    seen = [play.key for listener in rows["listener_id"].unique() for play in live.plays(listener)]
    live.close()
    return {
        "sent": sent,
        "lost": sent - unique,
        "double": rows.height - unique,
        "lost_live": len(keys - set(seen)),
        "double_live": len(seen) - len(set(seen)),
        "stored_noted": noted["stored"],
        "redelivered": noted["duplicate"],
        "rejected": noted["rejected"],
        "is_balanced": noted["stored"] == rows.height and noted["rows"] == noted["stored"] + noted["duplicate"] + noted["rejected"],
    }


def _told(quiet: Phase, harsh: Phase) -> dict[str, object]:
    p50, p95, p99 = _quantiles(quiet.lags)
    low, high = _interval(quiet.lags)
    killed = _quantiles(harsh.lags)
    return {
        "name": "realtime",
        "ours": p95,
        "peer": None,
        "ratio": None,
        "better": "lower",
        "unit": "seconds from accepted to answered with it, 95 % of the probes, nobody killed",
        "rounds": len(quiet.lags),
        "interval": [low, high],
        "p50_s": p50,
        "p95_s": p95,
        "p99_s": p99,
        "per_second": round(quiet.per_second),
        "answer_p50_s": _quantiles(quiet.answers)[0],
        "answer_p95_s": _quantiles(quiet.answers)[1],
        "worker_cpu_ms_per_listen": round(1000 * quiet.worker_cpu_s / max(quiet.sent, 1), 3),
        "load": round(quiet.load, 1),
        "changed_share": round(quiet.changed / max(len(quiet.lags), 1), 3),
        "killed_p50_s": killed[0],
        "killed_p95_s": killed[1],
        "killed_p99_s": killed[2],
        "killed_per_second": round(harsh.per_second),
        "killed_probes": len(harsh.lags),
        "missed": quiet.missed + harsh.missed,
    }


def _quantiles(seconds: list[float]) -> list[float]:
    return [round(float(each), 4) for each in np.quantile(seconds, (0.5, 0.95, 0.99))] if seconds else [float("nan")] * 3


def _interval(seconds: list[float]) -> tuple[float, float]:
    """95 % bootstrap interval of the 95 % quantile."""
    rng, values = np.random.default_rng(0), np.array(seconds)
    drawn = np.quantile(rng.choice(values, (2000, len(values))), 0.95, axis=1)
    low, high = np.quantile(drawn, (0.025, 0.975))
    return round(float(low), 4), round(float(high), 4)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(measure, __doc__, rate=2000, seconds=60, listeners=5000, tracks=2000, seed=0)
