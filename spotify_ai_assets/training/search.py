"""The search of hyper-parameters: seeded, pruned, resumable, and held to its word.

Trials are kept in an SQLite file by optuna. What the n-th trial tries depends on the seed, n and the finished trials before it, so
a search that was killed goes on as if nothing had happened: the trial that it died in is tried again, no finished one is lost or
repeated. ``earns_its_keep`` says whether what was found beats the default by an interval; if not, the default stays.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from spotify_ai_assets.locale import translate as _
from spotify_ai_assets.training.metrics import REPEATS, Interval

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial

_IDENTITY = "identity"


@dataclass(frozen=True, slots=True)
class Choice:
    """A parameter that is one of a few values.

    Attributes:
        values: Numbers, texts or booleans.
    """

    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Range:
    """A parameter that is a number in a range.

    Attributes:
        low: Lowest.
        high: Highest; both are possible.
        is_log: Whether it is drawn on a logarithmic scale.
        is_whole: Whether it is a whole number.
    """

    low: float
    high: float
    is_log: bool = False
    is_whole: bool = False


Space = Mapping[str, Choice | Range]
Report = Callable[[int, float], None]
"""Told a step and the figure at it; ends a trial that does worse than the median of those before it at the same step."""


@dataclass(frozen=True, slots=True)
class SearchConfig:
    """How to search.

    Attributes:
        trials: How many finished trials, pruned ones among them.
        seed: Of what is tried.
        direction: Whether a low or a high figure is good.
        random_trials: The first ones, drawn at random.
        pruned_after: Trials that are never pruned, the first ones; 0 or less prunes none at all.
    """

    trials: int
    seed: int = 0
    direction: Literal["minimize", "maximize"] = "minimize"
    random_trials: int = 10
    pruned_after: int = 5


@dataclass(frozen=True, slots=True)
class Tried:
    """A finished trial.

    Attributes:
        parameters: What was tried.
        value: The figure; of a pruned trial the last that it reported.
        is_pruned: Whether it was ended early.
    """

    parameters: Mapping[str, Any]
    value: float
    is_pruned: bool


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found.

    Attributes:
        parameters: The best ones.
        value: Their figure.
        tried: All finished trials, in order.
        digest: Of space, configuration and identity: logged before any test label is opened.
        importance: Share of the variance of the figure by parameter, adding up to 1; empty for fewer than two complete trials.
    """

    parameters: Mapping[str, Any]
    value: float
    tried: tuple[Tried, ...]
    digest: str
    importance: Mapping[str, float]


def search(
    space: Space,
    objective: Callable[[dict[str, Any], Report], float],
    config: SearchConfig,
    store: Path,
    *,
    identity: str = "",
    default: Mapping[str, Any] | None = None,
    watch: Callable[[int, Tried], None] | None = None,
) -> Found:
    """Search, or go on with a search that was killed.

    Args:
        space: What may be tried; all of it is tried together, so nothing depends on another parameter's value.
        objective: Given parameters, gives their figure on tuning data; it must give the same figure for the same parameters.
        config: How.
        store: An SQLite file; several searches may share it.
        identity: Digest of the data and of the code of the objective: another is another search.
        default: The hand-set parameters: the first trial, so that what is found is never worse on the tuning data.
        watch: Told the number of each trial and how it went.

    Raises:
        ValueError: No trial was completed.
    """
    digest = search_digest(space, config, identity, default)
    with _study(store, digest, config) as study:
        _bury(study)
        while (number := len(_finished(study))) < config.trials:
            study.sampler = _sampler(config, number)
            if number == 0 and default is not None:
                study.enqueue_trial(dict(default), skip_if_exists=True)
            tried = _try(study, space, objective, config)
            if watch:
                watch(number, tried)
        finished = _finished(study)
        complete = [trial for trial in finished if trial.state.name == "COMPLETE"]
        if not complete:
            raise ValueError("no trial of the search was completed")
        return Found(study.best_params, study.best_value, tuple(map(_tried, finished)), digest, _importance(study, complete))


