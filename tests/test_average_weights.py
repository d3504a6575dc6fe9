# SPDX-License-Identifier: GPL-3.0-or-later
"""Averaging two trained sets of weights of one network."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors
import torch
from safetensors.torch import load_file, save_file

from backend.errors import CheckpointError
from backend.network import load_network, read_weights, save_network, untrained_network
from backend.training.average_weights import average_weights, main
from tests.tiny_network import TINY


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Two networks of one kind: the first in float16 with metadata, the second in float32."""
    paths = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    save_network(untrained_network(TINY, seed=1), paths[0], metadata={"licence": "free"})
    save_network(untrained_network(TINY, seed=2), paths[1], dtype=torch.float32)
    return paths


@pytest.mark.parametrize("share", [None, 0.25, 0.0])
def test_the_result_lies_between_in_the_first_files_types(
    files: tuple[Path, Path], share: float | None
) -> None:
    out = files[0].with_name("out.safetensors")
    options = [] if share is None else ["--share", str(share)]
    assert main([*map(str, files), "-o", str(out), *options]) == 0
    first, second, found = (load_file(path) for path in (*files, out))
    part = 0.5 if share is None else share
    assert found.keys() == first.keys()
    for name, tensor in found.items():
        expected = first[name].double() * (1 - part) + second[name].double() * part
        assert tensor.dtype == first[name].dtype
        torch.testing.assert_close(tensor, expected.to(tensor.dtype), atol=1e-7, rtol=1e-3)
        assert share != 0.0 or torch.equal(tensor, first[name])
    assert load_network(out).network.config == TINY
    assert read_weights(out).metadata == {"licence": "free"}


def test_sums_are_not_rounded_before_they_are_whole(tmp_path: Path) -> None:
    """In float16 the sum of two weights could be infinite, and halves of small ones nothing."""
    config = {"partsam.config": TINY.to_json()}
    for name, values in (("a", [60_000.0, 6e-8]), ("b", [60_000.0, 6e-8])):
        save_file({"w": torch.tensor(values).half()}, tmp_path / name, metadata=config)
    found = average_weights(tmp_path / "a", tmp_path / "b").tensors["w"]
    assert torch.equal(found, torch.tensor([60_000.0, 6e-8]).half())


def test_whole_numbers_are_the_first_files(tmp_path: Path) -> None:
    config = {"partsam.config": TINY.to_json()}
    for name, value in (("a", 2), ("b", 5)):
        save_file({"w": torch.tensor([value])}, tmp_path / name, metadata=config)
    assert average_weights(tmp_path / "a", tmp_path / "b").tensors["w"].tolist() == [2]


@pytest.mark.parametrize(
    ("ours", "theirs", "asked", "expected"),
    [
        (False, True, False, False),
        (True, False, False, True),
        (False, False, True, True),
        (False, True, True, True),
    ],
)
def test_upright_is_the_first_files_or_as_asked(
    tmp_path: Path, ours: bool, theirs: bool, asked: bool, expected: bool
) -> None:
    for name, upright in (("a", ours), ("b", theirs)):
        save_network(untrained_network(replace(TINY, upright=upright)), tmp_path / name)
    out = tmp_path / "out"
    assert main([str(tmp_path / "a"), str(tmp_path / "b"), "-o", str(out), *["--upright"] * asked]) == 0
    assert load_network(out).network.config == replace(TINY, upright=expected)
    with safetensors.safe_open(out, framework="pt") as file:
        assert json.loads(file.metadata()["partsam.config"])["upright"] is expected


def test_weights_of_other_networks_are_refused(
    files: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    other, out = files[0].with_name("other.safetensors"), files[0].with_name("out.safetensors")
    save_network(untrained_network(replace(TINY, click_scales=2)), other)
    with pytest.raises(CheckpointError, match="click_scales is 3 and 2") as raised:
        average_weights(files[0], other)
    assert str(files[0]) in str(raised.value)
    assert str(other) in str(raised.value)
    assert main([str(files[0]), str(other), "-o", str(out)]) == 1
    assert "not weights of one network" in caplog.text
    assert not out.exists()


def test_tensors_of_other_names_and_sizes_are_refused(files: tuple[Path, Path]) -> None:
    tensors, config = load_file(files[0]), {"partsam.config": TINY.to_json()}
    name = next(name for name, tensor in tensors.items() if tensor.ndim == 2)
    other = files[0].with_name("other.safetensors")
    for change, message in (
        ({name: tensors[name][:1].clone()}, rf"{name} is \[.+\] and \[1, "),
        ({"new": torch.zeros(1)}, "only the second has new"),
    ):
        save_file({**tensors, **change}, other, metadata=config)
        with pytest.raises(CheckpointError, match=message) as raised:
            average_weights(files[0], other)
        assert files[0].name in str(raised.value)
        assert other.name in str(raised.value)
    save_file({key: tensor for key, tensor in tensors.items() if key != name}, other, metadata=config)
    with pytest.raises(CheckpointError, match=f"only the first has {name}"):
        average_weights(files[0], other)


def test_an_input_is_not_written_over(files: tuple[Path, Path], caplog: pytest.LogCaptureFixture) -> None:
    for path in files:
        before = path.read_bytes()
        assert main([*map(str, files), "-o", str(path)]) == 1
        assert path.read_bytes() == before
    assert "written over" in caplog.text


def test_unusable_files_shares_and_folders_are_named(
    files: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    folder = files[0].parent
    save_file({"w": torch.zeros(1)}, folder / "foreign")
    (folder / "cut").write_bytes(files[0].read_bytes()[:200])
    for second, message in (
        ("nowhere", "no such weights file"),
        ("foreign", "no network configuration"),
        ("cut", "truncated"),
    ):
        with pytest.raises(CheckpointError, match=message):
            average_weights(files[0], folder / second)
    with pytest.raises(CheckpointError, match=r"from 0 to 1, not 1\.5"):
        average_weights(*files, share=1.5)
    assert main([*map(str, files), "-o", str(folder / "nowhere" / "out")]) == 1
    assert "cannot write" in caplog.text
