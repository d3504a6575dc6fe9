# SPDX-License-Identifier: GPL-3.0-or-later
"""The architecture's rules, read off the source: who may import what, and what a tracked file must be."""

from __future__ import annotations

import ast
import graphlib
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BLENDER_MODULES = {
    "bpy",
    "bmesh",
    "mathutils",
    "gpu",
    "gpu_extras",
    "blf",
    "addon_utils",
    "bpy_extras",
    "rna_keymap_ui",
}
FRONT_ENDS = ("backend/commands/", "backend/__main__.py", "dev.py", "dev_tools/", "tests/", "docs/demo/")
MAX_TRACKED_BYTES = 45 * 2**20
# What Blender's own Python imports of the backend.
SHARED = ("backend/geometry/", "backend/errors.py", "backend/service/protocol.py", "backend/whole_files.py")


def tracked_files() -> list[Path]:
    """Files of the repository relative to its root: those that git tracks or would track."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    result = subprocess.run(listing, cwd=ROOT, capture_output=True, check=True)
    names = [name for name in result.stdout.decode().split("\0") if name]
    return [Path(name) for name in names if (ROOT / name).is_file()]


def python_files(prefix: str = "") -> list[str]:
    return sorted(
        p.as_posix() for p in tracked_files() if p.suffix == ".py" and p.as_posix().startswith(prefix)
    )


def parse(name: str) -> ast.Module:
    return ast.parse((ROOT / name).read_text(encoding="utf-8"), filename=name)


def imported_modules(name: str) -> Iterator[str]:
    """Full dotted names that a file imports; relative ones resolved against the repository's root."""
    package = Path(name).parent.parts
    for node in ast.walk(parse(name)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module or ""
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1]
            stem = [*base, *((node.module or "").split(".") if node.module else [])]
            yield ".".join(["", *stem])
            yield from (".".join(["", *stem, alias.name]) for alias in node.names)


def third_party(name: str) -> set[str]:
    """Top-level names of the modules that are neither ours (relative) nor the standard library's."""
    tops = {module.split(".")[0] for module in imported_modules(name)} - {""}
    return tops - set(sys.stdlib_module_names)


def is_shared(name: str) -> bool:
    return name.startswith(SHARED)


def test_backend_never_imports_blender() -> None:
    guilty = {name: third_party(name) & BLENDER_MODULES for name in python_files("backend/")}
    assert not {name: found for name, found in guilty.items() if found}


def test_addon_imports_only_blender_numpy_and_the_shared_modules() -> None:
    for name in python_files("partsam_addon/"):
        assert third_party(name) <= BLENDER_MODULES | {"numpy"}, name
        from_backend = [m[1:].replace(".", "/") for m in imported_modules(name) if m.startswith(".backend")]
        for module in from_backend:
            wanted = (module + "/", module + ".py", module.rsplit("/", 1)[0] + ".py")
            allowed = module in ("backend", "backend/service") or any(map(is_shared, wanted))
            assert allowed, f"{name} imports {module}"


def test_shared_modules_need_only_numpy() -> None:
    for name in filter(is_shared, python_files("backend/")):
        assert third_party(name) <= {"numpy"}, name


