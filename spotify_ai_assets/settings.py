"""Settings from the environment: pure, validated, secrets by the name of their variable only."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from spotify_ai_assets.errors import SettingsError

ROOT = Path(__file__).resolve().parent.parent
EXECUTORS = ("in_process", "multiprocess")
LANGUAGES = ("en", "de", "fr")
MODEL_SIZES = ("full", "demo")
STREAM_SCHEMES = ("redis://", "rediss://", "unix://")


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that differs between a laptop and production.

    Attributes:
        data: Folder of all state, ``SPOTIFY_AI_DATA``; the checkout's ``data/`` unless set.
        lake: Where tables live, a folder or ``s3://bucket/prefix``, ``SPOTIFY_AI_LAKE``.
        vault_url: Database of the identity vault, ``SPOTIFY_AI_VAULT_URL``; SQLite below ``data`` unless set.
        executor: How the steps of a run execute, ``SPOTIFY_AI_EXECUTOR``.
        language: Language of texts, ``SPOTIFY_AI_LANG``.
        listener: Whose listens a file holds that names nobody, ``SPOTIFY_AI_LISTENER``.
        pseudonym_seed: Makes pseudonyms reproducible, ``SPOTIFY_AI_PSEUDONYM_SEED``; for demos and tests only.
        keep_landing_days: How long an imported landing file is kept, ``SPOTIFY_AI_KEEP_LANDING_DAYS``; encrypted with the
            key in ``SPOTIFY_AI_LANDING_KEY``. 0 removes it after its commit.
        ui_url: Where pages link to runs, ``SPOTIFY_AI_UI_URL``.
        tracking_url: Where MLflow records trainings, ``SPOTIFY_AI_TRACKING_URL``; SQLite below ``data`` unless set.
        audio_workers: How many processes measure audio, ``SPOTIFY_AI_AUDIO_WORKERS``; as many as cores and memory allow unless set.
        stream_url: Where listens stream in, ``SPOTIFY_AI_STREAM_URL``: ``redis://…``, ``rediss://…`` or ``unix://…`` of a Redis; a
            spool folder below ``data`` unless set.
        text_model: What embeds texts, ``SPOTIFY_AI_TEXT_MODEL``: a folder or hub id of sentence-transformers, or ``ngrams``;
            the extra ``minilm`` where it is installed unless set.
        model_size: ``SPOTIFY_AI_MODEL_SIZE``: ``full``, or ``demo`` for models that are trained in seconds and say so on their cards.
    """

    data: Path
    lake: str
    vault_url: str
    executor: str = "in_process"
    language: str = "en"
    listener: str = "local"
    pseudonym_seed: str | None = None
    keep_landing_days: int = 0
    ui_url: str = "http://127.0.0.1:3000"
    tracking_url: str = ""
    audio_workers: int | None = None
    stream_url: str = ""
    text_model: str = ""
    model_size: str = "full"

    @property
    def landing(self) -> Path:
        """The spool that the landing sensor watches."""
        return self.data / "landing"

    @property
    def stream(self) -> Path:
        """The spool folder of the stream, where no Redis carries it."""
        return self.data / "stream"

    @property
    def reports(self) -> Path:
        """Where pages are written."""
        return self.data / "reports"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Read and validate the settings.

        Raises:
            SettingsError: A variable has an unusable value; the message names the variable and what it accepts.
        """
        data = Path(environment.get("SPOTIFY_AI_DATA") or ROOT / "data").resolve()
        keep = environment.get("SPOTIFY_AI_KEEP_LANDING_DAYS", "0")
        if not keep.isdigit():
            raise SettingsError("SPOTIFY_AI_KEEP_LANDING_DAYS must be a whole number of days")
        workers = environment.get("SPOTIFY_AI_AUDIO_WORKERS") or "0"
        if not workers.isdigit():
            raise SettingsError("SPOTIFY_AI_AUDIO_WORKERS must be a number of processes")
        stream_url = environment.get("SPOTIFY_AI_STREAM_URL") or ""
        if stream_url and not stream_url.startswith(STREAM_SCHEMES):
            raise SettingsError(f"SPOTIFY_AI_STREAM_URL must begin with {', '.join(STREAM_SCHEMES)}")
        return cls(
            data=data,
            lake=environment.get("SPOTIFY_AI_LAKE") or str(data / "lake"),
            vault_url=environment.get("SPOTIFY_AI_VAULT_URL") or f"sqlite:///{data / 'vault' / 'identities.db'}",
            executor=_one_of(environment, "SPOTIFY_AI_EXECUTOR", EXECUTORS),
            language=_one_of(environment, "SPOTIFY_AI_LANG", LANGUAGES),
            listener=environment.get("SPOTIFY_AI_LISTENER") or "local",
            pseudonym_seed=environment.get("SPOTIFY_AI_PSEUDONYM_SEED") or None,
            keep_landing_days=int(keep),
            ui_url=environment.get("SPOTIFY_AI_UI_URL") or "http://127.0.0.1:3000",
            tracking_url=environment.get("SPOTIFY_AI_TRACKING_URL") or f"sqlite:///{data / 'mlflow' / 'mlflow.db'}",
            audio_workers=int(workers) or None,
            stream_url=stream_url,
            text_model=environment.get("SPOTIFY_AI_TEXT_MODEL") or "",
            model_size=_one_of(environment, "SPOTIFY_AI_MODEL_SIZE", MODEL_SIZES),
        )


def _one_of(environment: Mapping[str, str], name: str, allowed: tuple[str, ...]) -> str:
    value = environment.get(name) or allowed[0]
    if value not in allowed:
        raise SettingsError(f"{name} must be one of {', '.join(allowed)}")
    return value
