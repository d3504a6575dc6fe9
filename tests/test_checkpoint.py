# SPDX-License-Identifier: GPL-3.0-or-later
"""Weights files: what is written is read back, and what does not fit is named before it costs memory."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import torch
from safetensors.torch import load_file, save_file

from backend.errors import CheckpointError
from backend.network import PRESETS, PUBLISHED, NetworkConfig, load_network, save_network, untrained_network
from backend.network.model import PartSAM
from backend.network.published_layout import is_published_layout, our_name
from tests.published_weights import published_shapes
from tests.tiny_network import TINY, TWO_BRANCHES

CONFIG = "partsam.config"


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A whole file of ours."""
    path = tmp_path / "tiny.safetensors"
    save_network(untrained_network(TINY), path)
    return path


def rewritten(
    path: Path, change: Callable[[dict[str, torch.Tensor]], None], metadata: dict[str, str] | None = None
) -> Path:
    """The same file with its tensors changed."""
    with safetensors.safe_open(path, framework="pt") as file:
        known = dict(file.metadata())
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata=known if metadata is None else metadata)
    return path


# --- our own files ---------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [TINY, TWO_BRANCHES], ids=["one branch", "two branches"])
def test_a_file_brings_weights_configuration_and_notes_back(tmp_path: Path, config: NetworkConfig) -> None:
    network = untrained_network(config, seed=5)
    path = tmp_path / "own.safetensors"
    grown_from = {"partsam.config": "{}"}  # notes of the file that a network was made from may come along
    save_network(network, path, metadata={"trained.steps": "12", **grown_from}, dtype=torch.float32)
    loaded = load_network(path)
    assert loaded.network.config == config
    assert loaded.metadata["trained.steps"] == "12"
    assert loaded.unused == ()
    before, after = network.state_dict(), loaded.network.state_dict()
    assert list(before) == list(after)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not loaded.network.training
    assert not any(parameter.requires_grad for parameter in loaded.network.parameters())


def test_half_precision_files_are_rounded_once_and_computed_with_in_float32(tmp_path: Path) -> None:
    network = untrained_network(TINY)
    first = tmp_path / "first.safetensors"
    save_network(network, first)
    assert {tensor.dtype for tensor in load_file(first).values()} == {torch.float16}
    loaded = load_network(first).network
    for name, tensor in loaded.state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, network.state_dict()[name].half().float())
    again = tmp_path / "again.safetensors"
    save_network(loaded, again)
    assert again.read_bytes() == first.read_bytes()


@pytest.mark.parametrize("config", [*PRESETS.values(), TINY, TWO_BRANCHES], ids=lambda config: config.name)
def test_configurations_survive_json(config: NetworkConfig) -> None:
    assert NetworkConfig.from_json(config.to_json()) == config


def test_random_weights_depend_on_the_seed_alone() -> None:
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    first = untrained_network(TINY, seed=4).state_dict()
    assert torch.equal(torch.random.get_rng_state(), state), "the caller's generator was touched"
    torch.manual_seed(2)
    second, other = untrained_network(TINY, seed=4).state_dict(), untrained_network(TINY, seed=5).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_a_file_that_cannot_be_written_leaves_the_old_one(saved: Path) -> None:
    before = saved.read_bytes()
    with pytest.raises(CheckpointError, match="nowhere"):
        save_network(untrained_network(TINY), saved.parent / "nowhere" / "x.safetensors")
    resource = pytest.importorskip("resource", reason="limits file sizes to imitate a full disk")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        with pytest.raises(CheckpointError, match=r"cannot write .*tiny\.safetensors"):
            save_network(untrained_network(TINY, seed=9), saved)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


# --- files that are not ours, or not whole ---------------------------------------------------------


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no such weights file: .*gone\.safetensors"):
        load_network(tmp_path / "gone.safetensors")


@pytest.mark.parametrize("share", [0.0, 0.0001, 0.001, 0.3, 0.6, 0.999])
def test_a_truncated_file_says_so(saved: Path, share: float) -> None:
    content = saved.read_bytes()
    saved.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match=r"tiny\.safetensors .*truncated"):
        load_network(saved)


@pytest.mark.parametrize(
    "content",
    [b"PK\x03\x04" + bytes(500), b"\x80\x02}q\x00." * 50, bytes(64), b"\xff" * 64, b"hello, world" * 20],
    ids=["zip", "pickle", "zeros", "ones", "text"],
)
def test_a_foreign_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "foreign.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"foreign\.safetensors"):
        load_network(path)


