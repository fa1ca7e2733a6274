"""The study is blind, balanced and loses no vote."""

import json
import re

import pytest
import torch

from studies.preference.__main__ import main
from studies.preference.booth import VotingBooth
from studies.preference.results import report
from studies.preference.study import Key, study_of_files, study_of_images, write_page
from studies.preference.votes import Ballot, read_votes
from tiramisu_edu.errors import FileError, ImageError, TiramisuError
from tiramisu_edu.lab.pictures import save_image

NAMES = ("steered", "plainmethod")


def pictures(count, seed=0):
    return torch.rand(2, count, 3, 4, 4, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def a_study(count=6, **options):
    return study_of_images(*pictures(count), NAMES, **options)


def cast(key, voter, path, choose):
    """Let a voter vote on all pairs; choose: what is shown -> left, tie or right."""
    ballot = Ballot(key, voter, path)
    while ballot.next is not None:
        ballot.vote(choose(ballot.next))
    return path


def prefers_a(pair):
    return "left" if pair.a_left else "right"


# Blind


def test_no_voter_reads_a_name(tmp_path):
    folders = [tmp_path / name for name in NAMES]
    for folder, images in zip(folders, pictures(3)):
        folder.mkdir()
        for n, image in enumerate(images):
            save_image(image, folder / f"portrait{n}.png")
    study = study_of_files(*folders)
    assert study.key.names == NAMES
    page = write_page(study, tmp_path / "study.html").read_text(encoding="utf-8")
    booth = VotingBooth(study, "ada", tmp_path / "ada.csv")
    seen = [booth.pictures.value]
    while booth.ballot.next:
        seen.append(booth.vote("tie") + booth.pictures.value)
    labels = [button.description + (button.tooltip or "") for button in (booth.left, booth.tie, booth.right)]
    for shown in (page, *seen, *labels, (tmp_path / "ada.csv").read_text()):
        assert not re.search(r"steered|plainmethod|portrait|a_left|tmp", shown)
    assert len(re.findall(r"data:image/png", page)) == 6
    for pair in study.key.pairs:  # the order of the pictures on the page says nothing either
        assert pair.left in page and pair.right in page
    assert list(study.pictures) == sorted(study.pictures)


def test_codes_come_from_pixels_alone():
    a, b = pictures(3)
    one, other = study_of_images(a, b, NAMES, seed=5), study_of_images(b, a, NAMES, seed=5)
    assert one.pictures == other.pictures
    assert not set(one.pictures) & set(study_of_images(a, b, NAMES, seed=6).pictures)


def test_metadata_of_a_file_is_left_behind(tmp_path):
    from PIL import Image, PngImagePlugin

    for name, level in (("a", 0), ("b", 255)):
        (tmp_path / name).mkdir()
        info = PngImagePlugin.PngInfo()
        info.add_text("Software", "secretmethod")
        Image.new("L", (4, 4), level).save(tmp_path / name / "x.png", pnginfo=info)
    study = study_of_files(tmp_path / "a", tmp_path / "b")
    assert not any(b"secretmethod" in png for png in study.pictures.values())


# Order and sides


@pytest.mark.parametrize("count", [2, 7, 20])
def test_sides_are_balanced_and_every_voter_has_an_own_order(count):
    key = a_study(count).key
    plans = [key.plan(f"voter {n}") for n in range(200)]
    for plan in plans:
        assert sorted(pair.name for pair in plan) == sorted(pair.name for pair in key.pairs)
        assert count // 2 <= sum(pair.a_left for pair in plan) <= (count + 1) // 2
    # For each pair A is on the left for about half of 200 voters: beyond 100 ± 35 with probability 1e-6 a pair.
    for name in (pair.name for pair in key.pairs):
        assert 65 < sum(pair.a_left for plan in plans for pair in plan if pair.name == name) < 135
    first = {plan[0].name for plan in plans}
    assert len(first) == count, "every pair comes first for somebody"


def test_same_seed_same_plan_other_seed_other_plan():
    assert a_study(12, seed=3).key == a_study(12, seed=3).key
    assert a_study(12, seed=3).key.plan("ada") == a_study(12, seed=3).key.plan("ada")
    sides = [{pair.name: pair.a_left for pair in a_study(12, seed=seed).key.pairs} for seed in (3, 4)]
    assert sides[0] != sides[1]
    orders = [[pair.name for pair in a_study(12, seed=seed).key.plan("ada")] for seed in (3, 4)]
    assert orders[0] != orders[1]


# Votes are kept


def test_a_study_goes_on_where_the_voter_stopped(tmp_path):
    study, path = a_study(), tmp_path / "votes" / "ada.csv"
    booth = VotingBooth(study, "ada", path)
    assert booth.status == "Pair 1 of 6" and 'alt="left picture of pair 1"' in booth.pictures.value
    booth.left.click()
    booth.tie.click()
    assert booth.status == "Pair 3 of 6"
    shown = booth.pictures.value
    again = VotingBooth(a_study(), "ada", path)
    assert (again.status, again.pictures.value) == ("Pair 3 of 6", shown)
    for _ in range(4):
        again.right.click()
    assert again.status == "All 6 pairs are voted on. Thank you!"
    assert again.right.disabled and "<img" not in again.pictures.value
    assert read_votes(path, study.key).choices == ("left", "tie", "right", "right", "right", "right")
    with pytest.raises(TiramisuError, match="voted on all 6"):
        again.vote("left")


def test_a_kill_while_writing_loses_nothing(tmp_path, monkeypatch):
    key, path = a_study().key, tmp_path / "ada.csv"
    ballot = Ballot(key, "ada", path)
    ballot.vote("left")
    before = path.read_bytes()

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", killed)
    with pytest.raises(KeyboardInterrupt):
        ballot.vote("right")
    monkeypatch.undo()
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
    again = Ballot(key, "ada", path)
    assert again.done == 1
    again.vote("right")
    assert read_votes(path, key).choices == ("left", "right")


def test_two_windows_do_not_overwrite_each_other(tmp_path):
    key, path = a_study().key, tmp_path / "ada.csv"
    one, two = Ballot(key, "ada", path), Ballot(key, "ada", path)
    one.vote("left")
    with pytest.raises(FileError, match="another window"):
        two.vote("left")
    with pytest.raises(FileError, match="votes of 'ada', not of 'bob'"):
        Ballot(key, "bob", path)
    with pytest.raises(TiramisuError, match="not 'middle'"):
        one.vote("middle")


def test_damaged_files_are_named(tmp_path):
    key = a_study().key
    path = cast(key, "ada", tmp_path / "ada.csv", prefers_a)
    good = path.read_text()
    lines = good.splitlines(keepends=True)
    damaged = {
        "cannot read": None,
        "first line must be": "",
        "a vote must follow": lines[0],
        "no file of votes": "\x00\ud83d".encode("utf-16", "surrogatepass"),
        "line 7 is damaged": good[:-9],
        "line 3 is damaged": "".join([*lines[:2], *lines[3:]]),
        "line 4 is damaged": "".join([*lines[:3], lines[3].replace(",3,", ",4,")]),
        "line 2 is damaged": good.replace(",ada,", ",,"),
        "another study": good.replace(key.study, "0" * 16),
        "7 votes on 6 pairs": good + lines[-1],
    }
    for message, content in damaged.items():
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(FileError, match=message):
            read_votes(path, key)
    path.write_text(good.replace("\r\n", "\n"), encoding="utf-8-sig")  # saved again by an editor
    assert len(read_votes(path, key).scores) == 6
    other = study_of_images(*pictures(6, seed=1), NAMES).key
    with pytest.raises(FileError, match="another study"):
        Ballot(other, "ada", path)


def test_keys_come_back_and_are_checked(tmp_path):
    key = a_study().key
    path = key.save(tmp_path / "study.key.json")
    assert Key.load(path) == key
    content = json.loads(path.read_text())
    content["pairs"][0][3] = not content["pairs"][0][3]
    path.write_text(json.dumps(content))
    with pytest.raises(FileError, match="changed after it was written"):
        Key.load(path)
    for text in ("[]", "{}", "<html>"):
        path.write_text(text)
        with pytest.raises(FileError, match="no key of a preference study"):
            Key.load(path)
    with pytest.raises(FileError, match="cannot read the key"):
        Key.load(tmp_path / "none.json")


@pytest.mark.parametrize("name", ["", " ada", "a,b", "x" * 41, "a\nb"])
def test_names_that_no_file_could_hold_are_refused(name):
    with pytest.raises(TiramisuError, match="voter's name"):
        a_study().key.plan(name)


# What is compared


def test_pictures_that_do_not_match_are_refused(tmp_path):
    a, b = pictures(3)
    for first, second, message in ((a, b[:2], "equal in shape"), (a[:0], b[:0], "at least one pair")):
        with pytest.raises(ImageError, match=message):
            study_of_images(first, second)
    with pytest.raises(TiramisuError, match="both methods are called 'x'"):
        study_of_images(a, b, ("x", "x"))
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    with pytest.raises(ImageError, match="no pictures"):
        study_of_files(tmp_path / "a", tmp_path / "b")
    save_image(a[0], tmp_path / "a" / "x.png")
    save_image(b[0, :, :2], tmp_path / "b" / "x.png")
    with pytest.raises(ImageError, match="4 x 4 and 4 x 2"):
        study_of_files(tmp_path / "a", tmp_path / "b")
    save_image(a[0], tmp_path / "b" / "y.png")
    with pytest.raises(FileError, match=r"only .*b has y\.png"):
        study_of_files(tmp_path / "a", tmp_path / "b")
    with pytest.raises(FileError, match="no such folder"):
        study_of_files(tmp_path / "a", tmp_path / "c")


def test_two_cells_of_an_evaluation(tmp_path):
    from tiramisu_edu.lab.evaluation.cells import Cell, CellResult, Method, save_cell

    paths = []
    for method, images in zip(("ddim", "ddim+difference"), pictures(3)):
        cell = Cell("faces", "left", Method.parse(method), 5, 0, 3)
        levels = ((images + 1) * 127.5).round().to(torch.uint8)
        paths.append(save_cell(tmp_path, CellResult(cell, levels, {}, torch.tensor([7, 2, 2]), 1.0, 0.0, 5.0, 0.0)))
    key = study_of_files(*paths, NAMES).key
    assert sorted(pair.name for pair in key.pairs) == ["0000-0007", "0001-0002", "0002-0002"]
    few = [study_of_files(*paths, NAMES, seed=seed, num_pairs=2).key.pairs for seed in range(9)]
    assert study_of_files(*paths, NAMES, seed=8, num_pairs=2).key.pairs == few[-1]
    assert {frozenset(pair.name for pair in pairs) for pairs in few} == {
        frozenset(pair.name for pair in key.pairs if pair.name != left_out) for left_out in (p.name for p in key.pairs)
    }
    for number in (0, 4):
        with pytest.raises(ImageError, match=f"{number} pairs cannot be drawn from 3"):
            study_of_files(*paths, NAMES, num_pairs=number)


def test_commands(tmp_path, capsys):
    for name, images in zip(("first", "second"), pictures(4)):
        (tmp_path / name).mkdir()
        for n, image in enumerate(images):
            save_image(image, tmp_path / name / f"{n}.png")
    page = ["page", str(tmp_path / "first"), str(tmp_path / "second"), "--out", str(tmp_path / "study.html")]
    assert main(page) == 0
    assert "4 pairs" in capsys.readouterr().out
    assert main(page) == 2, "a second key would make the first page's votes worthless"
    assert "choose another --out" in capsys.readouterr().err
    key = Key.load(tmp_path / "study.key.json")
    paths = [cast(key, voter, tmp_path / f"{voter}.csv", prefers_a) for voter in ("ada", "bob")]
    hasty = Ballot(key, "eve", tmp_path / "eve.csv")
    hasty.vote("tie")
    assert main(["report", str(tmp_path / "study.key.json"), *map(str, [*paths, hasty.path])]) == 0
    printed = capsys.readouterr().out
    head, ada, bob, pooled = printed.splitlines()[:4]
    assert head.split()[:4] == ["voter", "votes", "for", "first"]
    assert ada.split() == ["ada", "4", "4", "0", "0", "+100%", "[–]", "0.125"]
    assert bob.split()[0] == "bob" and pooled.split()[:6] == ["all", "3", "9", "8", "1", "0"]
    assert "left chosen in 4 of 8 votes" in printed and "fewer than 8 pictures are too few" in printed
    assert main(["report", str(tmp_path / "study.key.json"), str(tmp_path / "none.csv")]) == 2
    with pytest.raises(FileError, match="no files of votes"):
        report(key, [])
