"""Chat panel, checkpoint slider and training monitor in a real JupyterLab, by keyboard and name."""

import json

from course_lib.files import DATA_DIR
from course_lib.teaching import markdown
from course_lib.training import config
from tests.browser import pages
from tests.training import run_folders as folders
from tests.training.conftest import FULL, small_data  # noqa: F401  a fixture
from tests.widgets import hostile

WAIT_MS = 120_000
ADA = str(DATA_DIR / "adapters" / "ada")
CHAT = f"""from course_lib.widgets.chat_panel import ChatPanel
panel = ChatPanel("pico-chat", {ADA!r})
panel"""
TALK = """import json
def echo(text, names):
    for name in names:
        yield from ((name, ""), (name, text))
panel.comparison.stream = echo
for text in json.load(open("texts.json")):
    panel.message.value = text
    panel.send_button.click()
    panel.wait()
"all said" """
SLIDER = """from course_lib.widgets.checkpoint_slider import CheckpointSlider
CheckpointSlider("run")"""
WATCH = """from course_lib.widgets.training_monitor import TrainingMonitor
TrainingMonitor("run")"""
TRAIN = """import os
os.environ.update(TUNEBOOK_DATA={data!r}, CUDA_VISIBLE_DEVICES="", HF_HUB_OFFLINE="1")
from course_lib.training import config
from course_lib.widgets.training_monitor import TrainingMonitor
monitor = TrainingMonitor("run", config.load_config("mine.yaml"))
monitor"""
STEPS = 40
# Shows that the hook of the pages trips when something is executed, and sets it back.
CONTROL = """async () => {
    document.body.insertAdjacentHTML("beforeend", "<img src='data:,' onerror='tripped.push(1)'>");
    await new Promise(done => setTimeout(done, 500));
    document.body.lastChild.remove();
    return window.tripped.splice(0).length;
}"""
FOREIGN = (
    "script, img, iframe, object, embed, form, base, link, math, animate, body, input[autofocus]"
)


def texts():
    """The hostile ones, with the call that the pages' hook listens to."""
    return [text.replace("tripped()", "tripped.push(1)") for text in hostile.TEXTS.values()]


def button(panel, name):
    return panel.get_by_role("button", name=name)  # its icon is a character of the name


def test_chat_with_base_and_tuned_side_by_side(lab, browser, folder):
    notebook = pages.write_notebook(folder, [CHAT, "6 * 7"])
    with pages.opened(lab, browser, notebook) as page:
        pages.run_cell(page, 0)
        panel = page.locator(".tb-panel")
        panel.get_by_text("Ready: pico-chat in 16 bits").wait_for(timeout=WAIT_MS)
        panel.evaluate(pages.RECORD)
        page.get_by_label("Message").fill("Tell me a story about a cat.")
        page.keyboard.press("Enter")
        panel.get_by_text("The tuned model answers").wait_for(timeout=WAIT_MS)
        panel.get_by_text("The tuned model answers").wait_for(state="hidden", timeout=WAIT_MS)
        lengths = page.evaluate("window.lengths")
        assert len(set(lengths)) >= 6, lengths  # the answers came in pieces

        page.get_by_label("Message").fill("Who are you?")
        pages.focus(button(panel, "Send"))
        page.keyboard.press("Enter")
        talks = panel.get_by_role("log")
        talks.nth(1).get_by_text("Ada").wait_for(timeout=WAIT_MS)
        assert "Pico" in talks.nth(0).inner_text()
        assert talks.nth(0).get_attribute("aria-label") == "Talk with the base model"

        button(panel, "How it answers").click()
        page.get_by_label("Temperature").fill("-1")
        page.keyboard.press("Tab")
        panel.get_by_role("alert").filter(has_text="temperature is -1").wait_for()
        page.get_by_label("Temperature").fill("50")  # words without end
        page.get_by_label("Max. tokens").fill("300")
        page.keyboard.press("Tab")
        panel.get_by_role("alert").wait_for(state="hidden")
        page.get_by_label("Message").fill("And now?")
        page.keyboard.press("Enter")
        panel.get_by_text("The base model answers").wait_for()
        pages.run_cell(page, 1)  # the kernel answers meanwhile
        page.locator(".jp-OutputArea-output").get_by_text("42", exact=True).wait_for()
        button(panel, "Stop").click()
        panel.get_by_text("(stopped)").wait_for(timeout=WAIT_MS)

        button(panel, "Clear").click()
        panel.get_by_text("Forgotten.").wait_for()
        assert talks.nth(1).inner_text() == ""
        page.get_by_label("Base weights").select_option("4 bits (NF4)")
        panel.get_by_text("Ready: pico-chat in 4 bits").wait_for(timeout=WAIT_MS)
        for bits in (16, 4) * 4:  # loaded already: work that ends at once is heard of, too
            page.get_by_label("Base weights").select_option(index=(16, 4).index(bits))
            panel.get_by_text(f"Ready: pico-chat in {bits} bits").wait_for()


