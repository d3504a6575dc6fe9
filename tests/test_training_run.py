# SPDX-License-Identifier: GPL-3.0-or-later
"""Training runs of a tiny network on one built shape, on the CPU: learning, chaining, stopping, two ranks."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from backend import Segmenter
from backend.benchmarks import training_step
from backend.errors import DataError
from backend.labelled_meshes.shards import ShapeSet, write_shard
from backend.network import PartSAM, load_network
from backend.training.config import OptimizerConfig, RunConfig, read_config
from backend.training.curves import draw_curves
from backend.training.interaction import Interaction
from backend.training.muon import Muon
from backend.training.ranks import Clock
from backend.training.shard_stream import ShardStream
from backend.training.step import AveragedWeights
from backend.training.trainer import CHECKPOINT, WEIGHTS, Progress, Trainer, grown_network, learning_rate
from tests.tiny_training import mushroom, write_tiny_config


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tensors this small gain nothing from threads, and sums in a fixed order can be compared exactly."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    return write_tiny_config(tmp_path)


def train(config: Path, folder: Path, **settings: Any) -> Trainer:
    """Run to the end; `settings` are of [run]."""
    overrides = {f"run.{name}": value for name, value in settings.items()}
    trainer = Trainer(read_config(config, overrides), folder, device="cpu")
    trainer.run()
    return trainer


def metrics(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


def all_weights(trainer: Trainer) -> torch.Tensor:
    averages = [w.flatten() for w in trainer.average.weights]
    return torch.cat([*(p.detach().flatten() for p in trainer.network.parameters()), *averages])


# --- learning --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("matrices", "rate"), [("adamw", "2e-3"), ("muon", "8e-3")])
def test_a_repeated_shape_is_learnt_until_one_click_finds_each_part(config_file, tmp_path, matrices, rate):
    text = config_file.read_text(encoding="utf-8")
    text = text.replace("learning_rate = 2e-3", f'matrices = "{matrices}"\nlearning_rate = {rate}')
    config_file.write_text(text, encoding="utf-8")
    train(config_file, tmp_path / "run", steps=220, log_every=20)
    losses = [row["loss"] for row in metrics(tmp_path / "run")]
    assert losses[-1] < 0.2 * losses[0]
    segmenter = Segmenter.load(tmp_path / "run" / WEIGHTS, device="cpu")
    shape = segmenter.encode(mushroom().mesh, seed=1)
    point_parts = mushroom().labelings[0][shape.point_faces]
    for part, click in ((0, (0, -0.15, -0.1)), (1, (0, 0, 0.9))):
        prediction = segmenter.predict(shape, np.array([click]), np.array([1]))
        mask = prediction.point_logits[prediction.best] > 0
        iou = (mask & (point_parts == part)).sum() / (mask | (point_parts == part)).sum()
        assert iou > 0.8, f"part {part}"


# --- chaining --------------------------------------------------------------------------------------


@pytest.mark.parametrize("matrices", ["adamw", "muon"])
def test_a_resumed_run_is_the_uninterrupted_one_step_for_step(config_file, tmp_path, matrices):
    optimizer = f'[optimizer]\nmatrices = "{matrices}"'
    config_file.write_text(config_file.read_text(encoding="utf-8").replace("[optimizer]", optimizer))
    together = "joint_clicks = [2]\njoint_weights = [0.5]\n"  # steps of every kind
    config_file.write_text(together + config_file.read_text(encoding="utf-8"), encoding="utf-8")
    whole = train(config_file, tmp_path / "whole", steps=24)
    # The schedule is one of 24 steps all along: the first process saves after 13 and is not asked to end.
    config = read_config(config_file, {"run.steps": 24})
    first = Trainer(config, tmp_path / "chained", device="cpu")
    for _ in range(13):
        first._one_step()
    first.save()
    second = train(config_file, tmp_path / "chained", steps=24)
    assert second.progress.step == 24
    assert torch.equal(all_weights(second), all_weights(whole))


def test_after_resuming_the_schedule_still_sets_the_rate_that_is_used(config_file, tmp_path):
    train(config_file, tmp_path, steps=4)
    trainer = train(config_file, tmp_path, steps=40)  # the first part was all warm-up
    rates = [row["learning_rate"] for row in metrics(tmp_path)]
    assert max(rates) > 1.5e-3
    assert rates[-1] < 1e-4
    before = all_weights(trainer)
    trainer.step(Interaction(1), 0.0)  # a rate of zero must reach the optimiser itself
    assert torch.equal(all_weights(trainer), before)


def test_time_limits_end_a_process_or_the_schedule(config_file, tmp_path):
    limited = train(config_file, tmp_path / "a", steps=10**6, stop_after=0.2).progress
    assert 1 <= limited.step < 10**6
    assert limited.seconds >= 0.2
    again = train(config_file, tmp_path / "a", steps=10**6, stop_after=0.2).progress
    assert again.step > limited.step
    assert again.seconds >= limited.seconds + 0.2
    done = train(config_file, tmp_path / "b", steps=0, seconds=0.2).progress
    assert done.share(RunConfig(seconds=0.2)) == 1
    assert train(config_file, tmp_path / "b", steps=0, seconds=0.2).progress.step == done.step


def test_sigterm_saves_and_leaves(config_file, tmp_path, repository):
    command = [sys.executable, "-m", "backend", "train", config_file, "-o", tmp_path / "run",
               "--device", "cpu", "--set", "run.steps=1000000", "--set", "run.log_every=1"]  # fmt: skip
    with subprocess.Popen(
        command, cwd=repository, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("step")
        process.send_signal(signal.SIGTERM)
        rest = process.stdout.read()
    assert process.returncode == 0
    assert "weights:" in rest.splitlines()[-1]
    saved = torch.load(tmp_path / "run" / CHECKPOINT, weights_only=True)  # noqa: TID251
    assert 1 <= saved["progress"]["step"] < 10**6
    assert load_network(tmp_path / "run" / WEIGHTS).network.config.patches == 32


def test_metrics_are_written_for_people_and_for_tensorboard(config_file, tmp_path):
    train(config_file, tmp_path / "run", steps=6)
    rows = metrics(tmp_path / "run")
    assert [row["step"] for row in rows] == [2, 4, 6]
    assert all(math.isfinite(value) for row in rows for value in row.values())
    assert {"loss", "iou_first", "gradient_norm", "steps_per_second", "shapes_per_second"} <= rows[0].keys()
    assert any((tmp_path / "run/tensorboard").glob("events.out.tfevents.*"))
    draw_curves(tmp_path / "run/metrics.jsonl", tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("damage", ["truncated", "foreign", "other sizes"])
def test_an_unusable_checkpoint_is_refused_by_name(config_file, tmp_path, damage):
    train(config_file, tmp_path / "run", steps=2)
    path = tmp_path / "run" / CHECKPOINT
    overrides = {}
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:5000])
    elif damage == "foreign":
        path.write_bytes(b"no checkpoint")
    else:
        overrides = {"network_sizes.patches": 48, "network_sizes.decoder_mlp_width": 32}
    trainer = Trainer(read_config(config_file, overrides), tmp_path / "run", device="cpu")
    with pytest.raises(DataError, match=r"checkpoint\.pt does not fit .* or is damaged") as caught:
        trainer.run()
    assert "\n" not in str(caught.value)


# --- schedule and average ----------------------------------------------------------------------------


def test_the_rate_warms_up_and_falls_as_a_cosine():
    config = OptimizerConfig(learning_rate=1.0, warmup_steps=4, final_ratio=0.1)
    assert [learning_rate(config, step, 0.0) for step in range(5)] == pytest.approx([0.25, 0.5, 0.75, 1, 1])
    shares = (0.0, 1 / 3, 0.5, 2 / 3, 1.0)
    rates = [learning_rate(config, 100, share) for share in shares]
    assert rates == pytest.approx([1, 0.1 + 0.9 * 0.75, 0.55, 0.1 + 0.9 * 0.25, 0.1])


def test_the_step_schedule_divides_by_ten_twice():
    config = OptimizerConfig(learning_rate=1.0, warmup_steps=0, schedule="step")
    rates = [learning_rate(config, 100, share) for share in (0, 0.59, 0.6, 0.84, 0.85, 1)]
    assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


def test_whichever_limit_comes_first_ends_the_schedule():
    assert Progress(step=50, seconds=10).share(RunConfig(steps=100, seconds=100)) == 0.5
    assert Progress(step=50, seconds=90).share(RunConfig(steps=100, seconds=100)) == 0.9
    assert Progress(step=500).share(RunConfig(steps=100)) == 1


def test_averaged_weights_follow_their_formula():
    network = torch.nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        network.weight.fill_(1.0)
        average = AveragedWeights(network, decay=0.9)
        network.weight.fill_(2.0)
        average.update(1000)  # late: the decay as configured
        assert average.weights[0].tolist() == [pytest.approx([1.1, 1.1])]
        average.update(1000, every=2)
        assert average.weights[0].tolist() == [pytest.approx([2 - 0.9 * 0.81] * 2)]
        average.update(5)  # early: 6 / 15
        assert average.weights[0].tolist() == [pytest.approx([2 - 0.9 * 0.81 * 0.4] * 2)]
    with average.swapped_in():
        assert torch.equal(network.weight, average.weights[0])
    assert network.weight.tolist() == [[2.0, 2.0]]


@pytest.mark.parametrize("matrices", ["adamw", "muon"])
def test_a_gradient_that_is_not_finite_leaves_weights_and_optimiser_alone(config_file, tmp_path, matrices):
    trainer = Trainer(read_config(config_file, {"optimizer.matrices": matrices}), tmp_path, device="cpu")
    trainer.step(Interaction(1), 1e-2)  # from here on there are momentum and decay to move the weights
    before, exchange = all_weights(trainer), trainer.step._mean_gradients
    state = copy.deepcopy(trainer.step.optimizer_state())
    trainer.step._mean_gradients = lambda: exchange() * math.nan
    trainer.step(Interaction(1), 1e-2)
    assert torch.equal(all_weights(trainer), before)
    torch.testing.assert_close(trainer.step.optimizer_state(), state, rtol=0, atol=0)
    assert trainer.step.read_metrics()["skipped"] == 1
    trainer.step._mean_gradients = exchange
    trainer.step(Interaction(1), 1e-2)
    assert not torch.equal(all_weights(trainer), before)
    values = trainer.step.read_metrics()
    assert values["skipped"] == 0
    assert all(map(math.isfinite, values.values()))


def test_a_network_that_grows_by_a_prompt_answers_as_before(config_file, tmp_path):
    wanted = read_config(config_file).network_config()
    assert wanted.size_prompt
    assert wanted.score_context
    wanted = dataclasses.replace(wanted, score_regions=True)
    plain = dataclasses.replace(wanted, size_prompt=False, score_context=False, score_regions=False)
    torch.manual_seed(0)
    trained = PartSAM(plain)
    grown = grown_network(trained, wanted)
    assert grown is not None
    tokens, patches = torch.randn(2, 3, 1, 32), torch.randn(2, 1, 32, 32)
    located, pe = torch.randn(2, 1, 32, 16), torch.randn(2, 1, 32, 32)
    sizes = torch.full((2, 3), 0.1)
    torch.testing.assert_close(
        grown.decoder(tokens, patches, pe, located, None, sizes),
        trained.decoder(tokens, patches, pe, located),
    )
    assert grown.size_prompts is not None
    assert not grown.size_prompts(sizes).any()
    assert grown_network(trained, dataclasses.replace(wanted, decoder_depth=2)) is None


def test_a_network_that_grows_by_attention_among_patches_answers_as_before(config_file):
    plain = read_config(config_file).network_config()
    torch.manual_seed(0)
    trained = PartSAM(plain)
    grown = grown_network(trained, dataclasses.replace(plain, patch_layers=2, patch_width=32, patch_heads=4))
    assert grown is not None
    assert grown.patch_context is not None
    embeddings, attributes, positions = torch.randn(1, 32, 16), torch.randn(1, 32, 9), torch.randn(1, 32, 32)
    assert not grown.patch_context(embeddings, attributes, positions).any()
    own = trained.state_dict()
    assert all(torch.equal(own[name], grown.state_dict()[name]) for name in own)


def test_muon_steps_along_the_orthogonal_factor():
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(40, 24, generator=generator)
    parameter = torch.nn.Parameter(torch.zeros(40, 24))
    parameter.grad = matrix
    muon = Muon([parameter], torch.tensor(0.5))
    muon.step(torch.tensor(False))
    assert not parameter.any()
    muon.step(torch.tensor(True))
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    step = -parameter.detach() / (0.5 * 0.2 * 40**0.5)
    along = left.T @ step @ right.T
    assert along.diagonal().min() > 0.6
    assert along.diagonal().max() < 1.3
    assert (along - along.diagonal().diag()).abs().max() < 0.1


def test_clipping_bounds_the_norm_of_all_gradients_together(config_file, tmp_path):
    trainer = Trainer(read_config(config_file, {"optimizer.clip_norm": 0.25}), tmp_path, device="cpu")
    trainer.step._set_gradients(torch.ones(sum(p.numel() for p in trainer.step.parameters)))
    clipped = torch.cat([p.grad.flatten() for p in trainer.step.parameters])
    assert float(clipped.norm()) == pytest.approx(0.25, rel=1e-3)


def test_the_clock_goes_on_where_it_was():
    clock = Clock(100.0, torch.device("cpu"))
    seconds, stop = clock.read()
    assert seconds >= 100
    assert not stop
    assert clock.read(signalled=True)[1]
    assert clock.read(stop_after=1e-9)[1]
    assert not clock.read(stop_after=50)[1]  # of this process, not of all


def test_the_benchmark_times_variants_side_by_side(config_file, caplog):
    arguments = [str(config_file), "--device", "cpu", "--rounds", "1", "2", "--profile", "4"]
    with caplog.at_level("INFO", logger=training_step.__name__):
        assert (
            training_step.main([*arguments, "--variant", "plain", "--variant", "few batch.points=256"]) == 0
        )
    output = "\n".join(caplog.messages)
    for name in ("plain", "few batch.points=256"):
        assert re.search(rf"^{name}: ms by rounds  1: +[\d.]+  2: +[\d.]+, built in", output, re.MULTILINE)
    assert output.count("Self CPU time total") == 2
    assert training_step.main([*arguments, "--variant", "batch.points=0"]) == 1


# --- several processes -------------------------------------------------------------------------------

TWO_RANKS = """
    import sys
    import torch, torch.distributed as dist
    from backend.training.config import read_config
    from backend.training.trainer import Trainer
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank, folder = dist.get_rank(), sys.argv[2]
    trainer = Trainer(read_config(sys.argv[1]), folder, device="cpu")
    flat = lambda tensors: torch.cat([t.detach().flatten() for t in tensors])
    own, step = [], trainer.step
    exchange = step._mean_gradients
    def watched():
        own.append(flat(torch.zeros_like(p) if p.grad is None else p.grad for p in step.parameters))
        own.append(exchange())
        return own[-1]
    step._mean_gradients = watched
    progress = trainer.run()
    weights = flat(trainer.network.parameters())
    torch.save({"weights": weights, "before": own[0], "after": own[1], "step": progress.step,
                "random": torch.get_rng_state(), "seconds": progress.seconds}, f"{folder}/rank{rank}.pt")
    dist.destroy_process_group()
