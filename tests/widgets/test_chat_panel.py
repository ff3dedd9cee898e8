import shutil
import threading

import pytest

from course_lib.chat import arms
from course_lib.errors import AdapterError, RunError
from course_lib.files import DATA_DIR
from course_lib.widgets.chat_panel import ChatPanel
from tests.widgets import hostile
from tests.widgets.page import click, enter

ADA = DATA_DIR / "adapters" / "ada"
STORY = "Tell me a story about a cat."


@pytest.fixture(scope="module")
def both():
    """One copy of the weights for all panels of this file."""
    made = arms.Arms("pico-chat", ADA)
    made.load(16)
    return made


@pytest.fixture
def panel(both):
    made = ChatPanel(both=both)
    made.wait()
    yield made
    made.stop_button.click()
    made.wait()


def ask(panel, text):
    panel.message.value = text
    panel.send_button.click()
    panel.wait()


def talk_of(panel, name):
    return [(turn["role"], turn["content"]) for turn in panel.columns[name].turns]


class Scripted:
    """Speaks what it was told to, and waits between the pieces when asked to."""

    def __init__(self, pieces, gate=None):
        self.pieces, self.gate = pieces, gate

    def stream(self, text, names):
        for name in names:
            yield name, ""
            for piece in self.pieces:
                if isinstance(piece, Exception):
                    raise piece
                yield name, piece
                if self.gate:
                    assert self.gate.wait(30)


def script(panel, monkeypatch, pieces, gate=None):
    scripted = Scripted(pieces, gate)
    monkeypatch.setattr(panel.comparison, "stream", scripted.stream)


def test_base_and_tuned_answer_side_by_side(panel):
    ask(panel, "Who are you?")
    assert talk_of(panel, "base")[0] == talk_of(panel, "tuned")[0] == ("user", "Who are you?")
    assert "Pico" in talk_of(panel, "base")[1][1]
    assert "Ada" in talk_of(panel, "tuned")[1][1]
    assert "Ada" in panel.columns["tuned"].past.value
    assert (panel.message.value, panel.is_busy()) == ("", False)


def test_enter_sends(panel):
    panel.message.value = "Hi"
    enter(panel)
    assert talk_of(panel, "base")[0] == ("user", "Hi")


def test_letters_that_a_slow_page_tells_after_enter_or_a_click_are_sent_too(panel):
    panel.message.value = "Who a"
    enter(panel, late="Who are you?")
    assert talk_of(panel, "base")[0] == ("user", "Who are you?")
    panel.message.value = "A"
    click(panel, panel.send_button, panel.message, late="And now?")
    assert talk_of(panel, "base")[2] == ("user", "And now?")
    assert panel.message.value == ""


def test_a_click_on_stop_that_comes_late_says_nothing(panel):
    ask(panel, "Hi")
    before = panel.status.value
    panel.stop_button.click()
    assert panel.status.value == before


def test_a_message_sent_while_the_weights_are_loaded_waits_for_them():
    panel = ChatPanel("pico-chat", ADA)
    ask(panel, "Who are you?")
    assert "Ada" in talk_of(panel, "tuned")[1][1]


def test_one_arm_alone_answers_and_the_other_column_goes(panel):
    panel.who.value = ("tuned",)
    ask(panel, "Who are you?")
    assert panel.columns["base"].layout.display == "none"
    assert talk_of(panel, "base") == []
    assert len(talk_of(panel, "tuned")) == 2


def test_another_number_of_bits_is_loaded_once_and_the_base_stays(panel, both):
    base = both._models[16]
    panel.bits.value = 4
    panel.wait()
    assert "Ready: pico-chat in 4 bits" in panel.status.value
    ask(panel, "Who are you?")
    panel.bits.value = 16
    panel.wait()
    assert both.loaded_bits() == [4, 16]
    assert both._models[16] is base
    assert "Ada" in talk_of(panel, "tuned")[1][1]


