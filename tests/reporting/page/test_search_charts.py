from dataclasses import replace

import pytest

from tl_hpo.reporting.page.search_charts import slices
from tl_hpo.reporting.records import read_run

MODELS = [f"vit_small_patch16_{size}.augreg_in21k_ft_in1k" for size in (224, 384)]


@pytest.mark.parametrize("one_axis", [True, False])
def test_models_of_similar_names_stay_apart(fake_run, one_axis):
    trial = read_run(fake_run(images=False)).trials[0]
    trials = [
        replace(trial, model=name, delimiting_layer=index if not one_axis else 1, val_accuracy=0.5)
        for index, name in enumerate([*MODELS, "resnet<50>"])
    ]
    figure = slices("shared", trials, "").figure
    axis = figure.layout.xaxis if one_axis else figure.layout.xaxis2
    (trace,) = (one for one in figure.data if one.x and isinstance(one.x[0], str))
    assert set(trace.x) == set(axis.tickvals) == {*MODELS, "resnet&lt;50&gt;"}
    assert axis.automargin
    assert axis.ticktext[1:] == ("vit_small_patch16_2…in1k", "vit_small_patch16_3…in1k")
