"""A step replayed from graphs, without a GPU: what would be replayed is computed."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import varlen
from transformers import AutoConfig, AutoModelForCausalLM

from course_lib.errors import ModelError
from course_lib.model import captured, fused, kernels
from tests.model.packed_steps import adapted, rows_apart, two_packs


@pytest.fixture
def batch():
    return two_packs()


def test_rows_start_where_positions_do():
    positions = torch.tensor([[0, 1, 2, 0, 1], [0, 1, 2, 3, 4]])
    assert captured.row_starts(positions).tolist() == [0, 3, 5, 10]
    assert captured.row_starts(positions, places=6).tolist() == [0, 3, 5, 10, 10, 10]
    assert captured.row_starts(positions[1:]).tolist() == []  # one whole row: nothing to tell


class Recorded(captured.CapturedStep):
    """A captured step without a GPU: what would be replayed is computed."""

    captures = 0

    def _warm_up(self):
        pass

    def _capture(self, is_new=True):
        self.captures += 1

    def forward(self):
        return self._eager().detach()


@pytest.fixture
def recorded(monkeypatch):
    monkeypatch.setattr(varlen, "varlen_attn", rows_apart)
    model = adapted()
    step = kernels.speed_up(model, kernels.Kernels(lean_loss=True), 3, 24)
    monkeypatch.setattr(captured, "_free_bytes", lambda: torch.cuda.mem_get_info()[0])
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (2**40, 2**40))
    return Recorded(step, 3, 24)


def test_a_small_batch_is_padded_without_a_change_to_its_loss(batch, recorded):
    assert recorded(**batch).item() == pytest.approx(recorded.step(**batch).item(), rel=1e-5)
    assert recorded.batch["input_ids"].shape == (3, 24)
    positions = recorded.batch["position_ids"].tolist()
    assert positions[0] == [*range(7), *range(9), *range(8)]  # the padding is a row of its own
    assert positions[2] == [*range(24)]


def test_a_batch_with_more_rows_than_there_is_room_for_is_captured_again(batch, recorded):
    recorded(**batch)
    recorded(**batch)
    assert recorded.captures == 1
    many = torch.zeros(3, 24, dtype=torch.long)  # 72 rows of one token
    recorded(input_ids=many, labels=many, position_ids=many)
    assert recorded.captures == 2
    recorded(**batch)
    assert recorded.captures == 2


def test_packs_of_one_row_are_captured_without_places_until_rows_come(batch, recorded):
    whole = {name: batch[name] for name in ("input_ids", "labels")}
    for _ in range(2):
        assert recorded(**whole).item() == pytest.approx(recorded.step(**whole).item(), rel=1e-5)
    assert (recorded.captures, len(recorded.batch["starts"])) == (1, 0)
    recorded(**batch)
    recorded(**whole)
    assert recorded.captures == 2


def test_a_batch_larger_than_the_captured_one_is_computed_step_by_step(batch, recorded):
    large = {name: value.repeat(2, 1) for name, value in batch.items()}
    assert recorded(**large).requires_grad
    assert recorded.captures == 0


def test_a_step_that_cannot_be_captured_says_what_to_set(batch, recorded, monkeypatch):
    def fail():
        raise RuntimeError("operation not permitted when stream is capturing\nand so on")

    monkeypatch.setattr(recorded, "_capture", super(Recorded, recorded)._capture)
    monkeypatch.setattr(recorded, "_record", fail)
    with pytest.raises(ModelError, match="not permitted when stream is capturing") as caught:
        recorded(**batch)
    assert "kernels: off" in caught.value.next_step
    assert "and so on" not in caught.value.message


def test_running_out_of_memory_in_a_capture_is_told_as_that(batch, recorded, monkeypatch):
    def fail():
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(recorded, "_capture", super(Recorded, recorded)._capture)
    monkeypatch.setattr(recorded, "_record", fail)
    with pytest.raises(torch.OutOfMemoryError, match="out of memory"):
        recorded(**batch)


@pytest.mark.parametrize(("free", "captures"), [(999, 0), (1000, 1)])
def test_a_step_is_captured_where_it_has_room(free, captures, batch, recorded, monkeypatch):
    """1,440 bytes at the warm-up's peak, 600 still there; 2 x 80 for AdamW."""
    recorded.weights = [torch.zeros(2, 10)]
    counts = {"max_memory_allocated": 1440, "memory_allocated": 600, "mem_get_info": (free, 0)}
    for name, count in counts.items():
        monkeypatch.setattr(torch.cuda, name, lambda count=count: count)
    recorded_now = []
    monkeypatch.setattr(recorded, "_capture", super(Recorded, recorded)._capture)
    monkeypatch.setattr(recorded, "_record", lambda: recorded_now.append(1))
    if captures:
        recorded(**batch)
    else:
        with pytest.warns(UserWarning, match="no room for a captured step"):
            recorded(**batch)
        recorded(**batch)  # said once
    assert len(recorded_now) == captures


