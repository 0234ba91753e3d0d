"""An ONNX graph, as TensorFlow, Keras and others export it, run by onnxruntime without their code."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from spotify_ai_assets.training.adapters.contract import InputContract, Output, in_batches
from spotify_ai_assets.training.errors import InputContractError, UnsafeModelError

GRAPH = "model.onnx"
_WARNINGS_AND_BELOW = 3


class OnnxModel:
    """A graph behind ``predict``; on the CPU, one thread, no operators but ONNX's own.

    Args:
        path: The graph; what it keeps outside of its file must lie in the same folder.
        contract: What it takes; held against what the graph itself says.
        output: What is made of its answer.
        answer: Which of its outputs; the first unless named.

    Raises:
        UnsafeModelError: It is no graph that this runtime can run with its own operators.
        InputContractError: The contract names another input than the graph has.
    """

    def __init__(self, path: Path, contract: InputContract, output: Output | None = None, answer: str | None = None) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.use_deterministic_compute = True
        options.log_severity_level = _WARNINGS_AND_BELOW
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its exceptions have no common base but this
            raise UnsafeModelError(f"{path.name}: it is not a graph that can be run") from error
        self.contract, self._output = contract, output or Output()
        self._answer = answer or self._session.get_outputs()[0].name
        self._agree()

    @classmethod
    def open(cls, folder: Path, make: Mapping[str, Any], contract: InputContract) -> "OnnxModel":
        """Open a version.

        Args:
            folder: Its files.
            make: ``graph`` if it is not ``model.onnx``, ``output`` if it is not the first, ``activation`` and ``temperature``.
            contract: What it takes.
        """
        return cls(folder / make.get("graph", GRAPH), contract, Output.of(make), make.get("output"))

    def _agree(self) -> None:
        """Hold the contract against the graph's own inputs and outputs."""
        inputs, names = self._session.get_inputs(), [each.name for each in self._session.get_outputs()]
        if [each.name for each in inputs] != [self.contract.name]:
            raise InputContractError(f"{self.contract.name}: the graph takes {', '.join(each.name for each in inputs)}")
        if self._answer not in names:
            raise InputContractError(f"{self._answer}: the graph gives {', '.join(names)}")
        shape = [length if isinstance(length, int) else None for length in inputs[0].shape]
        fits = len(shape) == len(self.contract.shape) and all(
            theirs is None or ours == theirs for ours, theirs in zip(self.contract.shape, shape, strict=True)
        )
        if not fits:
            raise InputContractError(f"{self.contract.name}: the graph takes another shape than the contract says")

    def predict(self, cases: np.ndarray) -> np.ndarray:
        """Answer for each case: float32, one row each."""
        self.contract.check(cases)
        raw = in_batches(cases, lambda part: np.asarray(self._session.run([self._answer], {self.contract.name: part})[0]))
        return self._output.finish(raw)
