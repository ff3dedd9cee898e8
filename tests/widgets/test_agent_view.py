import threading

import pytest

from course_lib.chat import agent, arms, speakers, toolbox
from course_lib.chat import tools as toolkit
from course_lib.data import react
from course_lib.errors import RunError
from course_lib.files import DATA_DIR
from course_lib.widgets import agent_view
from course_lib.widgets.agent_view import AgentPanel
from tests.widgets import hostile
from tests.widgets.page import enter

ADA = DATA_DIR / "adapters" / "ada"
CALL = react.call_text("I must count.", "calculator", {"expression": "12 * 7"})
ANSWER = react.answer_text("Done.", "It is **84**.")
OFFERED = toolbox.make_tools(["calculator", "clock"])


@pytest.fixture(scope="module")
def both():
    """One copy of the weights for all panels of this file."""
    made = arms.Arms("pico-chat", ADA)
    made.load(16)
    return made


@pytest.fixture
def panel(both):
    made = AgentPanel(both=both, offered=OFFERED)
    made.wait()
    yield made
    made.stop_button.click()
    made.wait()


def script(monkeypatch, *replies, gate=None):
    """Replies in order instead of a model's, the last one for ever."""

    def stream(self, messages, settings):
        said = sum(message["role"] == "assistant" for message in messages)
        for piece in replies[min(said, len(replies) - 1)].splitlines(keepends=True):
            yield piece
            if gate:
                assert gate.wait(30)

    monkeypatch.setattr(speakers.ModelSpeaker, "stream", stream)


def labels_of(column):
    return [agent_view._label(event) for run in column.runs for event in run.events]


def test_thought_call_observation_and_answer_are_shown(panel, monkeypatch):
    script(monkeypatch, CALL, ANSWER)
    panel.ask("12 times 7?")
    column = panel.columns["tuned"]
    assert labels_of(column) == ["Thought", "Call", "Observation", "Thought", "Answer"]
    text = hostile.look(column.past.value)[0]
    for part in ("12 times 7?", 'calculator {"expression": "12 * 7"}', "84", "It is 84."):
        assert part in text
    assert (panel.message.value, panel.is_busy()) == ("", False)


def test_each_step_is_shown_when_it_happens(panel, monkeypatch):
    gate = threading.Event()
    script(monkeypatch, CALL, ANSWER, gate=gate)
    seen = threading.Event()
    column = panel.columns["tuned"]
    column.present.observe(lambda change: "I must count" in change["new"] and seen.set(), "value")
    panel.message.value = "12 times 7?"
    panel.send_button.click()
    assert seen.wait(30)
    assert panel.is_busy()
    assert (panel.send_button.disabled, panel.stop_button.disabled) == (True, False)
    assert column.runs == []
    gate.set()
    panel.wait()
    assert len(column.runs) == 1
    assert column.present.value == ""


def test_a_real_model_works_in_both_columns(panel):
    panel.who.value = ("base", "tuned")
    panel.settings = agent.agent_settings.AgentSettings(max_steps=2)
    panel.ask("What is 3 plus 4?")
    for column in panel.columns.values():
        assert len(column.runs) == 1
        assert column.runs[0].events[-1].kind in ("answer", "end")


def test_a_reply_that_means_nothing_is_shown_with_the_reason(panel, monkeypatch):
    script(monkeypatch, "Hm, let me see.")
    panel.ask("12 times 7?")
    column = panel.columns["tuned"]
    assert labels_of(column) == ["Not understood"] * 3 + ["End"]
    text = hostile.look(column.past.value)[0]
    assert "Hm, let me see.\n(There is neither an Action nor a Final Answer.)" in text
    assert "Stopped: it went round in circles." in text


def test_only_chosen_tools_are_offered_and_the_guard_is_passed_on(panel, monkeypatch):
    seen = []

    def stream(self, messages, settings):
        seen.append(messages)
        yield "Final Answer: ok"

    monkeypatch.setattr(speakers.ModelSpeaker, "stream", stream)
    panel.switches["clock"].value = False
    panel.guard.value = True
    panel.ask("?")
    system = seen[0][0]["content"]
    assert "calculator:" in system
    assert "clock:" not in system
    assert react.GUARD["en"] in system
    panel.switches["calculator"].value = False
    panel.ask("?")
    assert "Choose a tool first" in panel.status.value
    assert (len(seen), panel.message.value) == (1, "?")


