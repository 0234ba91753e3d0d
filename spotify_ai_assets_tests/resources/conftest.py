import pytest
from lake_tables import open_lake

from spotify_ai_assets.resources.lake import Lake


@pytest.fixture
def lake(tmp_path) -> Lake:
    return open_lake(tmp_path)
