from tl_hpo.reporting.paper import PUBLISHED, Achieved, comparison_table


def test_kvasir_has_the_published_accuracy_of_each_strategy():
    published = {row.strategy: row.value for row in PUBLISHED["kvasir"] if row.strategy}
    assert published == {"shared": 0.89, "separate": 0.63, "separate_steps": 0.54}


def test_ours_stand_beside_the_same_strategy():
    ours = {"shared": Achieved(0.9, 0.8, 0.7), "separate": Achieved(0.6)}
    rows = {row.figure: row.ours for row in comparison_table("kvasir", ours, "shared")}
    assert rows["validation accuracy before the layer step, strategy shared"] == 0.7
    assert rows["validation accuracy, strategy shared"] == 0.9
    assert rows["validation accuracy, strategy separate"] == 0.6
    assert rows["validation accuracy, strategy separate_steps"] is None
    assert rows["F1, best configuration"] == 0.8


def test_nerthus_is_compared_with_the_strategy_that_ran():
    rows = comparison_table("nerthus", {"separate": Achieved(0.97, 0.9, 0.95)}, "separate")
    assert [(row.published, row.ours) for row in rows[:2]] == [(0.99, 0.95), (1.0, 0.97)]


def test_other_datasets_have_no_table():
    assert comparison_table("phantom", {"shared": Achieved(0.9)}, "shared") == []


def test_every_figure_names_its_source():
    assert all(row.source for rows in PUBLISHED.values() for row in rows)
