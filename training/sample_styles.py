"""Five style pictures that the project draws itself, each from a width, a height and a seed.

The functions of `STYLES` draw small pictures at twice the size asked for; `draw_style` scales them
down. Units, places and colours are those of `sample_sheet`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy import clip, cos, exp, hypot, sin
from PIL import Image, ImageDraw, ImageFilter
from sample_sheet import (
    Array,
    Sheet,
    colour,
    edge,
    lookup,
    mix,
    picture,
    ramp,
    scene_of,
    sheet_of,
    varnish,
)

# ---------------------------------------------------------------- strokes

STARS = (
    (0.83, 0.17, 0.075), (0.07, 0.1, 0.026), (0.22, 0.41, 0.024), (0.22, 0.14, 0.022),
    (0.5, 0.09, 0.03), (0.64, 0.2, 0.019), (0.47, 0.5, 0.027), (0.8, 0.44, 0.02),
    (0.95, 0.36, 0.031), (0.96, 0.06, 0.02), (0.06, 0.33, 0.032),
)  # fmt: skip


def _night_sky(scene: Sheet) -> tuple[Array, Array]:
    """Return directions (H,W) and colours of a sky; strokes follow a stream function's contours."""
    stream = scene.y + 0.03 * scene.noise(3, 3, 2)
    for u, v, radius, turn in ((0.36, 0.27, 0.15, 1), (0.63, 0.42, 0.12, -1)):
        right, down = scene.away(u, v)
        stream = stream + turn * 0.33 * exp(-((hypot(right, down * 1.15) / radius) ** 1.5))
    bands = 0.5 + 0.5 * sin(stream * 34 + 0.6 * scene.noise(4, 4, 2))
    colours = ramp(bands, "101c4f 16307f 1f4aa5 2f6fc0 6ba3d0 b9d3d6")
    colours = mix(colours, "0d1a4a", 0.55 * edge(0.12 - scene.v, 0.4))
    slope_y, slope_x = np.gradient(stream)
    heading = np.arctan2(-slope_x, slope_y)
    for u, v, size in STARS:
        right, down = scene.away(u, v)
        far = hypot(right, down) / size
        glow = exp(-((far / 1.7) ** 2)) + 0.12 * sin(far * 5.5) * exp(-far / 2.2)
        halo = ramp(clip(glow, 0, 1), "4f8fae 9dbd8a e3c24a f5d75e fdf3c4")
        colours = mix(colours, halo, glow * 1.8)
        apart = (np.arctan2(down, right) + np.pi / 2 - heading + np.pi) % (2 * np.pi) - np.pi
        heading = heading + apart * exp(-((far / 2.6) ** 4))
    return heading, colours


def _night_land(scene: Sheet, heading: Array, colours: Array) -> tuple[Array, Array]:
    """Lay two ranges of hills, a wheat field and a pair of cypresses over the sky."""
    v = scene.v
    ranges = (0.6, "1a2f66 25508c 3f7f9a 6aa39a"), (0.66, "12284f 1d4f5f 2f7160 7da06a")
    for base, codes in ranges:
        ridge = base + 0.033 * scene.noise(4, 1, 2)[:1]
        tone = 0.5 + 0.5 * sin((v - ridge) * 150 + 1.5 * scene.noise(6, 6, 2))
        colours = mix(colours, ramp(tone, codes), edge(v - ridge, 0.004))
        tilt = np.arctan(np.gradient(ridge[0]) * scene.size[1])
        heading = np.where(v > ridge, tilt + 0.25 * sin(v * 60), heading)
    ground, gust = 0.73 + 0.02 * scene.noise(3, 1)[:1], scene.noise(5, 4, 3)
    tone = 0.5 + 0.22 * gust + 0.28 * sin((v - ground) * 70 + gust)
    field = ramp(tone, "7a4a16 b07a1e d99a1f f0bd2b f7d75c fbeeb0")
    green = edge(sin(scene.x * 9 + scene.y * 22 + gust) - 0.72, 0.4)
    colours = mix(colours, mix(field, "5f7a2e", 0.8 * green), edge(v - ground, 0.004))
    heading = np.where(v > ground, -1.15 + 0.4 * gust + 0.5 * sin(scene.x * 7), heading)
    for u, top, foot, girth in ((0.13, 0.17, 0.94, 0.085), (0.235, 0.43, 0.9, 0.045)):
        rise = clip((v - top) / (foot - top), 0, 1)
        beside = scene.away(u, 0)[0] - 0.012 * sin(v * 26 + u * 40)
        body = girth * rise**0.8 * (1 - rise**5) * (1 + 0.16 * sin(v * 70)) - abs(beside)
        flame = ramp(0.5 + 0.5 * sin(beside * 170 + v * 9), "0b1a1c 12302a 1f4a2c 55752f")
        colours = mix(colours, flame, edge(body, 0.006))
        heading = np.where(body > 0, -1.57 + 0.5 * cos(v * 26 + u * 40), heading)
    return heading, colours


