"""The command line: `tiramisu-edu inpaint | fuse | evaluate | tune | show | train | bench | doctor`."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from ..errors import TiramisuError

# Repeated here so that `--help` need not import torch; tests/test_cli.py compares them with the registries.
WORLDS = ("digits", "faces", "rooms")
SAMPLERS = (
    "ddim",
    "ddpm",
    "replacement",
    "repaint",
    "ddrm",
    "ddnm",
    "dps",
    "resampling",
    "copaint",
    "copaint-tt",
)
GUIDES = (
    "none",
    "mixture",
    "difference",
    "difference-calibrated",
    "precision",
    "learned",
    "latent",
    "latent-published",
    "mixture-consistent",
    "difference-consistent",
    "mixture-independent",
    "difference-independent",
    "difference-kernel",
)
_STYLE = argparse.ArgumentDefaultsHelpFormatter
SCALES = ("toy", "laptop", "gpu", "paper")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Exit code 0; 1 where `doctor` finds something missing; 2 for anything asked wrongly."""
    options = _parser().parse_args(arguments)
    try:
        return int(_run(options))
    except TiramisuError as error:
        print(f"tiramisu-edu: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ntiramisu-edu: interrupted; nothing half-written is left behind", file=sys.stderr)
        return 130


def _run(options: argparse.Namespace) -> int:
    """Import the command when it is called: torch alone takes a second."""
    if options.command == "doctor":
        from .doctor import run

        return run()
    if options.threads > 0:
        import torch

        torch.set_num_threads(options.threads)
    module = importlib.import_module(f".commands.{options.command}", __package__)
    return int(getattr(module, f"run_{options.command}")(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tiramisu-edu", description="Image inpainting by tractable steering of diffusion models."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_inpaint(commands.add_parser("inpaint", help="fill in the hidden part of images", formatter_class=_STYLE))
    _add_evaluate(
        commands.add_parser("evaluate", help="compare samplers with and without a guide", formatter_class=_STYLE)
    )
    _add_fuse(
        commands.add_parser("fuse", help="one picture from several, each ruling its region", formatter_class=_STYLE)
    )
    _add_tune(
        commands.add_parser(
            "tune", help="choose options of samplers and guides on validation images", formatter_class=_STYLE
        )
    )
    show = commands.add_parser(
        "show", help="pictures, what masks leave visible, and studies of the circuits", formatter_class=_STYLE
    )
    kinds = ("sheet", "visibility", "crossover", "strength", "lvd", "scaling")
    what = "pictures; masks; errors and the guide's weight by noise; two starts of EM; pixels, patches or codes"
    show.add_argument("what", choices=kinds, help=what)
    show.add_argument("--worlds", default="faces", metavar="A,B", help=f"of {', '.join(WORLDS)}")
    show.add_argument("--seed", type=int, default=0, help="of samples, noise and training")
    show.add_argument("--quick", action="store_true", help="lvd and scaling in seconds, to see them work")
    _add_threads(show, 1)
    show.add_argument("--out", type=Path, default=None, help="the PNG; None: in out/, named after what it shows")
    _add_train(commands.add_parser("train", help="make the models of a world again", formatter_class=_STYLE))
    bench = commands.add_parser("bench", help="time the engine beside its limit and its peers", formatter_class=_STYLE)
    bench.add_argument("what", choices=("circuits", "em"), help="queries beside their limit, or one EM epoch")
    bench.add_argument("--peers", action="store_true", help="also every other library that is installed (extra: peers)")
    bench.add_argument("--quick", action="store_true", help="small shapes, seconds instead of minutes: to see it work")
    _add_threads(bench, 0)
    bench.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1")
    bench.add_argument("--out", type=Path, default=Path("out/bench"), help="folder for the tables and the figure")
    commands.add_parser("doctor", help="check the installation, the data and the models", formatter_class=_STYLE)
    return parser


def _add_threads(parser: argparse.ArgumentParser, default: int) -> None:
    """Models this small gain nothing from a second thread, and lose much where another program wants the core."""
    parser.add_argument("--threads", type=int, default=default, help="of the processor; 0: as PyTorch chooses")


def _add_train(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("world", help="digits, faces, rooms, or folder:PATH, pictures of your own")
    parser.add_argument("--part", default="all", help="one file, such as denoiser, denoiser_weak or circuit")
    scales = "toy: seconds, to see it work; laptop: as shipped; gpu: hours on one GPU; paper: days"
    parser.add_argument("--scale", choices=SCALES, default="laptop", help=scales)
    parser.add_argument("--seed", type=int, default=0, help="of initial weights and batches")
    parser.add_argument("--device", default="cpu", help="of denoisers: cpu, cuda, cuda:1")
    parser.add_argument("--size", type=int, default=None, help="of a folder's pictures: 32, 64, 128, ...; None: 64")
    _add_threads(parser, 1)
    where = "folder to write to; None: the package's data folder, or PATH-models-SIZE beside a folder"
    parser.add_argument("--out", type=Path, default=None, help=where)


def _add_sampling(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--world", default="faces", help=f"one of {', '.join(WORLDS)}, or folder:PATH")
    parser.add_argument("--size", type=int, default=None, help="of a folder's pictures: 32, 64, 128, ...; None: 64")
    parser.add_argument("--guide", default="difference", help=f"one of {', '.join(GUIDES)}")
    parser.add_argument("--num-inference-steps", type=int, default=25, metavar="T", help="denoising steps")
    parser.add_argument(
        "--guided-fraction",
        type=float,
        metavar="F",
        help="share of the steps, from the noisiest on, that ask the circuit; None: mixture 0.2, difference 1",
    )
    parser.add_argument("--eta", type=float, help="0: deterministic, 1: the noise of DDPM; None: the sampler's own")
    parser.add_argument("--seed", type=int, default=0, help="of image choice, noise and intervals")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, mps")
    _add_threads(parser, 1)
    parser.add_argument("--json", type=Path, default=None, metavar="FILE", help="also write the numbers to FILE")


def _add_inpaint(parser: argparse.ArgumentParser) -> None:
    _add_sampling(parser)
    parser.add_argument("--image", type=Path, default=None, metavar="FILE", help="a picture; default: held-out images")
    parser.add_argument("--mask", default="left", metavar="NAME|FILE", help="a layout or a picture, white = fill in")
    parser.add_argument("--sampler", default="replacement", help=f"one of {', '.join(SAMPLERS)}")
    parser.add_argument("--batch", type=int, default=64, help="how many held-out images, or completions of FILE")
    parser.add_argument("--out", type=Path, default=Path("out/inpaint.png"), help="the PNG to write")


def _add_fuse(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--world", default="faces", help=f"one of {', '.join(WORLDS)}")
    parser.add_argument(
        "--reference", type=Path, nargs="+", metavar="FILE", help="pictures to fuse; None: pairs of held-out images"
    )
    parser.add_argument("--regions", default="left-right", metavar="NAME|FILE", help="a layout, or a label picture")
    parser.add_argument("--coherence", default="0.1,0.3,0.5,0.7,0.9", metavar="X,X", help="0: ignore, 1: obey exactly")
    measured = "measure pairs, against controls; tables, figure and numbers"
    parser.add_argument("--study", action="store_true", help=measured)
    models = "None: codes where there are some, with --study both"
    parser.add_argument("--model", choices=("codes", "pixels"), default=None, help=models)
    parser.add_argument("--pairs", type=int, default=1, help="how many held-out pairs")
    parser.add_argument("--images", type=int, default=1, help="completions per pair and level")
    parser.add_argument("--sampler", default="ddim", help="that carries the guide")
    parser.add_argument("--num-inference-steps", type=int, default=25, metavar="T", help="denoising steps")
    parser.add_argument("--seed", type=int, default=0, help="of pairs and noise")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, mps")
    _add_threads(parser, 1)
    parser.add_argument("--json", type=Path, default=None, metavar="FILE", help="also write the numbers to FILE")
    where = "the PNG to write; None: out/fuse.png; with --study a folder, None: out/fusion"
    parser.add_argument("--out", type=Path, default=None, help=where)


def _add_tune(parser: argparse.ArgumentParser) -> None:
    tuned = ",".join(name for name in SAMPLERS if name not in ("ddim", "ddpm"))
    masks = "left,top,expand1,expand2,vstrip,hstrip,wide"
    parser.add_argument("world", help=f"one of {', '.join(WORLDS)}")
    parser.add_argument("--samplers", default=tuned, metavar="A,B", help="each with eight tries")
    parser.add_argument("--guides", default="", metavar="A,B", help="latent, difference-kernel; eight tries each too")
    parser.add_argument("--masks", default=masks, metavar="A,B", help="mask layouts")
    parser.add_argument("--steps", type=int, default=12, help="denoising steps")
    parser.add_argument("--images", type=int, default=16, help="validation images, each under each mask")
    parser.add_argument("--measure", default="lpips", help="what is best")
    parser.add_argument("--seed", type=int, default=0, help="of image choice and noise")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, mps")
    _add_threads(parser, 1)
    parser.add_argument("--out", type=Path, default=None, help="folder for WORLD/samplers.json; None: the data folder")


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    methods = "ddim,ddim+difference,replacement,replacement+difference,copaint,copaint+difference"
    masks = "left,top,expand1,expand2,vstrip,hstrip,wide"
    parser.add_argument("--worlds", default="digits", metavar="A,B", help=f"of {', '.join(WORLDS)}")
    parser.add_argument("--masks", default=masks, metavar="A,B", help="mask layouts")
    parser.add_argument("--methods", default=methods, metavar="A,B", help="sampler, sampler+guide, sampler+guide@0.2")
    parser.add_argument("--steps", default="25", metavar="T,T", help="denoising steps; several give a frontier")
    parser.add_argument("--images", type=int, default=64, help="held-out images, each under each mask")
    parser.add_argument("--seeds", type=int, default=3, help="repetitions with other noise")
    parser.add_argument("--seed", type=int, default=0, help="the first of them")
    parser.add_argument("--eta", type=float, help="0: deterministic, 1: the noise of DDPM; None: the sampler's own")
    parser.add_argument("--split", choices=("validation", "test"), default="test", help="tune on validation only")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32", help="of the denoising network")
    parser.add_argument("--measure", default="lpips", help="what the tables compare; the CSV has all of them")
    parser.add_argument("--workers", type=int, default=1, help="processes that share the cells; or use torchrun")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, mps")
    _add_threads(parser, 1)
    parser.add_argument("--out", type=Path, default=Path("out/evaluation"), help="folder; a stopped run goes on there")


if __name__ == "__main__":
    sys.exit(main())
