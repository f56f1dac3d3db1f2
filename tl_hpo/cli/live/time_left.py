"""How long an experiment will go on for, about."""

from collections.abc import Sequence


def seconds_left(
    mean: float | None,
    unbegun: int,
    running: Sequence[float],
    later: Sequence[int],
    workers: int,
    limit: float | None,
) -> float | None:
    """Return the seconds that an experiment has left, if its trials go on as before.

    Args:
        mean: seconds of a trial; None: none has ended, and nothing can be said.
        unbegun: trials of the current step that have not begun.
        running: seconds that those which run have run for.
        later: trials of every later step, which begins when the one before has ended.
        workers: trials at once, at least 1.
        limit: seconds until no trial begins any more; None: no limit.

    """
    if mean is None:
        return None
    rests = [max(mean - seconds, 0.0) for seconds in running]
    current = max([(unbegun * mean + sum(rests)) / workers, *rests])
    if unbegun:  # a trial cannot be divided between workers
        current = max(current, mean)
    following = sum(mean * max(trials / workers, 1.0) for trials in later if trials)
    total = current + following
    if limit is None:
        return total
    return min(total, max(limit, 0.0) + mean)  # the last one may begin just before
