# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings of training runs: what is wrong with them is said in one line."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from backend.errors import DataError
from backend.training.config import TrainingConfig, read_config
from backend.training.trainer import Trainer
from tests.tiny_training import write_tiny_config


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    return write_tiny_config(tmp_path)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("typo", 1, "unknown setting typo; known here: batch"),
        ("batch.augmentation.spinn", 1, "unknown setting batch.augmentation.spinn"),
        ("run.steps", "many", "run.steps cannot be 'many'"),
        ("run.steps", 1.5, "run.steps cannot be 1.5"),
        ("run.graphs", 1, "run.graphs cannot be 1"),
        ("rounds", [1, "two"], "rounds cannot be"),
        ("batch", 3, "batch is a table"),
        ("batch.shapes.more", 3, "shapes is a value, not a table"),
        ("batch.repository_shares", [["a/a"]], "batch.repository_shares cannot be"),
        ("batch.points", 0, "must be positive"),
        ("optimizer.schedule", "linear", "schedule must be"),
        ("optimizer.learning_rate", -1, "must be positive"),
        ("optimizer.matrices", "sgd", "matrices must be"),
        ("batch.closest", 0.7, "closest is a share"),
        ("optimizer.ema_decay", 1, "ema_decay must be"),
        ("run.log_every", 0, "at least 1"),
        ("network", "huge", "unknown network 'huge'"),
        ("round_weights", [1], "equally long"),
        ("round_weights", [0, 0], "nor all zero"),
    ],
)
def test_a_bad_setting_is_named_in_one_line(config_file, name, value, message):
    with pytest.raises(DataError, match=message) as caught:
        read_config(config_file, {name: value})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("network_sizes.patchess", 3, "patchess"),
        ("network_sizes.patches", 4096, "more patches than points"),
        ("network_sizes.unet_widths", [8, 16, 32], "do not fit together"),
        ("shards", [], "no training data"),
        ("shards", ["absent.npz.xz"], "cannot read"),
        ("shards", ["absent.pack"], "absent.pack"),
        ("batch.repository_shares", [["b/b", 0.5]], "which no shape comes from"),
    ],
)
def test_what_cannot_be_built_is_named_in_one_line(config_file, tmp_path, name, value, message):
    with pytest.raises(DataError, match=message) as caught:
        Trainer(read_config(config_file, {name: value}), tmp_path / "run", device="cpu")
    assert "\n" not in str(caught.value)


def test_unreadable_configurations_and_folders_are_named(config_file, tmp_path):
    with pytest.raises(DataError, match="cannot read"):
        read_config(tmp_path / "absent.toml")
    for content in (b"steps = ", b"\xff\xfe\x00"):
        (tmp_path / "bad.toml").write_bytes(content)
        with pytest.raises(DataError, match="not valid TOML"):
            read_config(tmp_path / "bad.toml")
    with pytest.raises(DataError, match="needs an end"):
        read_config(config_file, {"run.steps": 0})
    with pytest.raises(DataError, match="folder of the run"):
        Trainer(read_config(config_file), config_file, device="cpu")


def test_the_shipped_recipe_is_valid(repository):
    config = read_config(repository / "backend/training/configs/small.toml")
    assert dataclasses.is_dataclass(config)
    assert isinstance(config, TrainingConfig)
    assert config.network_config().points == config.batch.points == 16_384


def test_the_command_line_answers_bad_settings_with_one_line(config_file, tmp_path, repository):
    done = subprocess.run(
        [sys.executable, "-m", "backend", "train", config_file, "-o", tmp_path / "run", "--set", "typo=3"],
        cwd=repository, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_without_tensorboard_the_command_says_what_to_install(config_file, tmp_path, repository):
    code = """import sys
sys.modules["tensorboard"] = None  # as if it were not installed
from backend.__main__ import main
sys.exit(main(sys.argv[1:]))"""
    command = [sys.executable, "-c", code, "train", config_file, "-o", tmp_path / "run"]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == "error: training needs tensorboard: pip install -r tests/requirements.txt\n"
