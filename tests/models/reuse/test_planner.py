import math
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tl_hpo.models.reuse import planner
from tl_hpo.models.reuse.planner import (
    LEAST_GAIN,
    MAX_SPREAD,
    Choice,
    Costs,
    Unlimited,
    choose,
    costs_of,
    spread,
)


@dataclass
class FixedRoom:
    """Has ``space`` bytes free and ``held`` more, whose content takes ``loss`` seconds."""

    rate: float
    space: int
    held: int = 0
    loss: float = 0.0

    def free(self):
        return self.space

    def regret(self, size, cut):
        if size > self.space + self.held:
            return math.inf
        return self.loss if size > self.space else 0.0


SECONDS = st.floats(0, 10, allow_subnormal=False)
RATES = st.floats(1e-2, 1e6)
ROOMS = st.dictionaries(
    st.sampled_from(["GPU memory", "memory", "files"]),
    st.builds(FixedRoom, RATES, st.integers(0, 100), st.integers(0, 50), SECONDS),
)


@st.composite
def all_costs(draw, most_layers=12):
    """Return the costs of a backbone that cannot be cut at every layer."""
    n_layers = draw(st.integers(1, most_layers))
    steps = draw(st.lists(SECONDS, min_size=n_layers, max_size=n_layers))
    sizes = draw(st.lists(st.integers(0, 100), min_size=n_layers, max_size=n_layers))
    cuttable = draw(st.sets(st.integers(1, n_layers)))
    to_layer = [math.fsum(steps[:layer]) for layer in range(n_layers + 1)]
    seconds = {cut: to_layer[cut] for cut in sorted(cuttable)}
    return Costs(seconds, {cut: sizes[cut - 1] for cut in sorted(cuttable)}, to_layer)


@st.composite
def problems(draw):
    """Return a delimiting layer, epochs, costs, what is kept and the rooms."""
    costs = draw(all_costs())
    kept = (
        draw(st.dictionaries(st.sampled_from(sorted(costs.seconds)), RATES))
        if costs.seconds
        else {}
    )
    layer = draw(st.integers(0, len(costs.to_layer) - 1))
    return layer, draw(st.integers(0, 30)), costs, kept, draw(ROOMS)


def price(cut, room, layer, epochs, costs, kept, rooms):
    """Return what a trial spends on frozen layers, told epoch by epoch."""
    time, size = costs.to_layer, costs.bytes.get(cut, 0)
    if cut == 0:
        return math.fsum(time[layer] for _ in range(epochs))
    total = 0.0
    if room is not None:
        deepest = max([0, *(other for other in kept if other < cut)])
        total += time[cut] - time[deepest]  # compute
        total += size / rooms[room].rate  # write
        total += rooms[room].regret(size, cut)  # what was there is made again some day
    rate = kept[cut] if room is None else rooms[room].rate
    return total + math.fsum(size / rate + time[layer] - time[cut] for _ in range(epochs))


def everything(layer, epochs, costs, kept, rooms):
    """Return every way to serve a trial."""
    ways = [(0, None)]
    for cut in range(1, layer + 1):
        if cut in kept:
            ways.append((cut, None))
        elif cut in costs.seconds:
            ways += [(cut, name) for name in rooms]
    return ways


@given(problems())
def test_the_choice_is_the_cheapest_of_all(problem):
    choice = choose(*problem)
    prices = {way: price(*way, *problem) for way in everything(*problem)}
    assert (choice.cut, choice.room) in prices
    assert choice.seconds == pytest.approx(min(prices.values()), rel=1e-9, abs=1e-9)
    assert prices[choice.cut, choice.room] == pytest.approx(choice.seconds, rel=1e-9, abs=1e-9)


@given(problems())
def test_the_choice_lies_before_the_delimiting_layer_and_fits(problem):
    layer, _, costs, kept, rooms = problem
    choice = choose(*problem)
    assert choice.cut <= layer
    assert choice.cut == 0 or choice.cut in costs.seconds
    if choice.room is None:
        assert choice.cut == 0 or choice.cut in kept
    else:
        room = rooms[choice.room]
        assert costs.bytes[choice.cut] <= room.space + room.held


@given(problems(), st.integers(1, 100))
def test_more_room_makes_no_plan_slower(problem, more):
    *rest, rooms = problem
    larger = {
        name: FixedRoom(room.rate, room.space + more, room.held, room.loss)
        for name, room in rooms.items()
    }
    assert choose(*rest, larger).seconds <= choose(*rest, rooms).seconds


