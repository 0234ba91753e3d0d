"""Classes by name: a version says which class it needs, and only those of allowed packages are found."""

from collections.abc import Sequence
from importlib import import_module

from spotify_ai_assets.training.errors import UnsafeModelError

OURS = ("spotify_ai_assets",)
"""The packages whose classes a version may name unless more are allowed."""


def find_class(path: str, allowed: Sequence[str] = OURS) -> type:
    """The class that a path names.

    Args:
        path: ``package.module:Class``.
        allowed: Packages, with all that is below them.

    Raises:
        UnsafeModelError: It is in no allowed package, is not there, or is no class that its module itself defines.
    """
    module, _, name = path.partition(":")
    if not any(module == package or module.startswith(f"{package}.") for package in allowed):
        raise UnsafeModelError(f"{path}: only classes of {', '.join(allowed)} may be named by a model")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UnsafeModelError(f"{path}: there is no such class") from error
    # A module's imports are within reach too, and they come from anywhere.
    if not isinstance(found, type) or found.__module__ != module:
        raise UnsafeModelError(f"{path}: it is not a class of that module")
    return found
