# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the pictures in docs/images from the screenshots of the last window tests.

python dev.py test --only window && python tests/window/readme_pictures.py
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
SHOTS = ROOT / "test_artifacts" / "window"
IMAGES = ROOT / "docs" / "images"

VIEWPORT = (0, 28, 1322, 902)
CROPS = {
    "segment.png": ("gallery/parts.png", VIEWPORT),
    "running.png": ("gallery/running.png", (1030, 82, 1322, 260)),
    "exploded.png": ("gallery/exploded.png", VIEWPORT),
    "copies.png": ("other_shapes/copies.png", (80, 82, 1322, 860)),
    "cloud.png": ("other_shapes/cloud.png", (380, 82, 1322, 860)),
    "first_run.png": ("first_run/tab.png", (1030, 82, 1322, 300)),
    "crash_report.png": ("segment/killed.png", (1030, 82, 1322, 420)),
}
"""Picture: screenshot, and its crop (left, top, right, bottom) in pixels."""


FILM_BOX = (0, 70, 1040, 900)
FILM_WIDTH = 620
FILM_SECONDS = (0.8, 1.4, 1.2, 1.0, 1.2, 1.0, 1.2, 2.5)


def make_film() -> None:
    """The click tool as an animated picture: three clicks, three parts."""
    shots = sorted((SHOTS / "clicks").glob("film_*.png"))
    frames = [Image.open(shot).convert("RGB").crop(FILM_BOX) for shot in shots]
    size = FILM_WIDTH, round(FILM_WIDTH * frames[0].height / frames[0].width)
    frames = [frame.resize(size, Image.Resampling.LANCZOS) for frame in frames]
    path = IMAGES / "clicks.webp"
    seconds = [*FILM_SECONDS[: len(frames) - 1], FILM_SECONDS[-1]]
    durations = [round(1000 * second) for second in seconds]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=durations, loop=0, quality=80)
    print(f"docs/images/clicks.webp: {path.stat().st_size / 1024:.0f} KiB, {len(frames)} frames")


def main() -> None:
    make_film()
    IMAGES.mkdir(parents=True, exist_ok=True)
    for name, (shot, box) in CROPS.items():
        picture = Image.open(SHOTS / shot).convert("RGB").crop(box)
        small = picture.quantize(256, kmeans=2, dither=Image.Dither.NONE)
        small.save(IMAGES / name, optimize=True)
        print(f"docs/images/{name}: {(IMAGES / name).stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