"""


def torchrun(script: Path, *arguments: Path, repository: Path, nodes: int) -> list[dict[str, Any]]:
    """Run `script` on two ranks, of one machine or of two that meet at an address; what each saved."""
    start = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        f"--nnodes={nodes}",
        f"--nproc-per-node={2 // nodes}",
    ]
    if nodes == 1:
        start += ["--standalone"]
    else:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        start += [
            "--rdzv-backend=c10d",
            "--rdzv-id=test",
            f"--rdzv-endpoint={address}",
            "--local-addr=127.0.0.1",
        ]
    environment = {**os.environ, "PYTHONPATH": str(repository), "OMP_NUM_THREADS": "1"}
    machines = [
        subprocess.Popen([*start, script, *arguments], stderr=subprocess.PIPE, text=True, env=environment)
        for _ in range(nodes)
    ]
    for machine in machines:
        # Ranks that disagree wait for each other for half an hour; so long need no test run.
        _, errors = machine.communicate(timeout=300)
        assert machine.returncode == 0, errors
    return [torch.load(arguments[1] / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]  # noqa: TID251


def test_two_machines_train_one_network_and_chain(config_file, tmp_path, repository):
    script, folder = tmp_path / "two.py", tmp_path / "run"
    script.write_text(textwrap.dedent(TWO_RANKS), encoding="utf-8")
    shutil.copy(tmp_path / "one.npz.xz", tmp_path / "two.npz.xz")
    # A limit in seconds, to which the ranks' own clocks would come at different steps; a shard for each rank.
    text = config_file.read_text(encoding="utf-8").replace(
        "steps = 4", "steps = 100000\nstop_after = 1.0\nheld_shards = 1\nexchange_every = 2"
    )
    text = text.replace("shards = [", f"shards = [{json.dumps(str(tmp_path / 'two.npz.xz'))}, ")
    config_file.write_text(text, encoding="utf-8")
    first, second = torchrun(script, config_file, folder, repository=repository, nodes=2)
    assert first["step"] == second["step"] >= 1
    assert first["seconds"] == second["seconds"]
    assert not torch.equal(first["before"], second["before"])  # each has its own data
    mean = (first["before"] + second["before"]) / 2
    for rank in (first, second):
        torch.testing.assert_close(rank["after"], mean, rtol=1e-5, atol=1e-8)
    assert torch.equal(first["weights"], second["weights"])
    states = torch.load(folder / CHECKPOINT, weights_only=True)["random"]  # noqa: TID251
    assert [torch.equal(states[i][0], rank["random"]) for i, rank in enumerate((first, second))] == [True] * 2
    later = torchrun(script, config_file, folder, repository=repository, nodes=1)
    assert later[0]["step"] == later[1]["step"] > first["step"]
    assert torch.equal(later[0]["weights"], later[1]["weights"])


def test_ranks_hold_different_shards_and_see_all_of_them():
    streams = [
        ShardStream("abcdef", held=2, device=torch.device("cpu"), rank=rank, world_size=2) for rank in (0, 1)
    ]
    assert not set(streams[0].names(0)) & set(streams[1].names(0))
    # Three turns of two ranks are two passes: each shard came twice.
    seen = [name for turn in range(3) for stream in streams for name in stream.names(turn)]
    assert sorted(seen) == sorted("abcdef" * 2)
    assert streams[0].names(0) + streams[1].names(0) != streams[0].names(3) + streams[1].names(3)


def test_a_run_goes_through_its_shards(tmp_path, config_file):
    shapes = [mushroom() for _ in range(3)]
    paths = [tmp_path / f"{number}.npz.xz" for number in range(3)]
    for number, (shape, path) in enumerate(zip(shapes, paths, strict=True)):
        info = shape.info | {"repo": f"source/{number}"}
        write_shard(path, ShapeSet.from_shapes([dataclasses.replace(shape, info=info)]))
    settings = {
        "shards": [str(path) for path in paths],
        "batch.repository_shares": [["source/1", 0.5]],  # which two of three turns do not have
        "run.held_shards": 1,
        "run.exchange_every": 2,
        "run.steps": 6,
    }
    trainer = Trainer(read_config(config_file, settings), tmp_path / "run", device="cpu")
    seen, take = [trainer.step.sampler.store.repositories], trainer.step.take_data
    trainer.step.take_data = lambda sampler: (seen.append(sampler.store.repositories), take(sampler))
    assert trainer.run().step == 6
    assert sorted(seen) == [("source/0",), ("source/1",), ("source/2",)]


class CapturedStep:
    """Stands in for a CUDA graph, which needs a GPU."""

    held = True

    def reset(self) -> None:
        self.held = False


def test_captured_steps_are_given_up_at_the_end(config_file, tmp_path):
    """NCCL does not destroy its communicator while one is held. That two GPUs then end is not shown here."""
    trainer = Trainer(read_config(config_file), tmp_path / "run", device="cpu")
    captured = CapturedStep()
    trainer.step._graphs[1] = captured
    trainer.run()
    assert not captured.held
