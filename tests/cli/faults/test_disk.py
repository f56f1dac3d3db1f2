"""A disk that fills up, or that cannot be written: told in one line, and nothing is lost."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

BLOCK = 4096
MB = 1 << 20


def mounted(folder: Path, size: int) -> bool:
    """Mount a disk of ``size`` bytes in memory at ``folder``."""
    folder.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def remount(folder: Path, option: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{option}", str(folder)], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Make a small disk, which goes with the test."""
    folder = tmp_path / "disk"

    def make(size: int) -> Path:
        if not mounted(folder, size):
            pytest.skip("a disk in memory needs the right to mount one")
        return folder

    yield make
    subprocess.run(["umount", "--lazy", str(folder)], capture_output=True, check=False)


def fill(disk: Path, free: int) -> Path:
    """Fill ``disk`` but for ``free`` bytes; return the file that does it."""
    path = disk / "filler"
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(BLOCK))
    os.truncate(path, max(0, path.stat().st_size - free))
    return path


def told_in_one_line(outcome, *words):
    assert outcome.code == 2, outcome.out + outcome.err
    lines = outcome.err.strip().splitlines()
    assert len(lines) == 1, outcome.err
    assert lines[0].startswith("error: ")
    for word in words:
        assert word in lines[0]


# Free bytes, and what cannot be written then: the database, the best model of 1.5 MB.
@pytest.mark.slow
@pytest.mark.parametrize(("free", "what"), [(0, "study.db"), (400_000, "what is written")])
def test_results_on_a_disk_that_fills_up(
    command,
    experiment,
    ends_well,
    is_whole,
    completed,
    disk,
    tmp_path,
    run_folder,
    meanwhile,
    free,
    what,
):
    small = disk(8 * MB)
    (tmp_path / "runs").symlink_to(small)
    arguments = experiment(3, 2, f"store.dir={tmp_path / 'store'}")
    with meanwhile(lambda: completed() > 0, lambda: fill(small, free)):
        outcome = command("optimize", *arguments)
    told_in_one_line(outcome, what, "free some and repeat the command")
    (small / "filler").unlink()
    done = completed()
    assert 1 <= done < 5
    out = ends_well([*arguments, "executor=inline"])
    assert f"{min(done, 3)} of them done before" in out
    is_whole(run_folder)


@pytest.mark.slow
def test_a_store_without_room_for_the_images(
    command, experiment, ends_well, is_whole, disk, run_folder
):
    small = disk(64 << 10)  # 40 images of 32 px are 120 kB
    arguments = experiment(3, 2, f"store.dir={small / 'store'}")
    told_in_one_line(command("optimize", *arguments), "store.dir must have room", "122,880 bytes")
    assert not list(small.rglob("*.tmp"))
    remount(small, "size=8m")
    ends_well([*arguments, "executor=inline"])
    is_whole(run_folder)
    assert list(small.rglob("pixels.u8"))


@pytest.mark.slow
def test_a_store_that_fills_up_costs_time_alone(command, experiment, is_whole, disk, run_folder):
    small = disk(140 << 10)  # room for the images, hardly for a block or what frozen layers give
    more = ["reuse.memory_gb=0", "reuse.gpu_gb=0", f"store.dir={small / 'store'}"]
    arguments = experiment(3, 2, *more)
    assert command("optimize", *arguments).code == 0
    is_whole(run_folder)


@pytest.mark.slow
def test_a_run_folder_that_cannot_be_written(
    command, experiment, ends_well, is_whole, disk, tmp_path, run_folder
):
    results = disk(16 * MB)
    arguments = experiment(3, 2, f"store.dir={tmp_path / 'store'}")
    (tmp_path / "runs").symlink_to(results)
    remount(results, "ro")
    told_in_one_line(command("optimize", *arguments), "must be writable", "runs_dir=")
    remount(results, "rw")
    ends_well([*arguments, "executor=inline", "search.max_hours=0.00001"])
    kept = {p: p.read_bytes() for p in results.rglob("*") if p.is_file()}
    remount(results, "ro")
    told_in_one_line(command("optimize", *arguments), "must be writable", "runs_dir=")
    assert {p: p.read_bytes() for p in results.rglob("*") if p.is_file()} == kept
    remount(results, "rw")
    ends_well([*arguments, "executor=inline"])
    is_whole(run_folder)
