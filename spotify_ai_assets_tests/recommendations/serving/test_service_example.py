"""The example of a service in the README, on a small release and on one where listens stream in."""

from typing import Any

import pytest
from test_readme import FILES, code_blocks

from spotify_ai_assets.settings import Settings


def test_the_example_of_a_service_works(served_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPOTIFY_AI_DATA", str(served_settings.data))
    names: dict[str, Any] = {}
    exec(code_blocks(FILES[0], "python")[1], names)
    assert len(names["shelf"]) == 10 and all(track.reason.say("en") for track in names["shelf"])
    assert names["recommender"].radio([names["shelf"][0].track_id])