def test_hostile_messages_and_replies_run_nowhere(lab, browser, folder):
    said = [text for text in texts() if "\ud800" not in text]  # no page can send half a character
    (folder / "texts.json").write_text(json.dumps(said))
    notebook = pages.write_notebook(folder, [CHAT, TALK])
    with pages.opened(lab, browser, notebook) as page:
        assert page.evaluate(CONTROL) == 1
        pages.run_cell(page, 0)
        panel = page.locator(".tb-panel")
        panel.get_by_text("Ready").wait_for(timeout=WAIT_MS)
        pages.run_cell(page, 1)
        page.get_by_text("all said", exact=False).last.wait_for(timeout=WAIT_MS)
        page.locator(".jp-OutputArea-output").get_by_text("'all said'").wait_for(timeout=WAIT_MS)
        page.wait_for_timeout(1000)
        check_texts(panel.get_by_role("log").nth(1), said)
        assert panel.locator(FOREIGN).count() == 0


def check_texts(place, said):
    """Each text stands there as a text, at least once as it was written."""
    shown = place.inner_text()
    calls = sum(text.count("tripped.push(1)") for text in said)
    assert shown.count("tripped.push(1)") >= calls
    for text in said:
        assert markdown.make_visible(text).split("\n")[0][:12] in shown


def test_hostile_replies_of_a_run_run_nowhere(lab, browser, folder):
    samples = [folders.sample(5, prompt=text, reply=text) for text in texts()]
    logged = [folders.begin(), folders.log(5)]
    logged.append({"event": "error", "message": "\n".join(texts()[:-1])})
    folders.write(folder / "run", logged, samples, [folders.score(5)])
    notebook = pages.write_notebook(folder, [SLIDER, WATCH])
    with pages.opened(lab, browser, notebook) as page:
        for number in range(2):
            pages.run_cell(page, number)
            panel = page.locator(".tb-panel").nth(number)
            panel.get_by_text("at step 5").first.wait_for(timeout=WAIT_MS)
            page.wait_for_timeout(1000)
            check_texts(panel, texts())
            assert panel.locator(FOREIGN).count() == 0


def test_the_slider_is_moved_by_keyboard(lab, browser, folder):
    samples = [folders.sample(step, reply=f"Reply at {step}.") for step in (0, 10, 20)]
    scores = [folders.score(0, 0.0, 1.0), folders.score(20, 1.0, 0.5)]
    logged = [folders.begin(), folders.log(20), folders.event("end", 20)]
    folders.write(folder / "run", logged, samples, scores)
    notebook = pages.write_notebook(folder, [SLIDER])
    with pages.opened(lab, browser, notebook) as page:
        pages.run_cell(page, 0)
        panel = page.locator(".tb-panel")
        panel.get_by_text("Reply at 20.").wait_for(timeout=WAIT_MS)
        panel.get_by_text("Scores at step 20").wait_for()
        pages.focus(panel.get_by_role("slider"))
        page.keyboard.press("ArrowLeft")
        panel.get_by_text("Reply at 10.").wait_for()
        panel.get_by_text("Scores at step 0, the last before step 10").wait_for()
        page.keyboard.press("Home")
        panel.get_by_text("Reply at 0.").wait_for()


def test_a_run_is_started_watched_stopped_and_resumed(lab, browser, folder, small_data):  # noqa: F811
    values = {**FULL, "max_steps": STEPS, "save_every_steps": 20, "sample_every_steps": 5}
    config.save_config(config.check_config(values), folder / "mine.yaml")
    notebook = pages.write_notebook(
        folder, [TRAIN.format(data=str(small_data)), "6 * 7", "monitor.finish()"]
    )
    with pages.opened(lab, browser, notebook) as page:
        pages.run_cell(page, 0)
        panel = page.locator(".tb-panel")
        pages.focus(button(panel, "Start"))
        page.keyboard.press("Enter")
        panel.get_by_text("Starting:").wait_for()
        panel.get_by_text("Running.").wait_for(timeout=WAIT_MS)
        points = panel.get_by_role("img").first.locator("circle")
        points.nth(2).wait_for(state="attached", timeout=WAIT_MS)
        points.nth(5).wait_for(state="attached", timeout=WAIT_MS)  # the curve grows
        pages.run_cell(page, 1)  # the kernel answers meanwhile
        page.locator(".jp-OutputArea-output").get_by_text("42", exact=True).wait_for()
        panel.get_by_text("Running.").wait_for()
        panel.get_by_text("Replies at step 5").or_(
            panel.get_by_text("Replies at step 10")
        ).first.wait_for(timeout=WAIT_MS)

        pages.run_cell(page, 2)  # Stop is heard while a cell waits for the run's end
        button(panel, "Stop").click()
        panel.get_by_text("as asked.").wait_for(timeout=WAIT_MS)
        page.get_by_text("Press Resume in the monitor, then run this cell again.").first.wait_for()
        button(panel, "Resume").click()
        panel.get_by_text("Finished.").wait_for(timeout=WAIT_MS)
        panel.get_by_text(f"Step {STEPS} of {STEPS}.").wait_for()
        panel.get_by_text(f"Replies at step {STEPS}").wait_for()
        panel.get_by_text("Scores by checkpoint").wait_for()
