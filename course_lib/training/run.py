"""Train: a config in, a run folder out; transformers' Trainer does the training."""

import errno
import os
import shlex
import shutil
import signal
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import PreTrainedTokenizerBase, Trainer, TrainingArguments, set_seed
from transformers.trainer_callback import PrinterCallback, TrainerState

from course_lib.chat import generation
from course_lib.data import named_templates, packing
from course_lib.errors import RunError
from course_lib.evaluation import assistant
from course_lib.files import append_jsonl, read_jsonl
from course_lib.model import adapters, loading
from course_lib.model.quiet import quiet_libraries
from course_lib.training import callbacks, checkpoints, folder, plan, rows
from course_lib.training.config import TrainConfig

# What safetensors and torch say instead of an OSError when a file cannot grow.
DISK_FULL_TEXTS = (
    "No space left",
    "File too large",
    "Disk quota exceeded",
    "PytorchStreamWriter failed writing",
    "iostream error",
)
SAMPLE_SETTINGS = generation.GenerationSettings(max_new_tokens=64)


@dataclass(frozen=True)
class RunResult:
    """What a finished run left.

    Attributes:
        run_dir: its folder.
        adapter_dir: the checkpoint with the best score, or the last one without scores.
        last_dir: the last checkpoint.
        steps: optimizer steps done.
        train_s: wall seconds of training in this process, samples and scores not counted.
        train_cpu_s: the same in CPU seconds of all threads.
    """

    run_dir: Path
    adapter_dir: Path
    last_dir: Path
    steps: int
    train_s: float
    train_cpu_s: float

    @property
    def log(self) -> list[dict[str, Any]]:
        """The run's log.jsonl: one record for each event."""
        return read_jsonl(self.run_dir / callbacks.LOG_FILE)

    @property
    def scores(self) -> list[dict[str, Any]]:
        """The run's scores.jsonl: one record for each scored step, empty without a suite."""
        path = self.run_dir / checkpoints.SCORES_FILE
        return read_jsonl(path) if path.is_file() else []


@dataclass(frozen=True)
class Job:
    """A run with its data ready: what model, Trainer and callbacks are made from.

    Attributes:
        config: the run's config.
        run_dir: its folder.
        tokenizer: of the base model.
        data: the packs.
        plan: steps and rates.
    """

    config: TrainConfig
    run_dir: Path
    tokenizer: PreTrainedTokenizerBase
    data: rows.TrainingData
    plan: plan.RunPlan


class WholeCheckpointTrainer(Trainer):
    """A Trainer whose checkpoints appear whole or not at all.

    The stock one writes into checkpoint-N itself: killed there, it leaves half a checkpoint that
    looks like a whole one.
    """

    base_model: str = ""
    chat_template: str | None = None
    _saving_dir: str | None = None

    def _get_output_dir(self, trial: Any) -> str:
        return self._saving_dir or super()._get_output_dir(trial)

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        run_dir = Path(self.args.output_dir)
        name = f"checkpoint-{self.state.global_step}"
        self._saving_dir = tempfile.mkdtemp(dir=run_dir, prefix=checkpoints.SAVING_PREFIX)
        try:
            super()._save_checkpoint(model, trial)
            written = Path(self._saving_dir) / name
            adapters.make_portable(written, self.base_model)
            adapters.write_template(written, self.chat_template)
            _sync_files(written)
            written.rename(run_dir / name)
        finally:
            # Empty by now; or half written, and then it must not go on filling the disk.
            shutil.rmtree(self._saving_dir, ignore_errors=True)
            self._saving_dir = None

    def finish(self, checkpoint_dir: Path) -> None:
        """Do what was left when a run was killed after its last step: score it, say the end.

        Args:
            checkpoint_dir: the last checkpoint.
        """
        self._load_from_checkpoint(str(checkpoint_dir))
        self.state = TrainerState.load_from_json(str(checkpoint_dir / "trainer_state.json"))
        self.callback_handler.on_train_begin(self.args, self.state, self.control)
        self.callback_handler.on_train_end(self.args, self.state, self.control)


def train(config: TrainConfig, work_dir: Path | str, resume: bool = False) -> RunResult:
    """Train an adapter.

    Args:
        config: everything the run depends on.
        work_dir: the run folder; new or empty, unless resuming.
        resume: go on from the folder's latest checkpoint; from the start when there is none.

    Returns:
        Where the adapter is, and the seconds it took.

    Raises:
        RunError: the folder is not empty, belongs to another config, the disk is full, or the
            run was interrupted; says how to go on.
        DataError: see `rows.load_rows`.
        ModelError: see `loading.load_model`.
    """
    run_dir = Path(work_dir)
    folder.check_run(run_dir, config, resume)
    job = prepare(config, run_dir)
    clock = callbacks.Clock()
    with quiet_libraries():
        model = build_model(config)
        start = folder.open_run(run_dir, config)
        with _errors_logged(run_dir):
            trainer = build_trainer(model, job)
            for callback in _callbacks(model, job, clock):
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


def prepare(config: TrainConfig, run_dir: Path) -> Job:
    """Read, tokenize and pack the data, and plan the run; nothing is written.

    Args:
        config: the run's config.
        run_dir: where it would write.

    Returns:
        The job.

    Raises:
        DataError: see `rows.load_rows`.
        RunError: see `plan.plan_run`.
    """
    tokenizer = rows.load_tokenizer(config)
    data = rows.prepare_data(config, tokenizer)
    return Job(config, run_dir, tokenizer, data, plan.plan_run(config, data))


