# SPDX-License-Identifier: GPL-3.0-or-later
"""The built zip in a real Blender window: buttons pressed by simulated events, results on screenshots.

`BLENDER_GUI_SUITE=sid` in the environment has them run in the newest Blender of Debian, instead of 4.3.
Screenshots are kept in `test_artifacts/window/`. Where no Blender with a window can be had, the tests are
skipped and say so.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from blender_window import LAUNCHER, LAUNCHER_VARIABLE, ROOT, install, play_scenario
from PIL import Image, ImageChops

ARTIFACTS = ROOT / "test_artifacts" / "window"

Play = Callable[..., dict[str, object]]

pytestmark = pytest.mark.skipif(
    not os.access(LAUNCHER, os.X_OK),
    reason=f"no program that starts Blender with a window ({LAUNCHER_VARIABLE} names one)",
)


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A profile of Blender's in which the built zip is installed and enabled."""
    profile = tmp_path_factory.mktemp("profile")
    install(profile)
    return profile


@pytest.fixture
def play(installed: Path, tmp_path: Path) -> Iterator[Play]:
    """Run a scenario in the window; what it recorded.

    Each has a profile of its own: Blender saves preferences, such as another keymap, when it ends.
    """
    profile = tmp_path / "profile"
    shutil.copytree(installed, profile)

    def run(name: str, **variables: str) -> dict[str, object]:
        output = ARTIFACTS / name
        output.mkdir(parents=True, exist_ok=True)
        for old in output.iterdir():
            old.unlink()
        record = play_scenario(name, profile, output, **variables)
        for picture in output.glob("*.png"):
            Image.open(picture).save(picture, optimize=True)
        assert record["error"] is None, record["error"]
        return record

    yield run


