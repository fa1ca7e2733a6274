"""A reader's browser: JupyterLab in headless Chromium runs a whole notebook, and its slider changes picture and text.

Selectors are those of JupyterLab 4.6. Needs Chromium and Playwright; skipped, with the reason, where one is missing.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="no Playwright: pip install playwright")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
NOTEBOOK = next((Path(__file__).parents[2] / "notebooks").glob("02_*.ipynb"))
START, RUN = 120, 90  # seconds until the server answers, until the notebook has run: generous, both end when ready
TRIES = 3  # a click on Run All that comes while the kernel is still connecting is lost now and then

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium"),
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture
def lab(tmp_path):
    """A JupyterLab of its own, on a copy of the notebook; its address."""
    shutil.copy(NOTEBOOK, tmp_path)
    address = f"http://127.0.0.1:{free_port()}"
    own = {f"JUPYTER_{kind}_DIR": str(tmp_path / kind.lower()) for kind in ("CONFIG", "RUNTIME")}
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--IdentityProvider.token="]
    command += [f"--port={address.rpartition(':')[2]}", f"--ServerApp.root_dir={tmp_path}"]
    log = tmp_path / "jupyter.log"
    with log.open("w") as file:
        server = subprocess.Popen(command, stdout=file, stderr=file, env={**os.environ, **own})
    try:
        wait_for_server(address, server, log)
        yield address
    finally:
        server.terminate()
        server.wait(30)


def wait_for_server(address, server, log):
    end = time.monotonic() + START
    while time.monotonic() < end and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}/api/status", timeout=5) as answer:
                json.load(answer)
            return
        except OSError:
            time.sleep(0.5)
    pytest.fail(f"JupyterLab did not start:\n{log.read_text()[-2000:]}")


@pytest.fixture
def page():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield browser.new_page(viewport={"width": 1400, "height": 1000})
        browser.close()


def test_run_all_then_move_the_slider(lab, page):
    page.set_default_timeout(START * 1000)
    idle = '.jp-Notebook-ExecutionIndicator[data-status="idle"]'
    handle = page.locator(".widget-slider .noUi-handle").first
    for attempt in range(TRIES):
        page.goto(f"{lab}/lab/tree/{NOTEBOOK.name}?reset")
        page.wait_for_selector(".jp-Notebook .jp-Cell")
        page.wait_for_selector(idle)
        page.wait_for_timeout(2000)
        page.click('.lm-MenuBar-itemLabel:text-is("Run")')
        page.click('.lm-Menu-itemLabel:text-is("Run All Cells")')
        try:
            handle.wait_for(timeout=RUN * 1000)
            break
        except playwright.TimeoutError:
            if attempt == TRIES - 1:
                raise
    page.wait_for_selector(idle, timeout=RUN * 1000)

    widget = page.locator(".widget-vbox", has=page.locator(".widget-slider")).first
    widget.scroll_into_view_if_needed()
    readout, picture, text = (widget.locator(css) for css in (".widget-readout", "img", "p"))
    before = readout.inner_text(), picture.get_attribute("src"), text.inner_text()
    alt = picture.get_attribute("alt")
    handle.focus()
    page.keyboard.press("ArrowLeft")
    playwright.expect(readout).not_to_have_text(before[0])
    playwright.expect(picture).not_to_have_attribute("src", before[1], timeout=START * 1000)
    playwright.expect(text).not_to_have_text(before[2])
    after = readout.inner_text(), picture.get_attribute("src"), text.inner_text()
    assert after[1].startswith("data:image/png;base64,")
    assert picture.get_attribute("alt") != alt, "the alt text states the new finding"
    assert f"θ = {after[0]}" in after[2], "the sentence gives the slider's value"
    assert page.locator('.jp-OutputArea-output[data-mime-type="application/vnd.jupyter.error"]').count() == 0
