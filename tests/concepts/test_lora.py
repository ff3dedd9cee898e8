"""LoRA by hand against peft's, to the last bit, and against products worked out by hand."""

import pytest
import torch
from peft import LoraConfig
from peft.tuners.lora.layer import Linear as PeftLinear

from course_lib.concepts import lora
from course_lib.errors import ModelError
from course_lib.model import loading, shapes


def make_pair(inputs, outputs, r, alpha, bias):
    """Our layer and peft's on the same base, with the same A and B."""
    torch.manual_seed(r * inputs + outputs)
    base = torch.nn.Linear(inputs, outputs, bias=bias)
    ours = lora.LoraLinear(base, r, alpha)
    config = LoraConfig(r=r, lora_alpha=alpha)
    theirs = PeftLinear(base, "default", r=r, lora_alpha=alpha, config=config)
    torch.nn.init.normal_(ours.lora_B)
    theirs.lora_A["default"].weight.data.copy_(ours.lora_A.data)
    theirs.lora_B["default"].weight.data.copy_(ours.lora_B.data)
    return ours, theirs


@pytest.fixture(params=[(64, 48, 8, 16, False), (7, 5, 3, 1, True), (256, 704, 64, 16, False)])
def pair(request):
    return make_pair(*request.param)


def test_outputs_and_gradients_are_pefts_to_the_last_bit(pair):
    ours, theirs = pair
    x = torch.randn(2, 11, ours.base.in_features, requires_grad=True)
    mine, other = ours(x), theirs(x)
    assert torch.equal(mine, other)
    direction = torch.randn_like(mine)
    weights = [theirs.lora_A["default"].weight, theirs.lora_B["default"].weight]
    my_gradients = torch.autograd.grad(mine, [ours.lora_A, ours.lora_B, x], direction)
    their_gradients = torch.autograd.grad(other, [*weights, x], direction)
    for my_gradient, their_gradient in zip(my_gradients, their_gradients, strict=True):
        assert torch.equal(my_gradient, their_gradient)


def test_the_merged_weight_is_pefts_to_the_last_bit(pair):
    ours, theirs = pair
    before = ours.base.weight.clone()
    merged = ours.merge()
    assert torch.equal(ours.base.weight, before)
    theirs.merge()  # changes the base, which they share
    assert torch.equal(merged.weight, theirs.get_base_layer().weight)
    assert not torch.equal(merged.weight, before)
    assert (merged.bias is None) == (ours.base.bias is None)


def test_a_layer_by_hand():
    base = torch.nn.Linear(2, 2, bias=False)
    base.weight.data = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    layer = lora.LoraLinear(base, r=1, lora_alpha=2)
    layer.lora_A.data = torch.tensor([[1.0, 1.0]])
    layer.lora_B.data = torch.tensor([[0.0], [3.0]])
    # A x = 5 + 7 = 12; B of that = (0, 36); times 2 / 1; plus x
    assert layer(torch.tensor([5.0, 7.0])).tolist() == [5, 79]
    assert layer.merge().weight.tolist() == [[1, 0], [6, 7]]
    change = lora.low_rank_change(torch.tensor([5.0, 7.0]), layer.lora_A, layer.lora_B, 2)
    assert change.tolist() == [0, 72]


def test_a_new_layer_changes_nothing_and_trains_only_a_and_b():
    torch.manual_seed(0)
    base = torch.nn.Linear(64, 32)
    layer = lora.LoraLinear(base, r=4, lora_alpha=8, lora_dropout=0.5)
    x = torch.randn(3, 64)
    assert torch.equal(layer(x), base(x))
    trained = [name for name, weight in layer.named_parameters() if weight.requires_grad]
    assert trained == ["lora_A", "lora_B"]
    largest = float(layer.lora_A.detach().abs().max())
    assert layer.lora_A.numel() + layer.lora_B.numel() == 4 * (64 + 32)
    assert 0.9 / 8 < largest <= 1 / 8  # uniform between -1 and 1, over the root of 64 inputs


