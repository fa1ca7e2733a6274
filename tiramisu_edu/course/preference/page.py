"""The study as one HTML page: works without a network or a server, and does not know which method is which."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from ...files import atomic_path
from .study import Study

TEMPLATE = Path(__file__).with_name("page.html")


def write_page(study: Study, path: str | Path) -> Path:
    """Write the page that voters open in a browser; its path.

    It shows the pairs in each voter's own order, keeps the votes in the browser at every click, and lets the voter
    download them as the CSV file that `read_votes` reads. Of the key it holds the codes only.
    """
    pictures = {code: f"data:image/png;base64,{base64.b64encode(png).decode()}" for code, png in study.pictures.items()}
    pairs = [[pair.left, pair.right] for pair in study.key.pairs]
    known = {"study": study.key.study, "question": study.key.question, "pairs": pairs, "pictures": pictures}
    script = json.dumps(known).replace("<", "\\u003c")  # a question may hold </script>
    with atomic_path(path) as unfinished:
        text = TEMPLATE.read_text(encoding="utf-8").replace("{{STUDY}}", script)
        unfinished.write_text(text, encoding="utf-8")
    return Path(path)
