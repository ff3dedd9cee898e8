"""Train: a config in, a run folder out; transformers' Trainer does the training."""

import dataclasses
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainingArguments, set_seed
from transformers.trainer_callback import PrinterCallback

from course_lib.chat import generation
from course_lib.data import named_templates, packing
from course_lib.evaluation import agent, assistant
from course_lib.model import adapters, kernels, loading, whole
from course_lib.model.quiet import quiet_libraries
from course_lib.training import (
    alike,
    callbacks,
    checkpoints,
    claim,
    endings,
    folder,
    plan,
    rows,
    shortage,
    spread,
)
from course_lib.training.config import TrainConfig
from course_lib.training.result import RunResult
from course_lib.training.spread import ONE_PROCESS, Spread
from course_lib.training.trainer import WholeCheckpointTrainer

Collator = Callable[[Sequence[packing.Pack]], dict[str, torch.Tensor]]
SAMPLE_SETTINGS = generation.GenerationSettings(max_new_tokens=64)
# Batches on a CPU come in few widths: oneDNN compiles its products anew for each one that it has
# not met lately, which takes as long as a tenth to a quarter of a small model's step.
CPU_MULTIPLE = 32


@dataclasses.dataclass(frozen=True)
class Job:
    """A run with its data ready: what model, Trainer and callbacks are made from.

    Attributes:
        config: the run's config.
        run_dir: its folder.
        tokenizer: of the base model.
        data: the packs.
        plan: steps and rates.
        spread: over how many processes, and with what.
        notes: what was decided for this machine, and what is odd, in words; for the log.
    """

    config: TrainConfig
    run_dir: Path
    tokenizer: PreTrainedTokenizerBase
    data: rows.TrainingData
    plan: plan.RunPlan
    spread: Spread = ONE_PROCESS
    notes: tuple[str, ...] = ()


def train(
    config: TrainConfig,
    work_dir: Path | str,
    resume: bool = False,
    spread: Spread = ONE_PROCESS,
    note: str = "",
) -> RunResult:
    """Train in this process: an adapter, or with method full the whole model.

    Args:
        config: everything the run depends on.
        work_dir: the run folder; new or empty, unless resuming.
        resume: go on from the folder's latest checkpoint; from the start when there is none.
        spread: when this process is one of several that train together; `launch` starts them.
        note: what was decided for this machine already; for the log.

    Returns:
        Where the adapter is, and the seconds it took.

    Raises:
        RunError: the folder is not empty, belongs to another config, another run is at work
            there, the disk is full, or the run was interrupted; says how to go on.
        DataError: see `rows.load_rows`.
        ModelError: see `loading.load_model`.
    """
    run_dir = Path(work_dir)
    config, decided = folder.settle(config, run_dir, resume, spread)
    if not spread.is_main:
        return _train(config, run_dir, spread)
    folder.check_run(run_dir, config, resume, spread)
    with claim.claimed(run_dir):
        notes = (note or decided, folder.version_note(run_dir) if resume else "")
        return _train(config, run_dir, spread, notes)


def _train(
    config: TrainConfig, run_dir: Path, spread: Spread, notes: tuple[str, ...] = ()
) -> RunResult:
    job = dataclasses.replace(prepare(config, run_dir, spread), notes=tuple(filter(None, notes)))
    clock = callbacks.Clock()
    with quiet_libraries(), shortage.explained(config, spread):
        arguments = make_arguments(job)  # joins the others: ZeRO-3 loads in pieces after it
        model = build_model(config, spread)
        start = _open_run(job, arguments)
        with endings.errors_logged(run_dir, spread):
            trainer = build_trainer(model, job, arguments)
            chosen = speed_up(trainer, model, job)
            for callback in _callbacks(model, job, clock, chosen):
                trainer.add_callback(callback)
            if start is None or start.step < job.plan.total_steps:
                trainer.train(resume_from_checkpoint=str(start.path) if start else None)
            elif not folder.has_ended(run_dir):
                trainer.finish(start.path)
    last = checkpoints.latest_checkpoint(run_dir)
    return RunResult(
        run_dir=run_dir,
        adapter_dir=checkpoints.find_adapter(run_dir),
        last_dir=last.path,
        steps=last.step,
        train_s=clock.train_s,
        train_cpu_s=clock.train_cpu_s,
    )


def prepare(config: TrainConfig, run_dir: Path, spread: Spread = ONE_PROCESS) -> Job:
    """Read, tokenize and pack the data, and plan the run; nothing is written.

    Args:
        config: the run's config.
        run_dir: where it would write.
        spread: over how many processes, and with what.

    Returns:
        The job.

    Raises:
        DataError: see `rows.load_rows`.
        RunError: see `plan.plan_run`.
    """
    tokenizer = rows.load_tokenizer(config)
    data = rows.prepare_data(config, tokenizer)
    run_plan = plan.plan_run(config, data, spread.processes)
    return Job(config, run_dir, tokenizer, data, run_plan, spread)


