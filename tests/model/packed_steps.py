"""What the tests of faster training steps share: a batch of packs, a model, attention by hand."""

import torch
import torch.nn.functional as F  # noqa: N812

from course_lib.model import loading


def rows_apart(query, key, value, starts, _, *lengths, scale, window_size, enable_gqa):
    """Flash attention with row boundaries, by hand: each row on its own."""
    assert window_size == (-1, 0)
    out = torch.empty_like(query)
    for start, end in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        row = [s[start:end].transpose(0, 1) for s in (query, key, value)]
        done = F.scaled_dot_product_attention(
            *row, is_causal=True, scale=scale, enable_gqa=enable_gqa
        )
        out = out.index_copy(0, torch.arange(start, end), done.transpose(0, 1))
    return out


def two_packs():
    """Two packs; in each, a row of 7 tokens and one of 9, whose first label has no loss."""
    torch.manual_seed(0)
    ids = torch.randint(5, 900, (2, 16))
    labels = ids.clone()
    labels[:, [0, 1, 2, 7, 8]] = -100
    positions = torch.cat([torch.arange(7), torch.arange(9)]).expand(2, -1)
    return {"input_ids": ids, "labels": labels, "position_ids": positions}


def adapted(bits=32, **lora):
    model = loading.load_model("pico-chat", bits)
    torch.manual_seed(0)
    peft_model = loading.attach_lora(model, 4, 8, **lora).train()
    for weight in peft_model.parameters():
        if weight.requires_grad:  # B starts at 0, and then A would have no gradient
            torch.nn.init.normal_(weight, 0, 0.02)
    return peft_model
