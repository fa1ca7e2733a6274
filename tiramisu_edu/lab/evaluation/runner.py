"""Runs the cells of a table, in one process or in several; stops and goes on at any cell.

A finished cell is a file, and a cell without a file of its own settings, models and sources is still to be done. So a
killed run loses only the cells that were under way, and processes exchange nothing but files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import multiprocessing
from tqdm.auto import tqdm

from ...errors import TiramisuError
from .cells import Cell, CellResult, load_cell, run_cell, save_cell


def run_cells(
    cells: Sequence[Cell], folder: str | Path, *, device: str = "cpu", workers: int = 1, progress: bool = True
) -> list[CellResult]:
    """Run the cells that have no result yet, and return the results of all, in their order.

    Args:
        cells: to be run.
        folder: where results are kept; missing folders are made.
        device: "cpu", "cuda", ...; several, as "cuda:0,cuda:1", share the cells.
        workers: processes, each with an equal share; at least one for each device.
        progress: show a progress bar with the time left.

    Raises:
        TiramisuError: fewer than one worker, a worker that failed, or a result that was damaged meanwhile.
    """
    if workers < 1:
        raise TiramisuError(f"workers must be at least 1, not {workers}")
    folder, devices = Path(folder), device.split(",")
    workers = max(workers, len(devices))
    todo = sorted((cell for cell in cells if load_cell(folder, cell) is None), key=lambda cell: cell.world)
    with tqdm(total=len(cells), initial=len(cells) - len(todo), desc="cells", disable=not progress) as bar:
        if workers == 1:
            for _ in _work(todo, folder, devices[0]):
                bar.update()
        else:
            _spawn(todo, folder, devices, workers, bar)
    results = [load_cell(folder, cell) for cell in cells]
    if None in results:
        raise TiramisuError(
            f"{folder / cells[results.index(None)].name} is damaged or of other sources: run the same command again"
        )
    return [result for result in results if result is not None]


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
    for _ in _work(cells[rank::workers], folder, devices[rank % len(devices)]):  # neighbours cost about the same
        pass


def _spawn(cells: Sequence[Cell], folder: Path, devices: Sequence[str], workers: int, bar: tqdm) -> None:
    """Run the cells in processes of their own, watching their files appear."""
    before, paths = bar.n, [folder / cell.name for cell in cells]
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
        bar.n = before + sum(path.is_file() for path in paths)
        bar.refresh()
