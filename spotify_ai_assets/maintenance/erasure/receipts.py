"""Receipts: what was done about a request, signed, and told to the person in plain words in three languages.

A receipt holds keyed hashes and counts, nothing that leads back to the person without the key. It is made of the ledger's records alone,
so that making it again gives the same bytes; its signature is Ed25519 (RFC 8032) over its canonical JSON.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spotify_ai_assets.errors import MissingInputError
from spotify_ai_assets.locale import translate as _
from spotify_ai_assets.maintenance.erasure.cases import Case, add_figures, read_cases
from spotify_ai_assets.maintenance.erasure.targets import OUTSIDE
from spotify_ai_assets.resources.chain import Chain, Head, canonical, to_text
from spotify_ai_assets.resources.durable_file import replace_file
from spotify_ai_assets.resources.keys import open_key
from spotify_ai_assets.settings import LANGUAGES, Settings

FORMAT = 1
LONGEST_BACKUP_DAYS = 30
"""How long a backup is kept at most."""

_REQUEST = re.compile(r"[0-9a-f]{32}")


def folder_of(settings: Settings) -> Path:
    """Where receipts lie."""
    return settings.data / "erasure" / "receipts"


def sign_receipt(settings: Settings, case: Case) -> dict[str, Any]:
    """Write the receipt of a case whose scan was clean: JSON, and a text for the person in each language.

    Args:
        settings: Name the folder and the key.
        case: The case.

    Returns:
        SHA-256 of the JSON file, ``receipt_sha256``, and of each text, ``texts_sha256``, for the ledger: how texts are worded may change.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.from_private_bytes(open_key(settings, "receipt"))
    told = describe(case)
    told["public_key"] = key.public_key().public_bytes_raw().hex()
    told["signature"] = key.sign(canonical(told).encode()).hex()
    text = (json.dumps(told, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()
    folder = folder_of(settings)
    texts = {language: tell(told, language).encode() for language in LANGUAGES}
    for language, content in texts.items():
        _write(folder / f"{case.request}.{language}.txt", content)
    _write(folder / f"{case.request}.json", text)
    sums = {language: hashlib.sha256(content).hexdigest() for language, content in texts.items()}
    return {"receipt_sha256": hashlib.sha256(text).hexdigest(), "texts_sha256": sums}


def _write(path: Path, content: bytes) -> None:
    with replace_file(path) as file:
        file.write(content)


def describe(case: Case) -> dict[str, Any]:
    """What a receipt says, without its signature.

    Args:
        case: A case whose last scan was clean.
    """
    records = [record for record in case.records if record.kind != "receipted"]
    scanned = records[-1]
    return {
        "format": FORMAT,
        "request": case.request,
        "user": case.user,
        "pseudonyms": list(case.pseudonyms),
        "requested_at": to_text(case.requested_at),
        "due": to_text(case.due),
        "completed_at": to_text(scanned.at),
        "rounds": case.rounds,
        "steps": [
            {"state": each.kind, "at": to_text(each.at), "sequence": each.sequence, "figures": dict(each.body.get("figures", {}))}
            for each in records
            if each.kind != "scanned" or each is scanned
        ],
        "not_scanned": list(OUTSIDE),
        "backups_kept_days": LONGEST_BACKUP_DAYS,
        "ledger": {"sequence": scanned.sequence, "digest": scanned.digest},
    }


def read_receipt(settings: Settings, request: str) -> dict[str, Any]:
    """The receipt of a request.

    Args:
        settings: Name the folder.
        request: Its id, or the beginning of it.

    Raises:
        MissingInputError: There is none, or the beginning is that of several.
    """
    found = [path for path in sorted(folder_of(settings).glob("*.json")) if path.stem.startswith(request)]
    if len(found) != 1 or not _REQUEST.fullmatch(found[0].stem):
        raise MissingInputError("there is no receipt of this request" if not found else "several requests begin so")
    return json.loads(found[0].read_bytes())


def verify_receipt(settings: Settings, ledger: Chain, request: str) -> list[str]:
    """What is wrong with a receipt, in words; nothing where it is genuine and the ledger agrees.

    Raises:
        MissingInputError: There is none.
    """
    told = read_receipt(settings, request)
    case = next((case for case in read_cases(ledger) if case.request == told.get("request")), None)
    if case is None or case.is_open:
        return ["the ledger knows of no such receipt"]
    wrong = [] if _is_signed(told, open_key(settings, "receipt")) else ["the receipt was changed, or signed by somebody else"]
    noted = case.records[-1].body
    if _sum(settings, f"{case.request}.json") != noted.get("receipt_sha256"):
        wrong.append("the receipt is not the one that the ledger names")
    if {language: _sum(settings, f"{case.request}.{language}.txt") for language in LANGUAGES} != noted.get("texts_sha256"):
        wrong.append("a text for the person is not the one that was signed for")
    return wrong + ledger.verify(Head(told["ledger"]["sequence"], told["ledger"]["digest"]))


def _sum(settings: Settings, file: str) -> str:
    path = folder_of(settings) / file
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""


def _is_signed(told: Mapping[str, Any], seed: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    public = Ed25519PrivateKey.from_private_bytes(seed).public_key()
    unsigned = {name: value for name, value in told.items() if name != "signature"}
    try:
        public.verify(bytes.fromhex(told["signature"]), canonical(unsigned).encode())
    except (InvalidSignature, ValueError, KeyError, TypeError):
        return False
    return told.get("public_key") == public.public_bytes_raw().hex()


# In plain words ------------------------------------------------------------------------------------------------------------


def tell(told: Mapping[str, Any], language: str) -> str:
    """A receipt in plain words.

    Args:
        told: The receipt.
        language: One of ``settings.LANGUAGES``.
    """
    from datetime import datetime

    from spotify_ai_assets.reports.notation import Notation

    write, steps = Notation(language), told["steps"]
    # All that was done, also in a round before the last; of the scans only the last one, which found nothing, is in the receipt.
    figures = {step["state"]: add_figures(each["figures"] for each in steps if each["state"] == step["state"]) for step in steps}
    asked, done, due = (write.long_date(datetime.fromisoformat(told[name]).date()) for name in ("requested_at", "completed_at", "due"))
    scan, tables = figures["scanned"], figures["rewritten"].get("tables", {})
    rebuilt, purged = figures["rebuilt"], figures["purged"]
    values = {
        "asked": asked,
        "done": done,
        "due": due,
        "rows": write.whole(sum(each["rows"] for each in tables.values())),
        "partitions": write.whole(rebuilt.get("partitions", 0)),
        "versions": write.whole(rebuilt.get("versions_removed", 0)),
        "files": write.whole(purged.get("files", 0) + figures["rewritten"].get("kept_files", 0)),
        "messages": write.whole(purged.get("messages", 0)),
        "scanned": write.whole(scan["files"]),
        "megabytes": write.whole(scan["bytes"] / 1e6),
        "forms": write.whole(len(scan["forms"])),
        "days": write.whole(told["backups_kept_days"]),
        "request": told["request"],
        "user": told["user"],
        "signature": told["signature"],
        "key": told["public_key"],
    }
    return "\n".join(line.format(**values) if is_template else line for line, is_template in _lines(language)) + "\n"


def _lines(language: str) -> list[tuple[str, bool]]:
    """The lines of a receipt in a language, and whether values go into them."""
    title = _("Receipt: your data is erased", language)
    paragraphs = [
        (
            "",
            [_("You asked us on {asked} to erase what we hold about you. It was done on {done}; the law gives us until {due}.", language)],
        ),
        (
            _("What we did", language),
            [
                _("* From your request on we took in nothing new about you, and shall take in nothing.", language),
                _("* We destroyed the link between your name with us and the number under which your listens were kept.", language),
                _("* We removed {rows} listens and notes of yours, and their former states.", language),
                _("* We made again without you all that was counted from them: {partitions} parts of tables and reports.", language),
                _("* We removed {versions} versions of models and indices that had learnt from you.", language),
                _("* We removed {files} files and {messages} messages that named you.", language),
            ],
        ),
        (
            _("How we made sure", language),
            [
                _("Afterwards a program read {scanned} files ({megabytes} MB), packed ones unpacked.", language),
                _("It looked for you in {forms} ways of writing and found nothing.", language),
            ],
        ),
        (
            _("What remains", language),
            [
                _("* This receipt and our ledger. Instead of your name there stands a fingerprint: {user}", language),
                _(
                    "* With a key that we keep apart it tells us to refuse what still arrives about you; without it, it tells nothing.",
                    language,
                ),
                _("* Backups, encrypted, for {days} days at most. Whoever restores one erases you from it before it is used.", language),
            ],
        ),
        (
            _("How this can be checked", language),
            [
                _("Request: {request}", language),
                _("Signature (Ed25519): {signature}", language),
                _("Public key: {key}", language),
                _("If you think that something is missing, answer with the number of the request.", language),
                _("You may also complain to a supervisory authority.", language),
            ],
        ),
    ]
    lines = [(title, False), ("=" * len(title), False)]
    for heading, told in paragraphs:
        lines += [("", False), *([(heading, False), ("-" * len(heading), False)] if heading else []), *((line, True) for line in told)]
    return lines