def build_model(config: TrainConfig, spread: Spread = ONE_PROCESS) -> PreTrainedModel | PeftModel:
    """The base model with a fresh adapter, seeded; with method full the base, all trainable.

    Args:
        config: names the base, the method, the bits and the adapter's shape.
        spread: over how many processes, and with what.

    Returns:
        A model in train mode.
    """
    if config.is_full:
        return whole.train_all(loading.load_model(config.base_model, full_bits(config, spread)))
    model = loading.load_model(config.base_model, config.bits)
    set_seed(config.seed)
    peft_model = loading.attach_lora(
        model, config.r, config.lora_alpha, config.lora_dropout, config.target_modules
    )
    return peft_model.train()


def full_bits(config: TrainConfig, spread: Spread) -> int:
    """Bits in which method full holds its weights: small updates are lost in 16.

    Args:
        config: with method full.
        spread: DeepSpeed on a GPU keeps a copy in 32 bits itself, divided.
    """
    is_divided = spread.deepspeed is not None and computes_in_bf16(config)
    return 16 if is_divided else 32


def computes_in_bf16(config: TrainConfig) -> bool:
    """Whether method full holds fp32 and computes in bf16 ("mixed precision"): on a GPU with it."""
    has_bf16 = torch.cuda.is_available() and loading.compute_dtype() == torch.bfloat16
    return config.is_full and config.bits == 16 and has_bf16


def speed_up(
    trainer: WholeCheckpointTrainer, model: PreTrainedModel | PeftModel, job: Job
) -> kernels.Kernels:
    """Turn on the faster ways of computing that the run asks for and this machine has.

    Args:
        trainer: from `build_trainer`; it is changed in place.
        model: its model, from `build_model`; changed in place, too.
        job: the run.

    Returns:
        What is on; with method full, nothing.
    """
    if not isinstance(model, PeftModel):
        return kernels.OFF
    config, shape = job.config, model.get_base_model().config
    machine, dropout = kernels.find_machine(), config.lora_dropout
    processes = (job.spread.processes, job.spread.stage)
    chosen = kernels.choose(config.kernels, machine, shape, dropout, *processes)
    packs, tokens = config.per_device_train_batch_size, config.max_length
    trainer.step = kernels.speed_up(model, chosen, packs, tokens)
    return chosen


def build_trainer(
    model: PreTrainedModel | PeftModel, job: Job, arguments: TrainingArguments | None = None
) -> WholeCheckpointTrainer:
    """The Trainer of a run.

    Args:
        model: from `build_model`.
        job: the run.
        arguments: made from the job when left out.

    Returns:
        A Trainer that saves whole checkpoints and prints nothing.
    """
    _forget_exceptions()
    trainer = WholeCheckpointTrainer(
        model=model,
        args=arguments or make_arguments(job),
        train_dataset=job.data.packs,
        data_collator=make_collator(job.tokenizer.pad_token_id),
    )
    trainer.base_model = job.config.base_model
    trainer.is_main = job.spread.is_main
    if job.config.is_full and job.spread.is_main:
        dtype = adapters.stored_dtype(job.config.base_model)
        trainer.finish_files = lambda written: whole.make_portable(
            written, job.config.base_model, dtype, job.tokenizer
        )
    if job.config.prompt_template != named_templates.OWN:
        trainer.chat_template = job.tokenizer.chat_template
    trainer.remove_callback(PrinterCallback)
    return trainer


def _forget_exceptions() -> None:
    """Which weights 8-bit AdamW is to keep in 32 bits: bitsandbytes holds that for good.

    It knows them by address and number, which in a notebook by now are those of other weights.
    """
    if "bitsandbytes" in sys.modules:
        manager = sys.modules["bitsandbytes"].optim.GlobalOptimManager.get_instance()
        manager.pid2config.clear()
        manager.index2config.clear()


def make_collator(pad_token_id: int, pad_to_multiple_of: int | None = None) -> Collator:
    """What makes a batch of packs.

    Args:
        pad_token_id: fills the shorter packs on the right.
        pad_to_multiple_of: the width is rounded up to a multiple of so many tokens. When None, 1
            on a GPU and `CPU_MULTIPLE` without one.

    Returns:
        Makes `input_ids`, `labels` and `position_ids`, each (packs, tokens). There is no attention
        mask: the model builds one from the position ids, so that no row sees its neighbour.
    """
    multiple = pad_to_multiple_of or (1 if torch.cuda.is_available() else CPU_MULTIPLE)

    def collate(packs: Sequence[packing.Pack]) -> dict[str, torch.Tensor]:
        padded = packing.pad_packs(packs, pad_token_id, multiple)
        return {name: torch.tensor(values) for name, values in padded.items()}

    return collate


