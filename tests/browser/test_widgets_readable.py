"""All five widgets: names for screen readers, the Tab key, contrast; and opened again later."""

import re

import nbformat
import pytest

from course_lib.files import DATA_DIR
from tests.browser import pages
from tests.training import run_folders as folders

WAIT_MS = 120_000
ENOUGH = 4.5  # WCAG 2.1, 1.4.3: contrast of text
LARGE = 3.0  # from 24 px, or 18.66 px in bold
PRESET = "pico_qlora_assistant_e3"
CELLS = {
    "config editor": f"""from course_lib.widgets.config_editor import ConfigEditor
editor = ConfigEditor({PRESET!r})
editor.set(max_steps=4, r=0)
editor""",
    "config editor, prediction": f"""again = ConfigEditor({PRESET!r})
again.set(max_steps=4)
again.wait()
again""",
    "training monitor": """from course_lib.widgets.training_monitor import TrainingMonitor
TrainingMonitor("run")""",
    "chat panel": f"""from course_lib.widgets.chat_panel import ChatPanel
panel = ChatPanel("pico-chat", {str(DATA_DIR / "adapters" / "ada")!r})
panel.more.value = True
panel.ask("Who are you?")
panel.fields["seed"].value = -1
panel""",
    "label view": f"""from course_lib.training import config
from course_lib.widgets.label_view import LabelView
view = LabelView.of_config(config.load_preset({PRESET!r}))
view.max_length.value = 30
view""",
    "checkpoint slider": """from course_lib.widgets.checkpoint_slider import CheckpointSlider
CheckpointSlider("run")""",
}
CONTROLS = ("button", "textbox", "combobox", "checkbox", "spinbutton", "slider", "radio", "img")
CONTROLS += ("region", "log", "progressbar")
# ipywidgets 8 gives a slider's handle no name; the list of steps beside it has one.
NAMELESS = {"checkpoint slider": ["slider"]}
# Text with its colour laid over every background below it, and the larger of the two lights over
# the smaller one. What cannot be used is left out, as WCAG does.
CONTRAST = """panel => {
    const read = text => {
        const parts = text.match(/[\\d.]+/g).map(Number);
        if (text.startsWith("color(")) parts.splice(0, 3, ...parts.slice(0, 3).map(c => 255 * c));
        return parts.length > 3 ? parts : [...parts, 1];
    };
    const over = (top, under) => {
        const mixed = [0, 1, 2].map(i => top[i] * top[3] + under[i] * (1 - top[3]));
        return [...mixed, 1];
    };
    const light = color => {
        const [r, g, b] = color.slice(0, 3).map(c => c / 255).map(
            c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const found = [];
    const walker = document.createTreeWalker(panel, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const text = walker.currentNode.textContent.trim();
        const holder = walker.currentNode.parentElement;
        if (!text || holder.closest("style, :disabled, option") || !holder.checkVisibility())
            continue;
        const chain = [];
        for (let at = holder; at; at = at.parentElement) chain.unshift(at);
        let under = [255, 255, 255, 1], opacity = 1;
        for (const at of chain) {
            const look = getComputedStyle(at);
            opacity *= Number(look.opacity);
            const own = read(look.backgroundColor);
            under = over([...own.slice(0, 3), own[3] * opacity], under);
        }
        const look = getComputedStyle(holder);
        const own = read(holder.closest("svg") ? look.fill : look.color);
        const shown = over([...own.slice(0, 3), own[3] * opacity], under);
        const [high, low] = [light(shown), light(under)].sort((a, b) => b - a);
        const size = parseFloat(look.fontSize);
        const isLarge = size >= 24 || (size >= 18.66 && Number(look.fontWeight) >= 700);
        found.push([text.slice(0, 40), (high + 0.05) / (low + 0.05), isLarge]);
    }
    return found;
}"""
# By hand: #999999 on white. 0.6 as light is ((0.6 + 0.055) / 1.055) ** 2.4 = 0.3185, and
# (1 + 0.05) / (0.3185 + 0.05) = 2.85.
FAINT = """() => document.body.insertAdjacentHTML("beforeend", "<div style='background: white'>"
    + "<p id='faint' style='opacity: 0.4; color: black'>faint</p></div>")"""
# Which of its controls the Tab key reached, and whether one can see where it is.
STOPS = """panel => [...panel.querySelectorAll("button, input, select, textarea, [tabindex='0']")]
    .filter(at => !at.disabled && at.checkVisibility() && at.type !== "radio")"""
