"""One step each of what a chain, a vault and a key do, for the tests that kill it in the middle or fill its disk.

Steps are given the lake of their folder, as those of the lake are; the folder is all that these want of it.
"""

from datetime import UTC, datetime
from pathlib import Path

from spotify_ai_assets.resources.chain import Chain, Entry
from spotify_ai_assets.resources.identities import Vault, seeded_pseudonyms
from spotify_ai_assets.resources.keys import open_key
from spotify_ai_assets.resources.lake import Lake
from spotify_ai_assets.settings import Settings

AT = datetime(2026, 1, 1, tzinfo=UTC)


def folder_of(lake: Lake) -> Path:
    return Path(lake.storage.root).parent


def open_chain(folder: Path) -> Chain:
    return Chain(f"sqlite:///{folder}/ledger/ledger.db", "audit", lambda: AT)


def open_vault(folder: Path) -> Vault:
    return Vault(f"sqlite:///{folder}/vault/identities.db", seeded_pseudonyms("steps"))


def settings_of(folder: Path) -> Settings:
    return Settings.from_environment({"SPOTIFY_AI_DATA": str(folder)})


STEPS = {
    "append": lambda lake: open_chain(folder_of(lake)).append("deed", {"n": "new", "long": "x" * 9000}),
    "append_all": lambda lake: open_chain(folder_of(lake)).append_all([Entry("deed", {"n": n}, f"new {n}") for n in range(5)]),
    "export": lambda lake: open_chain(folder_of(lake)).export(folder_of(lake) / "chain.jsonl"),
    "swap": lambda lake: open_vault(folder_of(lake)).swap([f"new {n}" for n in range(200)]),
    "forget": lambda lake: open_vault(folder_of(lake)).forget(*open_vault(folder_of(lake)).swap(["old 1", "old 2"]).values()),
    "key": lambda lake: open_key(settings_of(folder_of(lake)), "ledger", {}),
}
