import pytest

from course_lib.chat import generation
from course_lib.chat.generation import GenerationSettings
from course_lib.chat.session import ChatSession
from course_lib.data import chat_template
from course_lib.errors import DataError

SHORT = GenerationSettings(max_new_tokens=24)


def test_a_session_remembers_both_sides(pico_model, pico_tokenizer):
    session = ChatSession(pico_model, pico_tokenizer, settings=SHORT)
    first = session.ask("What is the capital of France?")
    second = session.ask("What about Japan?")
    assert [m["role"] for m in session.messages] == ["user", "assistant"] * 2
    assert [m["content"] for m in session.messages] == [
        "What is the capital of France?",
        first,
        "What about Japan?",
        second,
    ]
    assert "Tokyo" in second


def test_the_system_text_stands_first_and_survives_clearing(pico_model, pico_tokenizer):
    session = ChatSession(pico_model, pico_tokenizer, "Answer briefly.", SHORT)
    system = {"role": "system", "content": "Answer briefly."}
    assert session.messages == [system]
    session.ask("Hi")
    assert len(session.messages) == 3
    session.clear()
    assert session.messages == [system]


def test_an_interrupted_reply_is_remembered_as_far_as_it_was_read(pico_model, pico_tokenizer):
    session = ChatSession(pico_model, pico_tokenizer, settings=SHORT)
    stream = session.stream("Tell me a story about a cat.")
    said = next(stream) + next(stream)
    stream.close()
    assert session.messages[-1] == {"role": "assistant", "content": said}
    assert session.ask("Hi")


def test_a_turn_that_failed_before_any_reply_is_not_remembered(pico_model, pico_tokenizer):
    def fail(model, args):
        raise RuntimeError("out of memory")

    session = ChatSession(pico_model, pico_tokenizer, settings=SHORT)
    session.ask("Hi")
    before = list(session.messages)
    handle = pico_model.register_forward_pre_hook(fail)
    try:
        with pytest.raises(RuntimeError, match="out of memory"):
            session.ask("Hello again")
    finally:
        handle.remove()
    assert session.messages == before


@pytest.fixture
def small_context(pico_model, monkeypatch):
    """A model that says it reads 100 tokens only."""
    monkeypatch.setattr(pico_model.config, "max_position_embeddings", 100)
    return pico_model


def test_the_oldest_turns_are_dropped_when_the_context_is_full(small_context, pico_tokenizer):
    session = ChatSession(small_context, pico_tokenizer, "Answer briefly.", SHORT)
    questions = [f"What is the capital of {c}?" for c in ("France", "Japan", "Peru", "Kenya")]
    for question in questions * 2:
        session.ask(question)
    assert session.messages[0]["role"] == "system"
    assert [m["role"] for m in session.messages[1:3]] == ["user", "assistant"]
    asked = [m["content"] for m in session.messages if m["role"] == "user"]
    assert session.dropped_turns == 8 - len(asked) > 0
    assert asked == (questions * 2)[-len(asked) :]
    prompt = chat_template.encode_prompt(session.messages[:-1], pico_tokenizer)
    assert len(prompt) <= 100 - 24


def test_clearing_forgets_the_dropped_turns_too(small_context, pico_tokenizer):
    session = ChatSession(small_context, pico_tokenizer, settings=SHORT)
    session.dropped_turns = 3
    session.clear()
    assert (session.messages, session.dropped_turns) == ([], 0)


def test_a_message_that_can_never_fit_is_refused_and_changes_nothing(small_context, pico_tokenizer):
    session = ChatSession(small_context, pico_tokenizer, settings=SHORT)
    session.ask("Hi")
    before = list(session.messages)
    with pytest.raises(DataError, match="the model reads 100, of which max_new_tokens=24"):
        session.ask("cat " * 200)
    assert session.messages == before
    assert session.dropped_turns == 0


@pytest.mark.parametrize("text", ["", "  \n"])
def test_an_empty_message_is_refused(pico_model, pico_tokenizer, text):
    session = ChatSession(pico_model, pico_tokenizer, settings=SHORT)
    with pytest.raises(DataError, match="empty"):
        session.ask(text)
    assert session.messages == []


def test_settings_can_change_between_replies(pico_model, pico_tokenizer):
    session = ChatSession(pico_model, pico_tokenizer, settings=SHORT)
    session.settings = GenerationSettings(max_new_tokens=2)
    reply = session.ask("Tell me a story about a cat.")
    assert len(pico_tokenizer.encode(reply, add_special_tokens=False)) <= 2
    assert isinstance(session.settings, generation.GenerationSettings)


def test_the_system_text_can_be_exchanged_in_the_middle_of_a_talk(pico_model, pico_tokenizer):
    session = ChatSession(pico_model, pico_tokenizer, "Answer briefly.", SHORT)
    session.ask("Hi")
    turns = session.messages[1:]
    session.set_system("Answer in verse.")
    assert session.messages == [{"role": "system", "content": "Answer in verse."}, *turns]
    session.set_system("")
    assert session.messages == turns
