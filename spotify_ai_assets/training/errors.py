"""The exceptions of training, all of them permanent.

::

    PermanentError
    ├── DivergedError             a loss is no longer a number
    ├── RanksDisagreeError        ranks of a distributed fit that began different fits
    ├── LaunchError               a fit on several processes that failed more often than it may
    ├── UnsafeModelError          files that could hold code, or a class that is not allowed
    ├── InputContractError        an input that a model was not made for: names what differs
    ├── ExtractorMismatchError    features of another extractor than the one a model was trained on
    ├── UnknownModelError         no such model, version or alias
    └── GateFailedError           a version that may not be promoted: names the checks that failed
"""

from spotify_ai_assets.errors import PermanentError


class DivergedError(PermanentError):
    """A loss is no longer a number; the same seed would diverge again."""


class RanksDisagreeError(PermanentError):
    """Ranks of a distributed fit that began different fits."""


class LaunchError(PermanentError):
    """A fit on several processes that failed more often than it may."""


class UnsafeModelError(PermanentError):
    """Model files that could hold code, or a class that is not allowed."""


class InputContractError(PermanentError):
    """An input that a model was not made for."""


class ExtractorMismatchError(PermanentError):
    """Features of another extractor than the one that a model was trained on."""


class UnknownModelError(PermanentError):
    """No such model, version or alias."""


class GateFailedError(PermanentError):
    """A version that may not be promoted."""
