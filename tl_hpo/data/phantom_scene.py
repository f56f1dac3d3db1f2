"""Where a phantom's camera looks and the textures of what it sees.

The camera looks into a tube. In log-polar coordinates around the lumen, (theta, u = -log r),
walls are flat and a texture that is periodic in theta wraps around seamlessly; moving forward is
a shift of u.

| symbol | meaning | shape |
|---|---|---|
| f, s | frames of the video, pixels per side | |
| x, y | image coordinates in [-1, 1] | [1, s, s] |
| theta, u | log-polar coordinates around the lumen | [f, s, s] |
| colour | linear RGB in about [0, 1] | [f, s, s, 3] |
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import map_coordinates

TEXTURE = 256  # pixels per turn of theta; finer than an image of 224 px needs

Array = np.ndarray


@dataclass(frozen=True)
class Bank:
    """Textures shared by all videos of a seed, each [TEXTURE, TEXTURE], periodic, std about 1."""

    cloud: Array
    blotch: Array
    grain: Array
    vessel: Array


@dataclass(frozen=True)
class View:
    """Where every pixel of every frame looks; see the table at the top of this module."""

    x: Array
    y: Array
    r: Array
    theta: Array
    u: Array


def make_bank(seed: int) -> Bank:
    """Return the textures of ``seed``."""
    rng = np.random.default_rng([seed, 0xBA4C])
    cloud, blotch, grain, network = (_noise(rng, power) for power in (2.7, 1.6, 0.6, 2.0))
    # Vessels run along the zero crossings of a smooth field, broken up where `cloud` is low.
    vessel = np.exp(-((network / 0.10) ** 2)) * (1 / (1 + np.exp(-2.5 * cloud)))
    return Bank(cloud, blotch, grain, vessel.astype(np.float32))


def look(rng: np.random.Generator, frames: int, size: int) -> View:
    """Return where a hand-held camera looks: off-centre, an oval lumen, drifting forward."""
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    y, x = np.meshgrid(axis, axis, indexing="ij")
    bearing, distance = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.9)
    dx = x[None] - walk(rng, frames, distance * np.cos(bearing), 0.04)
    dy = y[None] - walk(rng, frames, distance * np.sin(bearing), 0.04)
    angle = np.arctan2(dy, dx)
    ovals = rng.uniform(0, [0.22, 0.12])
    turns = rng.uniform(0, 2 * np.pi, 2)
    outline = 1 + ovals[0] * np.cos(2 * angle + turns[0]) + ovals[1] * np.cos(3 * angle + turns[1])
    r = (np.hypot(dx, dy) / outline.astype(np.float32) + 0.02).astype(np.float32)
    travel = walk(rng, frames, 0.0, 0.06)
    theta = angle + walk(rng, frames, rng.uniform(0, 2 * np.pi), 0.04)
    return View(x[None], y[None], r, theta, travel - np.log(r))


def walk(rng: np.random.Generator, frames: int, start: float, step: float) -> Array:
    """Return a random walk over the frames, [frames, 1, 1]."""
    steps = rng.normal(0, step, frames)
    steps[0] = start
    return np.cumsum(steps).astype(np.float32)[:, None, None]


def smooth(low: float, high: float, value: Array) -> Array:
    """Return the cubic step from 0 at ``low`` to 1 at ``high`` (which may be the smaller)."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def mix(under: Array, over: Array, alpha: Array) -> Array:
    """Return ``over`` laid on ``under`` with opacity ``alpha`` [f, s, s]."""
    return under + (over - under) * alpha[..., None]


def on_wall(rng: np.random.Generator, view: View, texture: Array, scale: int = 1) -> Array:
    """Return ``texture`` painted on the wall at a chance place, [f, s, s]."""
    per_radian = TEXTURE * scale / (2 * np.pi)
    shift = rng.uniform(0, TEXTURE, 2).astype(np.float32)
    rows, columns = view.u * per_radian + shift[0], view.theta * per_radian + shift[1]
    return map_coordinates(texture, np.stack([rows, columns]), order=1, mode="grid-wrap")


def _noise(rng: np.random.Generator, power: float) -> Array:
    """Return periodic noise with an amplitude spectrum of 1/f^power, standardised."""
    fy, fx = np.fft.fftfreq(TEXTURE)[:, None], np.fft.rfftfreq(TEXTURE)[None]
    # The lowest frequencies are flattened, else one blob fills the whole texture.
    frequency = np.maximum(np.hypot(fy, fx), 3 / TEXTURE)
    spectrum = np.fft.rfft2(rng.standard_normal((TEXTURE, TEXTURE))) / frequency**power
    spectrum[0, 0] = 0
    field = np.fft.irfft2(spectrum, s=(TEXTURE, TEXTURE))
    return (field / field.std()).astype(np.float32)
