"""Time and memory of ``python -m tl_hpo.data.audit`` on many images of a usual size.

The images are phantom videos of five frames, enlarged to 620 x 530 pixels, with sensor noise, as
JPEG files of about 80 kB in a temporary folder. The command runs in a process of its own: time
counts from its start to its end, imports included, and memory is the most that was resident, all
of it. The second row repeats the command, with the fingerprints of the first.

Estimated for 2 cores and 10,000 images: 5 minutes, most of it to make the images.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench.common import REPOSITORY, make_parser, positive, print_header, say, table
from tl_hpo.data.phantom_render import FINDINGS, render_video
from tl_hpo.data.phantom_scene import make_bank
from tl_hpo.overrides import override

CLASSES = 5
FRAMES = 5
WIDTH, HEIGHT = 620, 530
RENDERED = 96  # pixels per side before enlarging
QUALITY = 90
NOISE = 3.0  # grey levels
MB = 1e6


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print the table."""
    parser = make_parser("audit", __doc__)
    parser.add_argument("--images", type=positive, default=10_000, help="default: 10000")
    options = parser.parse_args(arguments)
    print_header("audit", arguments, "cpu")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        say(f"making {options.images} images")
        size = make_images(folder / "images", options)
        rows = [_audited(run, folder, options.images, size) for run in ("first", "again")]
    print(table(rows))


def make_images(root: Path, options: argparse.Namespace) -> float:
    """Write the images, a folder per class, and return their mean size in kB."""
    videos = -(-options.images // FRAMES)
    bank = make_bank(0)
    noise = np.random.default_rng(0).normal(0, NOISE, (2 * HEIGHT, 2 * WIDTH, 3)).astype(np.int16)

    def write(video: int) -> int:
        rng = np.random.default_rng(video)
        label = video % CLASSES
        findings = frozenset(FINDINGS[label - 1 : label] if label else ())
        frames = min(FRAMES, options.images - video * FRAMES)
        written = 0
        for index, frame in enumerate(render_video(rng, bank, findings, frames, RENDERED, 0.5)):
            path = root / f"class-{label}" / f"{video:05d}_{index}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            _enlarged(frame, noise, rng).save(path, quality=QUALITY)
            written += path.stat().st_size
        return written

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return sum(pool.map(write, range(videos))) / options.images / 1e3


def _enlarged(frame: np.ndarray, noise: np.ndarray, rng: np.random.Generator) -> Image.Image:
    large = Image.fromarray(frame).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    y, x = rng.integers(0, HEIGHT), rng.integers(0, WIDTH)
    noisy = np.asarray(large, dtype=np.int16) + noise[y : y + HEIGHT, x : x + WIDTH]
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def _audited(run: str, folder: Path, images: int, size: float) -> dict[str, Any]:
    say(f"auditing: {run}")
    command = [sys.executable, "-m", "tl_hpo.data.audit", "dataset=folder"]
    command += [override("dataset.root", str(folder / "images"))]
    command += [override("runs_dir", str(folder / "runs"))]
    began = time.perf_counter()
    with (folder / "output").open("w") as output:
        process = subprocess.Popen(command, cwd=REPOSITORY, stdout=output, stderr=output)
        # Waiting by hand: only so is the memory of this one child told.
        _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError((folder / "output").read_text())
    return {
        "run": run,
        "images": images,
        "kB each": size,
        "seconds": seconds,
        "peak MB": usage.ru_maxrss * 1024 / MB,
    }


if __name__ == "__main__":
    main()
