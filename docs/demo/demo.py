# SPDX-License-Identifier: GPL-3.0-or-later
"""PartSAM from a script: headless Blender installs the extension, segments a mesh and pulls it apart.

    python dev.py demo                                    makes all that is needed, then runs this
    python dev.py demo -- --mesh FILE.glb --granularity 0.6

Writes to the output folder: `parts.blend`, `parts.glb` with one named node per part, and `parts.png`.
Everything goes through the operators that the sidebar's buttons call, in the zip that a user installs.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]

# Blender reads this when it is imported: the demo must not touch the user's own configuration.
_resources = tempfile.TemporaryDirectory(prefix="partsam-demo-")
os.environ["BLENDER_USER_RESOURCES"] = _resources.name

import bpy  # noqa: E402

# isort: split
import addon_utils  # noqa: E402 (can be found only once bpy is imported)
import stage  # noqa: E402

logger = logging.getLogger("demo")

MODULE = "bl_ext.user_default.partsam"


def parse_arguments() -> argparse.Namespace:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("--extension", type=Path, required=True, help="the extension's zip")
    parser.add_argument("--mesh", type=Path, default=HERE / "mage_fused.glb", help="a GLB file")
    parser.add_argument("--output", type=Path, default=ROOT / "demo_output", help="folder for what it writes")
    parser.add_argument("--granularity", type=float, default=0.5, help="0 few large parts, 1 many small ones")
    parser.add_argument("--width", type=int, default=1000, help="of the picture, in pixels")
    parser.add_argument("--samples", type=int, default=16, help="light paths per pixel")
    return parser.parse_args()


@contextlib.contextmanager
def timed(name: str) -> Iterator[None]:
    """Say how long it took, and keep to ourselves what Blender writes to the terminal meanwhile."""
    start = time.monotonic()
    sys.stdout.flush()
    terminal = os.dup(1)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(terminal, 1)
        os.close(terminal)
    logger.info("%-24s %6.1f s", name, time.monotonic() - start)


def install(extension: Path) -> None:
    """Unpack the zip where Blender looks for extensions, and enable it."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    folder = Path(_resources.name, "extensions", "user_default", "partsam")
    with zipfile.ZipFile(extension) as archive:
        archive.extractall(folder)
    for module in (MODULE, "cycles", "io_scene_gltf2"):
        if addon_utils.enable(module, default_set=True) is None:
            raise SystemExit(f"{module} cannot be enabled; the lines above say why")


def import_mesh(path: Path) -> bpy.types.Object:
    """The file's one mesh, smooth, as the selected and active object."""
    bpy.ops.import_scene.gltf(filepath=str(path))
    meshes = [obj for obj in bpy.context.scene.objects if obj.type == "MESH"]
    if len(meshes) != 1:
        raise SystemExit(f"{path} has {len(meshes)} meshes; the demo wants one lump")
    bpy.context.view_layer.objects.active = meshes[0]
    meshes[0].select_set(True)
    meshes[0].data.shade_smooth()
    return meshes[0]


def segment(whole: bpy.types.Object, *, granularity: float) -> None:
    """Find the parts, as the button does, and give them this demo's colours, the clearest to the largest."""
    bpy.ops.partsam.segment("EXEC_DEFAULT", granularity=granularity)
    by_size = sorted(whole.data.partsam.parts, key=lambda part: -part.face_count)
    for index, part in enumerate(by_size):
        part.color = stage.part_color(index)


def separate() -> list[bpy.types.Object]:
    """A material and an object per part; the lump stays, hidden."""
    bpy.ops.partsam.apply_materials("EXEC_DEFAULT")
    before = set(bpy.data.objects)
    bpy.ops.partsam.apply_separate("EXEC_DEFAULT", cap_holes=True)
    return [obj for obj in bpy.data.objects if obj not in before and obj.type == "MESH"]


def save(parts: list[bpy.types.Object], output: Path) -> None:
    """The scene as a .blend file, the parts as a .glb file."""
    bpy.ops.wm.save_as_mainfile(filepath=str(output / "parts.blend"))
    for obj in bpy.context.view_layer.objects:
        obj.select_set(obj in parts)
    bpy.ops.export_scene.gltf(filepath=str(output / "parts.glb"), use_selection=True)


def main() -> None:
    options = parse_arguments()
    logger.addHandler(logging.StreamHandler())
    logger.setLevel(logging.INFO)
    options.output.mkdir(parents=True, exist_ok=True)
    output = options.output.resolve()
    with timed("install the extension"):
        install(options.extension)
    with timed(f"import {options.mesh.name}"):
        whole = import_mesh(options.mesh)
    with timed("segment"):
        segment(whole, granularity=options.granularity)
    if len(whole.data.partsam.parts) < 2:
        raise SystemExit("one part only: nothing to pull apart; try a higher --granularity")
    with timed("separate"):
        parts = separate()
    with timed("save"):
        save(parts, output)
    with timed("render"):
        picture = stage.Picture(width=options.width, samples=options.samples)
        stage.render(whole, parts, output / "parts.png", picture=picture)
    addon_utils.disable(MODULE)  # ends the backend process
    for part in parts:
        logger.info("  %-20s %7d faces", part.name, len(part.data.polygons))
    logger.info("%d parts in %s", len(parts), os.path.relpath(output))


if __name__ == "__main__":
    main()
