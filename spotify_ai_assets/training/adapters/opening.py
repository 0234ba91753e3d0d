"""From a version's files to a model: which adapter, once its files were found to hold no code."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from spotify_ai_assets.training.adapters.allowed import OURS
from spotify_ai_assets.training.adapters.contract import InputContract, Model
from spotify_ai_assets.training.errors import UnsafeModelError
from spotify_ai_assets.training.safety import refuse_unsafe

Kind = Literal["torch", "huggingface", "onnx", "own"]
KINDS = get_args(Kind)


def open_model(
    folder: Path,
    kind: str,
    make: Mapping[str, Any],
    contract: InputContract,
    allowed: Sequence[str] = OURS,
    passed_over: Sequence[str] = (),
) -> Model:
    """Open a model.

    Args:
        folder: Its files.
        kind: One of ``KINDS``.
        make: What the adapter of that kind needs.
        contract: What the model takes.
        allowed: Packages whose classes may be named.
        passed_over: Files of the folder that are none of the model's.

    Raises:
        UnsafeModelError: A file could hold code, or the model is not what it says.
        InputContractError: The contract is not that of the model.
    """
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    refuse_unsafe({path: place for path, place in files.items() if path not in passed_over})
    if kind == "torch":
        from spotify_ai_assets.training.adapters.torch_model import TorchModel

        return TorchModel.open(folder, make, contract, allowed)
    if kind == "huggingface":
        from spotify_ai_assets.training.adapters.huggingface import HuggingFaceModel

        return HuggingFaceModel.open(folder, make, contract)
    if kind == "onnx":
        from spotify_ai_assets.training.adapters.onnx_model import OnnxModel

        return OnnxModel.open(folder, make, contract)
    if kind == "own":
        from spotify_ai_assets.training.adapters.own_class import OwnModel

        return OwnModel.open(folder, make, contract, allowed)
    raise UnsafeModelError(f"{kind}: a model is one of {', '.join(KINDS)}")
