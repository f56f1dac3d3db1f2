"""Where a network is cut into a frozen and a trained part. Knows nothing of torch."""

from typing import Any

from tl_hpo.errors import UserError


def resolve_delimiting_layer(value: Any, n_layers: int) -> int:
    """Return the delimiting layer d as an integer in 0..n.

    An integer is taken as it is; a float in [0, 1] is a fraction of n, rounded to the nearest.

    Raises:
        UserError: the value lies outside.

    """
    rule = f"delimiting_layer must be an integer in 0..{n_layers} or a fraction in [0.0, 1.0]"
    remedy = "list the layers with `python -m tl_hpo.models.layers model=...`."
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise UserError(f"{rule}, got {value!r}; {remedy}")
    if isinstance(value, int):
        if not 0 <= value <= n_layers:
            raise UserError(f"{rule}, got {value}; {remedy}")
        return value
    if not 0.0 <= value <= 1.0:  # also refuses NaN
        raise UserError(f"{rule}, got {value}; {remedy}")
    return round(value * n_layers)
