"""Small InternLM checkpoints in the layout of the published ones, and what they compute.

The forward pass here is written from the published description with plain tensors; it shares no
code with transformers or with course_lib.
"""

import json
import math

import torch
from safetensors.torch import save_file

HIDDEN, WIDE, LAYERS, HEADS, GROUPS, VOCABULARY, LENGTH = 32, 48, 2, 4, 2, 64, 16

INTERNLM = {
    "model_type": "internlm",
    "architectures": ["InternLMForCausalLM"],
    "auto_map": {"AutoModelForCausalLM": "modeling_internlm.InternLMForCausalLM"},
    "bias": True,
    "rotary": {"base": 10000, "type": "dynamic"},
    "rms_norm_eps": 1e-6,
}
INTERNLM2 = {
    "model_type": "internlm2",
    "architectures": ["InternLM2ForCausalLM"],
    "auto_map": {"AutoModelForCausalLM": "modeling_internlm2.InternLM2ForCausalLM"},
    "bias": False,
    "num_key_value_heads": GROUPS,
    "rope_scaling": {"type": "dynamic", "factor": 2.0},
    "rope_theta": 1000000,
    "rms_norm_eps": 1e-5,
    "attn_implementation": "eager",
}
INTERNLM3 = {
    "model_type": "internlm3",
    "architectures": ["InternLM3ForCausalLM"],
    "auto_map": {"AutoModelForCausalLM": "modeling_internlm3.InternLM3ForCausalLM"},
    "bias": False,
    "qkv_bias": False,
    "head_dim": 16,
    "num_key_value_heads": GROUPS,
    "rope_scaling": {"rope_type": "dynamic", "factor": 6.0},
    "rope_theta": 50000000,
    "rms_norm_eps": 1e-5,
}
SIZES = {
    "hidden_act": "silu",
    "hidden_size": HIDDEN,
    "intermediate_size": WIDE,
    "max_position_embeddings": LENGTH,
    "num_attention_heads": HEADS,
    "num_hidden_layers": LAYERS,
    "tie_word_embeddings": False,
    "torch_dtype": "float32",
    "vocab_size": VOCABULARY,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 2,
}


def config_of(family, **changes):
    return {**SIZES, **family, **changes}


def tensors_of(config, seed=0):
    """Random weights under the published names, in the published shapes."""
    hidden, wide = config["hidden_size"], config["intermediate_size"]
    heads = config["num_attention_heads"]
    groups = config.get("num_key_value_heads", heads)
    width = config.get("head_dim", hidden // heads)
    is_2 = config["model_type"] == "internlm2"
    shapes = {
        "model.tok_embeddings.weight" if is_2 else "model.embed_tokens.weight": (-1, hidden),
        "output.weight" if is_2 else "lm_head.weight": (-1, hidden),
        "model.norm.weight": (hidden,),
    }
    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}."
        if is_2:
            rows = {"attention.wqkv": (heads + 2 * groups) * width, "attention.wo": hidden}
            columns = {"attention.wqkv": hidden, "attention.wo": heads * width}
            mlp, norms = ("w1", "w3", "w2"), ("attention_norm", "ffn_norm")
            mlp = [f"feed_forward.{name}" for name in mlp]
            biased = {"attention.wqkv": config["bias"], "attention.wo": config["bias"]}
        else:
            names = [f"self_attn.{name}_proj" for name in "qkvo"]
            sizes = (heads * width, groups * width, groups * width, hidden)
            rows = dict(zip(names, sizes, strict=True))
            columns = dict(zip(names, (hidden, hidden, hidden, heads * width), strict=True))
            mlp = [f"mlp.{name}_proj" for name in ("gate", "up", "down")]
            norms = ("input_layernorm", "post_attention_layernorm")
            biased = dict.fromkeys(names[:3], config.get("qkv_bias", config["bias"]))
            biased[names[3]] = config["bias"]
            if config["model_type"] == "internlm3":
                biased |= dict.fromkeys(mlp, config["bias"])
        rows |= {mlp[0]: wide, mlp[1]: wide, mlp[2]: hidden}
        columns |= {mlp[0]: hidden, mlp[1]: hidden, mlp[2]: wide}
        for name in rows:
            shapes[f"{at}{name}.weight"] = (rows[name], columns[name])
            if biased.get(name):
                shapes[f"{at}{name}.bias"] = (rows[name],)
        shapes |= {f"{at}{name}.weight": (hidden,) for name in norms}
    random = torch.Generator().manual_seed(seed)
    made = {}
    for name, shape in shapes.items():
        shape = [config["vocab_size"] if size == -1 else size for size in shape]
        noise = torch.randn(shape, generator=random)
        made[name] = 1 + 0.1 * noise if "norm" in name else noise / math.sqrt(shape[-1])
    return made