def _follow(scene: Sheet, heading: Array, starts: Array, lengths: Array) -> Array:
    """Follow paths (N,7,2) in fractions along the headings from `starts`, of `lengths` in units."""
    path = [starts]
    for _ in range(6):
        turn = lookup(heading, path[-1])
        step = np.stack([cos(turn), sin(turn)], axis=-1) * lengths[:, None] / 6 / scene.spans
        path.append(path[-1] + step)
    return np.stack(path, axis=1)


def _brush(sheet: Sheet, canvas: Image.Image, paths: Array, inks: Array, thickness: float) -> None:
    """Draw strokes along `paths` (N,S,2) in `inks` (N,3): bundles of bristles of uneven height."""
    rng, (count, steps) = sheet.rng, paths.shape[:2]
    bristles = 5 if thickness < 0.009 else 8
    points = paths * sheet.size
    along = np.gradient(points, axis=1)
    along /= np.maximum(np.linalg.norm(along, axis=-1, keepdims=True), 1e-6)
    beside = np.stack([-along[..., 1], along[..., 0]], axis=-1)
    taper = sin(np.linspace(0.35, 2.85, steps)) ** 0.6
    girth = thickness * sheet.unit / 2 * rng.uniform(0.6, 1.25, (count, 1)) * taper
    offsets = np.linspace(-1, 1, bristles) + rng.normal(0, 0.1, (count, bristles))
    # (N,B,S,2): each bristle beside the path
    hairs = points[:, None] + (offsets[..., None] * girth[:, None])[..., None] * beside[:, None]
    tints = inks[:, None] * rng.normal(1, 0.09, (count, bristles, 1))
    tints = tints + rng.normal(0, 0.018, (count, bristles, 3))
    # paint is pushed to the sides of a stroke, where it stands higher
    ridges = 0.37 + 0.3 * abs(offsets) + rng.normal(0, 0.13, (count, bristles))
    paint = np.concatenate([tints, ridges[..., None]], axis=-1)
    paint = (clip(paint, 0, 1) * 255).astype(np.uint8)
    first, lifted = rng.integers(0, 2, (count, bristles)), rng.integers(0, 3, (count, bristles))
    width, pen = max(1, round(thickness * sheet.unit / bristles * 1.35)), ImageDraw.Draw(canvas)
    strokes = zip(hairs.tolist(), paint.tolist(), first.tolist(), lifted.tolist(), strict=True)
    for bundle in strokes:
        for hair, ink, begin, early in zip(*bundle, strict=True):  # the ends are ragged
            pen.line([tuple(p) for p in hair[begin : steps - early]], fill=tuple(ink), width=width)


def _draw_strokes(width: int, height: int, seed: int) -> Image.Image:
    """Draw a night sky over wheat in short curved strokes of thick paint."""
    sheet = sheet_of(width, height, seed)
    rng, scene = sheet.rng, scene_of(sheet)
    heading, colours = _night_land(scene, *_night_sky(scene))
    canvas = picture(colours * 0.7).resize(sheet.size)
    canvas.putalpha(60)
    accents = ramp(np.linspace(0, 1, 6), "e8b62c f6e7b0 2f7f6b 8fb7d8 1a2a6c c9722a")
    for count, length, thickness, stray in (
        (1100, 0.13, 0.03, 0.0), (3000, 0.085, 0.0155, 0.03), (4200, 0.05, 0.0085, 0.05),
    ):  # fmt: skip
        starts = rng.uniform(-0.06, 1.06, (count, 2))
        paths = _follow(scene, heading, starts, length * rng.uniform(0.6, 1.2, count))
        # the colour is that of the stroke's middle, so that stars keep their place
        inks = lookup(colours, paths[:, 3]) * rng.normal(1, 0.1, (count, 1))
        inks += rng.normal(0, 0.025, (count, 3))
        share = 0.55 * (rng.random(count) < stray)
        inks = mix(inks, accents[rng.integers(0, 6, count)], share)
        _brush(sheet, canvas, paths, inks, thickness)
    return varnish(sheet, canvas, 4.0)


