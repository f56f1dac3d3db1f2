"""Earlier configurations as points of the present step's space."""

import math
from pathlib import Path

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated import LAYERS, Layered, parsed

from tl_hpo.errors import UserError
from tl_hpo.search.earlier import Earlier, configurations
from tl_hpo.search.space import parse_space
from tl_hpo.search.warm_start import Left, as_params, first_trials

LR = {"low": 1e-4, "high": 0.1, "log": True}
MODELS = {"choices": ["densenet121", "vgg16"]}
OPTIMIZERS = {"choices": ["sgd", "adam", "nadam"]}
SHARED = {"model": MODELS, "optimizer": OPTIMIZERS, "optimizer.lr": LR}
SEPARATE = {
    "model": MODELS,
    "optimizer@head.optimizer": OPTIMIZERS,
    "head.optimizer.lr": LR,
    "optimizer@finetune.optimizer": OPTIMIZERS,
    "finetune.optimizer.lr": LR,
}
JOINT = SHARED | {"delimiting_layer": {"low": 0.0, "high": 1.0}}
LAYER = {"delimiting_layer": {"low": 0, "high": "n_layers", "integer": True}}
GIVEN = {"model": "densenet121", "optimizer": "adam", "seed": "7"}


def space_of(axes, n_layers=40):
    return parse_space(axes, models=["densenet121", "vgg16"], count_layers=lambda: n_layers)


def earlier(*overrides, layer=16, n_layers=40, axes=(), **settings):
    """An earlier trial: densenet121, adam at 0.001 in both phases, but for what is given."""
    usual = {"model": "densenet121", "delimiting_layer": layer / n_layers}
    usual |= {f"{phase}_optimizer": "adam" for phase in ("head", "finetune")}
    usual |= {f"{phase}_lr": 0.001 for phase in ("head", "finetune")}
    return Earlier(
        folder=Path("runs/past"),
        step="shared",
        number=3,
        objective=0.9,
        settings=usual | settings,
        overrides=tuple(overrides),
        layer=layer,
        n_layers=n_layers,
        axes=frozenset(axes),
    )


def reason(trial, axes, given=GIVEN):
    left = as_params(trial, space_of(axes), given)
    assert isinstance(left, Left), left
    return left.reason


POINT = {"model": "densenet121", "optimizer": "adam", "optimizer.lr": 0.001}


@pytest.mark.parametrize(
    ("axes", "point"),
    [
        (SHARED, POINT),
        (JOINT, POINT | {"delimiting_layer": 0.4}),
        (LAYER, {"delimiting_layer": 16}),
        ({"optimizer": OPTIMIZERS}, {"optimizer": "adam"}),
        ({"delimiting_layer": {"choices": [0.2, 0.4]}}, {"delimiting_layer": 0.4}),
    ],
)
def test_a_configuration_is_a_point(axes, point):
    assert as_params(earlier(), space_of(axes), GIVEN) == point


def test_a_set_per_phase_takes_each_phases_values():
    trial = earlier(head_optimizer="sgd", head_lr=0.1, finetune_lr=0.0001)
    assert as_params(trial, space_of(SEPARATE), GIVEN) == {
        "model": "densenet121",
        "optimizer@head.optimizer": "sgd",
        "head.optimizer.lr": 0.1,
        "optimizer@finetune.optimizer": "adam",
        "finetune.optimizer.lr": 0.0001,
    }


