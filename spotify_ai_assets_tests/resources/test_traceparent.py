"""W3C trace context: what is read, what is written, and who gets it."""

import socket
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotify_ai_assets.audio.intake.nursery import Nursery
from spotify_ai_assets.resources import traceparent
from spotify_ai_assets.resources.traceparent import Context, as_trace, child_environment, inherited, launching, of_run, of_step, parse, root
from spotify_ai_assets.training.launch import _variables

TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GIVEN = f"00-{TRACE_ID}-{SPAN_ID}-01"
_hexadecimal = st.text("0123456789abcdef", min_size=32, max_size=32).filter(lambda text: int(text, 16))


@pytest.fixture(autouse=True)
def nothing_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traceparent, "_now", None)
    monkeypatch.delenv("TRACEPARENT", raising=False)


@pytest.mark.parametrize("text", [GIVEN, GIVEN[:-2] + "00", "cc" + GIVEN[2:], "cc" + GIVEN[2:] + "-more"])
def test_a_context_is_read_whatever_its_version(text: str) -> None:
    assert parse(text) == Context(TRACE_ID, SPAN_ID)


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "x",
        "ff" + GIVEN[2:],
        GIVEN + "-more",
        GIVEN.upper(),
        f"00-{'0' * 32}-{SPAN_ID}-01",
        f"00-{TRACE_ID}-{'0' * 16}-01",
        GIVEN.replace("-", "_"),
        f" {GIVEN}",
        f"{GIVEN}\n",
    ],
)
def test_what_is_no_context_is_none(text: str | None) -> None:
    assert parse(text) is None


@given(_hexadecimal, st.text(), st.text())
def test_what_is_derived_is_a_context_and_always_the_same(trace: str, run: str, step: str) -> None:
    for context in (root(trace), of_run(trace, run), of_step(trace, run, step)):
        assert parse(str(context)) == context
    assert len({root(trace), of_run(trace, run), of_step(trace, run, step)}) == 3
    assert of_step(trace, run, step) == of_step(trace, run, step)


@given(st.text())
def test_any_text_stands_for_a_trace(text: str) -> None:
    assert parse(str(root(as_trace(text))))
    assert as_trace(as_trace(text)) == as_trace(text)


def test_a_launch_goes_on_with_the_trace_of_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    assert launching() != launching()
    monkeypatch.setenv("TRACEPARENT", GIVEN)
    assert launching() == launching(TRACE_ID) == inherited() == Context(TRACE_ID, SPAN_ID)
    assert launching("1" * 32) == root("1" * 32), "a run of another trace does not belong there"


def test_the_processes_of_a_training_are_told_what_they_work_for() -> None:
    traceparent.enter(of_step(TRACE_ID, "run", "step"))
    assert _variables()["TRACEPARENT"] == str(of_step(TRACE_ID, "run", "step"))


class StartedError(Exception):
    """Stands for the start of a process."""


def test_the_processes_that_measure_audio_are_told_what_they_work_for(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, str]] = []

    def start(_command: list[str], *, env: dict[str, str], **_: Any) -> None:
        seen.append(env)
        raise StartedError

    traceparent.enter(of_step(TRACE_ID, "run", "step"))
    ours, theirs = socket.socketpair()
    monkeypatch.setattr(socket, "socketpair", lambda: (ours, theirs))
    monkeypatch.setattr(subprocess, "Popen", start)
    with ours, pytest.raises(StartedError):
        Nursery("any")
    assert seen[0]["TRACEPARENT"] == str(of_step(TRACE_ID, "run", "step"))
    assert seen[0]["OMP_NUM_THREADS"] == "1"


def test_a_child_is_told_what_it_works_for() -> None:
    assert "TRACEPARENT" not in child_environment({"A": "b"})
    traceparent.enter(of_step(TRACE_ID, "run", "step"))
    told = child_environment({"A": "b"})
    assert told == {"A": "b", "TRACEPARENT": str(of_step(TRACE_ID, "run", "step"))}
    code = "from spotify_ai_assets.resources.traceparent import working; print(working())"
    done = subprocess.run([sys.executable, "-c", code], env=child_environment(), capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == told["TRACEPARENT"], done.stderr