# ---------------------------------------------------------------- glass

PANES = (
    "ffe9a0 ffd04a ffb01f fff4cc",  # sun
    "e8461e f2821d c81e2b f7a823",  # petals
    "1f4fc4 2f86d8 173a9c 5fb4e6",  # one ray of the sky
    "4a2a9a 7a3fb0 2a2080 b0429a",  # the next
    "0f7a4a 3aa04a 0a5a55 9abf3a",  # hills
    "0f8f9f 1c6fb0 35b8b0 124a80",  # water
)


def _relaxed(sheet: Sheet, count: int) -> Array:
    """Spread points (N,2) in units evenly over the picture and a margin, no two alike."""
    crowd = sheet.rng.uniform(-0.5, 0.5, (6000, 2)) * (sheet.spans + 0.12)
    sites = crowd[:count]
    for _ in range(4):  # Lloyd's method on a crowd; a few rounds leave it irregular
        owner = ((crowd[:, None] - sites) ** 2).sum(axis=-1).argmin(axis=1)
        members = np.maximum(np.bincount(owner, minlength=count), 1)
        sums = [np.bincount(owner, crowd[:, i], minlength=count) for i in (0, 1)]
        sites = np.stack(sums, axis=-1) / members[:, None]
    return sites


def _cells(x: Array, y: Array, sites: Array) -> tuple[Array, Array]:
    """Find the nearest site (H,W) and the distance to the border of its cell, in units."""
    nearest, second = np.full((2, *x.shape), 9.0, np.float32)
    owner, rival = np.zeros((2, *x.shape), int)
    reach = 2.6 / np.sqrt(len(sites))  # wider than any cell, so that only neighbours are compared
    for index, (right, down) in enumerate(sites.astype(np.float32)):
        columns = np.flatnonzero(abs(x - right).min(axis=0) < reach)
        rows = np.flatnonzero(abs(y - down).min(axis=1) < reach)
        if not (columns.size and rows.size):
            continue
        here = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        far = (x[here] - right) ** 2 + (y[here] - down) ** 2
        closer, close = far < nearest[here], far < second[here]
        second[here] = np.where(closer, nearest[here], np.where(close, far, second[here]))
        rival[here] = np.where(closer, owner[here], np.where(close, index, rival[here]))
        nearest[here] = np.where(closer, far, nearest[here])
        owner[here] = np.where(closer, index, owner[here])
    between = hypot(*np.moveaxis(sites[owner] - sites[rival], -1, 0))
    return owner, (second - nearest) / (2 * between + 1e-3)


def _window(x: Array, y: Array) -> tuple[Array, Array]:
    """Design the window: which of `PANES` a place belongs to, and how far its outlines are."""
    radius, turn = hypot(x, y + 0.09), np.arctan2(y + 0.09, x)
    petal = 0.215 + 0.045 * cos(turn * 12)
    rays = sin(turn * 12 + 0.9 * sin(radius * 9))
    hills = y - 0.25 - 0.05 * sin(x * 7 + 0.6) - 0.1 * x
    water = y - 0.36 - 0.018 * sin(x * 17) + 0.06 * x
    sun, flower, land = radius < 0.105, radius < petal, (hills > 0) & (radius > petal)
    region = np.select([water > 0, land, sun, flower, rays > 0], [5, 4, 0, 1, 2], 3)
    outlines = [abs(radius - 0.105), abs(radius - petal) * 0.75, abs(water) * 0.9]
    outlines.append(np.where(flower, 9, abs(hills) * 0.9))
    outlines.append(np.where(flower | (hills > 0), 9, abs(rays) * radius / 12))
    outlines.append(np.where(flower & ~sun, abs(cos(turn * 6)) * radius / 6, 9))
    return region, np.minimum.reduce(outlines)


