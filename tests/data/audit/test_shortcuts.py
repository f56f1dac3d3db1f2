import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from tl_hpo.data.appearance import BORDER, OVERLAY
from tl_hpo.data.audit import shortcuts as module
from tl_hpo.data.audit.records import ABOVE_CHANCE, AT_CHANCE, SUSPICIOUS, UNTESTED
from tl_hpo.data.audit.shortcuts import joined, shortcuts

N = 150
NAMES = ("a", "b", "c")


@pytest.fixture
def labels():
    return np.arange(N) % 3


@pytest.fixture
def noise(fingerprints_of):
    """Return fingerprints whose features are noise, some replaced."""

    def make(n=N, seed=0, **given):
        rng = np.random.default_rng(seed)
        usual = {
            "sizes": rng.integers(500, 600, (n, 2)),
            "border": rng.random((n, BORDER), np.float32),
            "overlay": rng.random((n, OVERLAY), np.float32),
        }
        return fingerprints_of(rng.random((n, 256)) < 0.5, **(usual | given))

    return make


def verdicts(found):
    return {each.feature: each.verdict for each in found}


@pytest.mark.parametrize("seed", range(6))
def test_noise_is_at_chance(noise, labels, seed):
    found = shortcuts(noise(seed=seed), labels, NAMES, np.arange(N), seed)
    assert set(verdicts(found).values()) == {AT_CHANCE}
    for each in found:
        assert each.images == N
        assert each.majority == pytest.approx(1 / 3)
        assert each.chance == pytest.approx(1 / 3)
        # Classes of one size: the balanced accuracy is the accuracy.
        assert each.balanced_accuracy == pytest.approx(each.accuracy)


@pytest.mark.parametrize("feature", ["size", "border", "overlay"])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_planted_shortcut_is_suspicious_and_the_others_are_not(noise, labels, feature, seed):
    usual = noise(seed=seed)
    field = {"size": "sizes"}.get(feature, feature)
    values = getattr(usual, field).copy()
    values[:, 0] += (labels * (200 if field == "sizes" else 1)).astype(values.dtype)
    found = shortcuts(noise(seed=seed, **{field: values}), labels, NAMES, np.arange(N), seed)
    expected = {"size": AT_CHANCE, "border": AT_CHANCE, "overlay": AT_CHANCE, feature: SUSPICIOUS}
    assert verdicts(found) == expected
    assert next(each for each in found if each.feature == feature).accuracy > 0.9


def test_duplicates_do_not_fake_a_shortcut(noise, labels):
    # Every image five times: a forest that may see the copies remembers them.
    usual = noise()
    copies = usual.subset(np.repeat(np.arange(N), 5))
    own = np.repeat(np.arange(N), 5)
    repeated = np.repeat(labels, 5)
    honest = shortcuts(copies, repeated, NAMES, own, 0)
    fooled = shortcuts(copies, repeated, NAMES, np.arange(5 * N), 0)
    assert set(verdicts(honest).values()) == {AT_CHANCE}
    assert SUSPICIOUS in verdicts(fooled).values()


def test_classes_of_few_groups_are_left_out_and_told(noise, labels):
    group = np.where(labels == 2, N, np.arange(N))
    found = shortcuts(noise(), labels, NAMES, group, 0)
    assert [each.images for each in found] == [N * 2 // 3] * 3
    assert {each.chance for each in found} == {0.5}
    assert found[0].note.endswith("fewer than 4 independent images: c (1)")


def test_too_few_classes_to_try_are_untested(noise):
    found = shortcuts(noise(6), np.array([0, 0, 0, 0, 1, 1]), NAMES, np.arange(6), 0)
    assert set(verdicts(found).values()) == {UNTESTED}
    assert found[0].accuracy is None
    assert "b (2), c (0)" in found[0].note


def test_unreadable_images_are_not_tried(noise, labels):
    readable = np.arange(N) >= 30
    found = shortcuts(noise(readable=readable), labels, NAMES, np.arange(N), 0)
    assert {each.images for each in found} == {N - 30}


def test_more_images_than_are_tried(noise, labels, monkeypatch):
    monkeypatch.setattr(module, "MAX_IMAGES", 60)
    found = shortcuts(noise(), labels, NAMES, np.arange(N), 0)
    assert {each.images for each in found} == {60}


def test_same_seed_gives_the_same(noise, labels):
    one, two = (shortcuts(noise(), labels, NAMES, np.arange(N), 7) for _ in range(2))
    assert one == two


@pytest.mark.parametrize(
    ("balanced", "groups", "verdict"),
    [
        (0.55, 200, AT_CHANCE),
        (0.65, 200, ABOVE_CHANCE),
        (0.67, 200, SUSPICIOUS),
        (0.80, 10, AT_CHANCE),  # 20 images do not tell that from luck
        (0.45, 1000, AT_CHANCE),
    ],
)
def test_verdict_needs_both_certainty_and_size(balanced, groups, verdict):
    assert module._verdict(balanced, np.array([groups, groups])) == verdict


def test_error_of_guessing_is_that_of_a_simulation():
    groups = np.array([40, 10, 25])
    y = np.repeat(np.arange(3), groups)
    rng = np.random.default_rng(0)
    guesses = rng.integers(0, 3, (4000, len(y)))
    error = np.std([balanced_accuracy_score(y, guess) for guess in guesses])
    bound = 1 / 3 + module.SIGMAS * error
    assert module._verdict(bound - 0.01, groups) == AT_CHANCE
    assert module._verdict(bound + 0.01, groups) != AT_CHANCE


def test_joined_groups():
    one, other = np.array([0, 0, 1, 2, 3]), np.array([5, 1, 1, 0, 0])
    assert len(set(joined(one, other))) == 2
    assert len(set(joined(one, other)[:3])) == 1
    np.testing.assert_array_equal(joined(one, None), one)
