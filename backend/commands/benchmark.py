# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure every stage by face count, the network and the graph cut against plain ones, and a busy machine."""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import json
import multiprocessing
import os
import platform
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ..benchmarks.busy import BusyMeasurement, measure_busy
from ..benchmarks.network import NetworkMeasurement, measure_network
from ..benchmarks.stages import StageMeasurement, measure_stages
from ..benchmarks.sweeps import Sweep, measure_sweep
from ..mesh_files.atomic import atomic_writer
from .arguments import add_network_arguments, positive

if TYPE_CHECKING:
    from ..benchmarks.graph_cut import CutMeasurement

Measurement = TypeVar("Measurement")

USUAL_TABLES = ("stages", "network", "sweeps", "cuts")
TABLES = (*USUAL_TABLES, "busy")

_LABELS = 20
"""Parts of the built shape that the cut is measured on."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of `benchmark`."""
    parser.add_argument(
        "--faces", type=positive, nargs="+", default=[5_000, 50_000, 500_000], metavar="N",
        help="sizes of the built meshes (default: 5000 50000 500000)",
    )  # fmt: skip
    add_network_arguments(parser)
    parser.add_argument(
        "--reference-limit", type=positive, default=20_480, metavar="N",
        help="most faces for which the plain cut runs, too: it is slow (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--repeat", type=positive, default=3, metavar="N",
        help="how often the network is asked; the median counts (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--only", nargs="+", choices=TABLES, default=list(USUAL_TABLES), metavar="TABLE",
        help=f"of the tables: {', '.join(TABLES)} (default: all but busy)",
    )  # fmt: skip
    parser.add_argument(
        "--busy", type=positive, default=3, metavar="N",
        help="processes that compute beside what the table busy measures (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="OUT.json", help="write the numbers to a file, too")


def run(args: argparse.Namespace) -> int:
    """Measure each size in a process of its own, so that memory peaks do not mix; print the tables."""
    from ..benchmarks.graph_cut import measure_cut

    _print_machine(args)
    stages: list[StageMeasurement] = []
    networks: list[NetworkMeasurement] = []
    sweeps: list[Sweep] = []
    cuts: list[CutMeasurement] = []
    busy: list[BusyMeasurement] = []
    if "stages" in args.only:
        stages = [_measure_apart(measure_stages, faces, args) for faces in args.faces]
        _print_stages(stages, args)
    if "network" in args.only:
        networks = [_measure_apart(measure_network, faces, args, repeat=args.repeat) for faces in args.faces]
        _print_networks(networks, args)
    if "sweeps" in args.only:
        sweeps = [_measure_apart(measure_sweep, args.faces[0], args, repeat=args.repeat)]
        _print_sweeps(sweeps)
    if "cuts" in args.only:
        cuts = measure_cut(args.faces, labels=_LABELS, reference_limit=args.reference_limit)
        _print_cuts(cuts)
    if "busy" in args.only:
        options = {"repeat": args.repeat, "processes": args.busy}
        busy = [_measure_apart(measure_busy, args.faces[0], args, **options)]
        _print_busy(busy)
    if args.json is not None:
        _write_json(args, stages=stages, network=networks, sweeps=sweeps, cuts=cuts, busy=busy)
    return 0


def _measure_apart(
    measure: Callable[..., Measurement], faces: int, args: argparse.Namespace, **options: int
) -> Measurement:
    options["prompts"] = args.prompts
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as executor:
        return executor.submit(measure, faces, model=args.model, device=args.device, **options).result()


def _print_machine(args: argparse.Namespace) -> None:
    import torch

    from ..devices import pick_device
    from ..threads import usable_cores

    device = pick_device(args.device)
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor()
    print(f"{platform.platform()}, {usable_cores()} cores, {torch.get_num_threads()} threads")
    print(f"device {device} ({name or platform.machine()}), torch {torch.__version__}, {date.today()}\n")


def _print_networks(measurements: list[NetworkMeasurement], args: argparse.Namespace) -> None:
    print("\nthe network's answers in milliseconds, as given / computed plainly (float32, the textbook's")
    print("attention, every mask evaluated everywhere), and how far both agree; graphics memory in MiB\n")
    heads = {"encode": "encode", "every_part": f"{args.prompts} prompts", "click": "click"}
    print(f"{'faces':>10}" + "".join(f"{head:>19}" for head in heads.values()), end="")
    print(f"{'labels':>9}{'masks':>8}{'clicks':>8}{'memory':>8}")
    for item in measurements:
        pairs = [(getattr(item.fast, name), getattr(item.plain, name)) for name in heads]
        row = "".join(f"{fast:>9,.1f} /{plain:>8,.1f}" for fast, plain in pairs)
        agreement = f"{item.same_labels:>9.2%}{item.mask_iou:>8.4f}{item.click_iou:>8.4f}"
        print(f"{item.faces:>10,}{row}{agreement}{_memory(item.memory_mib):>8}")


def _print_stages(measurements: list[StageMeasurement], args: argparse.Namespace) -> None:
    trained = "" if all(item.trained for item in measurements) else " (untrained weights)"
    print(f"model {args.model}{trained}, device {args.device}, {args.prompts} prompts")
    stages = list(dict.fromkeys(stage for item in measurements for stage in item.seconds))
    print(f"\nseconds per stage, and of the whole command; memory in MiB\n{'faces':>10}", end="")
    print("".join(f"{stage:>9}" for stage in stages), f"{'total':>8}{'command':>9}{'memory':>8}{'parts':>7}")
    for item in measurements:
        row = "".join(f"{item.seconds.get(stage, 0.0):>9.2f}" for stage in stages)
        total = sum(item.seconds.values())
        print(
            f"{item.faces:>10,}{row}{total:>9.2f}{item.command:>9.2f}{_memory(item.peak_mib):>8}{item.parts:>7}"
        )


def _print_sweeps(measurements: list[Sweep]) -> None:
    for item in measurements:
        print(f"\n{item.faces:,} faces, milliseconds")
        for head, times in (("points, encode", item.encode), ("prompts, all parts", item.every_part)):
            print(f"{head:>20}" + "".join(f"{count:>10,}: {time:>8,.1f}" for count, time in times.items()))


def _print_cuts(measurements: list[CutMeasurement]) -> None:
    print(f"\ngraph cut over {_LABELS} labels, seconds; `sweep` and `plain` do the same work: every label")
    print("offered to every face once, by our construction and by the textbook's\n")
    print(
        f"{'faces':>10}{'graph':>9}{'islands':>9}{'refine':>9}{'sweep':>9}{'plain':>9}{'ratio':>9}{'memory':>9}"
    )
    for item in measurements:
        plain = "-" if item.reference_seconds is None else f"{item.reference_seconds:.2f}"
        ratio = "-" if item.reference_ratio is None else f"{item.reference_ratio:.1f}x"
        ours = (item.graph_seconds, item.islands_seconds, item.refine_seconds, item.sweep_seconds)
        row = "".join(f"{seconds:>9.2f}" for seconds in ours)
        print(f"{item.faces:>10,}{row}{plain:>9}{ratio:>9}{_memory(item.peak_megabytes):>9}")


def _print_busy(measurements: list[BusyMeasurement]) -> None:
    for item in measurements:
        where = f"{item.threads} threads on {item.cores} cores"
        print(f"\n{item.faces:,} faces, {item.prompts} prompts, {where}: all parts")
        beside = f"beside {item.processes} busy processes"
        for head, times in (("alone", item.idle), (beside, item.busy)):
            print(f"{head:>26}: {times.seconds:.2f} s, {times.cpu_seconds:.2f} s of processor time")
        print(f"{'ratio':>26}: {item.ratio:.2f} (a fair share of the cores: {item.fair_ratio:.2f})")


def _memory(mib: float | None) -> str:
    return "?" if mib is None else f"{mib:,.0f}"


def _write_json(args: argparse.Namespace, **tables: Sequence[Any]) -> None:
    numbers: dict[str, Any] = {
        "machine": {"system": platform.platform(), "processors": os.cpu_count()},
        "settings": {"model": args.model, "device": args.device, "prompts": args.prompts},
        **{name: [dataclasses.asdict(item) for item in items] for name, items in tables.items()},
    }
    for written, item in zip(numbers["cuts"], tables["cuts"], strict=True):
        written["reference_ratio"] = item.reference_ratio
    for written, item in zip(numbers["busy"], tables["busy"], strict=True):
        written |= {"ratio": item.ratio, "fair_ratio": item.fair_ratio}
    with atomic_writer(args.json) as file:
        file.write(json.dumps(numbers, indent=2).encode() + b"\n")
    print(f"\nwrote {args.json}")