def _draw_glass(width: int, height: int, seed: int) -> Image.Image:
    """Draw a stained-glass sunrise in lead."""
    sheet = sheet_of(width, height, seed)
    sites = _relaxed(sheet, 190)
    bends = sheet.noise(9, 9), sheet.noise(9, 9)
    x, y = sheet.x + 0.007 * bends[0], sheet.y + 0.007 * bends[1]
    owner, border = _cells(x, y, sites)
    region, outlines = _window((x + sheet.x) / 2, (y + sheet.y) / 2)
    sun = region == 0
    owner, border = np.where(sun, 0, owner), np.where(sun, 9, border)
    # a pane, which is a cell cut by the design, has its own colour and direction of grain
    hue, lean, shine = sheet.rng.random((3, len(PANES), len(sites)))
    colours = np.stack([ramp(hue[i], codes) for i, codes in enumerate(PANES)])[region, owner]
    tilt, wisps = lean[region, owner] * np.pi, sheet.noise(14, 14, 4)
    right, down = np.where(sun, 0, np.moveaxis(sites[owner], -1, 0))
    right, down = sheet.x - right, sheet.y - down
    ripple = sin((right * cos(tilt) + down * sin(tilt)) * 260 + 5 * bends[0])
    slant = right * cos(tilt * 2) + down * sin(tilt * 2)
    light = 0.82 + 0.4 * shine[region, owner] + 2.2 * slant + 0.06 * ripple + 0.1 * wisps
    light *= 0.62 + 0.38 * clip(np.minimum(border, outlines) / 0.022, 0, 1)
    light *= 1.12 - 0.65 * (sheet.x**2 + sheet.y**2)
    colours = mix(colours * light[..., None], "fff6dc", 0.16 * clip(wisps, 0, 2))
    return picture(_lead(sheet, colours, border, outlines))


def _lead(sheet: Sheet, colours: Array, border: Array, outlines: Array) -> Array:
    """Lay rounded bars of lead between the panes, heavier along the design, in their glow."""
    width = 0.0042 * (1 + 0.28 * clip(sheet.noise(12, 12), -2, 2))
    depth = np.maximum(1 - border / width, 1 - outlines / (width * 1.6))
    glow = picture(colours).filter(ImageFilter.GaussianBlur(0.012 * sheet.unit))
    bars = ramp(clip(depth, 0, 1) ** 1.5, "0b0a0d 17161b 34343c 5d5f68")
    bars = bars * (0.85 + 0.25 * sheet.noise(90, 90))[..., None]
    leaded = clip(mix(colours, bars, edge(depth, 480 / sheet.unit)), 0, 1)
    return 1 - (1 - leaded) * (1 - 0.22 * (np.asarray(glow, np.float32) / 255) ** 2)


# ---------------------------------------------------------------- waves

INK, PALE, MIST, PAPER, SUN = "1b2a5c", "7fa6c4", "b9cdd0", "f2e6cb", "d8452b"

# one wave from trough to trough, travelling right: its back, its crest, the lip, the hollow below
WAVE = np.array([
    (0.0, 0.0), (0.22, 0.1), (0.42, 0.34), (0.58, 0.68), (0.73, 0.93), (0.9, 1.0), (1.05, 0.92),
    (1.13, 0.74), (1.11, 0.56), (1.04, 0.52), (1.05, 0.66), (0.97, 0.75), (0.87, 0.66),
    (0.83, 0.42), (0.88, 0.2), (0.98, 0.06),
])  # fmt: skip


def _curve(knots: Array) -> Array:
    """Lay a Catmull-Rom spline (8N,2) through knots (N,2)."""
    ends = np.vstack([2 * knots[0] - knots[1], knots, 2 * knots[-1] - knots[-2]])
    a, b, c, d = (ends[i : len(ends) - 3 + i, None] for i in range(4))
    t = np.linspace(0, 1, 8, endpoint=False)[:, None]
    bend = c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a))
    points: Array = (b + t / 2 * bend).reshape(-1, 2)
    return points


def _swell(sheet: Sheet, rise: float) -> list[Array]:
    """Place the knots of a row of waves about `rise` high, y upwards, from beyond left to right."""
    place, waves = -sheet.spans[0] / 2 - sheet.rng.uniform(0.6, 1.6) * rise, []
    while place < sheet.spans[0] / 2 + rise:
        tall = rise * sheet.rng.uniform(0.55, 1.15)
        wide = tall * sheet.rng.uniform(1.5, 2.1)
        waves.append(WAVE * (wide, tall) + (place, 0))
        place += wide * 1.16
    return waves


