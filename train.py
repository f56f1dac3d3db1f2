"""One trial: python train.py dataset=folder dataset.root=DIR model=densenet121 optimizer=adam."""

import logging

from omegaconf import DictConfig

from tl_hpo.cli.entry import entry_point


@entry_point("train")
def main(config: DictConfig) -> None:
    """Train one set of hyperparameters through both phases."""
    logging.getLogger(__name__).info("Trial of %s on %s", config.model.name, config.dataset.name)
    from tl_hpo.cli.train import train  # heavy: --help and --cfg need none of it

    train(config)


if __name__ == "__main__":
    main()
