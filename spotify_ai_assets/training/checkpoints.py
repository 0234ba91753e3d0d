"""Where a fit stands, as one safetensors file: written whole or not at all, holding no code.

The file has the weights, their running average, the optimiser's state, torch's random state and the losses so far as tensors,
and one JSON text in the header: the number of steps done (which is the sampler's position too, and the state of its random
numbers, since both are functions of seed and step), the CPU seconds spent, and the recipe it belongs to. A checkpoint of
another recipe is no checkpoint.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spotify_ai_assets.resources.storage import sync_path

if TYPE_CHECKING:
    import torch

_HEADER = "fit"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Where a fit stands.

    Attributes:
        step: Steps done.
        seconds: CPU seconds spent on them.
        recipe: Digest of configuration, data, initial weights and versions.
        tensors: Everything else, by name.
    """

    step: int
    seconds: float
    recipe: str
    tensors: "dict[str, torch.Tensor]"

    def part(self, name: str) -> "dict[str, torch.Tensor]":
        """The tensors whose names begin with ``name`` and a slash, by the rest of their names."""
        return {key.partition("/")[2]: value for key, value in self.tensors.items() if key.startswith(f"{name}/")}


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint in place of the one before; durable when this returns, and never half there."""
    from safetensors.torch import save

    header = {"step": checkpoint.step, "seconds": checkpoint.seconds, "recipe": checkpoint.recipe}
    # Copies: tensors that share memory, as tied weights do, are refused by the format.
    whole = {name: value.detach().to("cpu", copy=True).contiguous() for name, value in checkpoint.tensors.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with scratch.open("wb") as file:
            file.write(save(whole, metadata={_HEADER: json.dumps(header)}))
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)
    sync_path(path.parent)


def load_checkpoint(path: Path, recipe: str) -> Checkpoint | None:
    """The checkpoint of a recipe; ``None`` where there is none, or one that is broken or belongs to another recipe."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            header: dict[str, Any] = json.loads((file.metadata() or {}).get(_HEADER, "{}"))
            if header.get("recipe") != recipe:
                return None
            # The keys of an open safetensors file are asked for by a method: it is no mapping.
            return Checkpoint(header["step"], header["seconds"], recipe, {name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except (SafetensorError, ValueError):
        return None