def _carve(sheet: Sheet, pen: ImageDraw.ImageDraw, waves: list[Array], base: float) -> None:
    """Carve a row of waves: nested lines of ink that flatten with depth, from outside inwards."""
    crest, rise = _curve(np.vstack(waves)), max(wave[:, 1].max() for wave in waves)
    for cut in range(15):
        # the ink between two cuts is a line; it grows heavier with depth
        for code, sunk in (
            (INK, cut / 15), ((PAPER, PALE, PALE, MIST)[cut % 4], (cut + 0.34 + 0.036 * cut) / 15),
        ):  # fmt: skip
            line = crest * (1, 1 - 0.92 * sunk**1.15) - (0, sunk * rise * 0.8)
            line[:, 0] -= sunk * 0.2 * crest[:, 1]
            shape = np.vstack([line, [(9, -9), (-9, -9)]]) * (1, -1) + (0, base)
            pen.polygon(sheet.pixels(shape), fill="#" + code)


def _spray(sheet: Sheet, pen: ImageDraw.ImageDraw, waves: list[Array], base: float) -> None:
    """Draw foam along the lips of the waves, and drops thrown before them."""
    discs, rng = [], sheet.rng
    for wave in waves:
        lip, tall = _curve(wave[4:11]), wave[5, 1]
        foam = lip[3:] + abs(rng.normal(0, 0.05, lip[3:].shape)) * (tall, -tall)
        drops = wave[6] + rng.normal(0.1, 0.16, (26, 2)) * tall
        sizes = rng.uniform(0.02, 0.048, len(foam)), rng.uniform(0.006, 0.02, 26)
        discs.append(np.column_stack([np.vstack([foam, drops]), np.concatenate(sizes) * tall]))
    for code, rim in ((INK, 0.0022), (PAPER, 0.0)):
        for x, up, radius in np.vstack(discs):
            corners = np.array([(x, base - up)]) + (radius + rim) * np.array([(-1, -1), (1, 1)])
            pen.ellipse(sheet.pixels(corners), fill="#" + code)


def _print_sky(sheet: Sheet) -> Array:
    """Draw paper with a graded sky of carved lines, a vermilion sun and bars of cloud."""
    v, wander = sheet.v, sheet.noise(3, 5, 2)
    lines, grade = sin((v + 0.006 * wander) * 260), 0.12 + 1.15 * edge(0.3 - v, 0.7)
    colours = mix(ramp(v, PAPER), PALE, edge(lines + 3.2 * grade - 1.75, 0.5) * 0.9)
    colours = mix(colours, INK, edge(lines + 3.0 * grade - 3.0, 0.4))
    right, down = sheet.away(0.72, 0.26)
    inside = 0.17 - hypot(right, down)
    slits = sin((v + 0.004 * wander) * 175) + 0.75 - 9 * down
    colours = mix(colours, PAPER, edge(inside + 0.009, 0.003))
    colours = mix(colours, SUN, edge(inside, 0.003) * edge(slits, 0.3))
    cloud = sheet.noise(3, 11, 2) - 0.95
    for level, code in ((0.0, PALE), (0.1, PAPER), (0.25, PALE), (0.35, PAPER), (0.6, MIST)):
        colours = mix(colours, code, edge(cloud - level, 0.06))
    return colours


def _draw_waves(width: int, height: int, seed: int) -> Image.Image:
    """Draw a woodcut of breaking waves before the sun."""
    sheet = sheet_of(width, height, seed)
    proof = picture(_print_sky(sheet))
    pen = ImageDraw.Draw(proof)
    for near in np.linspace(0, 1, 6):
        base = (0.06 + 0.5 * near) * sheet.spans[1]
        waves = _swell(sheet, 0.055 + 0.2 * near)
        _carve(sheet, pen, waves, base)
        _spray(sheet, pen, waves, base)
    colours = np.asarray(proof, np.float32) / 255
    # the block: year rings and fibres that the ink does not quite fill
    rings = sin(sheet.y * 190 + sheet.noise(3, 3, 2) * 9 + sheet.x * 6)
    wear = 0.1 + 0.09 * rings + 0.085 * sheet.noise(14, 330, 2) + 0.05 * sheet.noise(70, 70)
    colours = mix(colours, PAPER, clip(wear, 0, 0.45))
    return picture(colours * (1 + 0.02 * sheet.noise(120, 120, 2))[..., None])