def write(folder, config, tensors, kind="safetensors", shards=1):
    """Write a checkpoint as published: shards in order, and their index with the sum of bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    single, stem = {
        "safetensors": ("model.safetensors", "model"),
        "bin": ("pytorch_model.bin", "pytorch_model"),
    }[kind]
    save = save_file if kind == "safetensors" else torch.save
    if shards == 1:
        save(tensors, folder / single)
        return folder
    names, weight_map = list(tensors), {}
    for number in range(shards):
        file = f"{stem}-{number + 1:05d}-of-{shards:05d}.{kind}"
        first, end = (len(names) * n // shards for n in (number, number + 1))
        part = {name: tensors[name] for name in names[first:end]}
        weight_map |= dict.fromkeys(part, file)
        save(part, folder / file)
    total = sum(tensor.nbytes for tensor in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / f"{single}.index.json").write_text(json.dumps(index), "utf-8")
    return folder


# --- the model, by hand ---


def logits_of(config, tensors, ids):
    """Logits of one text, (tokens, vocabulary)."""
    is_2 = config["model_type"] == "internlm2"
    eps = config["rms_norm_eps"]
    x = tensors["model.tok_embeddings.weight" if is_2 else "model.embed_tokens.weight"][ids]
    for layer in range(config["num_hidden_layers"]):
        t = {
            name.removeprefix(f"model.layers.{layer}."): tensor
            for name, tensor in tensors.items()
            if name.startswith(f"model.layers.{layer}.")
        }
        before, after = (
            ("attention_norm", "ffn_norm")
            if is_2
            else ("input_layernorm", "post_attention_layernorm")
        )
        x = x + attend(config, t, norm(x, t[f"{before}.weight"], eps))
        h = norm(x, t[f"{after}.weight"], eps)
        gate, up, down = (
            [f"feed_forward.{n}" for n in ("w1", "w3", "w2")]
            if is_2
            else [f"mlp.{n}_proj" for n in ("gate", "up", "down")]
        )
        g = linear(t, gate, h)
        x = x + linear(t, down, g / (1 + torch.exp(-g)) * linear(t, up, h))
    x = norm(x, tensors["model.norm.weight"], eps)
    return x @ tensors["output.weight" if is_2 else "lm_head.weight"].T


def linear(tensors, name, x):
    y = x @ tensors[f"{name}.weight"].T
    return y + tensors[f"{name}.bias"] if f"{name}.bias" in tensors else y


def norm(x, weight, eps):
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps) * weight


def attend(config, t, x):
    heads = config["num_attention_heads"]
    groups = config.get("num_key_value_heads", heads)
    width = config.get("head_dim", config["hidden_size"] // heads)
    each = heads // groups
    if config["model_type"] == "internlm2":
        # for each key-value head: its queries, its key, its value
        fused = linear(t, "attention.wqkv", x).reshape(len(x), groups, each + 2, width)
        q = fused[:, :, :each].reshape(len(x), heads, width)
        k, v = fused[:, :, each], fused[:, :, each + 1]
    else:
        q, k, v = (linear(t, f"self_attn.{n}_proj", x).reshape(len(x), -1, width) for n in "qkv")
    q, k = turn(config, q), turn(config, k)
    out = torch.empty_like(q)
    causal = torch.full((len(x), len(x)), float("-inf")).triu(1)
    for head in range(heads):
        scores = q[:, head] @ k[:, head // each].T / math.sqrt(width) + causal
        out[:, head] = torch.softmax(scores, -1) @ v[:, head // each]
    name = "attention.wo" if config["model_type"] == "internlm2" else "self_attn.o_proj"
    return linear(t, name, out.reshape(len(x), -1))


def turn(config, x):
    """Rotary positions; beyond the trained length the base grows (dynamic NTK)."""
    tokens, _, width = x.shape
    rotary = config.get("rotary") or {}
    base = config.get("rope_theta", rotary.get("base", 10000))
    scaling = config.get("rope_scaling", rotary) or {}
    kind = scaling.get("rope_type", scaling.get("type"))
    factor, length = scaling.get("factor", 1.0), config["max_position_embeddings"]
    places = torch.arange(tokens, dtype=torch.float32)
    if kind == "dynamic" and tokens > length:
        base *= (factor * tokens / length - (factor - 1)) ** (width / (width - 2))
    if kind == "linear":
        places = places / factor
    angles = places[:, None] * base ** -(torch.arange(0, width, 2) / width)
    cos, sin = (f(torch.cat([angles, angles], -1))[:, None] for f in (torch.cos, torch.sin))
    half = width // 2
    return x * cos + torch.cat([-x[..., half:], x[..., :half]], -1) * sin
