"""The audit as a user runs it."""

import json
import shutil
import time

from PIL import Image

from tl_hpo.reporting.leakage import read_audit

AUDIT = "tl_hpo.data.audit"


def run(start, *arguments):
    process = start("-m", AUDIT, *arguments)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def test_audits_images_and_names_what_it_wrote(start, image_folder, tmp_path):
    root = image_folder()
    shutil.copyfile(root / "class-0" / "0.png", root / "class-1" / "copy.png")
    (root / "class-0" / "notes.jpg").write_text("no image")
    code, out, err = run(start, "dataset=folder", f"dataset.root={root}")
    assert code == 0, err
    assert "1 of 22 files cannot be read and are left out: class-0/notes.jpg" in out
    assert "\n# Audit of folder\n" in out
    assert "1 set has the same file under several classes" in out
    folder = tmp_path / "runs" / "folder" / "audit"
    written = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert written == {
        "audit.json",
        "audit.md",
        "figures/leakage_pairs.png",
        "figures/leakage_pairs.svg",
    }
    for name in written:
        assert name in out
    assert (folder / "audit.md").read_text() in out
    found = read_audit(folder)
    assert (found.images, found.unreadable) == (22, 1)
    assert found.exact.across_classes == 1
    assert Image.open(folder / "figures" / "leakage_pairs.png").width > 500
    assert json.loads((folder / "audit.json").read_text())["dataset"] == "folder"


def test_synthetic_images_are_said_to_be(start, tmp_path):
    few = ("dataset.classes=2", "dataset.images_per_class=4", "dataset.size=32")
    code, out, err = run(start, "dataset=phantom", "split=random", *few)
    assert code == 0, err
    assert "The images are synthetic" in out


def test_unknown_dataset_is_a_mistake_told_in_one_line(start):
    code, _, err = run(start, "dataset=fodler")
    assert code == 2
    assert "error: dataset must be a known name, got 'fodler'. Did you mean folder" in err
    assert "Traceback" not in err


def test_missing_root_is_a_mistake_told_in_one_line(start):
    code, _, err = run(start, "dataset=folder", "dataset.root=nowhere")
    assert code == 2
    assert err.startswith("error: dataset.root must be an existing folder")
    assert err.count("\n") == 1


def test_help_is_quick(start):
    began = time.perf_counter()
    code, out, _ = run(start, "--help")
    assert code == 0
    assert out.startswith("tl_hpo.data.audit: duplicates")
    assert time.perf_counter() - began < 10  # without torch and matplotlib: half a second