# ---------------------------------------------------------------- dots


def _river(scene: Sheet) -> Array:
    """Return colours (H,W,3) of a river at evening: sun, hills, sails, a shore with two trees."""
    u, v, leaves, clouds = scene.u, scene.v, scene.noise(24, 24, 2), scene.noise(4, 9, 3)
    horizon, waver = 0.47, 0.05 * scene.noise(5, 46, 2) * (scene.v > 0.47)
    # the water is the sky turned over and shaken
    height = clip(abs(v - horizon) / np.where(v < horizon, horizon, 0.46) + waver, 0, 1)
    far = hypot((u + waver - 0.62) * scene.spans[0], (height - 0.2) * horizon * scene.spans[1])
    colours = ramp(height, "f9d27a f7b877 eab7a6 b9b4d8 7fa3dc 4f78c4")
    colours = mix(colours, "fbe6cf", 0.55 * clip(clouds - 0.35, 0, 1) * (1.2 - height))
    colours = mix(colours, "ffe27a", exp(-((far / 0.13) ** 2)))
    colours = mix(colours, "fff6d0", edge(0.034 - far, 0.008))
    ripples = 0.15 + 0.5 * clip(scene.noise(7, 60, 2), 0, 1) * (v - 0.2)
    colours = mix(colours, "2f62b8", ripples * (v > horizon))
    ridge = horizon - 0.055 - 0.02 * scene.noise(4, 1, 2)[:1]
    hills = ramp(clip((v - ridge) * 9, 0, 1), "6f6fb8 8a86c0 c39ab0")
    colours = mix(colours, hills, edge(v - ridge, 0.004) * (v < horizon))
    for middle, size in ((0.42, 0.17), (0.52, 0.1), (0.86, 0.13)):
        beside, rise = scene.away(middle, 0)[0], (horizon + 0.02 - v) * scene.spans[1] / size
        glint = edge(0.25 * size * (1 + rise) - abs(beside - 0.012 * leaves), 0.01) * (rise < 0)
        colours = mix(colours, "f7dcae", 0.7 * glint)
        for side, code in ((-1, "fff3dc"), (1, "f2b98a")):
            sail = edge((1 - rise) * size * (0.32 - 0.08 * side) - side * beside, 0.004)
            colours = mix(colours, code, sail * (side * beside > 0) * (rise > 0.06) * (rise < 1))
        hull = edge(size * 0.3 - abs(beside), 0.004) * (abs(rise) < 0.07)
        colours = mix(colours, "4a2f5a", hull)
    shore = 0.96 - 0.3 * (1 - u) ** 1.7 - 0.012 * leaves
    grass = ramp(clip(0.5 + 0.3 * leaves + v - shore, 0, 1), "2a5a52 4f8a3c a3b03c e8c850")
    grass = mix(grass, "3b3a78", 0.55 * edge(sin(u * 9 + v * 20 + leaves) - 0.3, 0.8))
    colours = mix(colours, grass, edge(v - shore, 0.01))
    for across, top, foot, size in ((0.11, 0.17, 0.87, 0.17), (0.28, 0.35, 0.85, 0.1)):
        beside = scene.away(across, 0)[0] + 0.02 * sin(v * 8)
        trunk = edge(0.011 + 0.03 * (v - top) ** 3 - abs(beside), 0.004)
        colours = mix(colours, "3a2450", trunk * (v > top) * (v < foot))
        sun = clip(0.42 + 1.6 * (u - across) + 0.3 * leaves - 0.9 * (v - top - 0.1), 0, 1)
        crown = ramp(sun, "1d2758 1f4a5c 2f7048 7aa03a e0b83a f4d878")
        for right, down, girth in ((0, 0, 1), (-0.5, 0.45, 0.75), (0.6, 0.4, 0.7), (0.1, 0.8, 0.8)):
            far = hypot(*scene.away(across + right * size, top + down * size))
            colours = mix(colours, crown, edge((0.8 + 0.12 * leaves) * girth * size - far, 0.012))
    return colours