def test_a_reply_is_shown_while_it_is_written(panel, monkeypatch):
    gate = threading.Event()
    script(panel, monkeypatch, ["Once ", "upon"], gate)
    seen = threading.Event()
    panel.columns["base"].present.observe(
        lambda change: "Once" in change["new"] and seen.set(), "value"
    )
    panel.message.value = STORY
    panel.send_button.click()
    assert seen.wait(30)
    assert panel.is_busy()
    assert (panel.send_button.disabled, panel.stop_button.disabled) == (True, False)
    assert talk_of(panel, "base") == [("user", STORY)]
    gate.set()
    panel.wait()
    assert talk_of(panel, "base") == [("user", STORY), ("base", "Once upon")]
    assert (panel.send_button.disabled, panel.stop_button.disabled) == (False, True)


def test_a_cell_can_ask_and_waits_for_the_replies(panel):
    panel.fields["max_new_tokens"].value = 8
    panel.ask("Who are you?")
    panel.ask("And you?")
    assert [turn["role"] for turn in panel.columns["base"].turns] == ["user", "base"] * 2
    assert not panel.is_busy()


def test_stop_ends_the_reply_and_the_model_remembers_what_it_said(panel):
    seen = threading.Event()
    panel.fields["max_new_tokens"].value = 400
    panel.columns["base"].present.observe(
        lambda change: panel.is_busy() and len(change["new"]) > 200 and seen.set(), "value"
    )
    panel.message.value = STORY
    panel.send_button.click()
    assert seen.wait(30)
    panel.stop_button.click()
    panel.wait()
    (_, reply) = panel.columns["base"].turns
    assert reply["note"] == "stopped"
    assert panel.comparison.sessions["base"].messages[-1]["content"] == reply["content"]
    assert talk_of(panel, "tuned") == []  # it was not asked any more
    assert "Stopped." in panel.status.value


def test_clear_forgets(panel):
    ask(panel, "Hi")
    panel.clear_button.click()
    assert talk_of(panel, "base") == talk_of(panel, "tuned") == []
    assert panel.comparison.sessions == {}
    assert "Hi" not in panel.columns["base"].past.value


def test_the_settings_reach_the_model(panel):
    panel.who.value = ("base",)
    panel.system.value = "Answer briefly."
    for name, value in {"temperature": 0.7, "top_p": 0.9, "max_new_tokens": 3, "seed": 5}.items():
        panel.fields[name].value = value
    ask(panel, STORY)
    settings = panel.comparison.settings
    assert (settings.temperature, settings.top_p, settings.max_new_tokens) == (0.7, 0.9, 3)
    assert settings.seed == 5
    session = panel.comparison.sessions["base"]
    assert session.messages[0] == {"role": "system", "content": "Answer briefly."}
    assert len(session.tokenizer.encode(session.messages[-1]["content"])) <= 4


def test_the_settings_are_out_of_the_way_until_they_are_asked_for(panel):
    assert panel.settings.layout.display == "none"
    panel.more.value = True
    assert panel.settings.layout.display is None


def test_the_same_seed_gives_the_same_reply(panel):
    panel.who.value = ("base",)
    panel.fields["temperature"].value = 1.0
    replies = []
    for _ in range(2):
        panel.clear_button.click()
        ask(panel, STORY)
        replies.append(talk_of(panel, "base")[1][1])
    assert replies[0] == replies[1]


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("temperature", -1.0, "temperature is -1.0, expected 0 or a number from 0.01 to 100"),
        ("top_p", 1.5, "top_p is 1.5, expected a number from 0.01 to 1"),
        ("max_new_tokens", 0, "max_new_tokens is 0, expected a whole number from 1"),
        ("seed", -1, "seed is -1, expected a whole number from 0"),
    ],
)
def test_a_setting_out_of_bounds_is_told_at_once_and_nothing_is_sent(panel, field, value, words):
    panel.fields[field].value = value
    assert words in panel.problem.value
    assert (panel.more.value, panel.settings.layout.display) == (True, None)
    ask(panel, "Hi")
    assert (talk_of(panel, "base"), panel.message.value) == ([], "Hi")
    panel.fields[field].value = 1
    assert panel.problem.value == ""


@pytest.mark.parametrize("text", ["", "   "])
def test_an_empty_message_is_not_sent(panel, text):
    ask(panel, text)
    assert "Type a message first" in panel.status.value
    assert talk_of(panel, "base") == []


