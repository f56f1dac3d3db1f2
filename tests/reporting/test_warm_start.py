from tl_hpo.reporting.records import read_run
from tl_hpo.reporting.warm_start import NO_ACCURACY, NONE, section
from tl_hpo.search.known_images import KnownImages
from tl_hpo.search.warm_file import WARM_FILE, Brought, LeftOut, note_step, write_warm_start

OUTSIDE = "learning rate is outside 0.0001 to 0.1"


def noted(folder, brought, left_out):
    write_warm_start(folder / WARM_FILE, (), KnownImages(["runs/a_b", "runs/c"]))
    note_step(folder / WARM_FILE, "shared", brought, left_out)
    return section(read_run(folder))


def test_section_tells_what_was_brought_along_and_counts_what_was_left_out(fake_run):
    folder = fake_run()
    brought = [
        Brought("shared", 0, "runs/a_b joint trial 7", 0.91),
        Brought("shared", 99, "runs/c joint trial 1", None),
    ]
    left = [
        LeftOut("shared", "runs/a_b joint trial 1", "learning rate 0.2 is outside", OUTSIDE),
        LeftOut("shared", "runs/a_b joint trial 2", "learning rate 0.3 is outside", OUTSIDE),
        LeftOut(
            "shared", "runs/a_b joint trial 3", "it has no fine-tuning", "it has no fine-tuning"
        ),
    ]
    blocks = noted(folder, brought, left)
    assert blocks[0] == "## Learnt from earlier experiments"
    assert "From runs/a\\_b, runs/c" in blocks[1]
    here = read_run(folder).trials[0].val_accuracy
    assert f"| shared 0 | runs/a\\_b joint trial 7 | 0.9100 | {here:.4f} |" in blocks[2]
    assert "| shared 99 | runs/c joint trial 1 |  |  |" in blocks[2]
    assert blocks[3] == NO_ACCURACY
    assert blocks[-1].splitlines() == [
        f"- step shared, 2: {OUTSIDE}",
        "- step shared, 1: it has no fine-tuning",
    ]
    assert WARM_FILE in blocks[-2]


def test_section_says_that_nothing_fits(fake_run):
    blocks = noted(fake_run(), [], [LeftOut("shared", "runs/c joint trial 1", "why", "why")])
    assert blocks[2] == NONE


def test_nothing_is_said_where_nothing_was_learnt(fake_run):
    folder = fake_run()
    assert section(read_run(folder)) == []
    assert noted(folder, [], []) == []