def build_model(config: TrainConfig) -> PeftModel:
    """The base model with a fresh adapter, seeded.

    Args:
        config: names the base, the bits and the adapter's shape.

    Returns:
        A peft model in train mode.
    """
    model = loading.load_model(config.base_model, config.bits)
    set_seed(config.seed)
    peft_model = loading.attach_lora(
        model, config.r, config.lora_alpha, config.lora_dropout, config.target_modules
    )
    return peft_model.train()


def build_trainer(model: PeftModel, job: Job) -> WholeCheckpointTrainer:
    """The Trainer of a run.

    Args:
        model: from `build_model`.
        job: the run.

    Returns:
        A Trainer that saves whole checkpoints and prints nothing.
    """
    trainer = WholeCheckpointTrainer(
        model=model,
        args=_arguments(job),
        train_dataset=job.data.packs,
        data_collator=lambda packs: collate(packs, job.tokenizer.pad_token_id),
    )
    trainer.base_model = job.config.base_model
    if job.config.prompt_template != named_templates.OWN:
        trainer.chat_template = job.tokenizer.chat_template
    trainer.remove_callback(PrinterCallback)
    return trainer


def collate(packs: Sequence[packing.Pack], pad_token_id: int) -> dict[str, torch.Tensor]:
    """Make a batch of packs.

    Args:
        packs: filled rows.
        pad_token_id: fills the shorter ones on the right.

    Returns:
        `input_ids`, `labels` and `position_ids`, each (packs, tokens). There is no attention
        mask: the model builds one from the position ids, so that no row sees its neighbour.
    """
    return {k: torch.tensor(v) for k, v in packing.pad_packs(packs, pad_token_id).items()}


def _arguments(job: Job) -> TrainingArguments:
    config = job.config
    on_gpu = torch.cuda.is_available()
    return TrainingArguments(
        output_dir=str(job.run_dir),
        max_steps=job.plan.total_steps,
        per_device_train_batch_size=config.per_device_train_batch_size,
        gradient_accumulation_steps=config.gradient_accumulation_steps,
        **({"activation_checkpointing": True} if config.gradient_checkpointing else {}),
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
        dataloader_pin_memory=on_gpu,
        remove_unused_columns=False,
        label_names=["labels"],
    )


def _callbacks(
    model: PeftModel, job: Job, clock: callbacks.Clock
) -> Iterator[callbacks.TrainerCallback]:
    config, run_dir = job.config, job.run_dir
    yield callbacks.ProgressLog(run_dir, clock, job.data.row_tokens / job.plan.steps_per_epoch)
    if config.sample_prompts:
        yield callbacks.SampleReplies(
            run_dir, clock, config.sample_prompts, config.sample_every_steps, _replier(model, job)
        )
    yield callbacks.CheckpointScores(
        run_dir, clock, _scorer(model, job), config.keep_last, config.keep_best
    )


def _replier(model: PeftModel, job: Job) -> callbacks.Replier:
    def reply_to(prompts: Sequence[str]) -> list[str]:
        talks = [[{"role": "user", "content": prompt}] for prompt in prompts]
        replies = generation.reply_to_all(model, job.tokenizer, talks, SAMPLE_SETTINGS)
        return [reply.text for reply in replies]

    return reply_to


def _scorer(model: PeftModel, job: Job) -> callbacks.Scorer | None:
    config = job.config
    if config.suite == "none":
        return None
    return lambda: assistant.score_checkpoint(
        model, job.tokenizer, config.assistant_name, config.retained_questions
    ).as_json()


@contextmanager
def _errors_logged(run_dir: Path) -> Iterator[None]:
    """Turn an interruption or a full disk into an error with a next step; log every error."""
    parts = ["tunebook", "train", run_dir / folder.CONFIG_FILE, "--work-dir", run_dir, "--resume"]
    resume_hint = shlex.join(map(str, parts))
    try:
        with _terminate_as_interrupt():
            yield
    except KeyboardInterrupt as error:
        _log_error(run_dir, "interrupted")
        raise RunError("The run was interrupted.", f"Go on with `{resume_hint}`.") from error
    except Exception as error:
        _log_error(run_dir, f"{type(error).__name__}: {error}")
        if is_disk_full(error):
            raise RunError(
                f"The disk is full: {run_dir} cannot be written. Finished checkpoints are whole.",
                f"Free some space, then go on with `{resume_hint}`.",
            ) from error
        raise


@contextmanager
def _terminate_as_interrupt() -> Iterator[None]:
    """SIGTERM (a closed terminal, a batch system) ends the run like Ctrl-C, where allowed."""

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not in the main thread: a notebook's worker
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def is_disk_full(error: BaseException | None) -> bool:
    """Whether an error, or what caused it, says that no space is left."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return True
        if any(text in str(error) for text in DISK_FULL_TEXTS):
            return True
        error = error.__cause__ or error.__context__
    return False


def _log_error(run_dir: Path, message: str) -> None:
    try:
        append_jsonl(run_dir / callbacks.LOG_FILE, {"event": "error", "message": message})
    except OSError:
        return  # the disk is full: the error itself still reaches the learner


def _sync_files(path: Path) -> None:
    """Have the disk really hold a checkpoint before it gets its name."""
    for file in path.iterdir():
        with file.open("rb") as handle:
            os.fsync(handle.fileno())
