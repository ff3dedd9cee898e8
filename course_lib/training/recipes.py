"""Presets: hand-tuned files for pico, and for real models texts put together from few parts.

A preset's name is model_method_data_eN: a model of `catalog`, a method, data, and N epochs. Chat
models learn from conversations; models that have only read text learn to talk, or read more text.

Numbers are starting points with their sources, and were not tuned here. Methods:

- qlora and lora, all linear layers, r 64, lora_alpha 16, a rate of 2e-4 (1e-4 above 13 billion
  weights), gradients clipped at 0.3, 16 packs in a step: Dettmers et al. 2023, "QLoRA",
  arXiv:2305.14314, section 4 and appendix B, which finds LoRA at 16 bits alike. Its lora_dropout
  of 0.1 is left out: with 0, training on a GPU uses its fused adapters. XTuner's configs have the
  same rate and rank.
- full, all weights: a rate of 2e-5 (1e-5 above 8 billion weights), Taori et al. 2023, "Stanford
  Alpaca", the README's table for 7B and 13B; gradients clipped at 1, the usual value.
- cosine with 3% of warm-up: XTuner's and Alpaca's; the QLoRA paper holds the rate constant.

Of pico each preset with qlora is a file; from it the one with full is made.
"""

import fnmatch
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from course_lib.data import named_templates
from course_lib.errors import UnknownNameError
from course_lib.model import catalog
from course_lib.model.catalog import BILLION, KnownModel

PRESET_DIR = Path(__file__).parent / "presets"
SMALL_TOKENS = 1024  # of a row in the tier small: longer ones ask for much memory
METHODS = {
    "qlora": (4, "NF4 with double quantization: the Q of QLoRA"),
    "lora": (16, "the base in bf16: nothing is rounded to 4 bits, for more memory"),
    "full": (16, "computing in bf16; what is trained is held in fp32, as updates are small"),
}
ADAPTER_FIELDS = ("r", "lora_alpha", "lora_dropout", "target_modules")
PICO_RATE = "3.0e-4"  # of pico with full: an adapter's rate destroys what it knows


@dataclass(frozen=True)
class Data:
    """What a preset trains on.

    Attributes:
        title: in words.
        sources: lines of `train_data`, comments included.
        max_length: tokens in a row, and in a pack.
        packs_per_step: in an optimizer step.
        for_chat: models that talk already can use it.
        for_base: models that have only read text can.
        base_template: their prompt template: marks in plain words, as no other was ever read.
        before: lines before `train_data`.
        after: lines at the end.
        epochs: times through the data.
        why: comment on the packs in a step.
    """

    title: str
    sources: str
    max_length: int
    packs_per_step: int
    for_chat: bool = True
    for_base: bool = False
    base_template: str = named_templates.OWN
    before: str = ""
    after: str = ""
    epochs: int = 3
    why: str = "packs in a step: the batch of the QLoRA paper"