def test_a_foreign_network_is_refused_by_its_first_tensor(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"layer.9": torch.zeros(2), "conv.weight": torch.zeros(3, 3)}, path)
    with pytest.raises(CheckpointError, match=r"neither .* nor .*conv\.weight"):
        load_network(path)
    save_file({}, path)
    with pytest.raises(CheckpointError, match="none"):
        load_network(path)


def test_missing_and_extra_tensors_and_wrong_shapes_are_named_together(saved: Path) -> None:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        del tensors["decoder.iou_token"]
        tensors["decoder.more"] = torch.zeros(3)
        tensors["patch_mapper.layers.0.bias"] = torch.zeros(7)

    rewritten(saved, change)
    with pytest.raises(CheckpointError) as caught:
        load_network(saved)
    message = str(caught.value)
    assert "does not fit the 'tiny' network" in message
    assert "decoder.iou_token is missing" in message
    assert "decoder.more is not part of the network" in message
    width = TINY.decoder_width
    assert f"patch_mapper.layers.0.bias is [7], not [{width}]" in message
    assert "more" not in message.replace("decoder.more", "")


def test_of_many_mismatches_the_first_are_named_and_the_others_counted(saved: Path) -> None:
    count = len(load_file(saved))

    def change(tensors: dict[str, torch.Tensor]) -> None:
        for name in list(tensors):
            tensors[name] = torch.zeros(5, 3, 11)

    rewritten(saved, change)
    with pytest.raises(CheckpointError, match=f"and {count - 5} more") as caught:
        load_network(saved)
    assert str(caught.value).count("is [5, 3, 11]") == 5


@pytest.mark.parametrize("name", ["decoder.point_linear2.weight", "patch_encoder.linear1.weight"])
def test_transposed_matrices_are_refused(saved: Path, name: str) -> None:
    wide = load_file(saved)[name]
    tensor = wide.T.contiguous() if wide.shape[0] != wide.shape[1] else torch.zeros(wide.shape[0] ** 2, 1)
    rewritten(saved, lambda tensors: tensors.update({name: tensor}))
    with pytest.raises(CheckpointError, match=re.escape(name)):
        load_network(saved)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[1, 2]",
        "null",
        "{}",
        json.dumps({**dataclasses.asdict(TINY), "unknown_setting": 1}),
        json.dumps({**dataclasses.asdict(TINY), "branches": ["sideways"]}),
        json.dumps({**dataclasses.asdict(TINY), "transformer_heads": 3}),
        json.dumps({**dataclasses.asdict(TINY), "transformer_heads": 0}),
        json.dumps({**dataclasses.asdict(TINY), "plane_resolution": 18}),
        json.dumps({**dataclasses.asdict(TINY), "patches": 10**6}),
        json.dumps({**dataclasses.asdict(TINY), "transformer_depth": "two"}),
        json.dumps({**dataclasses.asdict(TINY), "plane_channels": 2.5}),
        json.dumps({**dataclasses.asdict(TINY), "mask_channels": -1}),
        json.dumps({**dataclasses.asdict(TINY), "unet_widths": []}),
    ],
)
def test_an_unusable_configuration_is_refused(saved: Path, text: str) -> None:
    rewritten(saved, lambda tensors: None, metadata={CONFIG: text})
    with pytest.raises(CheckpointError):
        load_network(saved)


# --- what loading costs ----------------------------------------------------------------------------


class Allocations(torch.overrides.TorchFunctionMode):
    """The largest tensor that any torch call made while active, in elements, off the meta device."""

    def __init__(self) -> None:
        super().__init__()
        self.largest = 0

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and result.device.type != "meta":
            self.largest = max(self.largest, result.numel())
        return result


def test_shapes_are_checked_before_anything_of_size_is_allocated(saved: Path) -> None:
    """A small file that claims to be the published network, 225 M values, costs nothing to refuse."""
    rewritten(saved, lambda tensors: None, metadata={CONFIG: PUBLISHED.to_json()})
    with Allocations() as allocations, pytest.raises(CheckpointError, match="does not fit the 'published'"):
        load_network(saved)
    assert allocations.largest < 1000


