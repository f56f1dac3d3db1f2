"""From the path that a user gives to what is predicted."""

import logging
import os
from pathlib import Path

from tl_hpo.data.images import opened
from tl_hpo.data.layouts.listing import IMAGE_SUFFIXES, files, named
from tl_hpo.errors import UserError
from tl_hpo.inference.source import Picture, Pictures
from tl_hpo.inference.video import Video, is_video

log = logging.getLogger(__name__)


def open_input(path: Path, every: float, pictures: int = 0) -> Pictures | Video:
    """Return the images of a file, of a folder and those below it, or of a video.

    Args:
        path: what was given.
        every: seconds between the frames of a video; 0 takes all.
        pictures: frames of a video whose pictures are kept, to be shown.

    Raises:
        UserError: it does not exist, or holds neither image nor video.

    """
    if path.is_dir():
        return _folder(path)
    if not path.is_file():
        raise UserError(
            f"input must be an image, a folder of images or a video, got {str(path)!r}, which "
            "does not exist; check the path (with blanks: \"input='my images'\")."
        )
    if path.suffix.lower() not in IMAGE_SUFFIXES and not _is_image(path) and is_video(path):
        return Video(path, every, pictures)
    return Pictures([Picture(path, path.name)])


def _is_image(path: Path) -> bool:
    try:
        with opened(path):
            return True
    except Exception:  # Pillow's plugins raise nearly anything on damaged files
        return False


def _folder(folder: Path) -> Pictures:
    found = files(folder)
    images = [path for path in found if path.suffix.lower() in IMAGE_SUFFIXES]
    others = [path.name for path in found if path.suffix.lower() not in IMAGE_SUFFIXES]
    if not images:
        held = f"only other files ({named(others)})" if others else "no file"
        raise UserError(
            f"input must hold images ({', '.join(sorted(IMAGE_SUFFIXES))}), got {str(folder)!r} "
            f"with {held}; give a folder of images, or one video."
        )
    if others:
        log.warning("%d files are no images and are left out (%s)", len(others), named(others))
    prefix = len(os.path.join(folder, ""))
    return Pictures([Picture(path, str(path)[prefix:]) for path in images])
