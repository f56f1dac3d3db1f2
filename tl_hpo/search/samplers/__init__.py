"""Samplers: what proposes the next point of a search. Importing this imports none of them."""

from __future__ import annotations

import hashlib
import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tl_hpo.errors import UserError, unknown

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler


def ask_seed(seed: int, number: int) -> int:
    """Return the seed of a search's trial ``number``: the same on every machine and run.

    It is the first four bytes of SHA-256 of ``seed:number``, so in [0, 2^32), and not related
    between neighbours.
    """
    return int.from_bytes(hashlib.sha256(f"{seed}:{number}".encode()).digest()[:4], "big")


def check_n_initial(n_initial: Any) -> int:
    """Return a number of random trials at the start of a search, or raise the UserError."""
    if not isinstance(n_initial, int) or n_initial < 1:
        raise UserError(
            f"sampler.n_initial must be a whole number of 1 or more, got {n_initial!r}; "
            "the paper has 5"
        )
    return n_initial


Conditions = Mapping[str, Mapping[str, Sequence[Any]]]
"""Of axes that do not always apply: the values of other axes that each needs, by their keys."""


Usual = Mapping[str, Mapping[str, Mapping[Any, float]]]
"""By axis: by another axis' key, the value that is usual with each of its choices; the key is
empty, and the choice None, where one value is usual at all points."""


def make_sampler(
    cfg: Mapping[str, Any],
    space: Mapping[str, BaseDistribution],
    seed: int,
    *,
    conditions: Conditions | None = None,
    usual: Usual | None = None,
) -> BaseSampler:
    """Return the sampler of a config of ``conf/sampler``, for one study.

    The sampler's proposals depend on the past trials, ``seed`` and the trial's number alone, so
    the same call after a restart goes on as if there had been none.

    Args:
        cfg: ``name`` (cmaes, gp, gpyopt, grid, qmc, random or tpe) and its options.
        space: distributions of the search space by parameter name.
        seed: not negative.
        conditions: of the axes that do not always apply; every trial has a value for them all the
            same, which changes nothing where they do not apply.
        usual: of numeric axes, where gpyopt begins, and what it compares them by.

    Raises:
        UserError: an unknown name or option, or an option out of its range.

    """
    options = {str(key): value for key, value in cfg.items()}
    name = str(options.pop("name", ""))
    if name not in _SAMPLERS:
        raise unknown("sampler.name", name, _SAMPLERS)
    return _SAMPLERS[name](_Searched(space, seed, conditions, usual), options)


@dataclass(frozen=True)
class _Searched:
    """What a sampler may know of the study that it is for, see `make_sampler`."""

    space: Mapping[str, BaseDistribution]
    seed: int
    conditions: Conditions | None
    usual: Usual | None


def _gpyopt(of: _Searched, options: dict[str, Any]) -> BaseSampler:
    from tl_hpo.search.samplers.gpyopt import GPyOptSampler
    from tl_hpo.search.samplers.proposer import BayesianOptimizationProposer

    own = {"n_initial", "kernel", "design", "axes", "cost_exponent"}
    known = own | set(inspect.signature(BayesianOptimizationProposer).parameters)
    _check_options(options, known)
    return GPyOptSampler(
        seed=of.seed, space=of.space, conditions=of.conditions, usual=of.usual, **options
    )


def _random(of: _Searched, options: dict[str, Any]) -> BaseSampler:
    from optuna.samplers import RandomSampler

    _check_options(options, set())
    return _reseeded(lambda each: RandomSampler(seed=each), of.seed)


def _qmc(of: _Searched, options: dict[str, Any]) -> BaseSampler:
    from tl_hpo.search.samplers.qmc import SobolSampler

    _check_options(options, set())
    return SobolSampler(of.space, of.seed)


def _grid(of: _Searched, options: dict[str, Any]) -> BaseSampler:
    from tl_hpo.search.samplers.grid import GridSampler

    _check_options(options, {"points"})
    return GridSampler(of.space, of.seed, conditions=of.conditions, **options)


def _tpe(of: _Searched, options: dict[str, Any]) -> BaseSampler:
    from optuna.samplers import TPESampler

    n_initial = _n_initial(options)
    return _reseeded(lambda each: TPESampler(seed=each, n_startup_trials=n_initial), of.seed)


def _gp(of: _Searched, options: dict[str, Any]) -> BaseSampler:
    from optuna.samplers import GPSampler

    n_initial = _n_initial(options)
    return _reseeded(lambda each: GPSampler(seed=each, n_startup_trials=n_initial), of.seed)


def _cmaes(of: _Searched, options: dict[str, Any]) -> BaseSampler:
    """Return Optuna's CMA-ES, which keeps its state in the trials and so survives a restart."""
    from optuna.exceptions import ExperimentalWarning

    from tl_hpo.search.samplers.cmaes import SafeCmaEsSampler

    _check_options(options, {"n_initial", "popsize"})
    n_initial = check_n_initial(options.get("n_initial", 1))
    popsize = _check_popsize(options.get("popsize"))

    def make(each: int) -> BaseSampler:
        with warnings.catch_warnings():  # of what is experimental there: pruned trials that count
            warnings.simplefilter("ignore", ExperimentalWarning)
            return SafeCmaEsSampler(
                seed=each,
                n_startup_trials=n_initial,
                popsize=popsize,
                consider_pruned_trials=True,
                warn_independent_sampling=False,  # the config says how categories are drawn
            )

    return _reseeded(make, of.seed)


_SAMPLERS: dict[str, Callable[[_Searched, dict[str, Any]], BaseSampler]] = {
    "cmaes": _cmaes,
    "gpyopt": _gpyopt,
    "gp": _gp,
    "qmc": _qmc,
    "grid": _grid,
    "random": _random,
    "tpe": _tpe,
}


def _reseeded(make: Callable[[int], BaseSampler], seed: int) -> BaseSampler:
    from tl_hpo.search.samplers.reseeded import ReseededSampler

    return ReseededSampler(make, seed)


def _check_popsize(popsize: Any) -> int | None:
    if popsize is not None and (not isinstance(popsize, int) or popsize < 4):
        raise UserError(
            f"sampler.popsize must be a whole number of 4 or more, for half of a generation is "
            f"learned from, got {popsize!r}; null leaves it to CMA-ES"
        )
    return popsize


def _n_initial(options: dict[str, Any]) -> int:
    _check_options(options, {"n_initial"})
    return check_n_initial(options.get("n_initial", 5))


def _check_options(options: dict[str, Any], known: set[str]) -> None:
    for key in options:
        if key not in known:
            raise unknown("option of the sampler", key, known)
