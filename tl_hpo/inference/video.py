"""Frames of a video, by PyAV: upright, at times that its own clock tells."""

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

from tl_hpo.data.images import squashed
from tl_hpo.errors import UserError
from tl_hpo.inference.source import Batch, Entry, shown

log = logging.getLogger(__name__)

# Others are no recordings: FFmpeg reads playlists that name further files, and text as a picture.
FORMATS = (
    "asf", "avi", "dv", "flv", "h264", "hevc", "matroska", "mov", "mp4", "mpeg", "mpegts",
    "mpegvideo", "mxf", "ogg", "webm",
)  # fmt: skip
_OPTIONS = {"format_whitelist": ",".join(FORMATS), "protocol_whitelist": "file"}
_USUAL_RATE = 25.0  # frames per second, of a video that does not tell
_SLACK = 1e-6  # seconds by which clocks round


@dataclass(frozen=True)
class Frame:
    """A frame; ``number`` counts from 0, ``seconds`` from the first frame that was decoded."""

    number: int
    seconds: float
    kept: Image.Image | None

    def cells(self) -> dict[str, str]:
        """Return its columns in the csv."""
        return {"frame": str(self.number), "seconds": f"{self.seconds:.3f}"}

    def name(self) -> str:
        """Return a name that sorts by time."""
        return f"frame_{self.number:07d}"

    def picture(self) -> Image.Image:
        """Return its picture, which was kept."""
        assert self.kept is not None
        return self.kept


def is_video(path: Path) -> bool:
    """Tell whether FFmpeg finds a video in the file."""
    try:
        with _opened(path) as container:
            return bool(container.streams.video)
    except (av.FFmpegError, OSError, ValueError):
        return False


def _opened(path: Path) -> Any:
    """Open a video, whose title and the like need not be UTF-8: old cameras write Latin-1."""
    return av.open(str(path), options=_OPTIONS, metadata_errors="replace")


class Video:
    """The frames of a video.

    What is damaged is left out and told at the end.

    Args:
        path: of the file.
        every: seconds between frames; 0 takes all.
        pictures: frames whose pictures are kept.

    """

    columns: tuple[str, ...] = ("frame", "seconds")

    def __init__(self, path: Path, every: float, pictures: int = 0) -> None:
        self._path, self._every, self._pictures = path, every, pictures
        with _opened(path) as container:
            self.total: int | None = _count(container, every)

    def batches(self, shape: tuple[int, int], batch_size: int) -> Iterator[Batch]:
        """Yield the frames, squashed as images are.

        Raises:
            UserError: not one frame can be decoded.

        """
        entries: list[Entry] = []
        images: list[np.ndarray] = []
        for frame, image in self._frames():
            entries.append(frame)
            images.append(squashed(image, shape))
            if len(entries) == batch_size:
                yield Batch(entries, np.stack(images))
                entries, images = [], []
        if entries:
            yield Batch(entries, np.stack(images))

    def _frames(self) -> Iterator[tuple[Frame, Image.Image]]:
        """Yield the frames that are due, with their pictures."""
        due, taken, number, start = 0.0, 0, -1, None
        faults: list[str] = []
        with _opened(self._path) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            _check_pixels(stream)
            for number, decoded in enumerate(_decoded(container, stream, faults)):
                told = _seconds(decoded, number, stream)
                start = told if start is None else start
                seconds = max(0.0, told - start)
                if seconds + _SLACK < due:
                    continue
                if self._every:
                    due = (math.floor((seconds + _SLACK) / self._every) + 1) * self._every
                image = _upright(decoded)
                kept = shown(image.copy()) if taken < self._pictures else None
                taken += 1
                yield Frame(number, seconds, kept), image
        self._tell(faults, number + 1)

    def _tell(self, faults: list[str], frames: int) -> None:
        if not frames:
            reason = faults[0] if faults else "it has none"
            raise UserError(
                f"input must be a video with frames that can be decoded, got {str(self._path)!r} "
                f"({reason}); give another copy of it, or convert it to MP4."
            )
        if faults:
            log.warning(
                "The video is damaged in %d places (the first: %s); %d frames were decoded.",
                len(faults), faults[0], frames,
            )  # fmt: skip


def _count(container: Any, every: float) -> int | None:
    """Return about how many frames will be taken, None where the video does not tell."""
    stream = container.streams.video[0] if container.streams.video else None
    if stream is None or not container.duration:
        return None
    seconds = container.duration / av.time_base
    if every:
        return int(seconds / every) + 1
    return stream.frames or int(seconds * float(stream.average_rate or _USUAL_RATE))


def _check_pixels(stream: Any) -> None:
    limit, pixels = Image.MAX_IMAGE_PIXELS, stream.width * stream.height
    if limit is not None and pixels > limit:
        raise UserError(
            f"frames of a video must have at most {limit:,} pixels, got {pixels:,}; scale it down."
        )


def _decoded(container: Any, stream: Any, faults: list[str]) -> Iterator[Any]:
    """Yield all frames that can be decoded, in the order of their times; note what cannot."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except (av.FFmpegError, OSError) as error:
            faults.append(_reason(error))
            return
        try:
            frames = packet.decode()
        except (av.FFmpegError, OSError) as error:
            faults.append(_reason(error))
            continue
        yield from frames


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _seconds(frame: Any, number: int, stream: Any) -> float:
    """Return the time of a frame by the video's own clock, which need not be regular."""
    if frame.time is not None:
        return float(frame.time)
    return number / float(stream.average_rate or _USUAL_RATE)


def _upright(frame: Any) -> Image.Image:
    """Return the picture of a frame, turned as players turn it."""
    image: Image.Image = frame.to_image()
    return image.rotate(frame.rotation, expand=True) if frame.rotation else image
