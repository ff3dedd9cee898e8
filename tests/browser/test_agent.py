"""Lesson 05's adapter in a real JupyterLab: a question that needs two tools, and its trace."""

from tests.browser import pages

WAIT_MS = 180_000
# Drorvus is one of the corpus's invented countries: its capital can only come from the search.
QUESTION = "Tell me the time in the capital of Drorvus."
PANEL = """from course_lib import files
from course_lib.evaluation import agent, agent_tools
from course_lib.widgets.agent_view import AgentPanel
offered = agent_tools.lesson_tools(agent.load_articles())
panel = AgentPanel("pico-chat", files.DATA_DIR / "adapters" / "agent", offered, bits=4)
panel"""
STEPS = [
    QUESTION,
    'search {"query": "Drorvus"}',
    "The capital of Drorvus is Copenhagen.",
    'clock {"place": "Copenhagen"}',
    "It is 10:26 in Copenhagen.",
]


def test_the_trained_agent_uses_two_tools_and_shows_each_step(lab, browser, folder):
    notebook = pages.write_notebook(folder, [PANEL])
    with pages.opened(lab, browser, notebook) as page:
        pages.run_cell(page, 0)
        panel = page.locator(".tb-panel")
        panel.get_by_text("Ready: pico-chat in 4 bits").wait_for(timeout=WAIT_MS)
        page.get_by_label("Question").fill(QUESTION)
        page.keyboard.press("Enter")
        work = panel.get_by_role("log").last
        work.get_by_text(STEPS[-1]).wait_for(timeout=WAIT_MS)
        words = work.inner_text()
        places = [words.index(part) for part in STEPS]
        assert places == sorted(places), words