def test_files_are_memory_mapped(saved: Path) -> None:
    """Reading shapes touches no data: refusing a file of 2 GB faults in next to no pages of it."""
    resource = pytest.importorskip("resource", reason="counts page faults")
    name, size = "decoder.iou_token", 1 << 31
    hole(saved, {name: {"dtype": "F16", "shape": [size // 2], "data_offsets": [0, size]}}, TINY)
    before = resource.getrusage(resource.RUSAGE_SELF)
    with pytest.raises(CheckpointError, match="does not fit"):
        load_network(saved)
    after = resource.getrusage(resource.RUSAGE_SELF)
    faults = after.ru_minflt + after.ru_majflt - before.ru_minflt - before.ru_majflt
    assert faults * resource.getpagesize() < size / 20


def hole(path: Path, tensors: dict[str, Any], config: NetworkConfig | None = None) -> Path:
    """A safetensors file with these tensors, all zero, that takes no disk space."""
    header = dict(tensors) if config is None else {"__metadata__": {CONFIG: config.to_json()}, **tensors}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    end = max(tensor["data_offsets"][1] for tensor in tensors.values())
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)
    return path


# --- the published layout --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def published_state() -> dict[str, torch.Tensor]:
    with torch.device("meta"):
        return PartSAM(PUBLISHED).state_dict()


def test_the_key_map_is_a_bijection_onto_the_preset(
    published_state: dict[str, torch.Tensor],
) -> None:
    shapes = published_shapes()
    assert len(shapes) == 628
    assert is_published_layout(set(shapes))
    mapped = {published: name for published in shapes if (name := our_name(published)) is not None}
    assert len(set(mapped.values())) == len(mapped), "two published tensors would become one of ours"
    rows: dict[str, set[int]] = {}
    covered = set()
    for published, name in mapped.items():
        row = re.fullmatch(r"(.+)\[(\d+)\]", name)
        ours = row.group(1) if row else name
        covered.add(ours)
        wanted = list(published_state[ours].shape)
        if row:
            rows.setdefault(ours, set()).add(int(row.group(2)))
            wanted = wanted[1:]
        assert [n for n in shapes[published] if n != 1] == [n for n in wanted if n != 1], published
    assert covered == set(published_state)
    assert rows == {name: set(range(len(published_state[name]))) for name in rows}
    used = sum(int(np.prod(shapes[name])) for name in mapped)
    assert used == sum(tensor.numel() for tensor in published_state.values())


def test_published_tensors_without_use_are_the_dead_encoder_blocks() -> None:
    dead = [name for name in published_shapes() if our_name(name) is None]
    assert dead
    assert all(
        re.match(r"pc_encoder\.partfield(My)?\.pvcnn\.pc_encoder\.encoder\.[123]\.", name) for name in dead
    )


def published_file(path: Path, shapes: dict[str, list[int]]) -> Path:
    """A file in the published layout whose values are a hole."""
    ends = np.cumsum([4 * int(np.prod(shape)) for shape in shapes.values()]).tolist()
    starts = [0, *ends[:-1]]
    return hole(
        path,
        {
            name: {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}
            for (name, shape), start, end in zip(shapes.items(), starts, ends, strict=True)
        },
    )


@pytest.mark.parametrize(
    ("changed", "shape", "message"),
    [
        ("mask_decoder.iou_token.weight", None, "decoder.iou_token is missing"),
        (
            "point_encoder.point_embeddings.1.weight",
            None,
            r"0.weight is \[1, 256\], not \[2, 256\]",
        ),
        ("point_encoder.point_embeddings.1.weight", [1, 255], r"point_embeddings.1.weight is \[1, 255\]"),
        ("point_encoder.point_embeddings.1.weight", [2, 256], r"point_embeddings.1.weight is \[2, 256\]"),
        ("point_encoder.point_embeddings.2.weight", [1, 256], "one of 3 rows, not of 2"),
        ("mask_decoder.mask_tokens.weight", [3, 256], r"mask_decoder.mask_tokens.weight is \[3, 256\]"),
        ("mask_decoder.iou_prediction_head.layers.7.bias", [4], "layers.7.bias is not part of the network"),
    ],
)
def test_a_published_file_with_a_fault_is_refused(
    tmp_path: Path, changed: str, shape: list[int] | None, message: str
) -> None:
    shapes = dict(published_shapes())
    if shape is None:
        del shapes[changed]
    else:
        shapes[changed] = shape
    path = published_file(tmp_path / "published.safetensors", shapes)
    with Allocations() as allocations, pytest.raises(CheckpointError, match=message):
        load_network(path)
    assert allocations.largest < 1000


def test_loading_draws_no_random_weights(repository: Path) -> None:
    """On the meta device PyTorch imports sympy for that, which takes longer than everything else."""
    program = (
        "import sys; from backend.segmenter import Segmenter; Segmenter.load('small', device='cpu');"
        "sys.exit('sympy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=repository, timeout=120).returncode == 0
