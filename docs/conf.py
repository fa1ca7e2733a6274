"""The site: `make site` writes it to build/site, from the executed notebooks, the exercises and the docstrings.

Nothing is downloaded and no notebook is run. With GITHUB_REPOSITORY=owner/name in the environment (GitHub Actions sets
it) every notebook gets buttons that open it in Colab and on Binder.
"""

import os
import sys
from importlib.resources import files
from pathlib import Path

from docutils import nodes
from sphinx import addnodes

HERE = Path(__file__).parent
ROOT = HERE.parent
os.environ["SPHINX_APIDOC_OPTIONS"] = "members,show-inheritance"
sys.path[:0] = [str(HERE), str(ROOT)]

from pages import write_pages  # noqa: E402  (needs the path above)
from sphinx.ext import apidoc  # noqa: E402  (reads the options above)

from teaching.printing import formula  # noqa: E402

LESSONS = write_pages(ROOT / "notebooks", HERE, os.environ.get("GITHUB_REPOSITORY", ""))
NOT_SHOWN = ["lab/commands", "course/exercises"]  # commands and answers, not an interface
apidoc.main(
    ["--force", "--separate", "--module-first", "--no-toc", "-o", str(HERE / "api"), str(ROOT / "tiramisu_edu")]
    + [str(ROOT / "tiramisu_edu" / folder) for folder in NOT_SHOWN]
)

project = "tiramisu_edu"
author = "the tiramisu_edu authors"
copyright = "the tiramisu_edu authors, Apache License 2.0"
html_title = "Tiramisu: inpainting by tractable steering"
html_theme = "furo"
html_static_path = ["static", str(files("ziamath") / "fonts" / "STIXTwoMath-Regular.ttf")]
html_css_files = ["site.css"]
html_js_files = ["predictions.js"]  # keeps the guesses of the notebooks
html_math_renderer = "mathml"  # the page needs no network to show a formula
exclude_patterns = ["generated", "benchmarks", "results"]  # included by other pages
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
nb_execution_mode = "off"  # the notebooks are stored with the outputs that CI compares
myst_enable_extensions = ["dollarmath", "amsmath", "deflist"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_default_options = {"ignore-module-all": True}  # each name once, in the module that defines it
autodoc_inherit_docstrings = False  # those of PyTorch refer to PyTorch's own pages
autodoc_typehints = "signature"
napoleon_use_ivar = True  # fields stand in one list, not once more as members
html_static_path += ["kit"]  # what the course has around its pages
html_extra_path = ["extra"]  # to download: written by `write_pages`
default_role = "code"  # a name in single backticks is code, as in the docstrings
# Docstrings are written to be read in an editor: their formulas and lists are not always reStructuredText.
suppress_warnings = ["docutils", "ref.python", "myst.header"]


def notebook_role(name, rawtext, text, lineno, inliner, options=None, content=None):
    """{nb}`3` is a link to notebook 3, or only its name as long as it is not written."""
    label = f"notebook {text}"
    stem = next((lesson.path.stem for lesson in LESSONS if lesson.number == int(text)), None)
    if stem is None:
        return [nodes.inline(rawtext, label)], []
    link = addnodes.pending_xref(
        rawtext, nodes.inline(rawtext, label), refdomain="std", reftype="doc", reftarget=f"/notebooks/{stem}",
        refexplicit=True, refwarn=True,
    )  # fmt: skip
    return [link], []


def indent_formulas(app, what, name, obj, options, lines):
    """An indented block of a docstring is a formula or a listing: shown as it stands."""
    for number in range(len(lines) - 1, 0, -1):
        opens = lines[number].startswith("    ") and not lines[number - 1].strip()
        before = next((line for line in reversed(lines[:number]) if line.strip()), "")
        if opens and before and not before.startswith((" ", ":", "..")) and not before.endswith("::"):
            lines[number:number] = ["::", ""]


def mathml(display):
    """A visitor that writes a formula as MathML, which browsers draw by themselves."""

    def visit(translator, node):
        translator.body.append(formula(node.astext(), display))
        raise nodes.SkipNode

    return visit, None


def skip_fields(app, what, name, obj, skip, options):
    """The fields of a named tuple are described in its docstring; functions of NumPy under our names, by NumPy."""
    is_field = (getattr(obj, "__doc__", None) or "").startswith("Alias for field number")
    return True if is_field or (getattr(obj, "__module__", None) or "").startswith("numpy") else None


def setup(app):
    """Add the role, draw formulas, and read docstrings as they are meant."""
    app.add_html_math_renderer("mathml", mathml("inline"), mathml("block"))
    app.add_css_file("kit.css", priority=900)
    app.add_js_file("kit.js", loading_method="defer")
    app.add_role("nb", notebook_role)
    app.connect("autodoc-skip-member", skip_fields)
    app.connect("autodoc-process-docstring", indent_formulas, priority=900)  # after napoleon