def test_stop_ends_the_work_and_keeps_what_was_seen(panel, monkeypatch):
    gate = threading.Event()
    script(monkeypatch, CALL, gate=gate)
    seen = threading.Event()
    panel.columns["tuned"].present.observe(lambda _: seen.set(), "value")
    panel.message.value = "?"
    panel.send_button.click()
    assert seen.wait(30)
    panel.stop_button.click()
    gate.set()
    panel.wait()
    assert panel.columns["tuned"].runs[0].events[-1].text == "interrupted"
    assert "Stopped." in panel.status.value


def test_a_question_that_nobody_worked_on_can_be_asked_again(panel, monkeypatch):
    def refuse(name, bits):
        raise RunError("The weights do not fit.", "Use 4 bits.")

    monkeypatch.setattr(panel.arms, "speaking", refuse)
    panel.ask("12 times 7?")
    assert "The weights do not fit." in panel.status.value
    assert panel.message.value == "12 times 7?"


def test_enter_asks_and_clear_forgets(panel, monkeypatch):
    script(monkeypatch, ANSWER)
    panel.message.value = "Hi"
    enter(panel)
    assert "Hi" in panel.columns["tuned"].past.value
    panel.clear_button.click()
    assert panel.columns["tuned"].runs == []
    assert "Hi" not in panel.columns["tuned"].past.value


@pytest.mark.parametrize("text", ["", "  "])
def test_an_empty_question_is_not_asked(panel, text):
    panel.ask(text)
    assert "Type a question first" in panel.status.value


def test_an_error_is_shown_and_the_panel_goes_on(panel, monkeypatch):
    def fail(self, messages, settings):
        raise RuntimeError("<b>out of memory</b>")
        yield

    monkeypatch.setattr(speakers.ModelSpeaker, "stream", fail)
    panel.ask("?")
    assert "RuntimeError: &lt;b&gt;out of memory" in panel.status.value
    assert not panel.send_button.disabled


def test_a_missing_adapter_is_told_in_the_cell(tmp_path):
    with pytest.raises(RunError, match="holds no adapter"):
        AgentPanel("pico-chat", tmp_path, OFFERED)


@pytest.mark.parametrize("name", hostile.TEXTS)
def test_a_hostile_text_stays_text_wherever_it_comes_from(panel, monkeypatch, name):
    text = hostile.TEXTS[name]

    @toolkit.tool
    def echo() -> str:
        """Says it."""
        return text

    panel.tools.append(echo)
    panel.switches["echo"] = panel.switches["clock"]
    replies = [text, react.call_text(text, "echo", {}), react.answer_text(text, text)]
    script(monkeypatch, *replies)
    drawn = []
    column = panel.columns["tuned"]
    column.present.observe(lambda change: drawn.append(change["new"]), "value")
    panel.ask(text)
    pages = [*drawn, column.past.value, panel.static().html, panel.status.value]
    for page in pages:
        assert hostile.look(page)[1] == []
    assert hostile.shown(text) in hostile.look(column.past.value)[0]
    assert repr(panel.static()).encode()  # half a character cannot be sent


def test_the_static_twin_and_a_trace_show_the_same(panel, monkeypatch):
    script(monkeypatch, CALL, "Hm.", ANSWER)
    panel.ask("12 times 7?")
    bundle = panel._repr_mimebundle_()
    model = speakers.ModelSpeaker(None, None)
    monkeypatch.setattr(speakers.ModelSpeaker, "has_room", lambda *_: True)
    view = agent_view.show_trace(agent.Agent(model, OFFERED).ask("12 times 7?"))
    assert view.text in bundle["text/plain"]
    assert "Observation: 84" in view.text
    assert view.text.endswith("Answer: It is **84**.")
    assert "<strong>84</strong>" in view.html
    assert "<strong>84</strong>" in bundle["text/html"]
    assert "application/vnd.jupyter.widget-view+json" in bundle


def test_every_control_has_a_label_for_screen_readers(panel):
    controls = [panel.who, panel.message, panel.guard, *panel.switches.values()]
    controls += [panel.send_button, panel.stop_button, panel.clear_button]
    assert all(control.description for control in controls)
    assert 'role="log"' in panel.columns["tuned"].past.value
