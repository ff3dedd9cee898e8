"""What a learner meets after `make lab`: lesson 00, from this machine only, with the token."""

import re
import urllib.error
import urllib.parse
import urllib.request

import nbformat
import pytest

from course_lib.files import REPO_DIR
from tests.browser import pages

LESSON = "notebooks/00_start.ipynb"
LOAD_MS = 60_000


def test_the_server_listens_on_this_machine_only(lab):
    assert urllib.parse.urlsplit(lab.url).hostname == "127.0.0.1"


def test_lesson_00_comes_over_http_with_the_token(lab):
    served = pages.fetch(lab, f"api/contents/{LESSON}")["content"]["cells"]
    stored = nbformat.read(REPO_DIR / LESSON, as_version=4).cells
    assert [cell["source"] for cell in served] == [cell.source for cell in stored]


def test_nothing_comes_without_the_token(lab):
    with pytest.raises(urllib.error.HTTPError, match="403"):
        pages.fetch(lab, f"api/contents/{LESSON}", token="")


def test_the_address_it_shows_leads_to_lesson_00(lab):
    assert lab.shown_url == f"{lab.url}lab/tree/{LESSON}?token={lab.token}"


def test_the_kernel_is_there(lab):
    assert "python3" in pages.fetch(lab, "api/kernelspecs")["kernelspecs"]


def test_lesson_00_opens_in_chromium_and_asks_no_other_server(lab, browser, tmp_path):
    title = nbformat.read(REPO_DIR / LESSON, as_version=4).cells[0].source.splitlines()[0]
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    hosts = set()
    page.on("request", lambda request: hosts.add(urllib.parse.urlsplit(request.url).hostname))
    page.goto(lab.shown_url, timeout=LOAD_MS)
    heading = page.locator(".jp-Notebook h1").first
    heading.wait_for(timeout=LOAD_MS)
    assert heading.inner_text().rstrip("¶").strip() == re.sub(r"^# |[*_`]", "", title)
    page.locator(".jp-Notebook .jp-CodeCell").first.wait_for(timeout=LOAD_MS)
    assert page.locator(".jp-Notebook .jp-Cell").count() >= 2
    page.locator('.jp-Notebook-ExecutionIndicator[data-status="idle"]').first.wait_for(
        state="attached", timeout=LOAD_MS
    )
    # Neither a choice of kernels nor JupyterLab's question about news stands in the way.
    assert page.locator(".jp-Dialog, .Toastify__toast").count() == 0
    page.screenshot(path=tmp_path / "lesson_00.png")
    assert (tmp_path / "lesson_00.png").stat().st_size > 20_000
    assert hosts - {"127.0.0.1", None} == set()
    page.close()


def test_the_command_of_the_lessons_is_there(lab, browser, folder):
    notebook = pages.write_notebook(folder, ["!tunebook copy-cfg --help"])
    with pages.opened(lab, browser, notebook) as page:
        pages.run_cell(page, 0)
        page.locator(".jp-OutputArea-output").get_by_text("Usage: tunebook copy-cfg").wait_for()
