"""Search spaces: axes that apply only together with values of others."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tl_hpo.errors import UserError
from tl_hpo.overrides import key_of
from tl_hpo.search.space import parse_space

OPTIMIZER = {"choices": ["sgd", "rmsprop", "adam"]}
MODEL = {"choices": ["vgg16", "densenet121"]}
MOMENTUM = {"low": 0.0, "high": 0.9}


def momentum(when):
    return MOMENTUM | {"when": when}


def dimension(space, key):
    return next(each for each in space.dimensions if each.key == key)


@pytest.mark.parametrize(
    ("optimizer", "applies"), [("sgd", True), ("rmsprop", True), ("adam", False)]
)
def test_an_axis_applies_with_the_values_it_names(optimizer, applies):
    axes = {"optimizer": OPTIMIZER, "m": momentum({"optimizer": ["sgd", "rmsprop"]})}
    space = parse_space(axes)
    params = {"optimizer": optimizer, "m": 0.5}
    assert dimension(space, "m").applies(params) is applies
    assert dimension(space, "optimizer").applies(params)
    overrides = [f"optimizer={optimizer}"] + ["m=0.5"] * applies
    assert space.overrides(params) == overrides


@pytest.mark.parametrize("first", [True, False])
def test_it_may_stand_before_the_axis_that_it_depends_on(first):
    m, o = {"m": momentum({"optimizer": ["sgd"]})}, {"optimizer": OPTIMIZER}
    space = parse_space(m | o if first else o | m)
    assert space.overrides({"m": 0.1, "optimizer": "adam"}) == ["optimizer=adam"]


def test_all_axes_that_it_names_must_agree():
    when = {"optimizer": ["sgd"], "model": ["vgg16"]}
    space = parse_space({"optimizer": OPTIMIZER, "model": MODEL, "m": momentum(when)})
    applying = [
        (optimizer, model)
        for optimizer, model in product(OPTIMIZER["choices"], MODEL["choices"])
        if dimension(space, "m").applies({"optimizer": optimizer, "model": model, "m": 0.0})
    ]
    assert applying == [("sgd", "vgg16")]


def test_one_value_needs_no_list():
    space = parse_space({"optimizer": OPTIMIZER, "m": momentum({"optimizer": "sgd"})})
    assert dimension(space, "m").when == {"optimizer": ("sgd",)}


def test_conditions_are_of_the_conditional_axes_alone():
    axes = {"optimizer": OPTIMIZER, "model": MODEL, "m": momentum({"optimizer": ["sgd"]})}
    space = parse_space(axes)
    assert space.conditions == {"m": {"optimizer": ("sgd",)}}
    assert list(space.distributions) == ["optimizer", "model", "m"]
    assert parse_space({"model": MODEL}).conditions == {}


def test_two_axes_may_share_an_override_where_only_one_of_them_applies():
    def rate(low, high, name):
        return {"low": low, "high": high, "sets": ["optimizer.lr"], "when": {"optimizer": [name]}}

    axes = {"optimizer": OPTIMIZER, "a": rate(0.1, 1, "sgd"), "b": rate(1e-4, 0.01, "adam")}
    space = parse_space(axes)
    for optimizer, expected in [("sgd", ["0.5"]), ("adam", ["0.002"]), ("rmsprop", [])]:
        params = {"optimizer": optimizer, "a": 0.5, "b": 0.002}
        rates = [text.partition("=")[2] for text in space.overrides(params)[1:]]
        assert rates == expected


def test_a_conditional_axis_may_have_choices_and_set_several():
    nesterov = {
        "choices": [False, True],
        "sets": ["head.nesterov", "finetune.nesterov"],
        "when": {"optimizer": ["sgd"]},
    }
    space = parse_space({"optimizer": OPTIMIZER, "nesterov": nesterov})
    assert space.overrides({"optimizer": "sgd", "nesterov": True}) == [
        "optimizer=sgd",
        "head.nesterov=true",
        "finetune.nesterov=true",
    ]


def test_a_condition_on_what_is_held_fixed_is_decided_by_it():
    when = {"optimizer": ["sgd"], "model": ["vgg16"]}
    axes = {"optimizer": OPTIMIZER, "model": MODEL, "m": momentum(when)}
    fixed = {"fixed": ["optimizer"]}
    space = parse_space(axes, **fixed, given=["optimizer=sgd"])
    assert space.conditions == {"m": {"model": ("vgg16",)}}
    without = parse_space(axes, **fixed, given=["optimizer=adam"])
    assert list(without.distributions) == ["model"]


def test_an_optimizer_of_a_phase_that_is_held_fixed_by_both_decides_as_well():
    axes = {"m": momentum({"optimizer@head.optimizer": ["sgd"]})}
    axes["optimizer@head.optimizer"] = OPTIMIZER
    for optimizer, kept in (("sgd", ["m"]), ("adam", [])):
        given = [f"optimizer={optimizer}"]
        assert list(parse_space(axes, fixed=["optimizer"], given=given).distributions) == kept


@pytest.mark.parametrize(
    "axes",
    [
        {"optimizer": OPTIMIZER, "m": {"low": 0, "high": 1, "when": {"optimizer": []}}},
        {"optimizer": OPTIMIZER, "m": {"low": 0, "high": 1, "when": []}},
        {"optimizer": OPTIMIZER, "m": {"low": 0, "high": 1, "when": {"optimizer": [["sgd"]]}}},
        {"optimizer": OPTIMIZER, "m": {"low": 0, "high": 1, "when": {"optimizer": {"sgd": 1}}}},
        {"m": {"low": 0, "high": 1, "when": {"optimizer": ["sgd"]}}, "optimizer": ["sgd"]},
        {"m": {"low": 0, "high": 1, "when": {"optimizer": ["sgd"]}}, "optimizer": {"choices": 5}},
        {"optimizer": {"choices": [["a"]]}},
    ],
)
def test_nonsense_is_refused(axes):
    with pytest.raises(UserError):
        parse_space(axes)


def test_a_conditional_axis_may_itself_be_held_fixed():
    axes = {"optimizer": OPTIMIZER, "m": momentum({"optimizer": ["sgd"]})}
    assert list(parse_space(axes, fixed=["m"]).distributions) == ["optimizer"]


@pytest.mark.parametrize(
    ("when", "told"),
    [
        ({"optimiser": ["sgd"]}, r"got optimiser: \['sgd'\]"),
        ({"optimizer": ["lion"]}, r"got optimizer: \['lion'\]"),
        ({"optimizer": ["sgd", "lion"]}, r"got optimizer: \['sgd', 'lion'\]"),
        ({"optimizer": None}, r"got optimizer: \[None\]"),
        ({"lr": [0.1]}, r"got lr: \[0\.1\]"),
        ({"m": [0.1]}, r"got m: \[0\.1\]"),
        ({"nesterov": [True]}, r"got nesterov: \[True\]"),
        ("sgd", "got sgd; for example"),
        (["optimizer"], r"got \['optimizer'\]; for example"),
    ],
)
def test_a_condition_that_makes_no_sense_is_refused(when, told):
    axes = {
        "optimizer": OPTIMIZER,
        "lr": {"low": 0.001, "high": 1},
        "nesterov": {"choices": [False, True], "when": {"optimizer": ["sgd"]}},
        "m": momentum(when),
    }
    with pytest.raises(UserError, match=rf"^when of the search space of m must name .*{told}"):
        parse_space(axes)


@given(
    st.sets(st.sampled_from(OPTIMIZER["choices"]), min_size=1),
    st.sampled_from(OPTIMIZER["choices"]),
    st.floats(0, 0.9),
)
def test_overrides_hold_a_conditional_key_exactly_where_it_applies(named, optimizer, value):
    space = parse_space({"optimizer": OPTIMIZER, "m": momentum({"optimizer": sorted(named)})})
    keys = [key_of(text) for text in space.overrides({"optimizer": optimizer, "m": value})]
    assert keys == (["optimizer", "m"] if optimizer in named else ["optimizer"])
