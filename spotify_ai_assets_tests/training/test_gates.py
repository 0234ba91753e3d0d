import json
import math

import pytest

from spotify_ai_assets.training.gates import Gate, GateCheck, GateResult, Need

GATE = Gate("enough", (Need("better", "gain_low", ">", 0.0), Need("small", "bytes", "<=", 100)))


def test_every_need_must_be_met():
    assert GATE.judge({"gain_low": 0.1, "bytes": 100}).passed
    found = GATE.judge({"gain_low": 0.0, "bytes": 100.5})
    assert not found.passed
    assert found.failed == ["better: 0, needed > 0", "small: 100.5, needed <= 100"]


@pytest.mark.parametrize("figures", [{"bytes": 1}, {"gain_low": math.nan, "bytes": 1}, {"gain_low": math.inf, "bytes": 1}])
def test_what_nobody_measured_is_not_met(figures):
    found = GATE.judge(figures)
    assert not found.passed and [check.passed for check in found.checks] == [False, True]
    assert "better" in found.failed[0]


def test_a_result_comes_back_from_json_and_is_computed_anew():
    found = GATE.judge({"gain_low": math.nan, "bytes": 1}, against="v1")
    document = json.loads(json.dumps(found.as_json(), allow_nan=False))
    document["passed"] = document["checks"][0]["passed"] = True
    again = GateResult.from_json(document)
    assert not again.passed and again.against == "v1" and again.checks[1] == found.checks[1]


def test_a_gate_without_checks_lets_nothing_through():
    assert not GateResult("empty", ()).passed
    with pytest.raises(ValueError, match="needs checks"):
        Gate("empty", ())


@pytest.mark.parametrize(("sign", "at_bound"), [(">", False), (">=", True), ("<", False), ("<=", True)])
def test_the_bound_belongs_to_the_signs_with_an_equals(sign, at_bound):
    assert GateCheck("x", 1.0, sign, 1.0).passed == at_bound
    assert GateCheck("x", 2.0, sign, 1.0).passed == sign.startswith(">")
    with pytest.raises(ValueError, match="compares by"):
        Need("x", "y", "==", 1)  # type: ignore[arg-type]