def make_arguments(job: Job) -> TrainingArguments:
    """What transformers' Trainer is told; where several processes train, this joins them.

    Args:
        job: the run.
    """
    config = job.config
    on_gpu = torch.cuda.is_available()
    return TrainingArguments(
        output_dir=str(job.run_dir),
        max_steps=job.plan.total_steps,
        per_device_train_batch_size=config.per_device_train_batch_size,
        gradient_accumulation_steps=config.gradient_accumulation_steps,
        **_checkpointing_arguments(config),
        **({} if config.optim == "adamw" else {"optim": config.optim}),
        learning_rate=config.learning_rate,
        lr_scheduler_type=config.lr_scheduler_type,
        warmup_steps=job.plan.warmup_steps,
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        seed=config.seed,
        logging_steps=config.logging_steps,
        save_strategy="steps",
        save_steps=job.plan.save_steps,
        report_to="none",
        disable_tqdm=True,
        use_cpu=not on_gpu,
        bf16=computes_in_bf16(config),
        dataloader_pin_memory=on_gpu,
        remove_unused_columns=False,
        label_names=["labels"],
        **_spread_arguments(job.spread, on_gpu),
    )


def _checkpointing_arguments(config: TrainConfig) -> dict[str, bool]:
    """Newer releases renamed the switch; transformers 5.20, for Python 3.10, has the old name."""
    names = {field.name for field in dataclasses.fields(TrainingArguments)}
    name = "activation_checkpointing"
    name = name if name in names else "gradient_checkpointing"
    return {name: True} if config.gradient_checkpointing else {}


def _spread_arguments(how: Spread, on_gpu: bool) -> dict[str, Any]:
    if how.is_one_process:
        return {}
    return {
        "ddp_backend": "nccl" if on_gpu else "gloo",
        "ddp_find_unused_parameters": False,  # every trained weight takes part in every step
        "deepspeed": spread.deepspeed_config(how.deepspeed) if how.deepspeed else None,
    }


def _open_run(job: Job, arguments: TrainingArguments) -> checkpoints.Checkpoint | None:
    """The main process gets the folder ready; the others wait, and read it as it then is."""
    if job.spread.is_one_process:
        return folder.open_run(job.run_dir, job.config)
    if job.spread.is_main:
        folder.open_run(job.run_dir, job.config, job.spread)
        if job.spread.nnodes > 1:
            alike.leave_mark(job.run_dir)
    arguments.distributed_state.wait_for_everyone()
    if job.spread.nnodes > 1:
        _check_alike(job, arguments)
    return checkpoints.latest_checkpoint(job.run_dir)


def _check_alike(job: Job, arguments: TrainingArguments) -> None:
    try:
        facts = alike.facts_of(job.config, job.run_dir, job.data)
        alike.check(facts, arguments.device, job.spread.nproc)
    finally:
        if job.spread.is_main:
            (job.run_dir / alike.MARK_FILE).unlink(missing_ok=True)


def _callbacks(
    model: PreTrainedModel | PeftModel, job: Job, clock: callbacks.Clock, chosen: kernels.Kernels
) -> Iterator[callbacks.TrainerCallback]:
    config, run_dir, is_main = job.config, job.run_dir, job.spread.is_main
    if is_main:
        per_step = job.data.row_tokens / job.plan.steps_per_epoch
        yield callbacks.ProgressLog(run_dir, clock, per_step, chosen, job.notes)
    yield callbacks.StopWhenAsked(run_dir)
    if not is_main and job.spread.stage < 3:
        return  # under ZeRO-3 no process has all weights: all must answer together
    if config.sample_prompts:
        every, reply_to = config.sample_every_steps, _replier(model, job)
        yield callbacks.SampleReplies(
            run_dir, clock, config.sample_prompts, every, reply_to, is_main
        )
    yield callbacks.CheckpointScores(
        run_dir, clock, _scorer(model, job), config.keep_last, config.keep_best, is_main
    )


def _replier(model: PreTrainedModel | PeftModel, job: Job) -> callbacks.Replier:
    def reply_to(prompts: Sequence[str]) -> list[str]:
        talks = [[{"role": "user", "content": prompt}] for prompt in prompts]
        replies = generation.reply_to_all(model, job.tokenizer, talks, SAMPLE_SETTINGS)
        return [reply.text for reply in replies]

    return reply_to


def _scorer(model: PreTrainedModel | PeftModel, job: Job) -> callbacks.Scorer | None:
    config = job.config
    if config.suite == "none":
        return None
    if config.suite == "agent":
        return lambda: agent.score_checkpoint(model, job.tokenizer).as_json()
    return lambda: assistant.score_checkpoint(
        model, job.tokenizer, config.assistant_name, config.retained_questions
    ).as_json()
