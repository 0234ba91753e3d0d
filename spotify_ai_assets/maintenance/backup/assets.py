"""What the drills came to, as an asset; the job ``drill`` adds to it."""

from spotify_ai_assets.loading import landed_table
from spotify_ai_assets.maintenance.backup.contracts import DRILLS


@landed_table(DRILLS)
def drills() -> None:
    """Restore drills, one row each: whether the newest backup could be restored, opened and worked with, and how long that took.

    Recovery time and recovery point are measured, not promised. The weekly job ``drill`` adds a row; nothing else does.
    """
