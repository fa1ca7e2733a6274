"""Runs the authors' own code of each sampler and keeps what their network was given: tests/diffusion/agreement.npz.

python -m studies.agreement FOLDER

FOLDER holds checkouts of the repositories in `SOURCES`, each under its own name; DAPS needs the package torchdiffeq.
Nothing of them is copied here. A run is one digit under the mask "left", 12 steps, the shipped denoiser, float64. The
respaced schedule is handed over in their terms, mostly as betas, the noise is drawn beforehand and given to their code
in its own order, and constants that it makes float32 stay float64. Modules that are only imported and never used are
replaced by empty ones where they are not installed.

For each sampler the file holds the noise in the order in which ours draws it, the images and indices that the network
was called with, and the repository, commit and licence. tests/diffusion/test_agreement.py compares.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .agreement_newer import daps, diffpir, ding
from .agreement_older import copaint, copaint_tt, ddnm, ddrm, dps, repaint, replacement, resampling, tds
from .agreement_run import Run

COPAINT = "CoPaint 0b728b02c2c09e123ca376cc04cc8e59a15e8e34, no licence stated"
TDS = "twisted_diffusion_sampler 5b6af53a6588c1bdd83d8604a8352fefdcad7d69, no licence stated"
SOURCES = {  # sampler -> repository, commit and licence
    "replacement": COPAINT,
    "repaint": "RePaint 8e2a0552a0cc306e623da807d353915f1af17726, CC BY-NC-SA 4.0",
    "ddrm": "ddrm 32b6b3ccfda532ba01c9cc5b6e7456c3a06a6ca2, MIT",
    "ddnm": "DDNM 00b58eac7843a4c99114fd8fa42da7aa2b6808af, MIT",
    "dps": "diffusion-posterior-sampling effbde7325b22ce8dc3e2c06c160c021e743a12d, no licence stated",
    "resampling": TDS,
    "copaint": COPAINT,
    "copaint-tt": COPAINT,
    "tds": TDS,
    "diffpir": "DiffPIR 111d26e8cf11965c1777a8a664b08dfa3ef78f1e, MIT",
    "ding": "ding 5216899358fa5dab90e3e9498ea0be2bedc5c3d0, no licence stated",
    "daps": "DAPS 098df6b7643c23f0de21064124f383c3945348a6, no licence stated",
}
_ALL = (replacement, repaint, ddrm, ddnm, dps, resampling, copaint, copaint_tt, tds, diffpir, ding, daps)
ADAPTERS: dict[str, Callable[[Run, Path], None]] = {adapter.__name__.replace("_", "-"): adapter for adapter in _ALL}


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m studies.agreement", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--samplers", default=",".join(SOURCES))
    parser.add_argument("--out", type=Path, default=Path("tests/diffusion/agreement.npz"))
    options = parser.parse_args(arguments)
    kept: dict[str, Any] = dict(np.load(options.out)) if options.out.is_file() else {}
    for name in options.samplers.split(","):
        run = Run()
        ADAPTERS[name](run, options.folder / SOURCES[name].split()[0])
        kept[f"{name}.noise"] = torch.cat([z.detach().flatten() for z in run.noise]).numpy()
        kept[f"{name}.x"] = torch.stack([x for x, _ in run.seen]).numpy()
        kept[f"{name}.index"] = np.array([i for _, i in run.seen])
        print(f"{name}: {len(run.seen)} calls of the network, {len(run.noise)} draws", flush=True)
        np.savez_compressed(options.out, **kept | {"sources": np.array(json.dumps(SOURCES))})


if __name__ == "__main__":
    main()
