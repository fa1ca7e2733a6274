"""Makes docs/kit/han.woff: the Chinese characters of the site's pages, from a font with a free licence.

    apt-get download fonts-droid-fallback && dpkg -x fonts-droid-fallback_*.deb font
    python docs/han.py font/usr/share/fonts/truetype/droid/DroidSansFallbackFull.ttf

Droid Sans Fallback is Google's, under the Apache License 2.0, as this repository is. Browsers use the file only where
the system has none of the fonts that kit.css names first. A test compares its characters with those of the pages.
"""

import re
import sys
from pathlib import Path

from fontTools import subset

HERE = Path(__file__).parent
HAN = HERE / "kit" / "han.woff"
CHINESE = re.compile(r"[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]")


def characters() -> set[str]:
    """The Chinese characters of all written pages."""
    return {character for path in HERE.glob("*.md") for character in CHINESE.findall(path.read_text(encoding="utf-8"))}


def make(source: Path) -> None:
    """Write the part of a font that the pages need."""
    options = subset.Options(flavor="woff", layout_features=[], hinting=False, name_IDs=[0, 1, 2, 13, 14])
    font = subset.load_font(str(source), options)
    chosen = subset.Subsetter(options)
    chosen.populate(text="".join(sorted(characters())))
    chosen.subset(font)
    subset.save_font(font, str(HAN), options)
    print(f"{HAN}: {len(characters())} characters, {HAN.stat().st_size // 1000} kB")


if __name__ == "__main__":
    make(Path(sys.argv[1]))
