"""The agent's panel in a real JupyterLab: a question that needs two tools, and its trace."""

import json

import ipykernel
import pytest

from course_lib.teaching import markdown
from tests.browser import pages
from tests.widgets import hostile

WAIT_MS = 120_000
# A script in the model's place, which needs what the tools say; the panel loads the model all the
# same.
PANEL = """import re, time
from course_lib.chat import basic_tools, local_search, speakers
from course_lib.widgets.agent_view import AgentPanel
ZETA = "Mount Zeta is 4210 metres high."
SEARCH = 'Action: search\\nAction Input: {"query": "Mount Zeta"}'
CALL = 'Action: calculator\\nAction Input: {"expression": "%s + 5"}'
def stream(self, messages, settings):
    last = messages[-1]["content"]
    found = re.search(r"is (\\d+) metres", last)
    if not last.startswith("Observation"):
        reply = "Thought: I look it up.\\n" + SEARCH
    else:
        reply = CALL % found[1] if found else "Final Answer: It is " + last.split()[-1]
    for word in reply.splitlines(keepends=True):
        time.sleep(0.2)
        yield word
speakers.ModelSpeaker.stream = stream
tools = [local_search.search_tool([("Mount Zeta", ZETA)]), basic_tools.calculator_tool()]
panel = AgentPanel("pico-chat", offered=tools)
panel"""
# Each change of the line takes a while, as on a machine that has much to do.
SLOW = """
panel.message.observe(lambda _: time.sleep(0.3), "value")
panel"""
SLEEP = "time.sleep(120)\n'slept'"
HOSTILE = """import json
from course_lib.chat import tools
texts = iter(json.load(open("texts.json")))
@tools.tool
def echo() -> str:
    "Says something."
    return current
def stream(self, messages, settings):
    asked = messages[-1]["content"].startswith("Observation")
    answer = f"Thought: {current}\\nFinal Answer: {current}"
    yield answer if asked else "Action: echo\\nAction Input: {}"
speakers.ModelSpeaker.stream = stream
panel = AgentPanel("pico-chat", offered=[echo])
display(panel)
for current in texts:
    panel.ask(current)
"all said" """


def test_a_question_that_needs_two_tools_shows_its_trace_as_it_grows(lab, browser, folder):
    notebook = pages.write_notebook(folder, [PANEL])
    with pages.opened(lab, browser, notebook) as page:
        pages.run_cell(page, 0)
        panel = page.locator(".tb-panel")
        panel.get_by_text("Ready: pico-chat in 16 bits").wait_for(timeout=WAIT_MS)
        panel.evaluate(pages.RECORD)
        page.get_by_label("Question").fill("How high is Mount Zeta, plus 5?")
        page.keyboard.press("Enter")
        work = panel.get_by_role("log")
        work.get_by_text("It is 4215").wait_for(timeout=WAIT_MS)
        words = work.inner_text()
        order = [
            "How high is Mount Zeta, plus 5?",
            "I look it up.",
            'search {"query": "Mount Zeta"}',
            "Mount Zeta is 4210 metres high.",
            'calculator {"expression": "4210 + 5"}',
            "4215",
            "It is 4215",
        ]
        places = [words.index(part) for part in order[:-1]] + [words.rindex(order[-1])]
        assert places == sorted(places), words
        lengths = page.evaluate("window.lengths")
        assert len(set(lengths)) >= 4, lengths  # the steps came one by one

        panel.get_by_role("checkbox", name="search").uncheck()
        panel.get_by_role("checkbox", name="calculator").uncheck()
        page.get_by_label("Question").fill("Again?")
        panel.get_by_role("button", name="Ask").click()
        panel.get_by_text("Choose a tool first.").wait_for()


@pytest.mark.skipif(ipykernel.version_info < (7,), reason="its panels wait for a running cell")
def test_what_is_typed_fast_is_asked_whole_while_a_cell_runs(lab, browser, folder):
    notebook = pages.write_notebook(folder, [PANEL + SLOW, SLEEP])
    with pages.opened(lab, browser, notebook) as page:
        pages.run_cell(page, 0)
        panel = page.locator(".tb-panel")
        panel.get_by_text("Ready").wait_for(timeout=WAIT_MS)
        pages.run_cell(page, 1)
        page.get_by_label("Question").press_sequentially("How high is Mount Zeta, plus 5?")
        page.keyboard.press("Enter")
        work = panel.get_by_role("log")
        work.get_by_text("It is 4215").wait_for(timeout=WAIT_MS)
        assert "How high is Mount Zeta, plus 5?" in work.inner_text()
        assert page.get_by_label("Question").input_value() == ""
        assert page.locator(".jp-OutputArea-output").get_by_text("'slept'").count() == 0


def test_hostile_thoughts_results_and_answers_run_nowhere(lab, browser, folder):
    texts = [text.replace("tripped()", "tripped.push(1)") for text in hostile.TEXTS.values()]
    said = [text[:5_000] for text in texts if "\ud800" not in text]  # it cannot be sent
    (folder / "texts.json").write_text(json.dumps(said))
    notebook = pages.write_notebook(folder, [PANEL, HOSTILE])
    with pages.opened(lab, browser, notebook) as page:
        pages.run_cell(page, 0)
        page.locator(".tb-panel").first.get_by_text("Ready").wait_for(timeout=WAIT_MS)
        pages.run_cell(page, 1)
        page.locator(".jp-OutputArea-output").get_by_text("'all said'").wait_for(timeout=WAIT_MS)
        page.wait_for_timeout(1000)
        shown = page.locator(".tb-panel").nth(1).get_by_role("log").inner_text()
        for text in said:
            assert markdown.make_visible(text).split("\n")[0][:12] in shown
        assert page.evaluate("window.tripped || []") == []
