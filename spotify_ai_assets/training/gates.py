"""What a version must reach before it may serve: named needs, judged by figures that are kept with it.

A gate compares recipes, not ages: the domain retrains the champion's recipe and the challenger's at one cutoff, scores both on
the next window, and hands the figures to its gate. A result holds the figures and the bounds, and whether a check passed is
computed from them each time it is asked.
"""

import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Sign = Literal[">", ">=", "<", "<="]
_COMPARE = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}


@dataclass(frozen=True, slots=True)
class Need:
    """One check of a gate.

    Attributes:
        name: What is asked, in a few words.
        figure: Name of the figure that is looked at, such as ``accuracy_low``.
        sign: How the figure must stand to the bound.
        bound: What it is compared with.
    """

    name: str
    figure: str
    sign: Sign
    bound: float

    def __post_init__(self) -> None:
        if self.sign not in _COMPARE:
            raise ValueError(f"a need compares by one of {', '.join(_COMPARE)}")


@dataclass(frozen=True, slots=True)
class GateCheck:
    """One check, judged.

    Attributes:
        name: What was asked.
        value: The figure; ``None`` where nobody measured it.
        sign: How it must stand to the bound.
        bound: What it is compared with.
    """

    name: str
    value: float | None
    sign: Sign
    bound: float

    @property
    def passed(self) -> bool:
        """Whether the figure is what is needed; one that is missing or no number is not."""
        return self.value is not None and math.isfinite(self.value) and bool(_COMPARE[self.sign](self.value, self.bound))

    @property
    def needed(self) -> str:
        """What is needed, such as ``>= 0.8``."""
        return f"{self.sign} {self.bound:g}"


@dataclass(frozen=True, slots=True)
class GateResult:
    """What a gate found.

    Attributes:
        gate: Its name.
        checks: All of them, in order.
        against: The version that the figures compare with; ``None`` where they stand alone.
    """

    gate: str
    checks: tuple[GateCheck, ...]
    against: str | None = None

    @property
    def passed(self) -> bool:
        """Whether every check passed; a gate without checks lets nothing through."""
        return bool(self.checks) and all(check.passed for check in self.checks)

    @property
    def failed(self) -> list[str]:
        """What did not pass, in words."""
        return [f"{check.name}: {_shown(check.value)}, needed {check.needed}" for check in self.checks if not check.passed]

    def as_json(self) -> dict[str, Any]:
        """A JSON document; ``passed`` and ``needed`` are there for readers and not read back."""
        checks = [
            {
                "name": check.name,
                "passed": check.passed,
                "value": check.value if check.value is not None and math.isfinite(check.value) else None,
                "needed": check.needed,
                "sign": check.sign,
                "bound": check.bound,
            }
            for check in self.checks
        ]
        return {"gate": self.gate, "against": self.against, "passed": self.passed, "checks": checks}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "GateResult":
        """Read what ``as_json`` wrote; what passed is computed anew."""
        checks = tuple(GateCheck(each["name"], each["value"], each["sign"], each["bound"]) for each in document["checks"])
        return cls(document["gate"], checks, document.get("against"))


@dataclass(frozen=True, slots=True)
class Gate:
    """What a version must reach.

    Attributes:
        name: Of the gate.
        needs: Its checks, at least one.
    """

    name: str
    needs: tuple[Need, ...]

    def __post_init__(self) -> None:
        if not self.needs:
            raise ValueError("a gate needs checks")

    def judge(self, figures: Mapping[str, float], against: str | None = None) -> GateResult:
        """Judge figures.

        Args:
            figures: By name; one that a need asks for and that is not there fails it.
            against: The version that the figures compare with, if they do.
        """
        checks = tuple(GateCheck(need.name, _number(figures.get(need.figure)), need.sign, need.bound) for need in self.needs)
        return GateResult(self.name, checks, against)


def _number(value: float | None) -> float | None:
    return None if value is None else float(value)


def _shown(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.6g}"