@pytest.mark.parametrize("family", kernels.CAPTURABLE)
def test_a_step_of_each_captured_family_asks_for_no_number(family):
    """Without numbers behind its tensors, whatever asks for one fails: `.item()`, `if tensor`."""
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "vocab_size": 64}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "pad_token_id": 0}
    config = AutoConfig.for_model(family, **sizes, **heads)
    assert kernels.choose("auto", kernels.Machine((9, 0), True), config).graph
    with FakeTensorMode():
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
        fused.use_packed_attention(model)
        model.gradient_checkpointing_enable({"use_reentrant": False})
        step = captured.LeanStep.__new__(captured.LeanStep)
        step.base = model.train()
        ids = torch.zeros(2, 16, dtype=torch.long)
        for starts in (torch.zeros(0), torch.zeros(9)):
            loss = step.loss(ids, ids, ids, starts.to(torch.int32), torch.tensor(3))
            loss.backward()


class Replayed(Recorded):
    """Graphs without a GPU: the forward pass writes over what the backward pass has left."""

    def _capture(self, is_new=True):
        super()._capture()
        self.graphs = (None, self)
        self.scale = torch.ones(())
        if not self.adds_up:
            self.grads = [torch.zeros_like(weight) for weight in self.weights]

    def forward(self):
        if not self.adds_up:
            for grad in self.grads:
                grad.fill_(torch.nan)
        return super().forward()

    def replay(self):
        with torch.enable_grad():
            found = torch.autograd.grad(self._eager() * self.scale, self.weights)
        for kept, grad in zip(self.grads, found, strict=True):
            kept.mul_(int(self.adds_up)).nan_to_num_().add_(grad)


@pytest.fixture
def replayed(recorded):
    recorded.step.base.double()  # two orders of adding then agree, whatever the size of a gradient
    return Replayed(recorded.step, 3, 24)


def gradients_of(step, weights, micro_batches):
    """Those of one optimizer step, copied; then there are none, as an optimizer leaves it."""
    for micro_batch in micro_batches:
        step(**micro_batch).backward()
    found = [weight.grad.clone() for weight in weights]
    for weight in weights:
        weight.grad = None
    return found


def test_micro_batches_add_up_as_without_graphs_however_many_a_step_has(batch, replayed):
    other = {name: value[:1, :12] for name, value in batch.items()}
    for micro_batches in ([batch], [other], [batch, other, other], [batch], [other, batch]):
        expected = gradients_of(replayed.step, replayed.weights, micro_batches)
        found = gradients_of(replayed, replayed.weights, micro_batches)
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-6)


def test_gradients_get_places_of_their_own_with_the_first_second_micro_batch(batch, replayed):
    for _ in range(2):
        gradients_of(replayed, replayed.weights, [batch])
    assert (replayed.captures, replayed.adds_up) == (1, False)
    for _ in range(2):
        gradients_of(replayed, replayed.weights, [batch, batch])
        gradients_of(replayed, replayed.weights, [batch])
    assert (replayed.captures, replayed.adds_up) == (2, True)


def test_a_gradient_that_came_from_elsewhere_is_kept(batch, replayed):
    (expected,) = gradients_of(replayed.step, replayed.weights[:1], [batch])
    loss = replayed(**batch)
    replayed.weights[0].grad = torch.ones_like(expected)
    loss.backward()
    torch.testing.assert_close(replayed.weights[0].grad, expected + 1, rtol=1e-3, atol=1e-6)


def test_gradients_go_on_in_the_places_the_graph_knows(recorded):
    recorded.grads = [torch.ones_like(weight) for weight in recorded.weights]
    recorded._take_over_grads()
    assert all((weight.grad == 0).all() for weight in recorded.weights)  # there were none
    recorded.grads[0].add_(3)
    recorded._take_over_grads()
    assert (recorded.weights[0].grad == 3).all()  # and these stay
