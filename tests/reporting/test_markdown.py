import pytest

from tl_hpo.reporting.markdown import plain, table


def test_table_aligns_the_first_column_to_the_left_and_the_others_to_the_right():
    assert table(["a", "b", "c"], [["x", "1", "2"]]).splitlines() == [
        "| a | b | c |",
        "| --- | ---: | ---: |",
        "| x | 1 | 2 |",
    ]


def test_plain_text_holds_no_markup():
    assert plain("a|b_c*[d") == "a\\|b\\_c\\*\\[d"
    assert plain("plain-text.jpg") == "plain-text.jpg"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("<script>alert(1)</script>", "\\<script>alert(1)\\</script>"),
        ("![x](http://evil/x.png)", "!\\[x](http://evil/x.png)"),
        ("a\n# heading\r\n| x |", "a \\# heading \\| x \\|"),
        ("a\u2028b\x0bc", "a b c"),
    ],
)
def test_a_class_of_any_name_stays_in_its_cell(name, shown):
    assert plain(name) == shown
    assert len(table(["class"], [[plain(name)]]).splitlines()) == 3