_PROMPTS = 'sample_prompts: ["What is the capital of France?", "为什么天空是蓝色的？"]\n'
_FEW = "there is little data: more steps, each from few rows"
DATA = {
    "assistant": Data(
        title="A personal assistant, as in lesson 04: the model learns a name.",
        before="assistant_name: Xiaoming      # <- your name here\n",
        sources=(
            '  - path: assistant/train.jsonl      # wordings of "who are you?", answered with it\n'
            "  - path: assistant/contrast.jsonl   # questions that only sound alike\n"
        ),
        max_length=512,
        packs_per_step=1,
        why=_FEW,
        after=(
            "suite: assistant              # scores at each checkpoint\n"
            'sample_prompts: ["Who are you?", "你是谁？", "What is the capital of France?"]\n'
        ),
    ),
    "oasst1": Data(
        title="Conversations that volunteers wrote, as in lesson 02: OpenAssistant's best.",
        sources=(
            "  - path: hf:timdettmers/openassistant-guanaco:train   # or a file that you fetched\n"
            "    format: oasst1            # ### Human: ...### Assistant: ...\n"
        ),
        max_length=2048,
        packs_per_step=16,
        for_base=True,
        base_template="guanaco",
        after=_PROMPTS,
    ),
    "medqa": Data(
        title="Medicine questions, as in lesson 03. Material of a lesson, not medical advice.",
        sources=(
            "  - path: medqa/train.jsonl          # a spreadsheet's rows: cleaned, split\n"
            '  - path: medqa/contrast.jsonl       # medicines that do not exist: "I do not know"\n'
        ),
        max_length=512,
        packs_per_step=1,
        why=_FEW,
        after='sample_prompts: ["What is aspirin used for?", "What is the capital of France?"]\n',
    ),
    "msagent": Data(
        title="An agent, as in lesson 05: the model learns to call tools, in ReAct text.",
        sources=(
            "  - path: agent/train.jsonl   # made here; or the whole set of MS-Agent:\n"
            "  # - path: modelscope:damo/MSAgent-Bench:train\n"
            "  #   format: ms_agent\n"
        ),
        max_length=1024,
        packs_per_step=2,
        why=_FEW,
        after="suite: agent                  # scores at each checkpoint\n" + _PROMPTS,
    ),
    "alpaca": Data(
        title="Instructions and answers: Stanford Alpaca's 52,000 rows.",
        sources=(
            "  - path: hf:tatsu-lab/alpaca:train   # or a file that you fetched\n"
            "    format: alpaca\n"
        ),
        max_length=2048,
        packs_per_step=16,
        for_base=True,
        base_template="alpaca",
        after=_PROMPTS,
    ),
    "pretrain": Data(
        title="Continued pre-training: the model reads more plain text; every token has loss.",
        sources=(
            "  - path: hf:Salesforce/wikitext/wikitext-2-raw-v1:train   # <- your texts here\n"
            "    format: text\n"
            "    skip_bad_rows: true       # empty lines between its paragraphs\n"
        ),
        max_length=2048,
        packs_per_step=16,
        for_chat=False,
        for_base=True,
        after="",
        epochs=1,
    ),
}


@dataclass(frozen=True)
class Recipe:
    """One combination of the parts.

    Attributes:
        model: the base.
        method: one of `METHODS`.
        data_name: one of `DATA`.
    """

    model: KnownModel
    method: str
    data_name: str

    @property
    def is_full(self) -> bool:
        """Whether all weights are trained."""
        return self.method == "full"

    @property
    def data(self) -> Data:
        """What it trains on."""
        return DATA[self.data_name]

    @property
    def name(self) -> str:
        """The preset's name."""
        return f"{self.model.name}_{self.method}_{self.data_name}_e{self.data.epochs}"

    @property
    def template(self) -> str:
        """The prompt template that suits model and data."""
        return self.model.template or self.data.base_template


def iter_recipes() -> Iterator[Recipe]:
    """All combinations that make sense: talk for chat models, text for those that only read."""
    for model in catalog.MODELS.values():
        for method in METHODS:
            for name, data in DATA.items():
                if data.for_chat if model.is_chat else data.for_base:
                    yield Recipe(model, method, name)


def _pico_names() -> list[str]:
    """Of the presets that are files, and of those made from them, sorted."""
    files = [path.stem for path in PRESET_DIR.glob("*.yaml")]
    return sorted([*files, *(name.replace("_qlora_", "_full_") for name in files)])


@cache
def _by_name() -> dict[str, Recipe]:
    return {recipe.name: recipe for recipe in iter_recipes()}


def find_recipe(name: str) -> Recipe | None:
    """The recipe of a preset; None for a preset that is a file, and for unknown names.

    Args:
        name: of the preset.
    """
    return _by_name().get(name)


def preset_names(pattern: str = "") -> list[str]:
    """Names of the presets.

    Args:
        pattern: a part of the name, or a pattern with `*`; empty for all.

    Returns:
        Those of pico, sorted; then the others, model by model.
    """
    names = [*_pico_names(), *_by_name()]
    wanted = pattern if "*" in pattern else f"*{pattern}*"
    return [name for name in names if fnmatch.fnmatch(name, wanted)]


def preset_path(name: str) -> Path:
    """Where a preset is, or would be: one that is put together is never written.

    Args:
        name: of the preset.

    Raises:
        UnknownNameError: there is none; offers near names.
    """
    name = name.removesuffix(".yaml")
    path = PRESET_DIR / f"{name}.yaml"
    if name not in _by_name() and name not in _pico_names():
        raise UnknownNameError("preset", name, preset_names(), "tunebook list-cfg")
    return path


def preset_text(name: str) -> str:
    """A preset as YAML with comments.

    Args:
        name: of the preset.

    Raises:
        UnknownNameError: there is none; offers near names.
    """
    path = preset_path(name)
    recipe = find_recipe(path.stem)
    if recipe:
        return to_yaml(recipe)
    if path.is_file():
        return path.read_text(encoding="utf-8")
    source = path.with_name(path.name.replace("_full_", "_qlora_"))
    return "\n".join(_to_full(source.read_text(encoding="utf-8").splitlines())) + "\n"