def _draw_dots(width: int, height: int, seed: int) -> Image.Image:
    """Draw a river at evening in dabs of divided colour, complementaries side by side."""
    sheet = sheet_of(width, height, seed)
    rng, colours = sheet.rng, _river(scene_of(sheet))
    canvas = Image.new("RGBA", sheet.size, (226, 205, 170, 40))
    pen, ring = ImageDraw.Draw(canvas), np.linspace(0, 2 * np.pi, 9)[:-1]
    # what one dab takes from a colour, another gives back to the eye
    splits = np.array([[0.2, -0.02, -0.2], [0.12, -0.16, 0.1], [0.16, 0.1, -0.14], [0.1, 0.1, 0.1]])
    for side, radius, division in ((80, 0.0125, 0.6), (110, 0.0082, 0.95), (110, 0.0058, 1.15)):
        count = side * side
        cells = rng.permutation(np.stack(np.divmod(np.arange(count), side), axis=-1))
        places = (cells + rng.uniform(0, 1, (count, 2))) / side * 1.04 - 0.02
        tints = lookup(colours, places)
        tints = tints + 0.3 * (tints - tints.mean(axis=-1, keepdims=True))
        swing = rng.choice([-1, 1], count) * rng.uniform(0.3, 1.1, count) * division
        tints = tints + swing[:, None] * splits[rng.integers(0, 4, count)]
        turn = ring + rng.uniform(0, np.pi, (count, 1))
        girth = radius * sheet.unit * rng.uniform(0.7, 1.2, (count, 1, 1))
        dabs = np.stack([cos(turn), sin(turn)], axis=-1) * girth * (1.12, 0.88)
        dabs = (dabs + (places * sheet.size)[:, None]).reshape(count, -1)
        inks = np.column_stack([clip(tints, 0, 1), rng.uniform(0.35, 1, count)]) * 255
        for dab, ink in zip(dabs.tolist(), inks.astype(int).tolist(), strict=True):
            pen.polygon(dab, fill=tuple(ink))
    return varnish(sheet, canvas, 2.2)


# ---------------------------------------------------------------- halftone

BLACK, BURST, SPARK = "000000", "e8212f ff8a1f ffdf33 fffbe8", "3aa8e8 fffbe8 e8217a ffe95a"


def _burst(sheet: Sheet, pen: ImageDraw.ImageDraw, at: Array, size: float, codes: str) -> None:
    """Draw a jagged star within stars of other colours, with a shadow to the lower right."""
    spikes = 2 * round(5 + 30 * size)
    jag = np.where(np.arange(spikes) % 2, 0.62, 1.0) * sheet.rng.uniform(0.86, 1.14, spikes)
    turn = (np.arange(spikes) + sheet.rng.normal(0, 0.15, spikes)) * 2 * np.pi / spikes
    star = size * jag[:, None] * np.stack([cos(turn), sin(turn)], axis=-1)
    pen.polygon(sheet.pixels(star * 1.02 + at + 0.045 * size), fill="#" + BLACK)
    for share, code in zip((1, 0.8, 0.6, 0.35), codes.split(), strict=True):
        outline = sheet.pixels(np.vstack([star, star[:2]]) * share + at)
        line = max(1, round((0.0045 * share + 0.014 * size) * sheet.unit))
        pen.polygon(outline, fill="#" + code)
        pen.line(outline, fill="#" + BLACK, width=line, joint="curve")


def _smoke(sheet: Sheet, pen: ImageDraw.ImageDraw, lift: float, size: float, codes: str) -> None:
    """Draw a bank of round clouds, light and shade, `lift` above the picture's lower edge."""
    rng, (light, shade), count = sheet.rng, codes.split(), round(sheet.spans[0] / size * 1.15) + 2
    across = np.linspace(-0.5, 0.5, count)
    down = (0.5 - 0.4 * across**2) * sheet.spans[1] - lift + rng.normal(0, 0.025, count)
    across = across * sheet.spans[0] + rng.normal(0, size * 0.2, count)
    radii, order = size * rng.uniform(0.5, 1.1, count), rng.permutation(count)
    corners = np.array([(-1, -1), (1, 1)])
    centres = np.stack([across, down], axis=-1)
    for at, radius in zip(centres[order], radii[order], strict=True):
        for slip, grow, code in ((0.003, 0.007, BLACK), (0, 0, shade), (-0.16, -0.2, light)):
            share = radius if slip < 0 else 1
            disc = sheet.pixels(at + slip * share + corners * (radius + grow * share))
            pen.ellipse(disc, fill="#" + code)
        for share in (0.62, 0.78):  # strokes of a brush in the shade
            bend = np.linspace(-0.2 - share / 2, 0.4 + share, 14)
            curl = at + share * radius * np.stack([cos(bend), sin(bend)], axis=-1)
            width = max(1, round(0.0035 * sheet.unit))
            pen.line(sheet.pixels(curl), fill="#" + BLACK, width=width)


