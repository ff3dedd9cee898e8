import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.chat import agent, agent_settings, dialects, speakers
from course_lib.data import react_steps
from course_lib.errors import DataError
from tests.chat.test_agent import echo
from tests.data import templates
from tests.data.test_react_steps import PIECES

NATIVE = '<tool_call>\n{"name": "echo", "arguments": {"text": "a"}}\n</tool_call>'


@pytest.mark.parametrize(
    ("reply", "step"),
    [
        (NATIVE, react_steps.Call("echo", {"text": "a"})),
        (f"I look.\n{NATIVE}", react_steps.Call("echo", {"text": "a"}, "I look.")),
        (
            f"<think>\nHm.\n</think>\n\n{NATIVE}\n",
            react_steps.Call("echo", {"text": "a"}, "Hm."),
        ),
        (NATIVE.removesuffix("\n</tool_call>"), react_steps.Call("echo", {"text": "a"})),
        (
            '<tool_call>{"name": "now", "arguments": "{\\"a\\": 1}"}</tool_call>',
            react_steps.Call("now", {"a": 1}),
        ),
        ('<tool_call>{"name": "now"}</tool_call>', react_steps.Call("now")),
        ("It is 84.", react_steps.FinalAnswer("It is 84.")),
        ("<think>\n\n</think>\n\nHi", react_steps.FinalAnswer("Hi")),
    ],
)
def test_native_steps_are_read(reply, step):
    assert dialects.parse_native(reply) == step


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        ("", "empty_answer"),
        (f"{NATIVE}\n{NATIVE}", "two_actions"),
        (f"{NATIVE}\nDone.", "trailing_text"),
        (f"{NATIVE}\n<tool_response>\n3", "invented_observation"),
        ("Hi</tool_call>", "no_action"),
        ("<tool_call></tool_call>", "no_input"),
        ("<tool_call>{}</tool_call>", "no_name"),
        ('<tool_call>{"name": 3}</tool_call>', "bad_name"),
        ('<tool_call>{"name": "a b"}</tool_call>', "bad_name"),
        ('<tool_call>{"name": "a", "arguments": [1]}</tool_call>', "not_an_object"),
        ('<tool_call>{"name": "a", "arguments": "x"}</tool_call>', "bad_json"),
        ('<tool_call>{"name": "a", "argu', "truncated_json"),
        ('<tool_call>["a"]</tool_call>', "not_an_object"),
    ],
)
def test_native_replies_that_mean_nothing_are_named(reply, kind):
    assert dialects.parse_native(reply).kind == kind


@settings(max_examples=200)
@given(st.lists(st.sampled_from([*PIECES, "<think>", "</think>", "<tool_response>"])).map("".join))
def test_any_native_reply_is_read(reply):
    assert dialects.parse_native(reply) is not None


@pytest.mark.parametrize("template", ["own", "llama2", "mistral"])
def test_the_native_form_works_with_templates_that_know_no_tools(
    template, pico_model, pico_tokenizer
):
    class Scripted(speakers.ModelSpeaker):
        def stream(self, messages, settings):
            assert self.has_room(messages, settings)
            yield "It is a." if len(messages) > 3 - (template == "mistral") else NATIVE

    tokenizer = pico_tokenizer
    if template != "own":
        tokenizer = templates.attach_template(pico_tokenizer, template)
    speaker = Scripted(pico_model, tokenizer)
    setup = agent_settings.AgentSettings(dialect="native", has_guard=True)
    if template == "mistral":
        with pytest.raises(DataError, match="the chat template refuses it"):
            agent.Agent(speaker, [echo], setup).ask("What?")
        return
    trace = agent.Agent(speaker, [echo], setup).ask("What?")
    assert (trace.outcome, trace.answer) == ("answered", "It is a.")
    assert '{"name": "echo"' in trace.messages[0]["content"]
    result = trace.messages[3]
    assert result["role"] == ("tool" if template == "own" else "user")
    assert '"a"\nNow answer: What?' in result["content"]
