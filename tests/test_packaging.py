"""pip and conda install the same packages, the wheel finds its data, and `import tiramisu_edu` stays light."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tiramisu_edu.lab import doctor

yaml = pytest.importorskip("yaml")
ROOT = Path(__file__).parents[1]
CONDA_NAMES = {"torch": "pytorch"}  # pip's name: conda-forge's name, where they differ
NOT_IN_CONDA = ("peers",)  # an extra that would hold SciPy and NumPy back for everyone
NOT_IMPORTED = ("diffusers", "matplotlib", "lpips", "ipywidgets", "torchvision", "sklearn", "IPython")


def project() -> dict:
    """pyproject.toml; tomllib came with Python 3.11."""
    tomllib = pytest.importorskip("tomllib")
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def requirements() -> set[str]:
    extras = project()["project"]["optional-dependencies"]
    chosen = [packages for extra, packages in extras.items() if extra not in NOT_IN_CONDA]
    return set(project()["project"]["dependencies"]).union(*chosen)


def conda_name(requirement: str) -> str:
    name = re.match(r"[\w-]+", requirement)[0]
    return requirement.replace(name, CONDA_NAMES.get(name, name), 1)


def test_environment_yml_lists_what_pyproject_lists():
    listed = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    by_conda = {entry for entry in listed if isinstance(entry, str)}
    by_pip = set(next(entry["pip"] for entry in listed if isinstance(entry, dict)))
    found = by_conda - {"pip"} | {conda_name(requirement) for requirement in by_pip - {"-e ."}}
    python = "python" + project()["project"]["requires-python"]
    assert found == {conda_name(requirement) for requirement in requirements()} | {python}
    assert "-e ." in by_pip
    assert {"pytorch>=2.6", "pillow>=11.3"} <= found  # older ones have known holes


def test_the_doctor_asks_for_the_python_that_pyproject_asks_for():
    assert project()["project"]["requires-python"] == ">=" + ".".join(map(str, doctor.MINIMUM_PYTHON))


def test_what_the_wheel_includes_exists():
    wheel = project()["tool"]["hatch"]["build"]["targets"]["wheel"]
    for path in (*wheel["packages"], *wheel["force-include"]):
        assert (ROOT / path).is_dir(), path
    assert wheel["force-include"]["data"] == "tiramisu_edu/data"
    assert project()["project"]["license-files"] == ["LICENSE"]
    assert "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")


def test_importing_stays_light():
    """Beyond torch nothing heavy is loaded: counted in modules, because a clock differs from machine to machine."""
    code = (
        "import sys, tiramisu_edu, tiramisu_edu.lab.zoo, tiramisu_edu.masks, tiramisu_edu.lab.pictures; "
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(NOT_IMPORTED) & set(done.stdout.split()) == set()


def test_the_doctor_can_speak_without_torch():
    code = (
        "import sys; sys.modules['torch'] = None; from tiramisu_edu.lab import doctor; "
        "print(doctor.package('torch', needed=True))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "status='missing', what='torch cannot be imported" in done.stdout, done.stderr
