"""The page of a preference study in a voter's browser: the plan that the key knows, votes kept and handed in.

Needs Chromium and Playwright; skipped, with the reason, where one is missing.
"""

from __future__ import annotations

import shutil

import pytest
import torch

from studies.preference.study import study_of_images, write_page
from studies.preference.votes import read_votes

playwright = pytest.importorskip("playwright.sync_api", reason="no Playwright: pip install playwright")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SECONDS = 120

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium"),
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]


def test_vote_stop_go_on_and_hand_in(tmp_path):
    a, b = torch.rand(2, 5, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    study = study_of_images(a, b, ("steered", "plain"), question="Which </script> one?")
    address = write_page(study, tmp_path / "study.html").as_uri()
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"])
        page = browser.new_context(accept_downloads=True, offline=True).new_page()
        page.set_default_timeout(SECONDS * 1000)
        failed = []
        page.on("pageerror", lambda error: failed.append(error))  # a builtin is no handler to Playwright
        for voter in ("Grace Hopper", "王-2"):  # the second has her own votes in the same browser
            page.goto(address)
            page.fill("#voter", voter)
            page.press("#voter", "Enter")
            playwright.expect(page.locator("h1")).to_have_text("Which </script> one?")
            playwright.expect(page.locator("#status")).to_have_text("Pair 1 of 5")
            page.keyboard.press("ArrowLeft")
            page.click("#vote-tie")
            page.reload()
            page.fill("#voter", voter)
            page.click("#start button")
            playwright.expect(page.locator("#status")).to_have_text("Pair 3 of 5")
            assert page.get_attribute("#left", "alt") == "left picture of pair 3"
            for _ in range(3):
                page.keyboard.press("ArrowRight")
            playwright.expect(page.locator("#status")).to_contain_text("All 5 pairs")
            playwright.expect(page.locator("#pair")).to_be_hidden()
            with page.expect_download() as download:
                page.keyboard.press("Enter")  # the focus is on the download
            path = tmp_path / download.value.suggested_filename
            download.value.save_as(path)
            votes = read_votes(path, study.key)  # fails where browser and key draw different plans
            assert (votes.voter, votes.choices) == (voter, ("left", "tie", "right", "right", "right"))
        browser.close()
    assert not failed
