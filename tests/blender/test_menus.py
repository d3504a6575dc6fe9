# SPDX-License-Identifier: GPL-3.0-or-later
"""Menus and panels that are built from descriptors: what they list exists, and all that exists is listed."""

from __future__ import annotations

import bpy
import pytest


class Layout:
    """Notes what a menu draws; a real layout exists only in a window."""

    def __init__(self):
        self.operators, self.menus = [], []
        self.operator_context = ""

    def operator(self, name, **_options):
        self.operators.append(name)

    def menu(self, name, **_options):
        self.menus.append(name)

    def separator(self):
        pass


def drawn(menu):
    layout = Layout()
    menu.draw(type("Menu", (), {"layout": layout, "section": getattr(menu, "section", None)})(), bpy.context)
    return layout


@pytest.fixture
def menus(addon):
    return addon("ui.menus")


def test_the_main_menu_leads_to_all_that_works_on_parts(menus, addon):
    found, waiting = [], ["PARTSAM_MT_main"]
    while waiting:
        layout = drawn(getattr(menus, waiting.pop()))
        found += layout.operators
        waiting += layout.menus
        assert layout.operator_context == "INVOKE_DEFAULT"
    assert len(found) == len(set(found))
    existing = {f"partsam.{name}" for name in dir(bpy.ops.partsam)}
    assert set(found) <= existing
    assert {target.idname for target in addon("targets").TARGETS} <= set(found)
    assert {name for name in existing if name.startswith("partsam.part_")} <= set(found)


def test_blenders_menus_have_an_entry_each(menus):
    for host in menus.HOSTS:
        assert menus._draw_entry in getattr(bpy.types, host)._dyn_ui_initialize()


def test_targets_are_ordered_and_labels_are_verbs_in_us_spelling(addon):
    targets = addon("targets").TARGETS
    places = [(target.section, target.order) for target in targets]
    assert len(places) == len(set(places))
    verbs = ("Parts to ", "Mark ", "Name ", "Unwrap ", "Bake ", "Remove ")
    icons = bpy.types.UILayout.bl_rna.functions["operator"].parameters["icon"].enum_items.keys()
    for target in targets:
        assert target.operator.bl_label.startswith(verbs)
        assert target.icon in icons


def test_what_repeats_has_presets_and_what_belongs_to_buttons_is_not_searched(addon):
    segment, targets = addon("operators.segment"), addon("targets").TARGETS
    assert all("PRESET" in target.operator.bl_options for target in targets)
    assert "PRESET" in segment.PARTSAM_OT_segment.bl_options
    operators = {name: getattr(bpy.types, f"PARTSAM_OT_{name}") for name in dir(bpy.ops.partsam)}
    internal = {name for name, cls in operators.items() if "INTERNAL" in getattr(cls, "bl_options", ())}
    assert internal >= {"cancel", "click_action", "dismiss"}


def texts_of(rna):
    yield rna.name
    yield rna.description
    for prop in rna.properties:
        yield from (prop.name, prop.description)
        if prop.type == "ENUM":
            yield from (text for item in prop.enum_items for text in (item.name, item.description))


def test_all_that_users_read_is_in_us_spelling(addon):
    """Labels and tooltips of operators, of their properties and of the settings."""
    operators = [getattr(bpy.ops.partsam, name).get_rna_type() for name in dir(bpy.ops.partsam)]
    settings = [cls.bl_rna for module in ("properties", "parts") for cls in addon(module).classes]
    british = ("olour", "eighbour", "centre", "abell", "grey")
    found = [text for rna in [*operators, *settings] for text in texts_of(rna)]
    assert len(found) > 200
    assert not [text for text in found if any(word in text for word in british)]
