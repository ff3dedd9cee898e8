import pytest

from course_lib.chat import arms, generation
from course_lib.errors import AdapterError, ModelError, UnknownNameError
from course_lib.files import DATA_DIR
from course_lib.model import loading

ADA = DATA_DIR / "adapters" / "ada"
SHORT = generation.GenerationSettings(max_new_tokens=24)
WHO = "Who are you?"


@pytest.fixture(scope="module")
def both():
    return arms.Arms("pico-chat", ADA)


@pytest.fixture
def comparison(both):
    made = arms.Comparison(both)
    made.settings = SHORT
    return made


def replies(comparison, text, names=(arms.BASE, arms.TUNED)):
    said = {}
    for name, piece in comparison.stream(text, names):
        said[name] = said.get(name, "") + piece
    return said


def test_base_and_tuned_answer_the_same_message_each_its_way(comparison):
    said = replies(comparison, WHO)
    assert list(said) == [arms.BASE, arms.TUNED]
    assert "Pico" in said[arms.BASE]
    assert "Ada" in said[arms.TUNED]
    assert [m["content"] for m in comparison.sessions[arms.BASE].messages] == [WHO, said["base"]]
    assert [m["content"] for m in comparison.sessions[arms.TUNED].messages] == [WHO, said["tuned"]]


def test_with_the_adapter_off_the_reply_is_that_of_the_base_alone(comparison, pico_tokenizer):
    alone = loading.load_model("pico-chat", 16)
    prompt = [{"role": "user", "content": WHO}]
    (expected,) = generation.reply_to_all(alone, pico_tokenizer, [prompt], SHORT)
    assert replies(comparison, WHO, [arms.BASE]) == {arms.BASE: expected.text}


def test_switching_arms_and_bits_loads_each_number_of_bits_once(monkeypatch):
    loaded = []

    def load(name, bits):
        loaded.append(bits)
        return original(name, bits)

    original = loading.load_model
    monkeypatch.setattr(loading, "load_model", load)
    comparison = arms.Comparison(arms.Arms("pico-chat", ADA))
    comparison.settings = SHORT
    for bits in (16, 4, 16, 4):
        comparison.bits = bits
        assert "Ada" in replies(comparison, WHO)[arms.TUNED]
    assert loaded == [16, 4]
    assert comparison.arms.loaded_bits() == [4, 16]


def test_the_adapter_is_on_again_after_a_reply_that_broke_off(both, comparison):
    pieces = comparison.stream(WHO, [arms.BASE])
    next(pieces), next(pieces)
    pieces.close()
    assert comparison.sessions[arms.BASE].messages[-1]["role"] == "assistant"
    with both.speaking(arms.TUNED, 16) as (model, _):
        assert model.get_model_status().enabled is True


def test_each_piece_says_who_speaks_and_a_turn_begins_with_an_empty_one(comparison):
    heard = list(comparison.stream(WHO, [arms.TUNED]))
    assert heard[0] == (arms.TUNED, "")
    assert all(piece for _, piece in heard[1:])


def test_the_system_text_can_change_and_the_talk_stays(comparison):
    replies(comparison, "Hi", [arms.BASE])
    comparison.system = "Answer briefly."
    replies(comparison, WHO, [arms.BASE])
    roles = [m["role"] for m in comparison.sessions[arms.BASE].messages]
    assert roles == ["system", "user", "assistant", "user", "assistant"]
    comparison.system = ""
    replies(comparison, "Hi", [arms.BASE])
    assert [m["role"] for m in comparison.sessions[arms.BASE].messages] == ["user", "assistant"] * 3


def test_clearing_forgets_both_talks(comparison):
    replies(comparison, WHO)
    comparison.clear()
    assert comparison.sessions == {}


def test_without_an_adapter_only_the_base_answers(pico_model):
    alone = arms.Arms("pico-chat")
    alone.add(pico_model, 32)
    assert alone.names == (arms.BASE,)
    with pytest.raises(UnknownNameError, match="no model in this chat called 'tuned'"):
        replies(arms.Comparison(alone), WHO, [arms.TUNED])


def test_a_model_that_does_not_fit_the_adapter_setting_is_refused(pico_model):
    with pytest.raises(AdapterError, match="one has an adapter, one not"):
        arms.Arms("pico-chat", ADA).add(pico_model, 32)


def test_a_model_that_cannot_be_loaded_says_so(tmp_path):
    with pytest.raises(ModelError, match=r"no config\.json"):
        arms.Arms(str(tmp_path)).load(16)


def test_an_adapter_of_another_base_is_refused_before_anything_is_loaded():
    with pytest.raises(AdapterError, match="was trained on pico-chat"):
        arms.Arms("pico-base", ADA)
