import json
import re
from dataclasses import replace

import pytest

from tl_hpo.errors import UserError
from tl_hpo.reporting.leakage import AUDIT_FILE, CLEAN, read_audit, section, write_audit


def text_of(audit):
    return "\n\n".join(section(audit))


def test_nothing_found_is_said_in_a_sentence_without_warnings(clean_audit):
    text = text_of(clean_audit)
    assert text.startswith(f"## Split and leakage\n\n{CLEAN}\n")
    assert "Warning" not in text
    assert "at chance" in text


def test_warnings_come_first_and_tell_all_that_is_wrong(bad_audit):
    heading, warnings, *_ = section(bad_audit)
    assert heading == "## Split and leakage"
    lines = warnings.splitlines()
    assert all(line.startswith("- **Warning:** ") for line in lines)
    for number, words in enumerate(
        [
            "1 of 30 images of the validation side (3.3%) has a copy",
            "12 of 30 images of the validation side (40.0%) have one nearly the same",
            "11 sets have the same file under several classes",
            "5 of 20 groups",
            "by the border alone (colours of the outermost 3 %): balanced accuracy 0.90, by chance",
            "2 of 100 files",
            "too many",
        ]
    ):
        assert words in lines[number]
    assert len(lines) == 7


def test_groups_of_the_dataset_are_not_given_up_for_near_duplicates(bad_audit):
    assert "but no longer your groups" in text_of(bad_audit)
    without = text_of(replace(bad_audit, own=None))
    assert "split.groups=near_duplicates keeps them together." in without
    assert "no longer" not in without


def test_two_classes_of_nearly_the_same_images_are_a_warning(clean_audit):
    mixed = replace(clean_audit, near=replace(clean_audit.near, across_classes=2))
    assert "2 sets of images that are nearly the same have several classes" in text_of(mixed)


def test_tables_have_as_many_cells_in_every_row(bad_audit, clean_audit):
    for audit in (bad_audit, clean_audit):
        for block in section(audit):
            lines = block.splitlines()
            if lines[0].startswith("|"):
                cells = {len(re.findall(r"(?<!\\)\|", line)) for line in lines}
                assert len(cells) == 1, block


def test_files_under_several_classes_are_named(bad_audit):
    text = text_of(bad_audit)
    assert "- a/1\\_x.png (a), b/2.png (b)" in text
    assert "- and 1 more" in text
    assert "Classes left out for a reason: c\\_d." in text


def test_pairs_are_told_with_sides_and_distance(bad_audit):
    text = text_of(bad_audit)
    row = "| a/1\\_x.png (a, train) | b/2.png (b, validation) |"
    assert f"{row} the same file |" in text
    assert f"{row} 17 |" in text


def test_pairs_can_be_left_out_for_where_they_are_shown(bad_audit):
    assert "The worst pairs" in text_of(bad_audit)
    assert "The worst pairs" not in "\n\n".join(section(bad_audit, pairs=False))


def test_no_side_to_judge_on(clean_audit):
    empty = replace(clean_audit.near, leaks={})
    assert "no side beside" in text_of(replace(clean_audit, exact=empty, near=empty))


def test_what_is_written_is_read_again(bad_audit, clean_audit, tmp_path):
    for audit in (bad_audit, clean_audit):
        assert write_audit(tmp_path, audit) == tmp_path / AUDIT_FILE
        assert read_audit(tmp_path) == audit


def test_folder_without_an_audit(tmp_path):
    assert read_audit(tmp_path) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"exact": 3}', '"text"'])
def test_damaged_audit_is_told(tmp_path, text):
    (tmp_path / AUDIT_FILE).write_text(text)
    with pytest.raises(UserError, match=r"must be a file that an audit wrote, got .*; remove it"):
        read_audit(tmp_path)


def test_audit_of_another_version_is_told(clean_audit, tmp_path):
    path = write_audit(tmp_path, clean_audit)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"unknown": 1}))
    with pytest.raises(UserError, match="unknown"):
        read_audit(tmp_path)