def colored_share(picture: Path) -> float:
    """Share of the viewport's pixels that are clearly coloured; the theme and bare meshes are grey."""
    image = Image.open(picture).convert("HSV")
    viewport = image.crop((80, 100, image.width * 6 // 10, image.height * 85 // 100))
    saturation = viewport.getchannel("S").histogram()
    return sum(saturation[90:]) / sum(saturation)


BUTTONS, BELOW_BUTTONS = (1046, 112, 1282, 182), (1046, 186, 1282, 860)
"""Parts of the sidebar's tab in a screenshot, in pixels: left, top, right, bottom."""


def changed_share(first: Path, second: Path, box: tuple[int, int, int, int] | None = None) -> float:
    """Share of the pixels in `box`, or in the viewport, that clearly differ between two screenshots."""
    pictures = [Image.open(path).convert("RGB") for path in (first, second)]
    change = ImageChops.difference(*pictures).convert("L")
    box = box or (80, 100, change.width * 6 // 10, change.height * 85 // 100)
    counts = change.crop(box).histogram()
    return sum(counts[24:]) / sum(counts)


def test_segment_button(play: Play) -> None:
    record = play("segment")
    assert record["shown_at_once"] == "Segmenting"
    assert record["drawn"]["UI"] > 2 > record["drawn"]["WINDOW"]
    assert record["still_running_when_turned"]
    assert record["problem"] == "None"
    assert record["parts"] >= 3
    assert record["last_operator"] == "PARTSAM_OT_segment"
    finer, coarser = record["redone"]
    assert finer >= record["parts"] >= coarser
    assert finer > coarser
    other = record["other_prompts"]
    assert len(set(other["parts"][:3])) == 1  # until the network has answered all stays as it was
    assert other["cancelled"] == ["None", "Cancelled; nothing was changed"]
    assert other["found"][0] == "None"
    assert other["cut_again"][0] > other["cut_again"][1]
    assert other["prompts"] != 96
    assert record["problem_after_slider"] == "None"
    assert record["finer_parts"] >= record["parts"]
    assert record["parts_after_undo"] == 0
    assert record["in_edit_mode"] == ["EDIT", record["parts"]]
    assert "SIGKILL" in record["problem_after_kill"]
    shots = ARTIFACTS / "segment"
    assert changed_share(shots / "ready.png", shots / "running.png", BELOW_BUTTONS) == 0  # nothing jumps
    assert changed_share(shots / "ready.png", shots / "running.png", BUTTONS) > 0.05
    assert colored_share(shots / "parts.png") > colored_share(shots / "ready.png") + 0.05
    assert colored_share(shots / "undone.png") < colored_share(shots / "parts.png") - 0.05


def test_click_tool(play: Play) -> None:
    record = play("clicks")
    assert record["hover_faces"] >= 1
    assert record["hover_moved"]
    assert record["clicks"] == [1, 2, 1, 1, 1]  # added, excluded, on its dot, taken back, on the sidebar
    assert record["signs"] == [True, False]
    assert not record["excluded"]
    assert record["levels"] == sorted(record["levels"], reverse=True)
    assert record["wheel_up"] > record["wheel_down"]
    assert record["dragged"] == [2, True, False]
    assert record["click_to_draw"]
    assert record["parts"] == [1, 2, 3]
    assert record["last_operator"] == "PARTSAM_OT_step_part_by_clicks"  # not what could take it back
    assert record["undone"] == [[2, 2, 1], [3, 3, 0]] * 2  # parts, those of this run, clicks
    assert record["still_running"]
    assert record["problem"] == "None"
    assert record["untouched"][:4] == [True, "OBJECT", True, True]
    assert record["layouts"] == [[True, 0], [False, 0], [False, 4], [False, 0]]
    assert record["clicks_after_layouts"] == 1
    assert record["parts_after_leaving"] == 3
    assert record["tool_after"] == "builtin.select_box"
    assert record["ended_for_good"]
    assert record["parts_after_undo"] == [2, 1, 0]
    assert record["after_loading"] == [True, False]
    assert record["after_disabling"] == [True, True, False]


def test_click_tool_in_every_layout(play: Play) -> None:
    record = play("click_layouts")
    assert record["started_from_a_header"]
    assert record["orbited"] == [True, 0]  # Alt with the left button is navigation in this keymap
    layouts = ("maximised", "restored", "quad view", "the other window", "the first window")
    assert record["clicks"] == {layout: count for count, layout in enumerate(layouts, 1)}
    assert record["problem"] == "None"
    assert record["parts"] == 1
    assert record["covered"] == 0 and record["covered_hint"].startswith("Another object covers")
    here, elsewhere = record["deformed"]
    assert here < 15 < 60 < elsewhere
    assert record["edit_mode"] == ["EDIT", "EDIT", True]
    assert record["ended_with_its_area"]


def test_the_other_prompts_of_the_click_tool(play: Play) -> None:
    record = play("click_prompts")
    assert record["stroke"][0] >= 3
    assert record["stroke"][1]
    assert record["B"] == record["L"] == 6
    front, behind = record["behind"]
    assert behind < front
    seen, all_through = record["depth"]
    assert all_through > 1.5 * seen
    assert not record["x_ray"]  # on, and off again
    assert record["round"] == [0, 1, -1, 1, 0, -1]
    assert record["changed"] == [["ADD", True], ["TAKE", False]]
    assert record["improved"][0] == "REPLACE"
    assert record["improved"][1] > 0
    assert record["mirror"] == [True, False]
    assert record["both_arms"] > 0
    assert record["selected"][0] > 0
    assert record["selected"][1]
    assert record["through_accepted"]
    assert record["display_given_back"]
    assert record["problem"] == "None"
    shots = ARTIFACTS / "click_prompts"
    assert changed_share(shots / "shown.png", shots / "hidden.png") > 0.02


def test_exploded_and_separated(play: Play) -> None:
    record = play("gallery", PARTSAM_WINDOW_MESH=str(ROOT / "docs" / "demo" / "mage_fused.glb"))
    assert record["parts"] >= 3
    assert record["modifiers_left"] == 0
    assert record["objects"] == record["parts"]
    assert record["no_face_lost"]


def test_views_are_drawn_in_every_mode(play: Play) -> None:
    record = play("views")
    assert record["modifiers"] == 0
    assert record["interior"] == ["6 interior faces are removed", 6]
    assert record["brought_back"]
    assert record["unwrap"][1] == ["UVMap", "Parts"]
    assert len(record["id_map"][1]) == 1
    assert record["maps_left"] == ["UVMap"]
    assert record["hidden"][0] == record["hidden"][1] > 0
    shots = ARTIFACTS / "views"
    bare = colored_share(shots / "exploded_clay.png")
    for name in ("overlay", "exploded", "isolated", "isolated_other_row", "isolated_edit", "edit", "sculpt"):
        assert colored_share(shots / f"{name}.png") > bare + 0.01, name
    assert colored_share(shots / "vertex_paint.png") < bare + 0.01  # what is painted is seen
    assert 0.001 < changed_share(shots / "closed_piece.png", shots / "closed_piece_bare.png") < 0.05
    assert colored_share(shots / "isolated.png") < colored_share(shots / "overlay.png")
    assert changed_share(shots / "isolated.png", shots / "isolated_other_row.png") > 0.03


def test_copies_other_meshes_and_point_clouds(play: Play) -> None:
    record = play("other_shapes")
    assert record["busy"]
    assert record["repeats"] == [0, 1, 1, 1, 1]
    assert record["transferred"][1:] == ["Leg", "Leg.001", "Leg.002", "Leg.003"]
    assert record["after_undo"] == 0
    assert record["cloud_parts"] >= 2
    assert record["problem"] == "None"
    shots = ARTIFACTS / "other_shapes"
    assert colored_share(shots / "transferred.png") > 0.05
    for name in ("cloud", "cloud_edit"):
        assert changed_share(shots / f"{name}.png", shots / "cloud_bare.png") > 0.03, name
    assert colored_share(shots / "cloud_isolated.png") < colored_share(shots / "cloud.png")


def test_parts_are_picked_in_the_viewport(play: Play) -> None:
    record = play("picking")
    assert record["names"] == [["Part 1"], ["Part 2"], ["Part 3"], ["Part 4"]]
    assert record["beside"] == record["covered"] == []
    assert record["picked"] == [[4, []], [1, []], [3, [1, 3]], [2, [1, 2, 3]], [2, [1, 3]]]
    assert record["parts"] == [3, 4]  # merged, and undone
    assert record["still_picking"]
    assert record["left"]
    assert record["unchanged"]
    assert record["edit_mode"] == ["EDIT", 3, []]
    assert record["left_edit_mode"]
    assert record["found_by_search"]
    with Image.open(ARTIFACTS / "picking" / "merge.png") as picture:
        pixels = np.asarray(picture.convert("RGB"))[
            :, :900
        ]  # without the sidebar, which has swatches as well
    for color in record["offered"]:
        same = np.abs(pixels - 255.0 * np.array(color)).max(axis=2) < 6
        assert same.sum() > 40, color
    with Image.open(ARTIFACTS / "picking" / "error.png") as picture:
        box = np.asarray(picture.convert("L").crop(record["error_box"]))
    assert 0.02 < (box > 150).mean() < 0.3  # text
    assert (box < 70).mean() > 0.5  # on a dark ground


def test_first_run(play: Play) -> None:
    """Without an environment the tab and the preferences say what to do."""
    record = play("first_run", PARTSAM_BACKEND_PYTHON="")
    assert record["segment_can_be_pressed"]
    assert "Set Up" in record["problem"]
    assert record["checked"]["is_usable"]
    assert record["checked"]["device"] in ("cpu", "cuda", "mps")


def test_a_result_waits_for_what_the_user_is_in_the_middle_of(play: Play) -> None:
    record = play("foreign_modal")
    assert "TRANSFORM_OT_translate" in record["modal"]
    assert record["while_grabbing"] == ["EDIT", 0, "Move"]
    assert record["problem"] == "None"
    assert record["afterwards"] == ["EDIT", True]
    waited_for, parts, moved = record["redo_panel"]["open"]
    assert waited_for
    assert parts == 0
    assert moved == record["redo_panel"]["place"]
    assert moved[0] or moved[1]
    assert record["redo_panel"]["parts"] > 1
    assert record["redo_panel"]["last"] == ["TRANSFORM_OT_translate", "PARTSAM_OT_segment"]
    assert record["typing"]["waits_for"]
    assert any(name.startswith("HAT") for name in record["typing"]["names"])


def test_a_result_waits_for_what_is_open_in_any_window(play: Play) -> None:
    record = play("second_window")
    there = record["opened_meanwhile"]
    assert there["open"] == ["your input", 0]
    waited_for, parts, moved = there["dragged"]
    assert [waited_for, parts] == ["your input", 0]
    assert moved[0] or moved[1]
    assert moved == there["place"]
    assert there["parts"] == 1
    assert there["last"] == ["TRANSFORM_OT_translate", "PARTSAM_OT_step_segment"]
    assert record["closed_meanwhile"] == {"open": ["your input", 0], "parts": 1}
    assert record["first_one_closed"] == {"open": ["your input", 0], "parts": 1, "windows": 1}
    assert record["problem"] == "None"


def test_sliders_and_clicks_wait_for_others_but_not_for_themselves(play: Play) -> None:
    record = play("held_writes")
    counts = record["slider"]["counts"]
    assert counts[7] > counts[4]  # they follow while they are held
    assert record["slider"]["last"][-1] == "PARTSAM_OT_step_change_granularity"
    assert record["slider_and_redo_panel"]["open"] == [True, "TRANSFORM_OT_translate"]
    assert record["slider_and_redo_panel"]["moved"] != 0
    assert record["slider_and_redo_panel"]["taken_back"]  # until the panel is closed
    assert record["slider_and_redo_panel"]["last"][-1] == "PARTSAM_OT_step_change_granularity"
    assert record["slider_and_redo_panel"]["other"]
    assert record["slider_and_undo_menu"] == {
        "open": [True, True],
        "cut": True,
        "undone": [True, True],
        "redone": True,
    }
    assert record["accepting"]
    assert record["taken"] == [False, True, False]
    assert record["still_running"]
    assert record["problem"] == "None"
