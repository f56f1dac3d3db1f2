"""Procedural endoscopy: what one synthetic video looks like.

Tissue, folds and findings are painted on the wall of a tube, then lit, then "filmed". The symbols
are those of the table in `phantom_scene`.
"""

from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tl_hpo.data.phantom_scene import Array, Bank, View, look, mix, on_wall, smooth, walk

FINDINGS = ("polyp", "residue", "dye", "inflammation")
MARK = "SYNTHETIC"


def render_video(
    rng: np.random.Generator,
    bank: Bank,
    findings: frozenset[str],
    frames: int,
    size: int,
    difficulty: float,
) -> Array:
    """Return one video as uint8 [frames, size, size, 3].

    Args:
        rng: the only source of chance, so that equal generators give equal bytes.
        bank: textures of the dataset.
        findings: what is to be seen, a subset of ``FINDINGS``.
        frames: number of correlated frames.
        size: pixels per side.
        difficulty: in [0, 1]; more noise and look-alikes, smaller and fainter findings.

    """
    view = look(rng, frames, size)
    base, light = _base_colour(rng), _light(rng, view, bank)
    colour = _tissue(rng, view, bank, base)
    if "inflammation" in findings:
        colour = _inflame(rng, view, bank, colour, difficulty)
    light = light * _bulges(rng, view)
    if "polyp" in findings:
        colour, light = _polyp(rng, view, bank, colour, light, base, difficulty)
    if "dye" in findings:
        colour = _dye(rng, view, bank, colour, cover=rng.uniform(0.5 - 0.3 * difficulty, 0.6))
    if "residue" in findings:
        cover = rng.uniform(0.24 - 0.18 * difficulty, 0.4)
        colour = _residue(rng, view, bank, colour, cover)
    elif rng.random() < 0.8 * difficulty:  # a speck of stool is no finding
        colour = _residue(rng, view, bank, colour, cover=rng.uniform(0.005, 0.03))
    colour = colour * light[..., None] + _glints(rng, view, bank, light)[..., None]
    return _film(rng, view, colour, difficulty)


def _base_colour(rng: np.random.Generator) -> Array:
    pink, orange, dull = (0.80, 0.43, 0.38), (0.86, 0.50, 0.26), (0.58, 0.40, 0.37)
    shares = rng.dirichlet([1.2, 0.9, 0.9])
    return (shares @ np.array([pink, orange, dull])).astype(np.float32)


def _tissue(rng: np.random.Generator, view: View, bank: Bank, base: Array) -> Array:
    tone = 1 + 0.10 * on_wall(rng, view, bank.cloud) + 0.04 * on_wall(rng, view, bank.grain, 2)
    vessels = rng.uniform(0.1, 0.6) * on_wall(rng, view, bank.vessel, 2)
    # Blood swallows green and blue more than red.
    absorbed = 1 - vessels[..., None] * np.array([0.30, 0.62, 0.55], dtype=np.float32)
    return base * tone[..., None] * absorbed


def _light(rng: np.random.Generator, view: View, bank: Bank) -> Array:
    """Return the light on the wall: the lumen in the dark, folds bright before their crest."""
    depth = 1 - 0.93 * np.exp(-((view.r / rng.uniform(0.28, 0.5)) ** 2))
    wobble = on_wall(rng, view, bank.cloud)
    t = (view.u * rng.uniform(1.2, 2.6) + 0.30 * wobble + rng.uniform(0, 1)) % 1.0
    ring = t**2 * smooth(1.0, 0.86, t) - 0.25
    lean = rng.uniform(0, 2 * np.pi)
    side = 1 + 0.18 * (view.x * np.cos(lean) + view.y * np.sin(lean))
    strength = rng.uniform(0.5, 1.1) * np.clip(0.7 + 0.5 * wobble, 0.1, 1.3)
    return rng.uniform(0.95, 1.3) * depth * side * (1 + strength * ring)


def _bulges(rng: np.random.Generator, view: View) -> Array:
    """Return soft relief without an outline, which every colon has, as a factor on the light."""
    relief = np.ones((1, 1, 1), dtype=np.float32)
    frames = len(view.r)
    for _ in range(rng.integers(0, 4)):
        dx = view.x - walk(rng, frames, rng.uniform(-0.9, 0.9), 0.03)
        dy = view.y - walk(rng, frames, rng.uniform(-0.9, 0.9), 0.03)
        width, lean = rng.uniform(0.15, 0.45), rng.uniform(0, 2 * np.pi)
        slope = (dx * np.cos(lean) + dy * np.sin(lean)) / width
        hill = np.exp(-(dx**2 + dy**2) / width**2)
        relief = relief * (1 + hill * (rng.uniform(0, 0.35) + 0.5 * slope))
    return relief