def search_digest(space: Space, config: SearchConfig, identity: str = "", default: Mapping[str, Any] | None = None) -> str:
    """Digest of all that decides what a search finds, but for how many trials it has: a longer one goes on with a shorter."""
    told = {key: value for key, value in asdict(config).items() if key != "trials"}
    facts = {"space": {name: asdict(each) for name, each in space.items()}, "config": told, "identity": identity, "default": default}
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a search earned its keep.

    Attributes:
        kept: What is to be used.
        gain: Of what was found over the default, in the direction of better, with its interval.
    """

    kept: Literal["found", "default"]
    gain: Interval


def earns_its_keep(
    default: np.ndarray,
    found: np.ndarray,
    *,
    direction: Literal["minimize", "maximize"] = "maximize",
    seed: int = 0,
    confidence: float = 0.95,
) -> Verdict:
    """Whether what was found beats the default by a paired interval; if not, the default stays.

    With one figure for each seed the interval is Student's t of the differences. With one for each case as well, seeds and cases
    are both drawn again (the pigeonhole bootstrap, Owen 2007), since a gain must outlast other seeds and other cases.

    Args:
        default: Figures of the default, shape (seeds,) or (seeds, cases), on validation data; at least 3 seeds.
        found: Those of what was found, for the same seeds and cases.
        direction: Whether a high or a low figure is good.
        seed: Of the resamples.
        confidence: Two-sided.

    Raises:
        ValueError: The two are not of the same seeds and cases, or of fewer than 3 seeds.
    """
    default, found = np.asarray(default, float), np.asarray(found, float)
    if default.shape != found.shape or default.ndim not in (1, 2) or len(default) < 3:
        raise ValueError("default and found need figures of the same cases for the same seeds, at least 3")
    gains = found - default if direction == "maximize" else default - found
    gain = _student(gains, confidence) if gains.ndim == 1 else _pigeonhole(gains, seed, confidence)
    return Verdict("found" if gain.is_gain else "default", gain)


def history_markdown(found: Found, direction: Literal["minimize", "maximize"] = "minimize") -> str:
    """A picture of the best figure so far, trial by trial, for the metadata of a run."""
    from spotify_ai_assets.resources.plots import plot_markdown

    values = [math.nan if each.is_pruned else each.value for each in found.tried]
    best = np.fmin.accumulate(values) if direction == "minimize" else np.fmax.accumulate(values)
    return plot_markdown(_("Best figure of the search so far, by trial"), "line", list(range(1, len(best) + 1)), best.tolist())


def importance_markdown(found: Found) -> str:
    """A picture of which parameters mattered, for the metadata of a run."""
    from spotify_ai_assets.resources.plots import plot_markdown

    ranked = sorted(found.importance.items(), key=lambda each: -each[1])
    return plot_markdown(
        _("Share of the figure's variance by parameter"), "bar", [name for name, _share in ranked], [share for _name, share in ranked]
    )


@contextmanager
def _study(store: Path, digest: str, config: SearchConfig) -> "Iterator[Study]":
    """The search in its file, with optuna's own messages off."""
    import optuna
    from sqlalchemy import event

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    store.parent.mkdir(parents=True, exist_ok=True)
    storage = optuna.storages.RDBStorage(f"sqlite:///{store}", engine_kwargs={"connect_args": {"timeout": 60}})
    event.listen(storage.engine, "connect", _spare_the_disk)
    storage.engine.dispose()
    try:
        pruner = optuna.pruners.MedianPruner(config.pruned_after) if config.pruned_after > 0 else optuna.pruners.NopPruner()
        yield optuna.create_study(storage=storage, study_name=digest, direction=config.direction, pruner=pruner, load_if_exists=True)
    finally:
        storage.remove_session()
        storage.engine.dispose()
        optuna.logging.set_verbosity(level)


def _spare_the_disk(connection: Any, _record: object) -> None:
    """A trial takes some 15 commits: a killed process loses none of them like this, a power cut may lose the newest."""
    connection.execute("PRAGMA journal_mode = WAL").close()
    connection.execute("PRAGMA synchronous = NORMAL").close()


def _sampler(config: SearchConfig, number: int) -> Any:
    """The sampler of one trial, with a seed of its own: a resumed search cannot know how often another had been asked."""
    from optuna.samplers import TPESampler

    seed = int(np.random.default_rng([config.seed, number]).integers(2**31))
    return TPESampler(seed=seed, n_startup_trials=config.random_trials, multivariate=True, constant_liar=False)


def _bury(study: "Study") -> None:
    """Trials that a killed search left running are given up: their places are tried again."""
    from optuna.trial import TrialState

    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING, TrialState.WAITING)):
        study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)


def _finished(study: "Study") -> "list[FrozenTrial]":
    from optuna.trial import TrialState

    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))


def _try(study: "Study", space: Space, objective: Callable[[dict[str, Any], Report], float], config: SearchConfig) -> Tried:
    from optuna import TrialPruned
    from optuna.trial import TrialState

    trial = study.ask()
    parameters = {name: _suggest(trial, name, each) for name, each in space.items()}

    def report(step: int, value: float) -> None:
        trial.report(value, step)
        if config.pruned_after > 0 and trial.should_prune():
            raise TrialPruned

    try:
        value = objective(parameters, report)
    except TrialPruned:
        return _tried(study.tell(trial, state=TrialState.PRUNED))
    except BaseException:  # a trial that was interrupted, too, is not to be waited for
        study.tell(trial, state=TrialState.FAIL)
        raise
    return _tried(study.tell(trial, value))


def _suggest(trial: "Trial", name: str, each: Choice | Range) -> Any:
    if isinstance(each, Choice):
        return trial.suggest_categorical(name, each.values)
    if each.is_whole:
        return trial.suggest_int(name, int(each.low), int(each.high), log=each.is_log)
    return trial.suggest_float(name, each.low, each.high, log=each.is_log)


def _tried(trial: "FrozenTrial") -> Tried:
    return Tried(trial.params, math.nan if trial.value is None else trial.value, trial.state.name == "PRUNED")


def _importance(study: "Study", complete: "list[FrozenTrial]") -> dict[str, float]:
    """PED-ANOVA (Watanabe et al., 2023): closed-form and without random numbers, unlike a forest."""
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    if len(complete) < 2 or len({trial.value for trial in complete}) < 2:
        return {}
    return {name: float(share) for name, share in get_param_importances(study, evaluator=PedAnovaImportanceEvaluator()).items()}


def _student(gains: np.ndarray, confidence: float) -> Interval:
    from scipy.stats import t

    mean = float(gains.mean())
    reach = float(t.ppf(0.5 + confidence / 2, len(gains) - 1) * gains.std(ddof=1) / math.sqrt(len(gains)))
    return Interval(mean, mean - reach, mean + reach, len(gains), confidence)


def _pigeonhole(gains: np.ndarray, seed: int, confidence: float) -> Interval:
    rng = np.random.default_rng(seed)
    seeds, cases = gains.shape
    means = np.empty(REPEATS)
    for n in range(REPEATS):
        of_seeds, of_cases = rng.multinomial(seeds, np.full(seeds, 1 / seeds)), rng.multinomial(cases, np.full(cases, 1 / cases))
        means[n] = of_seeds @ gains @ of_cases / (seeds * cases)
    low, high = np.quantile(means, [0.5 - confidence / 2, 0.5 + confidence / 2])
    return Interval(float(gains.mean()), float(low), float(high), cases, confidence)
