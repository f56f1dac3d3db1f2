"""One audit: python -m tl_hpo.data.audit dataset=folder dataset.root=DIR."""

from omegaconf import DictConfig

from tl_hpo.cli.entry import entry_point


@entry_point("audit")
def main(config: DictConfig) -> None:
    """Audit the configured dataset and its split."""
    from tl_hpo.cli.audit import audit  # heavy: --help and --cfg need none of it

    audit(config)


if __name__ == "__main__":
    main()
