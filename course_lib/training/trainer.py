"""A Trainer whose checkpoints are whole, also when several processes write one together."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import Trainer
from transformers.trainer_callback import TrainerState

from course_lib.model import adapters, fused
from course_lib.training import checkpoints


class WholeCheckpointTrainer(Trainer):
    """A Trainer whose checkpoints appear whole or not at all.

    The stock one writes into checkpoint-N itself: killed there, it leaves half a checkpoint that
    looks like a whole one.
    """

    base_model: str = ""
    chat_template: str | None = None
    finish_files: Callable[[Path], None] | None = None  # of a whole model; None: of an adapter
    is_main: bool = True  # of several processes, the one that writes the run folder
    step: Callable[..., torch.Tensor] | None = None  # computes the loss instead of the model
    _saving_dir: str | None = None

    def _get_output_dir(self, trial: Any) -> str:
        return self._saving_dir or super()._get_output_dir(trial)

    def create_optimizer(self, *model: torch.nn.Module) -> torch.optim.Optimizer:
        """Transformers' own, which does not wait for the GPU after each weight."""
        optimizer = super().create_optimizer(*model)
        fused.spare_waits(optimizer)
        return optimizer

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Not counted: transformers walks the whole model for it at every step."""
        return 0

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """The loss of a batch: of the model, or of `step` where `kernels` chose one."""
        if self.step is None:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        return self.step(**inputs, num_items_in_batch=num_items_in_batch)

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        run_dir = Path(self.args.output_dir)
        step = self.state.global_step
        # The same name in every process: each writes its part of the state into it.
        saving_dir = run_dir / f"{checkpoints.SAVING_PREFIX}{step}"
        saving_dir.mkdir(exist_ok=True)
        self._saving_dir = str(saving_dir)
        try:
            super()._save_checkpoint(model, trial)
            self._wait_for_all()
            if self.is_main:
                self._give_name(saving_dir / f"checkpoint-{step}", run_dir)
            self._wait_for_all()
        finally:
            # Empty by now; or half written, and then it must not go on filling the disk.
            if self.is_main:
                shutil.rmtree(saving_dir, ignore_errors=True)
            self._saving_dir = None

    def _give_name(self, written: Path, run_dir: Path) -> None:
        if self.finish_files:
            self.finish_files(written)
        else:
            adapters.make_portable(written, self.base_model)
            adapters.write_template(written, self.chat_template)
        for script in written.glob("zero_to_*.py"):  # DeepSpeed's: nothing needs a conversion
            script.unlink()
        _sync_files(written)
        written.rename(run_dir / written.name)

    def _wait_for_all(self) -> None:
        if self.args.world_size > 1:
            self.accelerator.wait_for_everyone()

    def finish(self, checkpoint_dir: Path) -> None:
        """Do what was left when a run was killed after its last step: score it, say the end.

        Args:
            checkpoint_dir: the last checkpoint.
        """
        if self.is_deepspeed_enabled:  # under ZeRO-3 only the engine can put the parts together
            self._prepare_for_training(self.args.max_steps, None, str(checkpoint_dir))
        else:
            self._load_from_checkpoint(str(checkpoint_dir))
        self.state = TrainerState.load_from_json(str(checkpoint_dir / "trainer_state.json"))
        self.callback_handler.on_train_begin(self.args, self.state, self.control)
        self.callback_handler.on_train_end(self.args, self.state, self.control)


def _sync_files(path: Path) -> None:
    """Have the disk really hold a checkpoint before it gets its name."""
    for file in path.rglob("*"):
        if file.is_file():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())