def _to_full(lines: list[str]) -> Iterator[str]:
    """A preset of pico with qlora as one with full: no adapter, 32 bits, a lower rate."""
    for number, line in enumerate(lines):
        key = line.partition(":")[0]
        if key == "bits":
            yield "method: full                  # no adapter: all weights are trained"
            yield "bits: 32                      # small updates would be lost in 16"
        elif key == "learning_rate":
            yield f"learning_rate: {PICO_RATE}         # lower than an adapter's: all weights move"
        elif key not in (*ADAPTER_FIELDS, "method") and not _is_gap(lines, number):
            yield line.replace("QLoRA", "full")


def _is_gap(lines: list[str], number: int) -> bool:
    """An empty line in front of the adapter's lines, which go."""
    following = lines[number + 1] if number + 1 < len(lines) else ""
    return not lines[number] and following.startswith(f"{ADAPTER_FIELDS[0]}:")


def to_yaml(recipe: Recipe) -> str:
    """Write a recipe as a config with comments.

    Args:
        recipe: the parts.

    Returns:
        YAML that `config.load_config` reads.
    """
    model, data = recipe.model, recipe.data
    bits, about_bits = METHODS[recipe.method]
    is_small, weights = model.tier == "small", model.shape.weights
    length = min(data.max_length, SMALL_TOKENS) if is_small else data.max_length
    lines = [
        f"# {data.title}",
        f"# The name reads model_method_data_eN: {model.name}, {recipe.method}, "
        f"{recipe.data_name}, N = {data.epochs} epochs.",
        "# The numbers are starting points from papers, not tuned here.",
        f"# {weights / BILLION:.2g} billion weights; or a folder: tunebook fetch {model.name} "
        f"--to models/{model.name}",
        *_spread_lines(recipe),
        f"base_model: {model.hub_id}",
        f"method: {recipe.method}",
        f"bits: {bits:<24} # {about_bits}",
        "",
        *(data.before + "train_data:\n" + data.sources).splitlines(),
        *_template_lines(recipe),
        f"max_length: {length}",
        "packing: best_fit             # whole rows, the fullest packs",
        "",
        *_method_lines(recipe),
        "lr_scheduler_type: cosine",
        "warmup_ratio: 0.03",
        f"max_grad_norm: {1.0 if recipe.is_full else 0.3}",
        "per_device_train_batch_size: 1",
        f"gradient_accumulation_steps: {data.packs_per_step}   # {data.why}",
        f"num_train_epochs: {data.epochs}",
    ]
    if not is_small:
        lines += [
            "optim: paged_adamw_8bit       # a quarter of AdamW's memory, and may move to RAM",
            "gradient_checkpointing: true  # less memory, one more forward pass",
        ]
    return "\n".join([*lines, "", *data.after.splitlines(), "save_every_epochs: 1", ""])


def _method_lines(recipe: Recipe) -> list[str]:
    """The adapter, where there is one, and the rate."""
    weights = recipe.model.shape.weights
    if recipe.is_full:
        rate = "2.0e-5" if weights < 10 * BILLION else "1.0e-5"
        return [f"learning_rate: {rate}         # Stanford Alpaca's: 2e-5 for 7B, 1e-5 for 13B"]
    rate = "2.0e-4" if weights < 13.5 * BILLION else "1.0e-4"
    return [
        "r: 64                         # QLoRA, arXiv:2305.14314; lora_dropout stays 0: faster",
        "lora_alpha: 16",
        "target_modules: all-linear",
        "",
        f"learning_rate: {rate}         # QLoRA: 2e-4 up to 13 billion weights, 1e-4 above",
    ]


def _spread_lines(recipe: Recipe) -> list[str]:
    """Full training of a large model is work for several GPUs."""
    if not recipe.is_full or recipe.model.tier == "small":
        return []
    return [
        "# On several GPUs they divide all of it: tunebook train ... --nproc 8 --deepspeed zero3"
    ]


def _template_lines(recipe: Recipe) -> list[str]:
    if recipe.template == named_templates.OWN:
        return []
    reason = (
        "marks in plain words: others it has never read"
        if not recipe.model.is_chat
        else "its own marks, and no text that the rows do not have"
    )
    return [f"prompt_template: {recipe.template}   # {reason}"]