def test_dropout_drops_the_change_in_training_only():
    torch.manual_seed(0)
    layer = lora.LoraLinear(torch.nn.Linear(64, 32), r=4, lora_alpha=8, lora_dropout=0.5)
    torch.nn.init.normal_(layer.lora_B)
    x = torch.randn(3, 64)
    assert not torch.equal(layer.train()(x), layer(x))
    assert torch.equal(layer.eval()(x), layer(x))


def test_pico_with_layers_by_hand_is_pico_with_peft():
    model = loading.load_model("pico-chat", 32)
    names = lora.add_lora(model, r=4, lora_alpha=8, target_modules=["q_proj", "down_proj"])
    peft_model = loading.attach_lora(
        loading.load_model("pico-chat", 32), 4, 8, 0.0, ["q_proj", "down_proj"]
    ).eval()
    torch.manual_seed(0)
    for name in names:
        ours, theirs = model.get_submodule(name), peft_model.base_model.model.get_submodule(name)
        torch.nn.init.normal_(ours.lora_B, std=0.05)
        theirs.lora_A["default"].weight.data.copy_(ours.lora_A.data)
        theirs.lora_B["default"].weight.data.copy_(ours.lora_B.data)
    ids = torch.arange(10, 40)[None]
    mine, other = model(input_ids=ids, labels=ids), peft_model(input_ids=ids, labels=ids)
    assert torch.equal(mine.logits, other.logits)
    mine.loss.backward()
    other.loss.backward()
    for name in names:
        ours, theirs = model.get_submodule(name), peft_model.base_model.model.get_submodule(name)
        assert torch.equal(ours.lora_A.grad, theirs.lora_A["default"].weight.grad)
        assert torch.equal(ours.lora_B.grad, theirs.lora_B["default"].weight.grad)
    assert loading.trainable_share(model) == loading.trainable_share(peft_model)


def test_trainable_weights_by_hand_and_as_peft_counts_them():
    shape = shapes.read_shape("pico-chat")
    lines = lora.tabulate_trainable(shape, [1, 8], [["q_proj"], "all-linear"])
    assert [(line.target_modules, line.r) for line in lines] == [
        *[(["q_proj"], 1), (["q_proj"], 8), ("all-linear", 1), ("all-linear", 8)]
    ]
    assert [line.trainable for line in lines[:2]] == [6 * (256 + 256), 6 * 8 * (256 + 256)]
    # in + out of queries, keys, values, output; gate, up, down
    each = 512 + 384 + 384 + 512 + 3 * 960
    assert lines[3].trainable == 6 * 8 * each
    model = loading.load_model("pico-chat", 32)
    assert len(lora.add_lora(model, r=8, lora_alpha=16)) == 6 * 7
    trainable, everything = loading.trainable_share(model)
    assert (lines[3].trainable, lines[3].share) == (trainable, trainable / everything)


def test_what_cannot_be_added_is_told(pico_model):
    layer = torch.nn.Linear(4, 4)
    with pytest.raises(ModelError, match="r is 0: the change would have no rank"):
        lora.LoraLinear(layer, 0, 16)
    with pytest.raises(ModelError, match=r"r is 1\.5"):
        lora.LoraLinear(layer, 1.5, 16)
    with pytest.raises(ModelError, match="lora_alpha is -1") as caught:
        lora.LoraLinear(layer, 8, -1)
    assert "16" in caught.value.next_step
    with pytest.raises(ModelError, match="lora_dropout is 1"):
        lora.LoraLinear(layer, 8, 16, 1)
    with pytest.raises(ModelError, match="r is -8"):
        lora.tabulate_trainable(shapes.read_shape("pico-chat"), [-8], ["all-linear"])
    with pytest.raises(ModelError, match="No layer is called wq"):
        lora.add_lora(pico_model, 8, 16, "wq")
