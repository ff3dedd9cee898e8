"""The course's words in English and Chinese, and XTuner's words beside the standard ones.

`docs/glossary.md` is written from this file: `python -m course_lib.concepts.glossary`.
"""

from dataclasses import dataclass

from course_lib.files import REPO_DIR, write_atomic

GLOSSARY_PATH = REPO_DIR / "docs" / "glossary.md"


@dataclass(frozen=True)
class Term:
    """A word of the course.

    Args:
        english: the word.
        chinese: the same in Chinese.
        meaning: in one sentence.
        path: the file of this repository that does it, or shows it.
    """

    english: str
    chinese: str
    meaning: str
    path: str


@dataclass(frozen=True)
class XtunerWord:
    """A word of XTuner's configs and commands.

    Args:
        xtuner: as it is written there (XTuner 0.1).
        here: the name in this course; several where one of theirs holds several of ours.
        is_field: `here` names fields of `TrainConfig`.
        note: what differs.
    """

    xtuner: str
    here: tuple[str, ...]
    is_field: bool = True
    note: str = ""


DATA, MODEL, TRAIN = "course_lib/data", "course_lib/model", "course_lib/training"
IDEAS = "course_lib/concepts"
TERMS = (
    Term("token", "词元", "a piece of text with a number; what a model reads and writes",
         f"{DATA}/encoders.py"),
    Term("tokenizer", "分词器", "turns text into tokens and back", f"{DATA}/encoders.py"),
    Term("vocabulary", "词表", "all tokens that a model knows", f"{DATA}/encoders.py"),
    Term("weight, parameter", "权重，参数", "one of the numbers that a model consists of",
         f"{MODEL}/loading.py"),
    Term("logits", "逻辑值", "a model's score for each possible next token, before softmax",
         f"{IDEAS}/answer_loss.py"),
    Term("softmax", "归一化指数函数", "turns scores into shares that sum to 1",
         f"{IDEAS}/answer_loss.py"),
    Term("loss", "损失", "how surprised the model was by the token that came; training lowers it",
         f"{IDEAS}/answer_loss.py"),
    Term("perplexity", "困惑度", "exp(loss): among how many equally likely tokens the model wavers",
         f"{IDEAS}/answer_loss.py"),
    Term("base model", "基座模型", "a model before fine-tuning", f"{MODEL}/loading.py"),
    Term("pre-training", "预训练", "learning to continue plain text, from nothing",
         "course_lib/pico/pretrain.py"),
    Term("continued pre-training", "增量预训练", "going on with that on a new text",
         f"{IDEAS}/continued.py"),
    Term("fine-tuning", "微调", "training a ready model further, for a purpose",
         f"{TRAIN}/run.py"),
    Term("instruction tuning", "指令微调", "fine-tuning on questions with answers",
         f"{TRAIN}/run.py"),
    Term("role", "角色", "who speaks: system, user, assistant, tool", f"{DATA}/chat_template.py"),
    Term("chat template", "对话模板", "the marks that stand around each turn",
         f"{DATA}/named_templates.py"),
    Term("end-of-turn token", "结束符", "the mark by which a reply ends",
         f"{IDEAS}/end_token.py"),
    Term("label", "标签", "the token to learn at a place; -100 where nothing is learned",
         f"{DATA}/masking.py"),
    Term("truncation", "截断", "cutting what is longer than max_length", f"{DATA}/masking.py"),
    Term("padding", "填充", "filling short rows of a batch; costs time and teaches nothing",
         f"{DATA}/packing.py"),
    Term("packing", "打包，拼接", "several rows in one, so that little padding is left",
         f"{DATA}/packing.py"),
    Term("position ids", "位置编号", "0, 1, 2, ... for each row; tell packed rows apart",
         f"{DATA}/packing.py"),
    Term("attention", "注意力", "how a token gathers from those before it",
         f"{IDEAS}/attention.py"),
    Term("full fine-tuning", "全量微调", "training all weights", f"{MODEL}/estimate.py"),
    Term("LoRA", "低秩适配", "training two thin matrices beside each frozen layer",
         f"{IDEAS}/lora.py"),
    Term("adapter", "适配器", "these matrices, in a small file", f"{MODEL}/adapters.py"),
    Term("rank, r", "秩", "how thin they are", f"{IDEAS}/lora.py"),
    Term("merge", "合并", "adding an adapter to the weights for good", f"{MODEL}/adapters.py"),
    Term("quantization", "量化", "rounding weights so that they take fewer bits",
         f"{IDEAS}/nf4.py"),
    Term("NF4", "四比特正态浮点", "16 values, closest together where weights are most frequent",
         f"{IDEAS}/nf4.py"),
    Term("double quantization", "双重量化", "rounding the scales of the blocks as well",
         f"{IDEAS}/nf4.py"),
    Term("QLoRA", "量化低秩适配", "LoRA beside a base in NF4", f"{MODEL}/loading.py"),
    Term("gradient", "梯度", "for each trained weight: which way, and how much, the loss changes",
         f"{IDEAS}/gradients.py"),
    Term("optimizer state", "优化器状态", "AdamW's two running means for each trained weight",
         f"{MODEL}/estimate.py"),
    Term("activation", "激活值", "what a layer keeps from the way forward for the way back",
         f"{IDEAS}/gradients.py"),
    Term("batch, micro batch", "批次，微批次", "packs that go through the model together",
         f"{TRAIN}/plan.py"),
    Term("optimizer step", "优化步", "one change of the trained weights", f"{TRAIN}/plan.py"),
    Term("epoch", "轮", "once through all rows", f"{TRAIN}/plan.py"),
    Term("learning rate", "学习率", "how large a change each step makes", f"{TRAIN}/config.py"),
    Term("gradient accumulation", "梯度累积", "several micro batches for one step",
         f"{IDEAS}/gradients.py"),
    Term("gradient checkpointing", "梯度检查点，激活重算",
         "keeping little on the way forward, computing it again on the way back",
         f"{IDEAS}/gradients.py"),
    Term("flash attention", "闪存注意力", "attention in tiles: the whole table is never in memory",
         f"{IDEAS}/attention.py"),
    Term("ZeRO", "零冗余优化器", "devices share out what each would otherwise hold whole",
         f"{IDEAS}/zero.py"),
    Term("checkpoint", "检查点", "what a run saves so that it can go on",
         f"{TRAIN}/checkpoints.py"),
    Term("held-out", "留出", "not trained on, so that it can be a test",
         "course_lib/evaluation/questions.py"),
    Term("catastrophic forgetting", "灾难性遗忘", "new training undoes old skills",
         f"{IDEAS}/continued.py"),
    Term("replay", "数据回放", "old kinds of rows mixed in, against forgetting",
         "notebooks/04_personal_assistant.ipynb"),
)  # fmt: skip

