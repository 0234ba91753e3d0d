"""A folder in Hugging Face's layout: read from the disk, safetensors only, none of its own code, no network."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from spotify_ai_assets.training.adapters.contract import InputContract, Output, in_batches
from spotify_ai_assets.training.determinism import choose_device
from spotify_ai_assets.training.errors import InputContractError, UnsafeModelError

CONFIG = "config.json"


class HuggingFaceModel:
    """A model of transformers behind ``predict``.

    Args:
        folder: ``config.json`` and weights in safetensors.
        contract: What it takes; its name is that of the model's argument, such as ``input_values``.
        output: What is made of its answer.
        auto_class: A class of transformers beginning with ``AutoModel``.
        answer: Which part of its answer, such as ``logits``.

    Raises:
        UnsafeModelError: The folder brings code, or refers to another model, or is no such model.
    """

    def __init__(
        self, folder: Path, contract: InputContract, output: Output | None = None, *, auto_class: str = "AutoModel", answer: str = "logits"
    ) -> None:
        _refuse_code(folder)
        if not auto_class.startswith("AutoModel"):
            raise UnsafeModelError(f"{auto_class}: only transformers' own AutoModel classes may be named")
        import torch
        import transformers

        find = getattr(transformers, auto_class, None)
        if find is None:
            raise UnsafeModelError(f"{auto_class}: transformers has no such class")
        self.contract, self._output, self._answer = contract, output or Output(), answer
        self._device = choose_device()
        try:
            with _quiet():
                network = find.from_pretrained(
                    str(folder), local_files_only=True, use_safetensors=True, trust_remote_code=False, dtype=torch.float32
                )
        except (OSError, ValueError) as error:
            raise UnsafeModelError(f"{auto_class}: the folder does not hold such a model in safetensors") from error
        self.network = network.to(self._device).eval()

    @classmethod
    def open(cls, folder: Path, make: Mapping[str, Any], contract: InputContract) -> "HuggingFaceModel":
        """Open a version.

        Args:
            folder: Its files.
            make: ``auto_class``, ``output``, ``activation`` and ``temperature``.
            contract: What it takes.
        """
        options = {"auto_class": make.get("auto_class", "AutoModel"), "answer": make.get("output", "logits")}
        return cls(folder, contract, Output.of(make), **options)

    def predict(self, cases: np.ndarray) -> np.ndarray:
        """Answer for each case: float32, one row each."""
        import torch

        self.contract.check(cases)

        def answer(part: np.ndarray) -> np.ndarray:
            found = self.network(**{self.contract.name: torch.from_numpy(part).to(self._device)})
            if self._answer not in found:
                raise InputContractError(f"{self._answer}: the model gives {', '.join(found)}")
            return found[self._answer].cpu().numpy()

        with torch.inference_mode():
            return self._output.finish(in_batches(cases, answer))


def _refuse_code(folder: Path) -> None:
    """A configuration may name Python files of its folder, and an adapter's another model to be fetched."""
    try:
        config = json.loads((folder / CONFIG).read_text())
    except (OSError, ValueError) as error:
        raise UnsafeModelError(f"{CONFIG}: it is missing or broken") from error
    if "auto_map" in config or "custom_pipelines" in config:
        raise UnsafeModelError(f"{CONFIG}: it asks for code of its own")
    if (folder / "adapter_config.json").exists():
        raise UnsafeModelError("adapter_config.json: it refers to another model")


@contextmanager
def _quiet() -> Iterator[None]:
    """transformers draws progress bars over whatever else is printed."""
    from transformers.utils import logging

    was_drawing, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if was_drawing:
            logging.enable_progress_bar()