@pytest.mark.parametrize(
    ("settings", "axes", "words"),
    [
        ({"head_optimizer": "sgd"}, SHARED, "its phases have optimizers of their own"),
        ({"head_lr": 0.01}, SHARED, "its phases have learning rates of their own"),
        ({"model": "resnet50"}, SHARED, "model resnet50 is not among the candidates"),
        (
            {"head_optimizer": "lion", "finetune_optimizer": "lion"},
            SHARED,
            "optimizer lion is not among the candidates",
        ),
        ({"finetune_optimizer": "lion"}, SEPARATE, "optimizer lion is not among the candidates"),
        (
            {"head_lr": 0.5, "finetune_lr": 0.5},
            SHARED,
            "learning rate 0.5 is outside 0.0001 to 0.1",
        ),
        ({"head_lr": 1e-5}, SEPARATE, "learning rate 1e-05 is outside 0.0001 to 0.1"),
        ({"layer": 41, "n_layers": 50}, LAYER, "delimiting layer 41 is outside 0 to 40"),
        (
            {"layer": 30},
            {"delimiting_layer": {"low": 0.0, "high": 0.5}},
            "delimiting layer 0.75 is outside 0 to 0.5",
        ),
        ({"model": "vgg16"}, LAYER, "its model is vgg16, but this step holds densenet121 fixed"),
    ],
)
def test_what_does_not_fit_is_left_out_in_words(settings, axes, words):
    assert reason(earlier(**settings), axes) == words


def test_reasons_that_differ_in_a_number_are_of_one_kind():
    kinds = {
        as_params(earlier(head_lr=lr, finetune_lr=lr), space_of(SHARED), GIVEN).kind
        for lr in (0.5, 0.7)
    }
    assert kinds == {"learning rate is outside 0.0001 to 0.1"}


@pytest.mark.parametrize("lr", [1e-4, 0.1])
def test_bounds_belong_to_an_axis(lr):
    point = as_params(earlier(head_lr=lr, finetune_lr=lr), space_of(SHARED), GIVEN)
    assert point == POINT | {"optimizer.lr": lr}


@pytest.mark.parametrize("name", ["mobilenetv2_100", "'hf_hub:a/b'"])
def test_a_model_of_timm_is_given_by_its_name(name):
    given = {"model": "timm", "model.name": name}
    trial = earlier(model=name.strip("'"))
    assert as_params(trial, space_of(LAYER), given) == {"delimiting_layer": 16}
    assert "its model is timm, but this step holds" in reason(earlier(model="timm"), LAYER, given)


def test_a_learning_rate_is_of_its_optimizer():
    lr = {"optimizer.lr": LR}
    assert as_params(earlier(), space_of(lr), GIVEN) == {"optimizer.lr": 0.001}
    given = GIVEN | {"optimizer": "sgd"}
    own = "its optimizer is adam, but this step holds sgd fixed"
    assert reason(earlier(), lr, given) == own
    head = {"head.optimizer.lr": LR}
    given = GIVEN | {"optimizer@head.optimizer": "sgd"}
    assert reason(earlier(), head, given) == own
    finetune = {"finetune.optimizer.lr": LR}
    assert as_params(earlier(), space_of(finetune), given) == {"finetune.optimizer.lr": 0.001}


def test_a_classification_block_alone_says_nothing_about_fine_tuning():
    trial = earlier("finetune.epochs=0")
    for axes in (SHARED, SEPARATE, LAYER):
        assert reason(trial, axes) == "it has no fine-tuning"
    head = {"model": MODELS, "optimizer@head.optimizer": OPTIMIZERS, "head.optimizer.lr": LR}
    assert not isinstance(as_params(trial, space_of(head), GIVEN), Left)
    assert as_params(trial, space_of(SHARED), GIVEN | {"finetune.epochs": "0"}) == POINT