def _draw_halftone(width: int, height: int, seed: int) -> Image.Image:
    """Draw a comic explosion over clouds, printed in coarse dots."""
    sheet = sheet_of(width, height, seed)
    right, down = sheet.away(0.48, 0.43)
    radius, rays = hypot(right, down), sin(np.arctan2(down, right) * 14 + 0.3)
    tone = clip(1.15 - radius * 1.1, 0, 1)
    rayed = ramp(tone, "e82a5a ff7a4a ffd23f")
    colours = mix(ramp(tone, "1fb0e8 7fd4f2 d6f2fa"), rayed, edge(rays, 0.02))
    line = 0.0035 * (0.4 + radius * 2.2) - abs(rays) * radius / 14
    plate = picture(mix(colours, BLACK, edge(line, 0.001)))
    pen = ImageDraw.Draw(plate)
    for u, v, size, codes in (
        (0.48, 0.43, 0.33, BURST), (0.1, 0.12, 0.12, SPARK), (0.91, 0.17, 0.15, SPARK),
        (0.92, 0.58, 0.08, SPARK), (0.07, 0.56, 0.1, SPARK), (0.58, 0.03, 0.075, SPARK),
    ):  # fmt: skip
        _burst(sheet, pen, (np.array([u, v]) - 0.5) * sheet.spans, size, codes)
    for lift, size, codes in (
        (0.19, 0.085, "ffc3d6 e8588f"), (0.12, 0.095, "ffe79a ff9d2e"),
        (0.03, 0.1, "d8f0fb 38a0e4"), (-0.07, 0.11, "ffd0dc f0407f"),
    ):  # fmt: skip
        _smoke(sheet, pen, lift, size, codes)
    return picture(_screen(sheet, np.asarray(plate, np.float32) / 255))


def _screen(sheet: Sheet, plate: Array) -> Array:
    """Print the plate in dots of cyan, magenta and yellow, each screen turned and a little off."""
    paper, pitch = colour("faf1dc"), 0.0145
    printed = np.ones_like(plate) * paper
    for channel, (degrees, code) in enumerate(((15, "00a0e0"), (75, "e8207a"), (0, "ffe11a"))):
        slips = np.round(sheet.rng.normal(0, 0.0016, 2) * sheet.unit).astype(int)
        sides = zip(slips, plate.shape[:2], strict=True)
        moved = np.ix_(*(clip(np.arange(side) - slip, 0, side - 1) for slip, side in sides))
        tone, turn = 1 - plate[..., channel][moved], np.radians(degrees)
        a = (sheet.x * cos(turn) + sheet.y * sin(turn)) * 2 * np.pi / pitch
        b = (sheet.y * cos(turn) - sheet.x * sin(turn)) * 2 * np.pi / pitch
        level = (cos(a) + cos(b)) / 2 - 1 + 2 * tone**0.85
        dots = edge(level, 5.5 / (pitch * sheet.unit)) * (tone > 0.03)
        printed *= 1 - dots[..., None] * (1 - colour(code) / paper)
    return mix(printed, "17141c", edge(0.06 - plate.max(axis=-1), 0.05))


STYLES: dict[str, Callable[[int, int, int], Image.Image]] = {
    "strokes": _draw_strokes,
    "glass": _draw_glass,
    "waves": _draw_waves,
    "dots": _draw_dots,
    "halftone": _draw_halftone,
}


def draw_style(name: str, *, size: tuple[int, int] = (512, 512), seed: int = 0) -> Image.Image:
    """Draw one of `STYLES` at a (width, height) in pixels; the same seed draws the same picture."""
    return STYLES[name](*size, seed).resize(size, Image.Resampling.BOX)
