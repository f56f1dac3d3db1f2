"""What both commands tell of their images."""

import logging

from tl_hpo.data.split_summary import SplitSummary

logger = logging.getLogger(__name__)


def tell_split(summary: SplitSummary) -> None:
    """Log what the split came to, and warn of what may spoil its figures."""
    for line in summary.lines():
        logger.info("%s", line)
    for line in summary.warnings():
        logger.warning("Warning: %s", line)
