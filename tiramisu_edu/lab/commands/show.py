"""`tiramisu-edu show`: a world's pictures and models, and what masks leave visible."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from ...names import PAPER_MASKS, WORLDS
from .options import WorldOptions, option

HELP = "a world's pictures, and what masks leave visible"


@dataclass(frozen=True)
class Options(WorldOptions):
    """Of `tiramisu-edu show`."""

    what: str = option(help="pictures of a world and its models; factors under masks", choices=("sheet", "visibility"))
    worlds: tuple[str, ...] = option(("faces",), f"of {', '.join(WORLDS)}, folder:PATH", metavar="A,B")
    seed: int = option(0, "of samples and noise")
    out: Path | None = option(None, "the picture; None: in out/, named after what it shows", writes="picture")


def run(options: Options) -> int:
    """Draw the sheet of a world, or print which factors masks hide."""
    from ...errors import TiramisuError
    from .. import contact
    from ..common import check_outputs, chosen_device
    from ..zoo import worlds_of

    device = chosen_device(options.device)
    worlds = [world.to(device) for world in worlds_of(options, options.worlds).values()]
    if options.what == "visibility":
        masks = [mask for mask in PAPER_MASKS if mask != "wide"]  # wide is drawn anew for each picture
        print("\n".join(contact.visibility_table(world, masks).markdown() for world in worlds))
        return 0
    if len(worlds) > 1:
        raise TiramisuError("a contact sheet shows one world: give --worlds one name")
    out = options.out or Path(f"out/sheet_{worlds[0].label}.png")
    check_outputs(replace(options, out=out))
    contact.save_contact_sheet(out, worlds[0], seed=options.seed)
    print(f"picture: {out}")
    return 0
