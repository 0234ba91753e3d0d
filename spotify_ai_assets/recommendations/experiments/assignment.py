"""Who gets which variant: a function of the experiment and the unit, so that nothing is kept and every process says the same."""

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

MISMATCH = 0.001
"""Probability below which counts do not fit the shares (Fabijan et al., 2019)."""


def assign(experiment: str, unit: str, shares: Mapping[str, float]) -> str:
    """The variant of a unit, such as a listener's pseudonym.

    Every variant draws an exponential number from the hash of experiment, unit and variant at the rate of its share, and the lowest
    wins (weighted rendezvous hashing, Schindelhauer and Schomaker, 2005). The order of the variants plays no part, units of
    different experiments are independent, and when shares change, units only move to variants that gained.

    Args:
        experiment: Its name; another name draws anew.
        unit: Who or what is assigned.
        shares: Weight of each variant, at least one of them above 0; they need not add up to 1.

    Raises:
        ValueError: A share is negative or no number, or none is above 0.
    """
    if not all(math.isfinite(share) and share >= 0 for share in shares.values()) or not any(shares.values()):
        raise ValueError("shares of variants must be numbers from 0 on, at least one of them above 0")
    return min((-math.log(_uniform(experiment, unit, variant)) / share, variant) for variant, share in shares.items() if share)[1]


@dataclass(frozen=True, slots=True)
class RatioCheck:
    """Whether the units counted in each variant fit the shares.

    Attributes:
        counts: Units of each variant.
        expected: What the shares let expect.
        p: Probability of counts that are at least as far off (Pearson's chi-squared test).
    """

    counts: Mapping[str, int]
    expected: Mapping[str, float]
    p: float

    @property
    def fits(self) -> bool:
        """Whether the counts fit; if not, units got lost on the way and the experiment says nothing."""
        return self.p >= MISMATCH


def check_ratio(variants: Iterable[str], shares: Mapping[str, float]) -> RatioCheck:
    """Look for a sample ratio mismatch.

    Args:
        variants: The variant of each unit that was counted.
        shares: Weight of each variant, as ``assign`` had them.

    Raises:
        ValueError: Nothing was counted, or a variant that has no share.
    """
    from scipy.special import chdtrc

    live = {name: share for name, share in shares.items() if share}
    counts = dict.fromkeys(live, 0)
    for name in variants:
        if name not in counts:
            raise ValueError("a unit was counted in a variant that has no share")
        counts[name] += 1
    total, weight = sum(counts.values()), sum(live.values())
    if not total:
        raise ValueError("a check of the ratio needs units")
    expected = {name: total * share / weight for name, share in live.items()}
    off = sum((counts[name] - expected[name]) ** 2 / expected[name] for name in live)
    return RatioCheck(counts, expected, float(chdtrc(len(live) - 1, off)) if len(live) > 1 else 1.0)


def _uniform(*parts: str) -> float:
    """A number in (0, 1) from the hash of some texts, each with its length before it so that no two lists run together."""
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        text = part.encode()
        digest.update(len(text).to_bytes(4, "big") + text)
    return ((int.from_bytes(digest.digest(), "big") >> 11) + 0.5) / 2**53
