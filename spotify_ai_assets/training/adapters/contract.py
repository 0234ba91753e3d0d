"""What every model of every make does alike: it names what it takes, refuses anything else, and answers in probabilities or numbers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from spotify_ai_assets.training.calibration import calibrate
from spotify_ai_assets.training.errors import InputContractError

Activation = Literal["none", "softmax", "sigmoid"]

BATCH = 128
"""Cases computed at a time: more would only take more memory."""


@dataclass(frozen=True, slots=True)
class InputContract:
    """What a model takes.

    Attributes:
        name: Of the input, as the model knows it.
        shape: Of an array of cases: ``None`` first for their number, and wherever any length will do.
        dtype: Of its numbers, such as ``float32``.
        meaning: What the numbers are, in what unit.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str = "float32"
    meaning: str = ""

    def __post_init__(self) -> None:
        if not self.shape or self.shape[0] is not None:
            raise ValueError("the first dimension of an input is the number of cases: None")

    def check(self, cases: np.ndarray) -> None:
        """Hold an array against the contract.

        Raises:
            InputContractError: Its type, its shape or a value is not what the model was made for; the message names which.
        """
        if not isinstance(cases, np.ndarray):
            raise InputContractError(f"{self.name}: an array is needed")
        if cases.dtype != np.dtype(self.dtype):
            raise InputContractError(f"{self.name}: type {cases.dtype}, needed {self.dtype}")
        fits = cases.ndim == len(self.shape) and all(needed in (None, there) for needed, there in zip(self.shape, cases.shape, strict=True))
        if not fits:
            raise InputContractError(f"{self.name}: shape {_shown(cases.shape)}, needed {_shown(self.shape)}")
        if cases.dtype.kind == "f" and not np.isfinite(cases).all():
            raise InputContractError(f"{self.name}: a value is not a number")

    def as_json(self) -> dict[str, Any]:
        """A JSON document."""
        return {"name": self.name, "shape": list(self.shape), "dtype": self.dtype, "meaning": self.meaning}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "InputContract":
        """Read what ``as_json`` wrote."""
        return cls(document["name"], tuple(document["shape"]), document["dtype"], document["meaning"])


class Model(Protocol):
    """A model of any make."""

    @property
    def contract(self) -> InputContract:
        """What it takes."""
        ...

    def predict(self, cases: np.ndarray) -> np.ndarray:
        """Answer for each case by itself.

        Args:
            cases: As the contract says.

        Returns:
            float32, one row for each case.

        Raises:
            InputContractError: The input is not what the contract says.
        """
        ...


@dataclass(frozen=True, slots=True)
class Output:
    """What is made of a model's raw answer.

    Attributes:
        activation: ``softmax`` over the last axis, ``sigmoid`` of each number, or ``none``.
        temperature: The raw answer is divided by it first, so that probabilities are calibrated.
    """

    activation: Activation = "none"
    temperature: float = 1.0

    @classmethod
    def of(cls, make: Mapping[str, Any]) -> "Output":
        """What a version's make says of it."""
        found = cls(make.get("activation", "none"), float(make.get("temperature", 1.0)))
        if found.activation not in ("none", "softmax", "sigmoid") or not found.temperature > 0:
            raise ValueError("an activation is none, softmax or sigmoid, and a temperature above 0")
        return found

    def finish(self, raw: np.ndarray) -> np.ndarray:
        """Turn raw answers into those of the model: float32, shape as given."""
        if self.activation == "softmax":
            return calibrate(raw, self.temperature).astype(np.float32)
        scaled = np.asarray(raw, np.float64) / self.temperature
        if self.activation == "sigmoid":
            scaled = 0.5 * (1 + np.tanh(scaled / 2))  # the same function, without overflow
        return scaled.astype(np.float32)


def in_batches(cases: np.ndarray, answer: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """The answers to cases, batch by batch; to none at all, an array of none with the shape that answers have."""
    if not len(cases):
        return answer(np.zeros((1, *cases.shape[1:]), cases.dtype))[:0]
    parts = (np.ascontiguousarray(cases[begin : begin + BATCH]) for begin in range(0, len(cases), BATCH))
    return np.concatenate([answer(part) for part in parts])


def _shown(shape: tuple[int | None, ...]) -> str:
    return " x ".join("any" if length is None else str(length) for length in shape)
