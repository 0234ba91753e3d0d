"""What is written down of a trained model: what it is, what it takes, what it was made from, how good it is."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from spotify_ai_assets.training.adapters.contract import InputContract
from spotify_ai_assets.training.gates import GateResult
from spotify_ai_assets.training.metrics import Interval


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure of a model.

    Attributes:
        name: What was measured, such as ``accuracy``.
        value: The figure.
        low: Lower end of its interval; ``None`` where there is none.
        high: Upper end.
        count: Cases counted.
        data: On which data, such as ``official folds pooled``.
        part: Of which slice of them; empty for all.
    """

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    count: int | None = None
    data: str = ""
    part: str = ""

    @classmethod
    def of(cls, name: str, interval: Interval, *, data: str = "", part: str = "") -> "Metric":
        """A figure with its interval."""
        return cls(name, interval.value, interval.low, interval.high, interval.count, data, part)


@dataclass(frozen=True, slots=True)
class DataWindow:
    """What a model was trained on.

    Attributes:
        description: In a few words.
        cases: How many.
        first: First day of it, ISO 8601; ``None`` where days mean nothing.
        last: Last day.
        digest: Of the data, or of the tables' partitions that it was read from.
        erasure_watermark: All erasures up to this one were carried out before the data was read; ``None`` where no person's data
            is in it.
    """

    description: str
    cases: int
    first: str | None = None
    last: str | None = None
    digest: str = ""
    erasure_watermark: str | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything about a version but its bytes. Nothing in it differs between equal trainings.

    Attributes:
        purpose: What it answers, in a sentence.
        kind: Which adapter opens it: ``torch``, ``huggingface``, ``onnx`` or ``own``.
        make: What that adapter needs.
        inputs: What it takes.
        extractor: Digest of what computes its input; empty where it takes what anyone has.
        data: What it was trained on.
        labels: Names of the classes, in the order of its answers.
        config: All settings of its training.
        seeds: Of its training and evaluation.
        metrics: Figures, those of slices among them.
        limits: What it is not for, and where it fails.
        gate: What the domain's gate found.
        is_demo: Whether it has the tiny configuration of the demo.
        packages: Versions of the packages that made it.
    """

    purpose: str
    kind: str
    make: Mapping[str, Any]
    inputs: InputContract
    extractor: str
    data: DataWindow
    labels: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    seeds: tuple[int, ...] = ()
    metrics: tuple[Metric, ...] = ()
    limits: tuple[str, ...] = ()
    gate: GateResult | None = None
    is_demo: bool = False
    packages: Mapping[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """A JSON document."""
        return {
            "purpose": self.purpose,
            "kind": self.kind,
            "make": dict(self.make),
            "inputs": self.inputs.as_json(),
            "extractor": self.extractor,
            "data": asdict(self.data),
            "labels": list(self.labels),
            "config": dict(self.config),
            "seeds": list(self.seeds),
            "metrics": [asdict(metric) for metric in self.metrics],
            "limits": list(self.limits),
            "gate": self.gate.as_json() if self.gate else None,
            "is_demo": self.is_demo,
            "packages": dict(self.packages),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Manifest":
        """Read what ``as_json`` wrote."""
        return cls(
            purpose=document["purpose"],
            kind=document["kind"],
            make=document["make"],
            inputs=InputContract.from_json(document["inputs"]),
            extractor=document["extractor"],
            data=DataWindow(**document["data"]),
            labels=tuple(document["labels"]),
            config=document["config"],
            seeds=tuple(document["seeds"]),
            metrics=tuple(Metric(**metric) for metric in document["metrics"]),
            limits=tuple(document["limits"]),
            gate=GateResult.from_json(document["gate"]) if document["gate"] else None,
            is_demo=document["is_demo"],
            packages=document["packages"],
        )


def installed_packages(*names: str) -> dict[str, str]:
    """The installed versions of packages, for a manifest; those that are not installed are left out."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
