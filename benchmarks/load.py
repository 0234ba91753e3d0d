"""Loading the code location as a code server does, against a process that only imports Dagster."""

import tempfile

from benchmarks.measuring import Run, interleave, main, median, median_cpu, report, run

OURS = "from spotify_ai_assets.definitions import defs; defs().get_repository_def()"
PEER = "import dagster"
# Nothing of this package is imported in there: it would count for both sides and bring them closer to each other.
_PEAK = """; print('{"megabytes": %f}' % (int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0]) / 1024))"""


def measure(rounds: int = 7) -> dict[str, object]:
    """Wall time of the whole process, and peak memory; each side once beforehand, so that both find their files in memory."""
    with tempfile.TemporaryDirectory() as data:

        def load(code: str) -> Run:
            return run(["-c", code + _PEAK], SPOTIFY_AI_DATA=data)

        for code in (OURS, PEER):
            load(code)
        ours, peer = interleave(rounds, lambda: load(OURS), lambda: load(PEER))
    return report(
        "load",
        median(ours),
        median(peer),
        unit="s",
        rounds=rounds,
        cpu_ratio=median_cpu(ours) / median_cpu(peer),
        ours_megabytes=median(ours, "megabytes"),
        peer_megabytes=median(peer, "megabytes"),
    )


if __name__ == "__main__":
    main(measure, __doc__, rounds=7)
