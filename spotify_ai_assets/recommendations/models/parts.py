"""What models are kept as: settings that JSON can hold, and arrays by name."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar, cast

import numpy as np
from scipy.sparse import csr_matrix

Config = TypeVar("Config")


def read_config(kind: type[Config], overrides: Mapping[str, Any] | None) -> Config:
    """Settings of a kind, some of them other than their defaults.

    Args:
        kind: A dataclass whose fields all have defaults.
        overrides: Values by name, as JSON has them.

    Raises:
        ValueError: It has no setting of that name, or the value is none that it takes.
    """
    # That a class is a dataclass has no public name in types.
    known = [each.name for each in fields(kind)]  # pyright: ignore[reportArgumentType]
    unknown = sorted(set(overrides or {}) - set(known))
    if unknown:
        raise ValueError(f"unknown settings {', '.join(unknown)}; there are {', '.join(known)}")
    return kind(**(overrides or {}))


def shape_of(matrix: csr_matrix) -> tuple[int, int]:
    """Rows and columns; to scipy's annotations a shape is something that may be missing."""
    rows, columns = cast(tuple[int, int], matrix.shape)
    return rows, columns


def refuse(*broken: tuple[bool, str]) -> None:
    """Raise ``ValueError`` with the first sentence whose condition holds."""
    for condition, sentence in broken:
        if condition:
            raise ValueError(sentence)


def matrix_parts(name: str, matrix: csr_matrix) -> dict[str, np.ndarray]:
    """The arrays of a sparse matrix, each name with the matrix' before it."""
    return {
        f"{name}.shape": np.asarray(shape_of(matrix), np.int64),
        f"{name}.indptr": matrix.indptr.astype(np.int64),
        f"{name}.indices": matrix.indices.astype(np.int32),
        f"{name}.data": matrix.data.astype(np.float32),
    }


def matrix_of(name: str, arrays: Mapping[str, np.ndarray]) -> csr_matrix:
    """The sparse matrix that ``matrix_parts`` took apart."""
    rows, columns = (int(each) for each in arrays[f"{name}.shape"])
    return csr_matrix((arrays[f"{name}.data"], arrays[f"{name}.indices"], arrays[f"{name}.indptr"]), shape=(rows, columns))


def entries_of(history: csr_matrix) -> tuple[np.ndarray, np.ndarray]:
    """Items and weights of one history, the weights as float64.

    Raises:
        ValueError: It is not one row.
    """
    rows, _ = shape_of(history)
    if rows != 1:
        raise ValueError(f"one history is explained at a time, these are {rows}")
    return history.indices, history.data.astype(np.float64)
