"""What is asked for where a published dataset is absent."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from tl_hpo.data.published import Published
from tl_hpo.data.table import absolute_root
from tl_hpo.errors import UserError

SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Order:
    """What is to be fetched, from where, to where.

    Attributes:
        root: absolute; what the archive holds is to lie there.
        url: of the archive.
        mirrored: whether ``url`` is the user's, not the publisher's.
        sha256: of the archive as the user tells it.
        allowed: whether anything may be fetched at all.

    """

    published: Published
    root: Path
    url: str
    mirrored: bool
    sha256: str | None  # as configured
    allowed: bool

    @classmethod
    def of(cls, cfg: DictConfig, published: Published) -> "Order":
        """Return what ``cfg`` (the config group `dataset`) asks for.

        Raises:
            UserError: a setting that is none.

        """
        url = cfg.get("url")
        if url is not None and not re.match(r"https?://[^/]", str(url)):
            raise UserError(
                f"dataset.url must be the http or https address of an archive, got {url!r}; "
                f"leave it out for {published.url}."
            )
        allowed = cfg.get("download", True)
        if not isinstance(allowed, bool):
            raise UserError(f"dataset.download must be true or false, got {allowed!r}.")
        return cls(
            published, absolute_root(cfg.root), str(url or published.url), url is not None,
            _as_sha256(cfg.get("sha256")), allowed,
        )  # fmt: skip

    def beside(self, name: str) -> Path:
        """Return a path beside the root."""
        return self.root.parent / name

    @property
    def archive(self) -> Path:
        """Where the archive lies while it is not unpacked."""
        return self.beside(self.published.file)

    @property
    def record(self) -> Path:
        """Checksum of what was got before, as sha256sum writes it."""
        return self.beside(f"{self.published.file}.sha256")

    @property
    def mark(self) -> Path:
        """Tells an archive that we fetched from one that the user put there."""
        return self.beside(f".{self.published.file}.fetched")

    def expected(self) -> str | None:
        """Return the SHA-256 that the archive must have: the user's, the publisher's, the last.

        Raises:
            UserError: the file that records the last holds none.

        """
        return self.sha256 or self.published.sha256 or _recorded(self.record)


def _as_sha256(value: Any) -> str | None:
    text = None if value is None else str(value).strip().lower()
    if text is not None and not SHA256.fullmatch(text):
        raise UserError(
            f"dataset.sha256 must be the 64 hex digits of the archive's SHA-256, got {value!r}; "
            "leave it out, or take them from `sha256sum FILE`."
        )
    return text


def _recorded(path: Path) -> str | None:
    if not path.exists():
        return None
    found = SHA256.match(path.read_text(encoding="utf-8", errors="replace").lower())
    if not found:
        raise UserError(
            f"a .sha256 file must begin with 64 hex digits, as sha256sum writes it, got {path}; "
            "remove it to have it written anew."
        )
    return found[0]
