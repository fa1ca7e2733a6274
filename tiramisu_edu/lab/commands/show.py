"""`tiramisu-edu show`: a world's pictures and models, what masks leave visible, the fitted weight of the circuit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from ...names import PAPER_MASKS, WORLDS
from .options import WorldOptions, option

HELP = "a world's pictures, what masks leave visible, the circuit's weight"


@dataclass(frozen=True)
class Options(WorldOptions):
    """Of `tiramisu-edu show`."""

    what: str = option(
        help="pictures; masks; the weight of the circuit's correction by noise level",
        choices=("sheet", "visibility", "strength"),
    )
    worlds: tuple[str, ...] = option(("faces",), f"of {', '.join(WORLDS)}, folder:PATH", metavar="A,B")
    seed: int = option(0, "of samples and noise")
    out: Path | None = option(None, "the picture; None: in out/, named after what it shows", writes="picture")


def run(options: Options) -> int:
    """Draw one picture for the worlds named, and print the numbers that belong to it."""
    from ...errors import TiramisuError
    from .. import contact, strength
    from ..common import check_outputs, chosen_device
    from ..zoo import worlds_of

    device = chosen_device(options.device)
    worlds = [world.to(device) for world in worlds_of(options, options.worlds).values()]
    if options.what == "visibility":
        masks = [mask for mask in PAPER_MASKS if mask != "wide"]  # wide is drawn anew for each picture
        print("\n".join(contact.visibility_table(world, masks).markdown() for world in worlds))
        return 0
    if options.what == "sheet" and len(worlds) > 1:
        raise TiramisuError("a contact sheet shows one world: give --worlds one name")
    name = "strength" if options.what == "strength" else f"sheet_{worlds[0].label}"
    out = options.out or Path(f"out/{name}.png")
    check_outputs(replace(options, out=out))
    if options.what == "strength":
        found = {world.label: strength.strength_of_difference(world) for world in worlds}
        print("world      t/T  weight of the circuit's correction")
        for name, columns in found.items():
            print("\n".join(f"{name:8} {t:5.3f}  {w:6.3f}" for t, w in zip(columns["time"], columns["weight"])))
        strength.plot_strength(out, found)
    else:
        contact.save_contact_sheet(out, worlds[0], seed=options.seed)
        if worlds[0].scene is not None:
            for kind, share in contact.rules_broken(worlds[0], seed=options.seed).items():
                print(f"{kind:20} {share:6.1%} of 256 pictures break a rule in the judge's reading")
    print(f"picture: {out}")
    return 0
