"""The whole way with photographs of one's own: pieces of them as a folder, then every command, and what each takes.

    python -m studies.photographs /usr/share/backgrounds --size 64

Squares are cut from every picture below the folder and named so that those of one photograph stay in one split. Each
command runs in a process of its own; the page has its output, its processor seconds and its memory at the peak. A run
that was stopped goes on behind the last command that is done.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageCms, ImageDraw

from studies import common
from tiramisu_edu.errors import TiramisuError
from tiramisu_edu.files import write_text
from tiramisu_edu.lab.memory import GB
from tiramisu_edu.lab.photo_files import ORIENTATION, open_photo
from tiramisu_edu.lab.table import Table
from tiramisu_edu.lab.worlds.folder import KINDS

LARGEST, SMALLEST = 160, 256  # side of a piece as it is stored; shorter side of a photograph that is cut
COMMANDS = (
    "train {world} --part denoiser --scale toy --images 490 --steps {steps} --minutes {minutes}",
    "train {world} --part circuit --num-latents 16 --patch {patch} --minutes {minutes}",
    "tune {world} --samplers replacement --masks left --steps 4 --images 8",
    "inpaint --world {world} --batch 8 --num-inference-steps 4 --mask expand1 --out out/inpaint.png",
    "fuse --world {world} --model pixels --num-inference-steps 4 --coherence 0.2,0.8 --out out/fuse.png",
    "evaluate --worlds {world} --methods replacement,replacement+difference --masks left,wide --steps 4 --images 14 "
    "--seeds 2 --out out/evaluation",
)
TREE = "train folder:photos --part circuit --num-latents 16 --images 200 --minutes 0"  # no round of EM
PHOTO = "inpaint --world folder:photos --image photo.jpg --mask mask.png --batch 1 --out out/photo.png"
PHOTO_SIZE = (3000, 2000)
SIZES = ((64, 4), (128, 8), (256, 16), (128, 4), (256, 8))  # of a picture and of a patch
FORETOLD, TAKEN = r"about ([\d.]+) GB of memory", r"\[([\d.]+) s of the processor, ([\d.]+) GB"
BAR = re.compile(r"\d%\|.*\| \d+/\d+ \[")  # of progress
EVERY = re.compile(r"^([\w ]+: )?(step|round) \d+")  # lines of progress
LEFT_OUT = "Left out are bars of progress, and of lines of steps or rounds that follow one another all but two."


def cut(source: Path, folder: Path, pieces: int, seed: int) -> int:
    """Write so many squares of every picture below a folder, as NAME_cropNN.png; how many pictures there were.

    A square has between a quarter and the whole of the shorter side, anywhere.
    """
    random, count = np.random.default_rng(seed), 0
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(path for path in source.rglob("*") if path.suffix.lower() in KINDS):
        with Image.open(path) as opened:
            picture = opened.convert("RGB")
        shorter = min(picture.size)
        if shorter < SMALLEST:
            continue
        count += 1
        for number in range(pieces):
            side = int(shorter * random.uniform(0.25, 1))
            left, top = (int(random.integers(0, whole - side + 1)) for whole in picture.size)
            piece = picture.resize((min(side, LARGEST),) * 2, box=(left, top, left + side, top + side))
            piece.save(folder / f"{path.stem}_crop{number:02}.png")
    if count == 0:
        raise TiramisuError(f"{source}: no picture with sides of {SMALLEST} or more in it or below it")
    return count


def output(command: str, folder: Path) -> str:
    """A command as it is typed, and below it what it printed, its processor seconds and its memory at the peak.

    Raises:
        TiramisuError: it failed.
    """
    words = [sys.executable, "-m", "tiramisu_edu.lab.cli", *command.split()]
    path = os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")])
    both = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(words, cwd=folder, env=os.environ | {"PYTHONPATH": path}, **both) as process:  # type: ignore
        said = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    said = said.replace(f"{folder.resolve()}{os.sep}", "")
    lines = [line.rstrip() for line in said.splitlines() if not BAR.search(line)]
    if process.returncode:
        raise TiramisuError(f"tiramisu-edu {command} ended with {process.returncode}: {lines[-1:]}")
    peak = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    taken = f"[{used.ru_utime + used.ru_stime:.1f} s of the processor, {peak / GB:.2f} GB at the peak]"
    return "\n".join([f"$ tiramisu-edu {command}", *_without_progress(lines), taken, ""])


def _without_progress(lines: Sequence[str]) -> list[str]:
    """Of lines that follow one another and tell of progress the first and the last."""
    return [
        line
        for before, line, after in zip(["", *lines], lines, [*lines[1:], ""])
        if not (EVERY.match(before) and EVERY.match(line) and EVERY.match(after))
    ]


def tree(options) -> None:
    """Write how much memory the tree of a folder takes, and how much was foretold."""
    rows = []
    for size, patch in SIZES:
        own = f"--size {size} --patch {patch} --models tree-{size}-{patch}"
        said = output(f"{TREE} {own}", options.folder)
        foretold, (seconds, peak) = (re.findall(text, said)[-1] for text in (FORETOLD, TAKEN))
        row = {"picture": f"{size} x {size}", "patch": patch, "variables": (size // patch) ** 2}
        rows.append(row | {"foretold, GB": foretold, "peak, GB": peak, "processor seconds": seconds})
        print(rows[-1], flush=True)
    title = "A tree over patches, 64 codes each, K = 16, 200 pictures, no round of EM"
    common.write_page(options.out / "photographs_memory.md", [Table(title, pd.DataFrame(rows))])


def photo(options) -> None:
    """Complete a photograph of 3000 x 2000 under a mask of its size, and compare what must not have changed."""
    hidden = _photo_and_mask(options.source, options.folder)
    said = output(f"{PHOTO} --size {options.size}", options.folder)
    before, after = (open_photo(options.folder / name) for name in ("photo.jpg", "out/photo_photo_1.png"))
    differs = before.upright != after.upright
    facts = (
        f"bytes outside the mask that differ: {differs[~hidden].sum()} of {differs[~hidden].size}",
        f"hidden pixels that changed: {differs[hidden].any(-1).sum()} of {hidden.sum()}",
        f"orientation {before.orientation} and {after.orientation}",
        f"profile kept: {before.extras['icc_profile'] == after.extras['icc_profile']}",
    )
    text = "```\n" + said + "\n".join(facts) + "\n```\n"
    print(text)
    write_text(options.out / "photographs_own.md", text)


def _photo_and_mask(source: Path, folder: Path) -> np.ndarray:
    """photo.jpg, stored on its side as a camera does, and mask.png with three holes, which is returned."""
    width, height = PHOTO_SIZE
    for path in sorted(source.rglob("*.jpg")):
        with Image.open(path) as opened:
            if opened.width >= width and opened.height >= height:
                picture = opened.convert("RGB").crop((0, 0, width, height))
                break
    else:
        raise TiramisuError(f"{source}: no .jpg of {width} x {height} or more in it or below it")
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    turned = picture.transpose(Image.Transpose.ROTATE_90)
    turned.save(folder / "photo.jpg", quality=95, exif=exif, icc_profile=profile)
    mask = Image.new("L", PHOTO_SIZE)
    draw = ImageDraw.Draw(mask)
    draw.ellipse((1300, 900, 1620, 1180), fill=255)
    draw.rectangle((400, 1500, 560, 1620), fill=255)
    draw.line((2300, 300, 2700, 420), fill=255, width=24)
    mask.save(folder / "mask.png")
    return np.array(mask) > 0


ONLY = {"tree": tree, "photo": photo}


def study(options) -> None:
    """Cut the pieces and run the commands."""
    folder = options.folder
    if not (folder / "photos").is_dir():
        print(f"{cut(options.source, folder / 'photos', options.pieces, options.seed)} photographs cut")
    if options.only:
        return ONLY[options.only](options)
    sizes = {"patch": options.patch or max(4, options.size // 16), "steps": options.steps, "minutes": options.minutes}
    done, said = folder / f"done-{options.size}.json", {}
    for text in COMMANDS:
        command = f"{text.format(world='folder:photos', **sizes)} --size {options.size}"
        before = json.loads(done.read_text()) if done.is_file() else {}
        said[command] = before.get(command) or output(command, folder)
        print(said[command], flush=True)
        write_text(done, json.dumps(before | said))
    text = f"{LEFT_OUT}\n\n````\n" + "\n".join(said.values()) + "````\n"
    write_text(options.out / f"photographs_{options.size}.md", text)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    options = common.parser("photographs", __doc__, "docs/results", worlds="")
    options.add_argument("source", type=Path, help="folder of photographs")
    options.add_argument("--folder", type=Path, default=Path("out/photographs"), help="of pieces, models and results")
    options.add_argument("--size", type=int, default=64, help="of the pictures")
    options.add_argument("--patch", type=int, help="of the circuit; None: a sixteenth of the size, at least 4")
    options.add_argument("--pieces", type=int, default=14, help="of each photograph")
    options.add_argument("--steps", type=int, default=200, help="of the denoiser")
    options.add_argument("--minutes", type=float, default=10, help="after which denoiser and circuit end")
    options.add_argument("--only", choices=ONLY, help="the memory of the tree at several sizes, or a large photo")
    common.run(study, options.parse_args(arguments))


if __name__ == "__main__":
    main()