def test_importing_the_shared_modules_loads_no_torch() -> None:
    """The packages' `__init__` run as well, so the imports are followed for real."""
    code = (
        "import sys; import backend.geometry, backend.errors, backend.service.protocol, backend.whole_files;"
        "print(*{m.split('.')[0] for m in sys.modules} & {'torch', 'scipy', 'trimesh', 'maxflow'})"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == []


def test_imports_between_our_packages_are_relative() -> None:
    """Inside Blender the top package is called `bl_ext.<repository>.partsam`."""
    for name in python_files("backend/") + python_files("partsam_addon/"):
        assert not third_party(name) & {"backend", "partsam_addon", "partsam"}, name


def test_only_front_ends_print() -> None:
    for name in python_files():
        if not name.startswith(FRONT_ENDS):
            calls = (node for node in ast.walk(parse(name)) if isinstance(node, ast.Call))
            prints = [
                call.lineno for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"
            ]
            assert not prints, f"{name}: {prints}"


def imports_within(prefix: str) -> dict[str, set[str]]:
    """Each module of a package with those of its modules that it imports, also for type checking only."""
    files = python_files(prefix)
    modules = {"." + name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in files}
    graph = {}
    for name in files:
        own = "." + name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        graph[own] = set(imported_modules(name)) & modules - {own}
    return graph


def test_the_addon_has_no_circle_of_imports() -> None:
    """Neither between its modules nor between its packages: what is below never knows what is above."""
    modules = imports_within("partsam_addon/")
    # `from . import x` names the own package as well, whose `__init__` may import the module.
    for own, imported in modules.items():
        imported -= {own.rpartition(".")[0]}
    packages: dict[str, set[str]] = {}
    for own, imported in modules.items():
        package = own.split(".")[2:3]
        packages.setdefault("".join(package), set()).update(
            "".join(other.split(".")[2:3]) for other in imported if other.split(".")[2:3] != package
        )
    for graph in (modules, packages):
        graphlib.TopologicalSorter(graph).prepare()  # CycleError names the circle


def test_rooms_of_the_backend_make_no_circle() -> None:
    """`training`, `evaluation`, `curation` share `labelled_meshes` and `click_simulation`, no commands."""
    rooms: dict[str, set[str]] = {}
    for own, imported in imports_within("backend/").items():
        room = own.split(".")[2:3] or own.split(".")[1:2]
        others = {"".join(other.split(".")[2:3]) for other in imported} - {"", *room}
        rooms.setdefault("".join(room), set()).update(others)
    assert "commands" not in set().union(*(used for room, used in rooms.items() if room != "__main__"))
    graphlib.TopologicalSorter(rooms).prepare()  # CycleError names the circle


def test_modules_that_read_mesh_files_make_no_circle() -> None:
    modules = imports_within("backend/mesh_files/")
    graphlib.TopologicalSorter(modules).prepare()


FLOORS = (
    {"constants", "steps", "wording"},
    {"backend_process", "mesh_exchange"},
    {"environment"},
    {"parts"},
    {"apply", "repair", "view"},
    {"rigging"},
    {"separation"},
    {"retexture"},
    {"session"},
    {"api", "properties"},
    {"operators"},
    {"click_tool", "targets"},
    {"pick_tool"},
    {"ui"},
    {"preferences"},
)
"""The rooms of the add-on, from the ground up: each may use those on lower floors."""


def test_rooms_of_the_addon_use_only_lower_floors() -> None:
    floor_of = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
    for own, imported in imports_within("partsam_addon/").items():
        room = "".join(own.split(".")[2:3])
        for other in ("".join(module.split(".")[2:3]) for module in imported):
            if room and other and other != room:
                assert floor_of[other] < floor_of[room], f"{own} uses {other}"


def test_one_module_knows_the_names_of_devices() -> None:
    """A device comes from a parameter or from the tensors, never from a literal."""
    guilty = {}
    for name in python_files("backend/") + python_files("partsam_addon/"):
        constants = (node for node in ast.walk(parse(name)) if isinstance(node, ast.Constant))
        lines = [node.lineno for node in constants if re.fullmatch(r"cuda(:\d+)?", str(node.value))]
        if lines and name != "backend/devices.py":
            guilty[name] = lines
    assert not guilty


def test_the_addon_calls_no_operator_in_a_context_override() -> None:
    """That crashes Blender while a thread of ours runs; see modes.py. To add a handler is no such call."""
    overrides = _uses(python_files("partsam_addon/"), lambda node: node.attr == "temp_override")
    for name, lines in overrides.items():
        assert lines == [block.lineno for block in ast.walk(parse(name)) if _only_adds_a_handler(block)], name


def _only_adds_a_handler(node: ast.AST) -> bool:
    """Whether it is a block in a context override that calls nothing but `modal_handler_add`."""
    calls = [call for call in ast.walk(node) if isinstance(call, ast.Call)]
    called = [getattr(call.func, "attr", "") for call in calls]
    return isinstance(node, ast.With) and called == ["temp_override", "modal_handler_add"]


def test_tool_settings_are_those_of_the_scene() -> None:
    """Up to Blender 4.3 reading these of a context makes the scene that context's owner, for ever.

    `bpy.context` then keeps the address of a scene that is freed as another file is loaded, and whoever sets
    `bpy.context.window.scene` (Blender's glTF importer does) writes there. Blender crashes some time later.
    """

    def is_of_context(node: ast.Attribute) -> bool:
        owner = getattr(node.value, "attr", getattr(node.value, "id", ""))
        return node.attr in {"tool_settings", "layer_collection"} and owner == "context"

    assert not _uses([*python_files("partsam_addon/"), *python_files("tests/")], is_of_context)


def _uses(names: Iterable[str], is_meant: Callable[[ast.Attribute], bool]) -> dict[str, list[int]]:
    """Lines of the files `names` with a meant attribute, for those files that have some."""
    found = {}
    for name in names:
        attributes = (node for node in ast.walk(parse(name)) if isinstance(node, ast.Attribute))
        lines = [node.lineno for node in attributes if is_meant(node)]
        if lines:
            found[name] = lines
    return found


def test_texts_with_values_are_translated() -> None:
    """Labels, reports, errors go through `wording.say`: a translation cannot know what an f-string becomes.

    What runs without Blender as well does not know its languages.
    """
    errors = {"PartSAMError", "PromptError", "MeshError", "CheckpointError"}
    guilty = {}
    for name in python_files("partsam_addon/"):
        calls = [node for node in ast.walk(parse(name)) if isinstance(node, ast.Call)]
        shown = [word.value for call in calls for word in call.keywords if word.arg == "text"]
        shown += [
            call.args[1] for call in calls if getattr(call.func, "attr", "") == "report" and call.args[1:]
        ]
        if not name.startswith(("partsam_addon/environment/", "partsam_addon/backend_process/")):
            shown += [arg for call in calls if getattr(call.func, "id", "") in errors for arg in call.args]
        texts = [node for value in shown for node in ast.walk(value) if isinstance(node, ast.JoinedStr)]
        words = [part for node in texts for part in node.values if isinstance(part, ast.Constant)]
        lines = [part.lineno for part in words if re.search("[A-Za-z]{2}", str(part.value))]
        if lines:
            guilty[name] = lines
    assert not guilty


def test_every_python_file_has_the_licence_header() -> None:
    header = "# SPDX-License-Identifier: GPL-3.0-or-later"
    texts = {name: (ROOT / name).read_text(encoding="utf-8") for name in python_files()}
    assert not [name for name, text in texts.items() if header not in text.splitlines()[:2]]


@pytest.mark.parametrize("document", [path for path in tracked_files() if path.suffix == ".md"], ids=str)
def test_documents_name_files_that_exist(document: Path) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    code = re.findall(r"`([\w./-]+\.(?:py|md|toml|sh|txt))`", text)
    links = [link for link in re.findall(r"\]\(([^)#\s]+)\)", text) if "://" not in link]
    known = [path.as_posix() for path in tracked_files()]
    made_by_commands = ("demo_output/", "build/", "runs/")
    missing = [
        name
        for name in {*code, *links}
        if not name.startswith(made_by_commands)
        and not (ROOT / name).exists()
        and not (ROOT / document.parent / name).exists()
        and not any(path.endswith("/" + name) for path in known)
    ]
    assert not missing


def test_tracked_files_stay_small() -> None:
    assert sum((ROOT / path).stat().st_size for path in tracked_files()) < MAX_TRACKED_BYTES


def test_no_file_names_this_home_folder() -> None:
    home = os.fsencode(Path.home()) + b"/"
    assert not [path for path in tracked_files() if home in (ROOT / path).read_bytes()]
