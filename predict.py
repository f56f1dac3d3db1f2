"""Predictions: python predict.py model=RUN_FOLDER/best_model input=FILE|FOLDER|VIDEO."""

from omegaconf import DictConfig

from tl_hpo.cli.entry import entry_point
from tl_hpo.config import PREDICT_CONF_DIR


@entry_point("predict", PREDICT_CONF_DIR)
def main(config: DictConfig) -> None:
    """Write what a trained model says of images."""
    from tl_hpo.cli.predict import predict  # heavy: --help and --cfg need none of it

    predict(config)


if __name__ == "__main__":
    main()
