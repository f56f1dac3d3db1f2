"""One experiment: python optimize.py strategy=shared dataset=nerthus."""

import logging

from omegaconf import DictConfig

from tl_hpo.cli.entry import entry_point


@entry_point("optimize")
def main(config: DictConfig) -> None:
    """Search the best hyperparameters with one strategy on one dataset."""
    logging.getLogger(__name__).info(
        "Experiment %s on %s", config.strategy.name, config.dataset.name
    )
    from tl_hpo.cli.optimize import optimize  # heavy: --help and --cfg need none of it

    optimize(config)


if __name__ == "__main__":
    main()
