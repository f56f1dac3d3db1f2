import pytest

from tl_hpo.data.split_settings import KINDS, read_settings
from tl_hpo.errors import UserError

NO_SHARES = [1, -0.3, 1.5, 30, float("nan"), "much", None, True, [0.2]]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_config_that_can_be_read(split_config, kind):
    known = {"file": "split.csv"} if kind == "file" else {}
    assert read_settings(split_config(kind, **known)).kind == kind


@pytest.mark.parametrize("share", [0, *NO_SHARES])
@pytest.mark.parametrize("kind", ["random", "holdout", "official"])
def test_share_outside_zero_and_one_is_refused(split_config, kind, share):
    with pytest.raises(UserError, match=r"split.validation must be a share"):
        read_settings(split_config(kind, validation=share))


@pytest.mark.parametrize("share", NO_SHARES)
def test_share_to_test_on_may_be_zero_but_no_other(split_config, share):
    assert read_settings(split_config("holdout", test=0)).test == 0
    with pytest.raises(UserError, match=r"split.test must be a share"):
        read_settings(split_config("holdout", test=share))


def test_shares_that_leave_nothing_to_train_on_are_refused(split_config):
    with pytest.raises(UserError, match=r"share to train on, got 0.5 and 0.5"):
        read_settings(split_config("holdout", validation=0.5, test=0.5))


@pytest.mark.parametrize("seed", [-1, 2**32, 0.5, "x", None])
@pytest.mark.parametrize("kind", ["random", "holdout", "official", "kfold"])
def test_seed_that_is_none_is_refused(split_config, kind, seed):
    with pytest.raises(UserError, match="seed must be a whole number"):
        read_settings(split_config(kind, seed=seed))


@pytest.mark.parametrize("folds", [2, 0, -5, 5.0, "many", None, True])
def test_number_of_folds_that_leaves_no_three_sides_is_refused(split_config, folds):
    with pytest.raises(UserError, match=r"split.folds must be a whole number of at least 3"):
        read_settings(split_config("kfold", folds=folds))


@pytest.mark.parametrize("fold", [-1, 5, 1.0, "first", None, False])
def test_fold_that_is_not_there_is_refused(split_config, fold):
    with pytest.raises(UserError, match=r"split.fold must be a whole number from 0 to 4"):
        read_settings(split_config("kfold", fold=fold))


@pytest.mark.parametrize("file", [None, "", "  "])
def test_no_file_is_refused(split_config, file):
    with pytest.raises(UserError, match=r"split.file must be the split.csv .* split.file=FILE"):
        read_settings(split_config("file", file=file))


@pytest.mark.parametrize("kind", ["randm", None, 3])
def test_unknown_kind_is_refused(split_config, kind):
    with pytest.raises(UserError, match=r"split.kind must be a known name.*"):
        read_settings(split_config(kind=kind))


def test_unknown_kind_is_told_with_the_nearest(split_config):
    with pytest.raises(UserError, match=r"'randm'.*random"):
        read_settings(split_config(kind="randm"))
