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
    "clicks.png": ("clicks/second_click.png", VIEWPORT),
    "first_run.png": ("first_run/tab.png", (1030, 82, 1322, 300)),
    "crash_report.png": ("segment/killed.png", (1030, 82, 1322, 420)),
}
"""Picture: screenshot, and its crop (left, top, right, bottom) in pixels."""


def main() -> None:
    IMAGES.mkdir(parents=True, exist_ok=True)
    for name, (shot, box) in CROPS.items():
        picture = Image.open(SHOTS / shot).convert("RGB").crop(box)
        small = picture.quantize(256, kmeans=2, dither=Image.Dither.NONE)
        small.save(IMAGES / name, optimize=True)
        print(f"docs/images/{name}: {(IMAGES / name).stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
