"""What a sampler's model says along one axis: data for the acquisition plot, nothing heavy."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Slice:
    """A line through a search space, all other parameters held at the values in ``title``.

    Attributes:
        title: the parameters held, as ``name=value``; ``label`` where none is held.
        label: the parameter that varies.
        log: whether ``x`` belongs on a logarithmic axis.
        x: positions on the line, rising, in the parameter's own unit; n of them.
        mean: posterior mean at ``x`` in the unit of the study's value, length n.
        std: posterior standard deviation at ``x``, same unit, length n.
        acquisition: acquisition at ``x``, larger is more promising, length n.
        observed_x: positions of the past trials with the same categories.
        observed_y: their values, as long as ``observed_x``.

    """

    title: str
    label: str
    log: bool
    x: list[float]
    mean: list[float]
    std: list[float]
    acquisition: list[float]
    observed_x: list[float] = field(default_factory=list)
    observed_y: list[float] = field(default_factory=list)