@given(problems())
def test_another_room_or_cut_makes_no_plan_slower(problem):
    *rest, kept, rooms = problem
    best = choose(*rest, kept, rooms).seconds
    assert best <= choose(*rest, kept, {}).seconds <= choose(*rest, {}, {}).seconds


@given(problems())
def test_no_epochs_need_nothing(problem):
    layer, _, *rest = problem
    assert choose(layer, 0, *rest) == Choice(0, None, 0.0)


@given(problems())
def test_the_delimiting_layer_of_the_images_needs_nothing(problem):
    assert choose(0, *problem[1:]) == Choice(0, None, 0.0)


@given(all_costs(), st.integers(1, 30))
def test_with_room_without_end_and_free_reading_the_prefix_runs_once(costs, epochs):
    for layer in costs.seconds:
        choice = choose(layer, epochs, costs, {}, {"memory": Unlimited(math.inf)})
        assert choice.seconds == pytest.approx(costs.to_layer[layer], rel=1e-9)


def test_the_cut_is_at_the_delimiting_layer_where_every_layer_costs_something():
    costs = costs_of(
        {layer: float(layer) for layer in range(1, 8)}, dict.fromkeys(range(1, 8), 9), 7, 3
    )
    assert choose(5, 2, costs, {}, {"memory": Unlimited(math.inf)}) == Choice(5, "memory", 15.0)


def test_costs_are_those_of_all_images_and_layers_that_cannot_be_cut_cost_nothing_of_their_own():
    costs = costs_of({1: 0.5, 3: 2.0}, {1: 10, 3: 4}, n_layers=4, n_samples=3)
    assert costs == Costs({1: 1.5, 3: 6.0}, {1: 30, 3: 12}, [0.0, 1.5, 1.5, 6.0, 6.0])


def mean_cost(costs, have):
    """Return the seconds of one pass, on average over all delimiting layers.

    ``have`` are cuts, with the seconds of reading each.
    """
    ways = {0: 0.0} | have
    return math.fsum(
        min(target - costs.to_layer[cut] + read for cut, read in ways.items() if cut <= layer)
        for layer, target in enumerate(costs.to_layer)
    ) / len(costs.to_layer)


def read_seconds(costs, chosen, rooms):
    return {cut: costs.bytes[cut] / rooms[name].rate for cut, name in chosen.items()}


@given(all_costs(most_layers=30), ROOMS)
def test_every_further_cut_lowers_the_mean_cost_by_more_than_the_least_gain(costs, rooms):
    chosen = list(spread(costs, (), rooms).items())
    for count in range(len(chosen)):
        before, after = (
            mean_cost(costs, read_seconds(costs, dict(chosen[:k]), rooms))
            for k in (count, count + 1)
        )
        assert before - after > LEAST_GAIN * costs.to_layer[-1] - 1e-9


@given(all_costs(most_layers=30), ROOMS, st.data())
def test_further_cuts_are_few_and_new_and_fit_in_free_room(costs, rooms, data):
    kept = data.draw(st.sets(st.sampled_from(sorted(costs.seconds)))) if costs.seconds else set()
    chosen = spread(costs, kept, rooms)
    assert len(chosen) <= MAX_SPREAD
    assert not chosen.keys() & kept
    assert chosen.keys() <= costs.seconds.keys()
    for name, room in rooms.items():
        assert sum(costs.bytes[cut] for cut in chosen if chosen[cut] == name) <= room.space


def uniform(n_layers, size=1):
    layers = range(1, n_layers + 1)
    return costs_of(
        {layer: float(layer) for layer in layers}, dict.fromkeys(layers, size), n_layers, 1
    )


def test_the_first_of_the_further_cuts_halves_a_uniform_network():
    assert next(iter(spread(uniform(99), (), {"memory": Unlimited(math.inf)}))) == 50


def test_further_cuts_are_as_many_as_allowed_where_each_is_worth_it(monkeypatch):
    monkeypatch.setattr(planner, "LEAST_GAIN", 0.0)
    rooms = {"memory": Unlimited(math.inf)}
    assert len(spread(uniform(200), (), rooms)) == MAX_SPREAD


def test_further_cuts_go_to_the_fastest_room_until_it_is_full():
    rooms = {"files": FixedRoom(1e3, 100), "memory": FixedRoom(1e6, 2)}
    places = [*spread(uniform(99), (), rooms).values()]
    assert places[:3] == ["memory", "memory", "files"]


def test_no_further_cut_is_kept_where_reading_takes_as_long_as_computing():
    assert spread(uniform(99, size=99), (), {"files": Unlimited(1.0)}) == {}
