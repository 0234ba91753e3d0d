"""A torch network: weights in safetensors, an architecture by name."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from spotify_ai_assets.training.adapters.allowed import OURS, find_class
from spotify_ai_assets.training.adapters.contract import InputContract, Output, in_batches
from spotify_ai_assets.training.determinism import choose_device
from spotify_ai_assets.training.errors import UnsafeModelError

if TYPE_CHECKING:
    from torch import nn

WEIGHTS = "model.safetensors"


class TorchModel:
    """A network behind ``predict``.

    Args:
        network: With its weights; put into evaluation mode.
        contract: What it takes.
        output: What is made of its answer.
        device: ``auto`` is a GPU where torch sees one.
    """

    def __init__(self, network: "nn.Module", contract: InputContract, output: Output | None = None, device: str = "auto") -> None:
        self.contract = contract
        self._output = output or Output()
        self._device = choose_device(device)
        self.network = network.to(self._device).eval()

    @classmethod
    def open(cls, folder: Path, make: Mapping[str, Any], contract: InputContract, allowed: Sequence[str] = OURS) -> "TorchModel":
        """Open a version.

        Args:
            folder: Its files.
            make: ``architecture`` as ``package.module:Class``, ``config`` with its arguments, ``weights`` if they are not in
                ``model.safetensors``, ``activation`` and ``temperature``.
            contract: What it takes.
            allowed: Packages that may be named.

        Raises:
            UnsafeModelError: The architecture may not be named, or the weights are not its own.
        """
        from safetensors.torch import load_file
        from torch import nn

        architecture = find_class(make["architecture"], allowed)
        if not issubclass(architecture, nn.Module):
            raise UnsafeModelError(f"{make['architecture']}: it is not a network")
        network = architecture(**make.get("config", {}))
        try:
            network.load_state_dict(load_file(folder / make.get("weights", WEIGHTS)))
        except RuntimeError as error:
            raise UnsafeModelError(f"{make['architecture']}: the weights are not those of this architecture") from error
        return cls(network, contract, Output.of(make))

    def predict(self, cases: np.ndarray) -> np.ndarray:
        """Answer for each case: float32, one row each."""
        import torch

        self.contract.check(cases)
        with torch.inference_mode():
            raw = in_batches(cases, lambda part: self.network(torch.from_numpy(part).to(self._device)).cpu().numpy())
        return self._output.finish(raw)


def pack_weights(network: "nn.Module") -> bytes:
    """The weights of a network as the bytes of a safetensors file: equal weights give equal bytes."""
    from safetensors.torch import save

    return save({name: value.detach().to("cpu", copy=True).contiguous() for name, value in network.state_dict().items()})
