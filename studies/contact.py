"""Contact sheets: what a world's pictures look like, and what each of its models draws."""

from __future__ import annotations

from collections.abc import Sequence

from studies.common import parser, run
from tiramisu_edu.lab.contact import rules_broken, save_contact_sheet
from tiramisu_edu.lab.zoo import load


def study(options) -> None:
    """Draw a sheet of each world; print how many pictures of each kind break a rule."""
    for name in options.worlds.split(","):
        world = load(name)
        print(f"picture: {save_contact_sheet(options.out / f'{name}.png', world, seed=options.seed)}")
        for kind, share in rules_broken(world, seed=options.seed).items() if world.scene is not None else ():
            print(f"{kind:20} {share:6.1%} of 256 pictures break a rule, as the judge reads them")


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    run(study, parser("contact", __doc__, "docs/images").parse_args(arguments))


if __name__ == "__main__":
    main()