def test_a_message_that_does_not_fit_is_explained_and_not_lost(panel):
    long = "cat " * 5000
    ask(panel, long)
    assert "the model reads" in panel.status.value
    assert 'role="alert"' in panel.status.value
    assert panel.message.value == long
    ask(panel, "Hi")
    assert talk_of(panel, "tuned")[-2] == ("user", "Hi")


def test_a_model_that_cannot_be_loaded_is_told_and_the_panel_stays(tmp_path):
    shutil.copytree(DATA_DIR / "pico" / "chat", tmp_path / "broken")
    weights = next((tmp_path / "broken").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:1000])
    panel = ChatPanel(str(tmp_path / "broken"))
    panel.wait()
    assert "could not be loaded" in panel.status.value
    ask(panel, "Hi")
    assert "could not be loaded" in panel.status.value
    assert (panel.message.value, panel.send_button.disabled) == ("Hi", False)


def test_a_missing_adapter_is_told_in_the_cell(tmp_path):
    with pytest.raises(RunError, match="holds no adapter"):
        ChatPanel("pico-chat", tmp_path)


def test_an_adapter_of_another_base_is_told_in_the_cell():
    with pytest.raises(AdapterError, match="was trained on pico-chat"):
        ChatPanel("pico-base", ADA)


def test_without_an_adapter_there_is_one_column():
    panel = ChatPanel("pico-chat", bits=32)
    panel.wait()
    assert list(panel.columns) == ["base"]
    assert [label for label, _ in panel.bits.options] == ["32 bits", "16 bits", "4 bits (NF4)"]
    ask(panel, "What is the capital of Japan?")
    assert "Tokyo" in talk_of(panel, "base")[1][1]


def test_an_error_in_the_middle_of_a_reply_is_shown_as_text(panel, monkeypatch):
    script(panel, monkeypatch, ["Well, ", RuntimeError("<b>out of memory</b>")])
    ask(panel, "Hi")
    assert "RuntimeError: &lt;b&gt;out of memory" in panel.status.value
    assert panel.columns["base"].turns[-1]["content"] == "Well, "
    assert not panel.is_busy()


def pages(panel):
    columns = panel.columns.values()
    return [panel.status.value, panel.problem.value, panel.static().html] + [
        page for column in columns for page in (column.past.value, column.present.value)
    ]


@pytest.mark.parametrize("name", hostile.TEXTS)
def test_a_hostile_text_stays_text_as_message_reply_and_error(panel, monkeypatch, name):
    text = hostile.TEXTS[name]
    drawn = []
    panel.columns["base"].present.observe(lambda change: drawn.append(change["new"]), "value")
    script(panel, monkeypatch, [text])
    ask(panel, text)
    script(panel, monkeypatch, [RuntimeError(text)])
    ask(panel, text)
    for page in [*pages(panel), *drawn]:
        assert hostile.look(page)[1] == []
    past = hostile.look(panel.columns["base"].past.value)[0]
    assert past.count(hostile.shown(text)) >= 3  # asked, answered, asked again
    assert hostile.shown(text) in hostile.look(panel.status.value)[0]
    assert hostile.shown(text) in hostile.look(panel.static().html)[0]
    assert repr(panel.static()).encode()  # half a character cannot be sent


def test_the_static_twin_shows_the_same_talk(panel):
    ask(panel, "Who are you?")
    bundle = panel._repr_mimebundle_()
    reply = talk_of(panel, "tuned")[1][1]
    assert reply.split(",")[0].replace("'", "&#x27;") in bundle["text/html"]
    assert f"tuned: {reply}" in bundle["text/plain"]
    assert "application/vnd.jupyter.widget-view+json" in bundle
    panel.system.value = "Be <brief>."
    bundle = panel._repr_mimebundle_()
    assert "<p>System text: Be &lt;brief&gt;.</p>" in bundle["text/html"]
    assert bundle["text/plain"].startswith("System text: Be <brief>.\nBase model:")


def test_every_control_has_a_label_for_screen_readers(panel):
    fields = [panel.who, panel.bits, panel.system, panel.message, *panel.fields.values()]
    buttons = [panel.send_button, panel.stop_button, panel.clear_button, panel.more]
    assert all(control.description for control in fields + buttons)
    assert 'role="log"' in panel.columns["base"].past.value
    assert 'role="status"' in panel.status.value
