"""The accuracy of the best model's trials by their delimiting layer, along the network."""

from pathlib import Path

from matplotlib.axes import Axes

from tl_hpo.reporting.figures.accuracy_over_time import bound_accuracy, or_nan
from tl_hpo.reporting.figures.convergence import KINDS
from tl_hpo.reporting.figures.style import FAINT, INK, drawing, legend_below, shortened
from tl_hpo.reporting.network import Network

SHADE = "#f0f3f6"
NAME_CHARACTERS = 24


def draw(network: Network, path: Path, title: str) -> None:
    """Draw a point per trial above the blocks of the network, and where the best one's cut is."""
    with drawing(path, 10, 5.2, title) as figure:
        axes = figure.add_subplot()
        for state, (marker, colour, label) in KINDS.items():
            own = [trial for trial in network.trials if trial.state == state]
            if own:
                x = [or_nan(trial.delimiting_layer) for trial in own]
                y = [or_nan(trial.val_accuracy) for trial in own]
                axes.scatter(x, y, s=34, c=colour, marker=marker, label=label, zorder=3)
        line = axes.axvline(
            or_nan(network.best.delimiting_layer), color=INK, linewidth=1.2, linestyle=(0, (3, 2))
        )
        line.set_label("best: layers to the left are frozen")
        axes.set_ylabel("Validation accuracy")
        axes.set_xlim(-0.02 * network.n_layers, 1.02 * network.n_layers)
        bound_accuracy(axes)
        axes.set_xlim(-0.02 * network.n_layers, 1.02 * network.n_layers)
        axes.set_xlabel(f"Delimiting layer, of {network.n_layers}")
        _blocks(axes, network)
        handles = axes.get_legend_handles_labels()[0]
        legend_below(figure, handles, columns=len(handles))


def _blocks(axes: Axes, network: Network) -> None:
    """Shade every other block and write the names above."""
    if not network.blocks:
        return
    axes.grid(visible=False, axis="x")
    for index, block in enumerate(network.blocks):
        if index % 2:
            axes.axvspan(block.first, block.last + 1, color=SHADE, linewidth=0, zorder=0)
    above = axes.secondary_xaxis("top")
    named = network.named_blocks()
    middles = [block.middle for block in named]
    names = [shortened(block.name, NAME_CHARACTERS) for block in named]
    above.set_xticks(middles, names, rotation=60, ha="left", fontsize=8.5)
    above.tick_params(length=0, labelcolor=FAINT)
    above.spines[:].set_visible(False)