@pytest.mark.parametrize(
    ("text", "axis", "value"),
    [
        ("image_size=128", {"choices": [128, 224]}, 128),
        ("head.epochs=5", {"low": 1, "high": 20, "integer": True}, 5),
        ("head.scheduler=cosine", {"choices": ["constant", "cosine"]}, "cosine"),
        ("imbalance='a b'", {"choices": ["none", "a b"]}, "a b"),
        ("+head.optimizer.momentum=0.9", {"low": 0, "high": 0.99}, 0.9),
    ],
)
def test_any_other_axis_takes_what_the_override_says(text, axis, value):
    key = text.partition("=")[0].lstrip("+")
    point = as_params(earlier(text), space_of({key: axis}), GIVEN)
    assert point == {key: value}
    assert type(point[key]) is type(value)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ((), "image_size is not among its settings"),
        (("image_size=512",), "image_size 512 is outside 64 to 256"),
        (("image_size=128.5",), "image_size 128.5 is not a whole number"),
        (("image_size=null",), "image_size None is outside 64 to 256"),
        (("image_size=true",), "image_size True is outside 64 to 256"),
    ],
)
def test_any_other_axis_needs_a_value_within(overrides, words):
    axis = {"image_size": {"low": 64, "high": 256, "integer": True}}
    assert reason(earlier(*overrides), axis) == words


def test_one_axis_may_set_several_overrides():
    both = {"momentum": {"low": 0, "high": 1, "sets": ["head.momentum", "finetune.momentum"]}}
    same = earlier("head.momentum=0.5", "finetune.momentum=0.5")
    assert as_params(same, space_of(both), GIVEN) == {"momentum": 0.5}
    other = earlier("head.momentum=0.5", "finetune.momentum=0.6")
    assert reason(other, both) == "its values of momentum differ"
    lr = {"lr": LR | {"sets": ["head.optimizer.lr", "finetune.optimizer.lr"]}}
    assert as_params(earlier(), space_of(lr), GIVEN) == {"lr": 0.001}
    assert "learning rates of their own" in reason(earlier(head_lr=0.01), lr)


def test_what_was_searched_there_and_is_fixed_here_must_agree():
    trial = earlier("image_size=128", axes=["image_size", "model", "optimizer", "optimizer.lr"])
    assert reason(trial, SHARED) == "image_size 128 is not searched here"
    assert reason(trial, SHARED, GIVEN | {"image_size": "224"}).startswith("image_size 128")
    assert as_params(trial, space_of(SHARED), GIVEN | {"image_size": "128"}) == POINT


@pytest.mark.parametrize(
    ("optimizer", "overrides", "value"),
    [
        ("sgd", ("head.optimizer.momentum=0.9",), 0.9),
        ("adam", ("head.optimizer.momentum=0.9",), 0.1),
        ("adam", (), 0.1),
    ],
)
def test_an_axis_that_does_not_apply_has_its_first_value(optimizer, overrides, value):
    key = "head.optimizer.momentum"
    axes = {key: {"low": 0.1, "high": 0.99, "when": {"optimizer": ["sgd"]}}} | SHARED
    trial = earlier(*overrides, head_optimizer=optimizer, finetune_optimizer=optimizer)
    point = as_params(trial, space_of(axes), GIVEN)
    assert point == POINT | {"optimizer": optimizer, key: value}
    assert list(point) == list(axes)


def test_a_choice_that_does_not_apply_is_the_first_one():
    nesterov = {"choices": [False, True], "when": {"optimizer": ["sgd"]}}
    point = as_params(earlier(), space_of(SHARED | {"head.nesterov": nesterov}), GIVEN)
    assert point == POINT | {"head.nesterov": False}


def test_an_axis_that_applies_needs_a_value():
    axes = SHARED | {"head.momentum": {"low": 0, "high": 1, "when": {"optimizer": ["adam"]}}}
    assert reason(earlier(), axes) == "head.momentum is not among its settings"


settings = st.fixed_dictionaries(
    {
        "model": st.sampled_from(["densenet121", "vgg16", "resnet50"]),
        "head_optimizer": st.sampled_from(["sgd", "adam", "lion"]),
        "finetune_optimizer": st.sampled_from(["sgd", "adam", "lion"]),
        "head_lr": st.sampled_from([1e-3, 0.1, 1.0]) | st.floats(1e-6, 1),
        "finetune_lr": st.sampled_from([1e-3, 0.1, 1.0]) | st.floats(1e-6, 1),
    }
)
spaces = st.sampled_from([SHARED, SEPARATE, JOINT, LAYER, {"optimizer.lr": LR}])


