"""What a scan has to read follows from the settings."""

from cryptography.fernet import Fernet

from spotify_ai_assets.maintenance.erasure.places import places_of
from spotify_ai_assets.settings import Settings


def settings_of(data, **other: str) -> Settings:
    return Settings.from_environment({"SPOTIFY_AI_DATA": str(data), **other})


def test_every_folder_below_the_data_folder_is_read_but_the_world_outside(tmp_path):
    for name in ("lake", "demo", "nobody knows it"):
        (tmp_path / name).mkdir()
    (tmp_path / "a file").touch()
    places = places_of(settings_of(tmp_path), {})
    assert set(places.roots) == {"lake", "nobody knows it", "a file"}
    assert places.databases == {}
    assert places.keys == ()
    assert "demo" in places_of(settings_of(tmp_path), {}, leave_out=()).roots


def test_what_lies_elsewhere_is_read_there(tmp_path):
    data, lake = tmp_path / "data", tmp_path / "lake"
    data.mkdir()
    lake.mkdir()
    names = {
        "SPOTIFY_AI_LAKE": str(lake),
        "SPOTIFY_AI_VAULT_URL": "postgresql+psycopg2://u:p@host/vault",
        "SPOTIFY_AI_STREAM_URL": "redis://host",
        "SPOTIFY_AI_BACKUPS": "s3://bucket/backups",
    }
    key = Fernet.generate_key()
    places = places_of(settings_of(data, **names), {"SPOTIFY_AI_LANDING_KEY": key.decode()})
    assert places.roots == {"lake elsewhere": lake}
    assert places.databases == {
        "vault server": names["SPOTIFY_AI_VAULT_URL"],
        "stream server": names["SPOTIFY_AI_STREAM_URL"],
        "backups server": names["SPOTIFY_AI_BACKUPS"],
    }
    assert places.keys == (key,)
    assert places_of(settings_of(data), {"SPOTIFY_AI_LANDING_KEY": "no key"}).keys == ()
