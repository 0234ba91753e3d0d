"""A class of ours, or of a package that is allowed: built from a configuration and arrays, nothing else."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np

from spotify_ai_assets.training.adapters.allowed import OURS, find_class
from spotify_ai_assets.training.adapters.contract import InputContract, Output, in_batches
from spotify_ai_assets.training.errors import UnsafeModelError

ARRAYS, TENSORS = "arrays.npz", "arrays.safetensors"


class Own(Protocol):
    """What such a class has."""

    @classmethod
    def from_parts(cls, config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> "Own":
        """Build it.

        Args:
            config: JSON.
            arrays: By name.
        """
        ...

    def predict(self, cases: np.ndarray) -> np.ndarray:
        """Answer for each case by itself, one row each."""
        ...


class OwnModel:
    """An own class behind ``predict``.

    Args:
        own: The built object.
        contract: What it takes.
        output: What is made of its answer.
    """

    def __init__(self, own: Own, contract: InputContract, output: Output | None = None) -> None:
        self.own, self.contract, self._output = own, contract, output or Output()

    @classmethod
    def open(cls, folder: Path, make: Mapping[str, Any], contract: InputContract, allowed: Sequence[str] = OURS) -> "OwnModel":
        """Open a version.

        Args:
            folder: Its files; ``arrays.npz`` is read without objects, ``arrays.safetensors`` has none.
            make: ``class`` as ``package.module:Class``, ``config``, ``activation`` and ``temperature``.
            contract: What it takes.
            allowed: Packages that may be named.

        Raises:
            UnsafeModelError: The class may not be named or cannot be built like this.
        """
        found = find_class(make["class"], allowed)
        if not (callable(getattr(found, "from_parts", None)) and callable(getattr(found, "predict", None))):
            raise UnsafeModelError(f"{make['class']}: it has no from_parts and predict")
        arrays: dict[str, np.ndarray] = {}
        if (folder / ARRAYS).exists():
            try:
                with np.load(folder / ARRAYS, allow_pickle=False) as archive:
                    arrays = dict(archive)
            except ValueError as error:
                raise UnsafeModelError(f"{ARRAYS}: it holds objects, or is no archive of arrays") from error
        elif (folder / TENSORS).exists():
            from safetensors import SafetensorError
            from safetensors.numpy import load_file

            try:
                arrays = load_file(folder / TENSORS)
            except SafetensorError as error:
                raise UnsafeModelError(f"{TENSORS}: it is no safetensors file") from error
        return cls(cast(type[Own], found).from_parts(make.get("config", {}), arrays), contract, Output.of(make))

    def predict(self, cases: np.ndarray) -> np.ndarray:
        """Answer for each case: float32, one row each."""
        self.contract.check(cases)
        return self._output.finish(in_batches(cases, lambda part: np.asarray(self.own.predict(part))))