@given(settings, st.integers(0, 40), st.integers(40, 60), spaces)
def test_every_point_lies_in_the_space_and_is_the_same_configuration(chosen, layer, n_layers, axes):
    trial = earlier(layer=layer, n_layers=n_layers, **chosen)
    space = space_of(axes)
    point = as_params(trial, space, GIVEN)
    if isinstance(point, Left):
        return
    assert point.keys() == space.distributions.keys()
    for key, axis in space.distributions.items():
        assert axis._contains(axis.to_internal_repr(point[key]))
    made = [f"{key}={value}" for key, value in GIVEN.items()]
    again = Layered().settings(made + space.overrides(point))
    del again["delimiting_layer"]
    searched = {key for key in axes if key != "delimiting_layer"}
    if searched:
        of_model = {"model": trial.settings["model"]}
        of_phases = {key: trial.settings[key] for key in again if key != "model"}
        assert again == of_model | of_phases
    if "delimiting_layer" in point:
        value = point["delimiting_layer"]
        n = n_layers if isinstance(value, float) else 1
        assert round(value * n) == layer


# On real run folders.


def started(*told):
    """The points that a step begins with, and a line for each configuration left out."""
    points, left_out = first_trials(*told)
    return [point for point, _ in points], [f"{each}: {left.reason}" for each, left in left_out]


def point_of(trial, keys):
    """The point by the overrides that the earlier trial itself was run with."""
    values = parsed(trial.overrides)
    return {k: float(values[k]) if k.endswith(".lr") else values[k] for k in keys}


def test_shared_to_shared_brings_the_best_points(past):
    folder = past("shared", "search.layer_trials=1")
    space = space_of(SHARED | {"optimizer.lr": LR | {"high": 1}})
    points, left = started(configurations([folder]), space, GIVEN, 3)
    reference = [point_of(each, SHARED) for each in configurations([folder])]
    distinct = [each for i, each in enumerate(reference) if each not in reference[:i]]
    assert points == distinct[:3]
    assert left == []


def test_separate_to_shared_leaves_out_what_differs_between_the_phases(past):
    folder = past("separate", "search.n_trials=12")
    found = configurations([folder])
    fits = [
        each
        for each in found
        if each.settings["head_optimizer"] == each.settings["finetune_optimizer"]
        and each.settings["head_lr"] == each.settings["finetune_lr"]
    ]
    points, left = started(configurations([folder]), space_of(SHARED), GIVEN, 3)
    assert points == []
    assert fits == []
    assert len(left) == len(found)
    assert left[0].startswith(f"{folder} {found[0].step} trial {found[0].number}: its phases have")


def test_shared_to_separate_gives_both_phases_the_same(past):
    wide = {k: v | {"high": 1} if k.endswith(".lr") else v for k, v in SEPARATE.items()}
    points, left = started(configurations([past("shared")]), space_of(wide), GIVEN, 5)
    assert len(points) == 5
    assert left == []
    for point in points:
        assert point["optimizer@head.optimizer"] == point["optimizer@finetune.optimizer"]
        assert point["head.optimizer.lr"] == point["finetune.optimizer.lr"]


def test_shared_to_joint_gives_the_relative_depth(past):
    wide = JOINT | {"optimizer.lr": LR | {"high": 1}}
    folder = past("shared")
    found = configurations([folder])
    points, _ = started(configurations([folder]), space_of(wide), GIVEN, len(found))
    assert [(each["model"], each["delimiting_layer"]) for each in points] == [
        (each.settings["model"], each.layer / LAYERS[each.settings["model"]]) for each in found
    ]
    assert len({each["delimiting_layer"] for each in points}) > 2


