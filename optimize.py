"""One experiment: python optimize.py strategy=shared dataset=nerthus."""

from omegaconf import DictConfig

from tl_hpo.cli.entry import entry_point


@entry_point("optimize")
def main(config: DictConfig) -> None:
    """Search the best hyperparameters with one strategy on one dataset."""
    from tl_hpo.cli.optimize import optimize  # heavy: --help and --cfg need none of it

    optimize(config)


if __name__ == "__main__":
    main()
