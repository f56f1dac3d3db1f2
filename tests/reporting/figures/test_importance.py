import pytest

from tl_hpo.reporting.figures import importance
from tl_hpo.reporting.records import Importance

ROWS = [
    Importance("head", "head.optimizer.lr", 0.8, 1),
    Importance("head", "model", 0.2, 2),
    Importance("finetune", "optimizer@finetune.optimizer", 1.0, 1),
]


@pytest.mark.usefixtures("coarse")
def test_a_panel_per_step_with_the_most_important_on_top(tmp_path, monkeypatch):
    panels, bars = [], importance._bars
    monkeypatch.setattr(
        importance, "_bars", lambda axes, rows: (bars(axes, rows), panels.append(axes))
    )
    importance.draw(ROWS, tmp_path / "a.png", "title", {"head": 12, "finetune": 4})
    assert [axes.get_title(loc="left") for axes in panels] == [
        "step head, from 12 trials",
        "step finetune, from 4 trials",
    ]
    first = panels[0]
    assert [bar.get_width() for bar in first.patches] == pytest.approx([80, 20])
    assert [label.get_text() for label in first.get_yticklabels()] == [
        "learning rate\n(classification block)",
        "model",
    ]
    assert first.yaxis_inverted()
    assert first.get_xlim()[1] > 100
    assert (tmp_path / "a.png").stat().st_size