def test_the_layer_step_takes_distinct_layers_of_its_own_model(past):
    folder = past("shared", "search.layer_trials=6")
    found = configurations([folder])
    for model in ("densenet121", "vgg16"):
        space = space_of(LAYER, LAYERS[model])
        points, left = started(configurations([folder]), space, {"model": model}, 20)
        layers = [each.layer for each in found if each.settings["model"] == model]
        assert [each["delimiting_layer"] for each in points] == list(dict.fromkeys(layers))
        others = len(found) - len(layers)
        assert bool(left) is bool(others)
    assert len(layers) < len(found)


def test_the_steps_of_separate_steps_take_their_phases(past):
    folder = past("separate_steps", "search.lr={low: 1.0e-4, high: 0.1, log: true}")
    found = configurations([folder])
    head = {k: v for k, v in SEPARATE.items() if "finetune" not in k}
    finetune = {k: v for k, v in SEPARATE.items() if "finetune" in k}
    points, _ = started(
        configurations([folder]), space_of(head), GIVEN | {"finetune.epochs": "0"}, 100
    )
    assert points[0]["head.optimizer.lr"] == found[0].settings["head_lr"]
    tuned = [each for each in found if each.step != "head"]
    given = {"model": tuned[0].settings["model"]}
    points, left = started(configurations([folder]), space_of(finetune), given, 100)
    reference = [
        (each.settings["finetune_optimizer"], each.settings["finetune_lr"]) for each in tuned
    ]
    assert [tuple(point.values()) for point in points] == list(dict.fromkeys(reference))
    assert any("it has no fine-tuning" in line for line in left)


def test_models_that_are_no_candidates_are_named(past):
    folder = past("shared", "search.lr={low: 1.0e-4, high: 0.1, log: true}")
    only = SHARED | {"model": {"choices": ["resnet50", "vgg16"]}}
    points, left = started(configurations([folder]), space_of(only), GIVEN, 100)
    assert {point["model"] for point in points} == {"vgg16"}
    assert any(line.endswith("model densenet121 is not among the candidates") for line in left)


def test_only_better_ones_than_those_taken_are_named(past):
    folder = past("shared")
    best = configurations([folder])[0]
    own = SHARED | {
        "model": {"choices": [best.settings["model"]]},
        "optimizer.lr": LR | {"high": 1},
    }
    points, left = started(configurations([folder]), space_of(own), GIVEN, 1)
    assert len(points) == 1
    assert left == []


def test_several_folders_give_turns(past):
    class Hard(Layered):
        def score(self, overrides):
            return super().score(overrides) - 10

    wide = space_of(SHARED | {"optimizer.lr": LR | {"high": 1}})
    folders = [past("shared", name="hard", runner=Hard(), seed=5), past("shared")]
    best = [started(configurations([folder]), wide, GIVEN, 1)[0][0] for folder in folders]
    assert started(configurations(folders), wide, GIVEN, 2)[0] == best
    assert started(configurations(folders[::-1]), wide, GIVEN, 2)[0] == best[::-1]


def test_a_study_begins_with_them(past, recwarn):
    space = space_of(JOINT | {"optimizer.lr": LR | {"high": 1}})
    points, _ = started(configurations([past("shared")]), space, GIVEN, 3)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for point in points:
        study.enqueue_trial(point)
    asked = [study.ask(fixed_distributions=space.distributions).params for _ in range(4)]
    assert asked[:3] == points
    assert asked[3] not in points
    assert not [each for each in recwarn if "Fixed parameter" in str(each.message)]


@pytest.mark.parametrize("n", [0, -1, 1.5, "3", None, True, math.nan])
def test_a_nonsense_number_of_trials_is_refused(n):
    with pytest.raises(
        UserError, match=r"search\.warm_trials must be a whole number of at least 1"
    ):
        started(configurations([]), space_of(SHARED), GIVEN, n)


def test_an_axis_of_choices_gives_its_own_value():
    point = as_params(earlier("size=2.0"), space_of({"size": {"choices": [1, 2]}}), GIVEN)
    assert point == {"size": 2}
    assert type(point["size"]) is int
