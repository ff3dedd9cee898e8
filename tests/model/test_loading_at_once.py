"""Two panels in one cell load their weights at the same time."""

from concurrent.futures import ThreadPoolExecutor

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from course_lib.model import loading, shapes


def test_models_that_are_loaded_at_once_are_whole_and_leave_torch_as_it_was(monkeypatch):
    before = (PreTrainedModel.tie_weights, torch.get_default_dtype(), torch.linspace)
    real, at_work, most = AutoModelForCausalLM.from_pretrained, [], []

    def from_pretrained(*args, **options):
        at_work.append(1)
        most.append(len(at_work))
        try:
            return real(*args, **options)
        finally:
            at_work.pop()

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", from_pretrained)
    config = loading.read_config("pico-chat")
    with ThreadPoolExecutor(5) as pool:
        counted = [pool.submit(shapes.config_shape, config) for _ in range(8)]  # as the editor does
        models = list(pool.map(lambda bits: loading.load_model("pico-chat", bits), [16, 4, 32, 4]))
    assert len({shape.result() for shape in counted}) == 1
    assert max(most) == 1
    assert (PreTrainedModel.tie_weights, torch.get_default_dtype(), torch.linspace) == before
    for model in models:
        tied = model.get_output_embeddings().weight
        assert tied.data_ptr() == model.get_input_embeddings().weight.data_ptr()