def _polyp(
    rng: np.random.Generator,
    view: View,
    bank: Bank,
    colour: Array,
    light: Array,
    base: Array,
    difficulty: float,
) -> tuple[Array, Array]:
    """Return colour and light with a dome-shaped polyp: outline, own relief, shadow around it."""
    frames = len(view.r)
    dx = view.x - walk(rng, frames, rng.uniform(-0.55, 0.55), 0.04)
    dy = view.y - walk(rng, frames, rng.uniform(-0.55, 0.55), 0.04)
    radius = rng.uniform(0.30 - 0.14 * difficulty, 0.46 - 0.06 * difficulty)
    angle, turns = np.arctan2(dy, dx), rng.uniform(0, 2 * np.pi, 2)
    lobes = 1 + 0.10 * np.cos(2 * angle + turns[0]) + 0.06 * np.cos(3 * angle + turns[1])
    d = np.hypot(dx, dy) / (radius * lobes)
    height, lean = np.sqrt(np.maximum(1 - d**2, 0)), rng.uniform(0, 2 * np.pi)
    slope = (dx * np.cos(lean) + dy * np.sin(lean)) / radius  # positive towards the lamp
    facing = 0.35 + 0.65 * height + 0.28 * slope
    tint = 1 + rng.uniform(-1, 1) * np.array([0.10, 0.22, 0.20]) * (1.2 - 0.6 * difficulty)
    pits = 1 + 0.09 * on_wall(rng, view, bank.grain, 3)
    body = smooth(1.05, 0.93, d)
    shade = np.clip(0.3 - 0.35 * slope, 0, 0.5)
    shadow = 1 - shade * np.exp(-(((d - 1) / 0.22) ** 2)) * (d > 1)
    # It stands out into the lamp: the folds and the dark lumen behind it do not show through.
    lit = 0.25 * light + 0.85 * np.median(light, axis=(1, 2), keepdims=True)
    return (
        mix(colour, (base * tint * pits[..., None]).astype(np.float32), body),
        light * shadow + (lit * facing - light * shadow) * body,
    )


def _patches(rng: np.random.Generator, view: View, texture: Array, cover: float) -> Array:
    """Return the opacity of patches that cover about the share ``cover`` of the wall."""
    field = on_wall(rng, view, texture) + 0.5 * view.y  # fluids gather at the bottom
    edge = np.quantile(field[:, ::4, ::4], 1 - cover)
    return smooth(-0.15, 0.25, field - edge)


def _residue(
    rng: np.random.Generator, view: View, bank: Bank, colour: Array, cover: float
) -> Array:
    yellow, brown = np.array([0.74, 0.60, 0.26]), np.array([0.50, 0.34, 0.16])
    stool = brown + (yellow - brown) * rng.random()
    lumps = 1 + 0.16 * on_wall(rng, view, bank.grain, 2)
    alpha = _patches(rng, view, bank.blotch, cover)
    rim = 1 - 0.35 * alpha * (1 - alpha) * 4
    return mix(colour * rim[..., None], (stool * lumps[..., None]).astype(np.float32), alpha)


def _dye(rng: np.random.Generator, view: View, bank: Bank, colour: Array, cover: float) -> Array:
    blue = np.array([0.30, 0.55, 1.05]) + rng.uniform(-0.06, 0.06, 3)
    dyed = colour * blue + np.array([0.0, 0.05, 0.16])
    pooled = _patches(rng, view, bank.cloud, cover)
    alpha = rng.uniform(0.5, 0.9) * pooled * (0.75 + 0.12 * on_wall(rng, view, bank.blotch))
    return mix(colour, dyed.astype(np.float32), alpha)


def _inflame(
    rng: np.random.Generator, view: View, bank: Bank, colour: Array, difficulty: float
) -> Array:
    red = _patches(rng, view, bank.cloud, rng.uniform(0.4, 0.8))
    spots = smooth(1.0, 1.7, on_wall(rng, view, bank.grain, 1)) * red
    strength = 1.0 - 0.5 * difficulty
    flushed = colour * np.array([1.02, 0.80, 0.80], dtype=np.float32)
    bloody = np.array([0.50, 0.08, 0.08], dtype=np.float32)
    return mix(mix(colour, flushed, strength * red), bloody, strength * spots)


def _glints(rng: np.random.Generator, view: View, bank: Bank, light: Array) -> Array:
    """Return reflections of the lamp on wet tissue, [f, s, s]."""
    field = on_wall(rng, view, bank.blotch, 4) + 0.7 * light
    return 0.9 * smooth(0, 0.45, field - rng.uniform(2.6, 3.2)) * np.clip(light, 0, 1)


def _film(rng: np.random.Generator, view: View, colour: Array, difficulty: float) -> Array:
    """Return what the camera makes of the scene: balance, exposure, noise, frame, mark."""
    frames, size = colour.shape[:2]
    cast = rng.uniform(-1, 1) * np.array([0.12, 0.02, -0.24]) * (0.3 + 0.9 * difficulty)
    exposure = walk(rng, frames, rng.uniform(0.9, 1.15), 0.02)[..., None]
    colour = np.clip(colour * (1 + cast).astype(np.float32) * exposure, 0, None)
    colour = colour / (1 + 0.18 * colour)  # soft shoulder instead of burnt-out planes
    sigma = 0.006 + 0.03 * difficulty * rng.random()
    colour = colour + sigma * rng.standard_normal(colour.shape, dtype=np.float32)
    corner = rng.uniform(1.52, 1.8)
    beyond = np.maximum(np.hypot(view.x, view.y) / 1.16, (abs(view.x) + abs(view.y)) / corner)
    colour = 0.02 + colour * smooth(1.02, 0.97, beyond)[..., None]
    box, letters = _mark(size)
    colour = colour * (1 - box[..., None]) + 0.8 * letters[..., None]
    return (np.clip(colour, 0, 1) * 255 + 0.5).astype(np.uint8)


@lru_cache(maxsize=8)
def _mark(size: int) -> tuple[Array, Array]:
    """Return the black box and the letters of the mark, alike in all images, each [s, s]."""
    font = ImageFont.load_default(size=40)
    left, top, right, bottom = (int(edge) for edge in font.getbbox(MARK))
    text = Image.new("L", (right - left + 16, bottom - top + 16))
    ImageDraw.Draw(text).text((8 - left, 8 - top), MARK, fill=255, font=font)
    width = max(1, round(0.5 * size))
    height = max(1, round(width * text.height / text.width))
    box, letters = (np.zeros((size, size), dtype=np.float32) for _ in range(2))
    box[-height:, :width] = 1
    small = text.resize((width, height), Image.Resampling.BOX)
    letters[-height:, :width] = np.asarray(small, dtype=np.float32) / 255
    return box, letters
