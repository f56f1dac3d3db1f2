"""What samplers share that propose a whole point of a space at once."""

import zlib
from collections.abc import Mapping
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from tl_hpo.search.samplers import ask_seed
from tl_hpo.search.samplers.axes import searched


class SeededSampler(BaseSampler):
    """Proposes parameters together, in `sample_relative`, and draws any other by the seed.

    Args:
        seed: of the search, not negative.

    Attributes:
        advances: whether the next trial's point is another one whatever came of this one's, so
            that it need not be helped on where a point turns out to have been tried.

    """

    advances: bool = False

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Draw a parameter that is outside the space at random; another seed for every name."""
        seed = ask_seed(self.seed + zlib.crc32(param_name.encode()), trial.number)
        random = RandomSampler(seed=seed)
        return random.sample_independent(study, trial, param_name, param_distribution)


class SpaceSampler(SeededSampler):
    """Proposes all parameters of one known space; subclasses say how.

    Args:
        space: distributions by parameter name.
        seed: of the search, not negative.

    """

    def __init__(self, space: Mapping[str, BaseDistribution], seed: int) -> None:
        super().__init__(seed)
        self.space = searched(space)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return the space without its single-valued parameters."""
        return dict(self.space)
