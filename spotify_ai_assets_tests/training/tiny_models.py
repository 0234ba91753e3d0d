"""Tiny models of every make for the tests, and their manifests."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spotify_ai_assets.training.adapters.contract import InputContract
from spotify_ai_assets.training.adapters.torch_model import pack_weights
from spotify_ai_assets.training.determinism import steady
from spotify_ai_assets.training.gates import Gate, Need
from spotify_ai_assets.training.manifests import DataWindow, Manifest, Metric

DATA = Path(__file__).parent / "data"
ALLOWED = ("spotify_ai_assets", "tiny_models")
GATE = Gate("enough", (Need("right more often than chance", "accuracy_low", ">", 0.5), Need("well calibrated", "ece", "<=", 0.1)))


class Net(torch.nn.Module):
    """Pools over time, then a hidden layer."""

    def __init__(self, bands: int = 6, classes: int = 3) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(bands, 5), torch.nn.BatchNorm1d(5), torch.nn.ReLU(), torch.nn.Linear(5, classes))

    def forward(self, x):
        return self.layers(x.mean(2))


class Centres:
    """Answers with the distance to each centre."""

    def __init__(self, centres: np.ndarray, power: float) -> None:
        self.centres, self.power = centres, power

    @classmethod
    def from_parts(cls, config, arrays):
        return cls(arrays["centres"], config["power"])

    def predict(self, cases):
        return -(np.abs(cases.mean(2)[:, None] - self.centres) ** self.power).sum(2)


class Constant:
    """Answers the same of everything, and has no arrays."""

    def __init__(self, answer: float) -> None:
        self.answer = answer

    @classmethod
    def from_parts(cls, config, arrays):
        if arrays:
            raise ValueError("it takes none")
        return cls(config["answer"])

    def predict(self, cases):
        return np.full((len(cases), 1), self.answer)


def net(seed: int = 0) -> Net:
    with steady(seed):
        return Net()


def npz(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def torch_parts(seed: int = 0) -> tuple[str, dict[str, bytes], dict[str, Any], InputContract]:
    make = {"architecture": "tiny_models:Net", "config": {"bands": 6}, "activation": "softmax", "temperature": 2.0}
    return "torch", {"model.safetensors": pack_weights(net(seed))}, make, InputContract("mel", (None, 6, 20))


def own_parts() -> tuple[str, dict[str, bytes], dict[str, Any], InputContract]:
    centres = np.random.default_rng(0).normal(size=(3, 6))
    make = {"class": "tiny_models:Centres", "config": {"power": 2}, "activation": "softmax"}
    return "own", {"arrays.npz": npz(centres=centres)}, make, InputContract("mel", (None, 6, 20))


def onnx_parts() -> tuple[str, dict[str, bytes], dict[str, Any], InputContract]:
    contract = InputContract("mel", (None, 64, 216), meaning="log-mel clip")
    return "onnx", {"model.onnx": (DATA / "keras_tiny.onnx").read_bytes()}, {"output": "probabilities"}, contract


def huggingface_parts(folder: Path) -> tuple[str, dict[str, bytes], dict[str, Any], InputContract]:
    """An Audio Spectrogram Transformer of one small layer, saved as its library saves it."""
    from transformers import ASTConfig, ASTForAudioClassification
    from transformers.utils import logging

    logging.disable_progress_bar()
    config = ASTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, max_length=32, num_mel_bins=16, num_labels=3
    )
    with steady(0):
        ASTForAudioClassification(config).save_pretrained(folder)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    make = {"auto_class": "AutoModelForAudioClassification", "output": "logits", "activation": "softmax"}
    return "huggingface", files, make, InputContract("input_values", (None, 32, 16))


def manifest(parts=None, *, figures: dict[str, float] | None = None, against: str | None = None, **changed: Any) -> Manifest:
    kind, _, make, contract = parts or torch_parts()
    figures = {"accuracy_low": 0.7, "ece": 0.05} if figures is None else figures
    given: dict[str, Any] = {
        "purpose": "Names the class of a clip.",
        "kind": kind,
        "make": make,
        "inputs": contract,
        "extractor": "extractor-1",
        "data": DataWindow("clips of the demo world", 120, "2026-01-01", "2026-01-31", "d1", "erasure-7"),
        "labels": ("rock", "jazz", "[noise](x)"),
        "config": {"steps": 60, "mixup": 0.2},
        "seeds": (0, 1, 2),
        "metrics": (Metric("accuracy", 0.8, 0.7, 0.87, 120, "folds pooled"), Metric("accuracy", 0.6, 0.4, 0.8, 30, part="jazz")),
        "limits": ("Clips of less than 5 s.",),
        "gate": GATE.judge(figures, against),
        "packages": {"torch": "2.13.0"},
    }
    return Manifest(**{**given, **changed})


def example() -> dict[str, Any]:
    """What Keras itself answered for a seeded input, noted when the graph was exported."""
    return json.loads((DATA / "keras_tiny.json").read_text())["example"]