XTUNER_WORDS = (
    XtunerWord("pretrained_model_name_or_path", ("base_model",)),
    XtunerWord("load_in_4bit", ("bits",), note="bits: 4 is NF4 with double quantization"),
    XtunerWord("data_path, dataset_map_fn", ("train_data",), note="path, and format: auto"),
    XtunerWord("prompt_template", ("prompt_template",), note="the tokenizer's own by default"),
    XtunerWord("SYSTEM", ("a system message in each row",), is_field=False),
    XtunerWord("max_length", ("max_length",)),
    XtunerWord("pack_to_max_length", ("packing",), note="rows stay whole and apart"),
    XtunerWord("batch_size", ("per_device_train_batch_size",)),
    XtunerWord("accumulative_counts", ("gradient_accumulation_steps",)),
    XtunerWord("max_epochs", ("num_train_epochs",)),
    XtunerWord("lr", ("learning_rate",)),
    XtunerWord("betas", ("always 0.9 and 0.999",), is_field=False),
    XtunerWord("weight_decay", ("weight_decay",)),
    XtunerWord("max_norm", ("max_grad_norm",)),
    XtunerWord("warmup_ratio", ("warmup_ratio",), note="of optimizer steps, not of iterations"),
    XtunerWord("lora: r, lora_alpha, lora_dropout", ("r", "lora_alpha", "lora_dropout")),
    XtunerWord("save_steps, save_total_limit", ("save_every_steps", "keep_last")),
    XtunerWord("evaluation_inputs, evaluation_freq", ("sample_prompts", "sample_every_steps")),
    XtunerWord("randomness", ("seed",)),
    XtunerWord("xtuner convert pth_to_hf", ("not needed",), is_field=False,
               note="checkpoints are safetensors adapters already"),
    XtunerWord("xtuner train --deepspeed deepspeed_zero2", ("tunebook train --deepspeed zero2",),
               is_field=False),
)  # fmt: skip


def glossary_rows(*english: str) -> list[dict[str, str]]:
    """The glossary as rows of a table.

    Args:
        english: only these words; all when none is given.

    Returns:
        For each word its English, its Chinese and what it means.
    """
    chosen = [term for term in TERMS if not english or term.english in english]
    return [{"English": t.english, "中文": t.chinese, "meaning": t.meaning} for t in chosen]


def xtuner_rows() -> list[dict[str, str]]:
    """XTuner's words beside ours, as rows of a table."""
    return [{"XTuner": w.xtuner, "here": ", ".join(w.here), "note": w.note} for w in XTUNER_WORDS]


def to_markdown() -> str:
    """Both tables as the text of docs/glossary.md."""
    lines = ["# Glossary", "", "The course's words in English and Chinese, each with the file"]
    lines += ["that does it or shows it. Lesson 01 goes through them.", ""]
    lines += ["| English | 中文 | meaning | where |", "| --- | --- | --- | --- |"]
    for term in TERMS:
        name = term.path.rsplit("/", 1)[-1]
        where = f"[{name}](../{term.path})"
        lines.append(f"| {term.english} | {term.chinese} | {term.meaning} | {where} |")
    lines += ["", "## XTuner's words", "", "For readers of XTuner 0.1 configs.", ""]
    lines += ["| XTuner | here | note |", "| --- | --- | --- |"]
    for word in XTUNER_WORDS:
        here = ", ".join(f"`{name}`" if word.is_field else name for name in word.here)
        lines.append(f"| `{word.xtuner}` | {here} | {word.note} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    write_atomic(GLOSSARY_PATH, to_markdown())
