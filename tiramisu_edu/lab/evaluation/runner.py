"""Runs the cells of a table: in one process, in several, or on the ranks of torchrun; stops and goes on at any cell.

A finished cell is a file, and a cell without a file of its own settings, models and sources is still to be done. So a
killed run loses only the cells that were under way, and processes exchange nothing but files.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import multiprocessing
from tqdm.auto import tqdm

from ...errors import TiramisuError
from .cells import Cell, CellResult, load_cell, run_cell, save_cell

SILENCE = 1800.0  # seconds without a new cell, after which the other ranks count as dead


def run_cells(
    cells: Sequence[Cell], folder: str | Path, *, device: str = "cpu", workers: int = 1, progress: bool = True
) -> list[CellResult]:
    """Run the cells that have no result yet, and return the results of all, in their order.

    Under `torchrun`, each rank runs its share, and all ranks must see the same folder.

    Args:
        cells: to be run.
        folder: where results are kept; missing folders are made.
        device: "cpu", "cuda", ...; rank r of torchrun takes "cuda:r" of its machine where device is "cuda". Several,
            as "cuda:0,cuda:1", share the cells.
        workers: processes on this machine, each with an equal share; at least one for each device.
        progress: show a progress bar with the time left.

    Raises:
        TiramisuError: fewer than one worker, a worker that failed, or another rank that died or left a damaged result.
    """
    if workers < 1:
        raise TiramisuError(f"workers must be at least 1, not {workers}")
    folder = Path(folder)
    rank, ranks = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if device == "cuda" and ranks > 1:
        device = f"cuda:{os.environ.get('LOCAL_RANK', 0)}"
    devices = device.split(",")
    workers = max(workers, len(devices))
    todo = [cell for cell in cells if load_cell(folder, cell) is None]
    mine = [cell for cell in _share(cells, rank, ranks) if cell in todo]  # the same shares however late a rank starts
    started = time.monotonic()
    with tqdm(total=len(cells), initial=len(cells) - len(todo), desc="cells", disable=not progress) as bar:
        if workers == 1:
            for _ in _work(mine, folder, devices[0]):
                bar.update()
        else:
            _spawn(mine, folder, devices, workers, bar)
        others = [cell for cell in todo if cell not in mine]
        _wait(others, folder, bar, max(SILENCE, time.monotonic() - started))
    results = [load_cell(folder, cell) for cell in cells]
    if None in results:
        raise TiramisuError(
            f"{folder / cells[results.index(None)].name} is damaged or of other sources: run the same command again"
        )
    return [result for result in results if result is not None]


def _share(cells: Sequence[Cell], rank: int, ranks: int) -> list[Cell]:
    """Every n-th cell, neighbours (which cost about the same) going to different workers; one world at a time."""
    return sorted(cells, key=lambda cell: cell.world)[rank::ranks]


def _wait(cells: Sequence[Cell], folder: Path, bar: tqdm, patience: float) -> None:
    """Until the other ranks have written their cells, which take them about as long as this one needed for its own.

    Raises:
        TiramisuError: no new cell for `patience` seconds.
    """
    left, since, missing = len(cells) + 1, time.monotonic(), cells
    while missing := [cell for cell in missing if load_cell(folder, cell) is None]:
        if len(missing) < left:
            left, since = len(missing), time.monotonic()
        elif time.monotonic() - since > patience:
            raise TiramisuError(
                f"{left} cells are missing, and another rank has written none for {patience:.0f} s: it seems to be "
                "dead; the same command goes on where this run was"
            )
        bar.n = bar.total - left
        bar.refresh()
        time.sleep(min(2.0, patience))
    bar.n = bar.total


def _work(cells: Sequence[Cell], folder: Path, device: str) -> Iterator[Cell]:
    """Run cells one after the other, loading each world once."""
    loaded, world = None, None
    for cell in cells:
        if world is None or (cell.world, cell.dtype) != loaded:
            loaded, world = (cell.world, cell.dtype), cell.load().to(device)
            # The plain method of all modules: the one of diffusers prints a notice about modules that it keeps.
            torch.nn.Module.to(world.denoiser.network, getattr(torch, cell.dtype))
        save_cell(folder, run_cell(world, cell, torch.device(device)))
        yield cell


def _worker(rank: int, cells: Sequence[Cell], folder: Path, devices: Sequence[str], workers: int) -> None:
    torch.set_num_threads(1)
    for _ in _work(_share(cells, rank, workers), folder, devices[rank % len(devices)]):
        pass


def _spawn(cells: Sequence[Cell], folder: Path, devices: Sequence[str], workers: int, bar: tqdm) -> None:
    """Run the cells in processes of their own, watching their files appear."""
    before, paths = bar.n, [folder / cell.name for cell in cells]
    stamps = [_stamp(path) for path in paths]
    context = multiprocessing.spawn(_worker, (cells, folder, devices, workers), nprocs=workers, join=False)
    running = True
    while running:
        try:
            running = not context.join(timeout=1)
        except multiprocessing.ProcessRaisedException as error:
            cause = error.msg.strip().splitlines()[-1]
            raise TiramisuError(f"a worker failed, and finished cells are kept in {folder}: {cause}") from error
        except multiprocessing.ProcessExitedException as error:
            raise TiramisuError(f"a worker died ({error}), and finished cells are kept in {folder}") from error
        bar.n = before + sum(_stamp(path) != stamp for path, stamp in zip(paths, stamps))
        bar.refresh()


def _stamp(path: Path) -> int:
    """When a file was written; 0 where there is none."""
    return path.stat().st_mtime_ns if path.is_file() else 0
