"""The answers of lesson 02 are what the course's own code does."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_lib.concepts import lora
from course_lib.data import chat_template, masking, message_trees, named_templates
from course_lib.homework import lessons
from course_lib.training import config, plan
from tests.homework import answers

FOLDER = lessons.SOLUTIONS_DIR / "02_oasst1_qlora"
NAMES = answers.notebook_names(FOLDER / lessons.NOTEBOOK_NAME)
TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "What does an\nassistant do?"},
    {"role": "assistant", "content": "It\n帮忙。"},
    {"role": "user", "content": "Thanks"},
    {"role": "assistant", "content": "Bye!"},
]


def test_the_names_of_all_presets_are_read():
    names = config.preset_names()
    assert len(names) > 100
    for name in names:
        parts = NAMES["read_config_name"](name)
        assert "{model}_{method}_{data}_e{epochs}".format(**parts) == name
        assert parts["method"] in NAMES["METHODS"]


@given(st.integers(1, 60), st.integers(0, 20))
def test_rates_are_those_of_the_run(total, warmup):
    recipe = config.check_config({"base_model": "pico-base", "train_data": [{"path": "x.jsonl"}]})
    assert recipe.lr_scheduler_type == "cosine"
    wanted = plan.learning_rates(recipe, total, warmup)
    ours = NAMES["learning_rates"](total, warmup, recipe.learning_rate)
    assert all(math.isclose(a, b, abs_tol=1e-12) for a, b in zip(ours, wanted, strict=True))


def trees(role="prompter", depth=0):
    rank, gone = st.none() | st.integers(0, 3), st.booleans() if depth else st.just(False)
    other = "assistant" if role == "prompter" else "prompter"
    replies = st.lists(trees(other, depth + 1), max_size=3) if depth < 3 else st.just([])
    fields = {"role": st.just(role), "text": st.text("abc", min_size=1), "rank": rank}
    return st.fixed_dictionaries({**fields, "deleted": gone, "replies": replies})


@given(trees())
def test_the_best_path_is_that_of_the_course(tree):
    assert NAMES["best_path"](tree) == message_trees.best_path(tree)


@pytest.mark.parametrize("loss_turns", ["all", "last"])
@pytest.mark.parametrize("n_messages", [3, 4, 5])
def test_labels_are_those_of_the_course(pico_tokenizer, loss_turns, n_messages):
    tokenizer = named_templates.with_template(pico_tokenizer, "chatml")
    ids_of = {name: tokenizer.encode(name)[0] for name in ("<|im_start|>", "<|im_end|>", "\n")}
    roles = {role: tokenizer.encode(role)[0] for role in ("user", "assistant")}
    own = answers.notebook_names(FOLDER / lessons.NOTEBOOK_NAME)  # with this tokenizer's numbers
    own |= zip(("START", "END", "NEWLINE"), ids_of.values(), strict=True)
    own |= zip(("USER", "ASSISTANT"), roles.values(), strict=True)
    for cut in (0, 2, 3, 4):
        segments = chat_template.messages_to_segments(TALK[:n_messages], tokenizer)
        length = len(
            [i for s in chat_template.tokenize_segments(segments, tokenizer) for i in s.ids]
        )
        row = masking.encode_row(TALK[:n_messages], tokenizer, length - cut, loss_turns)
        assert own["label_replies"](list(row.input_ids), loss_turns) == list(row.labels)


def test_the_merged_weight_is_that_of_the_course():
    torch.manual_seed(0)
    x, weight, a, b = (torch.randn(shape).double() for shape in [(4, 6), (5, 6), (3, 6), (5, 3)])
    adapter = {"q.lora_A.weight": a.numpy(), "q.lora_B.weight": b.numpy()}
    merged = NAMES["merge_adapter"]({"q.weight": weight.numpy()}, adapter, 16)["q.weight"]
    right = x @ weight.T + lora.low_rank_change(x, a, b, 16 / 3)
    assert torch.allclose(x @ torch.from_numpy(merged).T, right)