FOCUSED = """() => {
    const at = document.activeElement;
    const look = getComputedStyle(at);
    const isSeen = look.outlineStyle !== "none" && parseFloat(look.outlineWidth) >= 2;
    const name = at.tagName + " " + (at.title || at.getAttribute("aria-label") || at.className);
    return [window.stops.indexOf(at), isSeen, name];
}"""


@pytest.fixture
def folder():
    with pages.work_dir() as made:
        samples = [folders.sample(step, reply=f"Reply at {step}.") for step in (0, 10, 20)]
        scores = [folders.score(0, 0.0, 1.0), folders.score(20, 1.0, 0.5)]
        logged = [folders.begin(), folders.log(10), folders.log(20)]
        logged.append({"event": "error", "message": "RuntimeError: boom"})
        folders.write(made / "run", logged, samples, scores)
        yield made


def names_missing(snapshot: str) -> list[str]:
    """Roles of controls that a screen reader would call by no name."""
    lines = [line.strip().removeprefix("- ") for line in snapshot.splitlines()]
    roles = [re.match(r"([a-z]+)(?: \"|:|$| \[)", line) for line in lines]
    found = [(role[1], line) for role, line in zip(roles, lines, strict=True) if role]
    return [role for role, line in found if role in CONTROLS and not line.startswith(f'{role} "')]


def too_weak(found: list) -> list:
    return [
        (text, round(ratio, 2)) for text, ratio, large in found if ratio < (ENOUGH, LARGE)[large]
    ]


def test_all_widgets_have_names_are_reached_by_tab_and_can_be_read(lab, browser, folder):
    notebook = pages.write_notebook(folder, list(CELLS.values()))
    with pages.opened(lab, browser, notebook) as page:
        for number in range(len(CELLS)):
            pages.run_cell(page, number)
        page.locator(".tb-panel").nth(len(CELLS) - 1).wait_for(timeout=WAIT_MS)
        panels = dict(zip(CELLS, page.locator(".tb-panel").all(), strict=True))
        page.wait_for_timeout(1000)
        for name, panel in panels.items():
            assert names_missing(panel.aria_snapshot()) == NAMELESS.get(name, []), name
        page.evaluate(FAINT)
        assert too_weak(page.locator("#faint").evaluate(CONTRAST)) == [("faint", 2.85)]
        page.evaluate("document.body.lastChild.remove()")
        for theme in (pages.LIGHT, pages.DARK):
            pages.choose_theme(page, theme)
            weak = {name: too_weak(panel.evaluate(CONTRAST)) for name, panel in panels.items()}
            assert not any(weak.values()), (theme, weak)
        for name, panel in panels.items():
            assert tab_through(page, panel) == [], name


def tab_through(page, panel) -> list[str]:
    """Controls that the Tab key does not reach, or where one cannot see that it did."""
    count = panel.evaluate(f"panel => (window.stops = ({STOPS})(panel)).length")
    assert count >= 1
    page.evaluate("window.stops[0].focus()")
    reached, unseen = {0}, []
    for _ in range(count + 3):  # a slider's number is a stop as well
        page.keyboard.press("Tab")
        place, is_seen, name = page.evaluate(FOCUSED)
        reached.add(place)
        unseen += [] if is_seen or place < 0 else [f"no outline: {name}"]
    missed = sorted(set(range(count)) - reached)
    describe = "i => window.stops[i].outerHTML.slice(0, 120)"
    return unseen + [f"not reached: {page.evaluate(describe, place)}" for place in missed]


def test_opened_again_without_its_kernel_a_panel_shows_what_it_showed(lab, browser, folder):
    notebook = pages.write_notebook(folder, [CELLS["checkpoint slider"]])
    with pages.opened(lab, browser, notebook) as page:
        pages.run_cell(page, 0)
        panel = page.locator(".tb-panel")
        panel.get_by_text("Reply at 20.").wait_for(timeout=WAIT_MS)
        pages.focus(panel.get_by_role("slider"))
        page.keyboard.press("ArrowLeft")
        panel.get_by_text("Reply at 10.").wait_for(timeout=WAIT_MS)
        page.keyboard.press("Control+s")
        while "widgets" not in nbformat.read(notebook, as_version=4).metadata:
            page.wait_for_timeout(200)
    with pages.opened(lab, browser, notebook) as page:
        panel = page.locator(".tb-panel")
        panel.get_by_text("Reply at 10.").wait_for(timeout=WAIT_MS)
        said = panel.evaluate("panel => getComputedStyle(panel, '::before').content")
        assert "its kernel is gone" in said
        assert "Run the cell again" in said
        pages.run_cell(page, 0)  # and then it is as new
        panel.get_by_text("Reply at 20.").wait_for(timeout=WAIT_MS)
        assert panel.evaluate("panel => getComputedStyle(panel, '::before').content") == "none"
