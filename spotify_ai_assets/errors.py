"""The exceptions of the platform.

::

    PlatformError
    ├── PermanentError           the same input fails again: never retried
    │   ├── ContractError        a frame breaks its table's contract
    │   ├── EmptyPartitionError  an empty day although its inputs have rows
    │   ├── MissingInputError    an upstream partition does not exist yet
    │   ├── UnreadableFileError  a file that cannot be imported: names the rule that it breaks
    │   ├── SettingsError        an environment variable has an unusable value
    │   ├── HistoryErasedError   a past state was asked for that an erasure has removed
    │   └── QueryError           SQL that the warehouse refuses or cannot run
    └── TransientError           another try may succeed: retried with back-off
        ├── LockTimeoutError     another process held a table's lock for too long
        └── CommitConflictError  other writers won every race for a commit

What models raise besides is drawn in ``training/errors.py``; a few modules have an error of their own beside what raises it.

No message holds a personal value: a message names files by digest, rows by number and rules by name.
"""


class PlatformError(Exception):
    """Anything that the platform itself raises."""


class PermanentError(PlatformError):
    """The same input fails again; a retry is a waste."""


class TransientError(PlatformError):
    """Another try may succeed."""


class ContractError(PermanentError):
    """A frame breaks its table's contract."""


class EmptyPartitionError(PermanentError):
    """A day came out empty although its inputs have rows."""


class MissingInputError(PermanentError):
    """An upstream partition does not exist yet."""


class UnreadableFileError(PermanentError):
    """A file, or the rest of it, cannot be read.

    Attributes:
        rule: The broken rule, a stable identifier such as ``truncated_gzip``.
        row: 1-based number of the record at which reading stopped, or ``None`` where no record was reached.
    """

    def __init__(self, rule: str, message: str, row: int | None = None) -> None:
        super().__init__(message)
        self.rule = rule
        self.row = row


class SettingsError(PermanentError):
    """An environment variable has an unusable value."""


class HistoryErasedError(PermanentError):
    """A past state was asked for that an erasure has removed."""


class QueryError(PermanentError):
    """SQL that the warehouse refuses or cannot run."""


class LockTimeoutError(TransientError):
    """Another process held a table's lock for too long."""


class CommitConflictError(TransientError):
    """Other writers won every race for a commit."""
