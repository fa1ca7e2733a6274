"""The doctor names what is missing with its repair, and fails only for what is needed."""

import sys

import PIL
import pytest

from tiramisu_edu.lab import datafiles, doctor
from tiramisu_edu.lab.doctor import Finding


def test_packages_are_those_that_the_installed_package_asks_for(monkeypatch):
    lines = [
        "torch>=2.4",
        'triton; sys_platform == "linux"',
        'jupyterlab>=4.2; extra == "notebooks"',
        'x; extra == "y"',
    ]
    monkeypatch.setattr(doctor.importlib.metadata, "requires", {"tiramisu-edu": lines}.get)
    monkeypatch.setattr(sys, "platform", "linux")
    assert doctor.requirements() == {"torch>=2.4": True, "triton": False, "jupyterlab>=4.2": False, "ipykernel": False}
    monkeypatch.setattr(sys, "platform", "darwin")
    assert "triton" not in doctor.requirements()


@pytest.mark.parametrize(
    ("findings", "code"),
    [
        ([Finding("ok", "Python 3.12")], 0),
        ([Finding("ok", "Python 3.12"), Finding("note", "no CUDA GPU")], 0),
        ([Finding("missing", "torch", "pip install torch"), Finding("note", "no CUDA GPU")], 1),
    ],
)
def test_exit_code_is_one_only_if_something_is_missing(monkeypatch, capsys, findings, code):
    monkeypatch.setattr(doctor, "diagnose", lambda: findings)
    assert doctor.run(doctor.Options()) == code
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(findings) + 1
    for line, (status, what, repair) in zip(lines, findings, strict=False):
        assert line == f"[{status}] {what}" + (f": {repair}" if repair else "")


def test_a_package_that_cannot_be_imported_is_missing_or_a_note():
    needed = doctor.package("no_such_module>=1", needed=True)
    assert needed.status == "missing"
    assert "no_such_module" in needed.what
    assert needed.repair.startswith(sys.executable)
    assert needed.repair.endswith("-m pip install 'no_such_module>=1'")
    assert doctor.package("no_such_module>=1", needed=False).status == "note"


def test_a_package_that_breaks_while_importing_is_missing(monkeypatch):
    def broken(module):
        raise OSError("libbroken.so: undefined symbol\nsecond line")

    monkeypatch.setattr(doctor, "_import", broken)
    finding = doctor.package("torch", needed=True)
    assert doctor.guarded(doctor._gpu, "torch").status == "missing"
    assert finding.status == "missing"
    assert "OSError: libbroken.so: undefined symbol)" in finding.what
    assert "\n" not in finding.what


def test_versions_are_shown():
    assert doctor.package("pillow>=1", needed=True) == Finding("ok", f"pillow {PIL.__version__}")
    assert doctor.package("lpips>=0.1", needed=True).what.startswith("lpips 0.")


def test_damaged_data_is_missing_with_its_repair(monkeypatch, tmp_path):
    monkeypatch.setenv("TIRAMISU_DATA", str(tmp_path))
    (tmp_path / datafiles.CHECKSUMS).write_text(f"{'0' * 64}  digits/judge.safetensors\n")
    finding = doctor.guarded(doctor._data, "tiramisu_edu.lab.datafiles")
    assert finding.status == "missing"
    assert "judge.safetensors is missing" in finding.what
    assert "unset TIRAMISU_DATA" in finding.repair
    assert doctor.guarded(doctor._models, "tiramisu_edu.lab.zoo").status == "missing"


def test_a_check_that_needs_a_missing_package_says_so():
    found = doctor.guarded(doctor._gpu, "no_such_module")
    assert found == Finding(
        "missing", "gpu not checked (No module named 'no_such_module')", "repair the packages first"
    )


def test_this_machine_has_what_is_needed():
    findings = doctor.diagnose()
    assert [finding for finding in findings if finding.status == "missing"] == []
    subjects = " ".join(finding.what for finding in findings)
    for subject in (
        "Python",
        "torch",
        "lpips",
        "triton",
        "memory",
        "disk",
        "GPU",
        "data files",
        "models load",
    ):
        assert subject in subjects
