"""Whether both chains are whole, witnessing that they are, and accepting that records were lost with a disk.

The audit trail and the erasure ledger are counted again from their first records and held against every head that was exported.
"""

import time
from typing import Any

from spotify_ai_assets.errors import PermanentError, PlatformError, TransientError
from spotify_ai_assets.observability.audit.heads import Heads, witness
from spotify_ai_assets.resources.audit import AUDIT, ERASURE, Who, open_audit, open_ledger
from spotify_ai_assets.resources.chain import Chain
from spotify_ai_assets.resources.keys import open_key
from spotify_ai_assets.settings import Settings

WITNESSED, ACCEPTED = "witnessed", "loss accepted"
"""The actions that tell of exported heads, and of records that are known to be lost."""


def open_chains(settings: Settings) -> dict[str, Chain]:
    """The audit trail and the erasure ledger, by name."""
    return {AUDIT: open_audit(settings).chain, ERASURE: open_ledger(settings)}


def open_heads(settings: Settings) -> Heads:
    """Where signed heads are kept: beside the backups."""
    return Heads(f"{settings.backups}/heads")


def verify_chains(settings: Settings) -> dict[str, list[str]]:
    """Count the chains again, against every head that was exported.

    Returns:
        What is wrong with each chain, and with the exported ``heads`` themselves, in sentences; empty lists where nothing is.

    Raises:
        TransientError: A database does not answer, or the heads cannot be read.
    """
    try:
        anchors, wrong = open_heads(settings).read(open_key(settings, "audit"))
    except OSError as error:
        raise TransientError(f"the exported heads cannot be read: {type(error).__name__}") from None
    chains = open_chains(settings)
    return {name: chain.verify(*anchors.get(name, [])) for name, chain in chains.items()} | {"heads": wrong}


def export_heads(settings: Settings, who: Who, run_id: str = "", trace_id: str = "") -> dict[str, Any]:
    """Count the chains again, record that, and export their signed heads.

    Returns:
        Figures: numbers of records, seconds, how many old heads were removed.

    Raises:
        PlatformError: A chain is broken; a broken one is not witnessed.
    """
    started = time.perf_counter()
    if broken := [sentence for sentences in verify_chains(settings).values() for sentence in sentences]:
        raise PlatformError(f"the audit trail is broken: {'; '.join(broken[:3])}")
    audit, ledger, heads = open_audit(settings), open_ledger(settings), open_heads(settings)
    figures = {
        "audit_records": audit.head().sequence,
        "erasure_records": ledger.head().sequence,
        "seconds": round(time.perf_counter() - started, 3),
    }
    record = audit.record(WITNESSED, subject="heads", who=who, run_id=run_id, trace_id=trace_id, figures=figures)
    try:
        witness({AUDIT: audit.head, ERASURE: ledger.head}, heads, record.at, open_key(settings, "audit"))
        return {**figures, "removed": heads.thin(record.at)}
    except OSError as error:
        raise TransientError(f"the heads cannot be exported: {type(error).__name__}") from None


def accept_loss(settings: Settings, who: Who) -> int:
    """Go on from chains that end before what was witnessed, as after a restore of an older backup.

    The heads that witnessed what is lost are set aside, not removed, and the audit trail tells of them: a loss is never silent. A
    chain that is broken in itself cannot be accepted.

    Returns:
        How many heads were set aside; 0 where nothing is lost.

    Raises:
        PermanentError: A chain is broken in itself.
        TransientError: A database does not answer, or heads cannot be moved.
    """
    chains, heads = open_chains(settings), open_heads(settings)
    if broken := [sentence for chain in chains.values() for sentence in chain.verify()]:
        raise PermanentError(f"the audit trail is broken: {broken[0]}")
    try:
        lost = {
            name: signed.head
            for name, signed in heads.genuine(open_key(settings, "audit"))
            if signed.chain in chains and chains[signed.chain].verify(signed.head)
        }
        if lost:
            figures = {f"{name}_records": chain.head().sequence for name, chain in chains.items()}
            inputs = {name: head.digest for name, head in lost.items()}
            open_audit(settings).record(ACCEPTED, subject="heads", who=who, inputs=inputs, figures={**figures, "heads": len(lost)})
            heads.set_aside(lost)
    except OSError as error:
        raise TransientError(f"the heads cannot be set aside: {type(error).__name__}") from None
    return len(lost)
