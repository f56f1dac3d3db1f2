import pytest

from tl_hpo.cli.live.table import in_words, settings_in_words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (125, "2 min 05 s"), (1500, "25 min"),
     (3600, "1 h 00 min"), (360_000, "100 h 00 min"), (-3, "0 s")],
)  # fmt: skip
def test_a_duration_is_told_in_its_largest_units(seconds, words):
    assert in_words(seconds) == words


def test_a_configuration_is_told_with_what_is_searched_besides():
    usual = {
        "model": "vgg16", "head_optimizer": "adam", "head_lr": 0.01, "finetune_optimizer": "adam",
        "finetune_lr": 0.01, "delimiting_layer": 0.66666,
    }  # fmt: skip
    assert settings_in_words(usual) == "vgg16, adam 0.01, layer 0.667"
    told = settings_in_words(usual | {"finetune_lr": 0.5, "batch_size": "8", "imbalance": "none"})
    assert told == "vgg16, adam 0.01 then adam 0.5, layer 0.667, batch_size 8, imbalance none"
