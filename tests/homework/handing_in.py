"""A learner's notebook and run to hand in, for tests; the run is the solution's, trained once."""

import json
from pathlib import Path

import nbformat
from nbformat import v4

from course_lib.homework import adapter_file, bundle, lessons, submit, trained
from course_lib.model import loading
from tests.homework import answers

LESSON = "04_personal_assistant"
RECIPE = "assistant_recipe"


def names() -> dict:
    """What the solution's cells define."""
    return answers.notebook_names(lessons.SOLUTIONS_DIR / LESSON / lessons.NOTEBOOK_NAME)


def trained_run() -> Path:
    """The run of the solution's recipe."""
    return trained.train_recipe(RECIPE, names())


def write_notebook(path: Path, outputs=(), sources=(), lesson: str = LESSON) -> Path:
    """The right answers in a file, with a cell that printed something, and cells of one's own."""
    book = answers.handed_in(lesson, {}, sources)
    cell = v4.new_code_cell("print('seen')", id="printed")
    cell.outputs = [v4.new_output("stream", name="stdout", text=text) for text in outputs]
    book.cells.append(cell)
    path.write_text(nbformat.writes(book), "utf-8")
    return path


def honest_bundle(folder: Path) -> bytes:
    """What `submit` makes of the right answers and their run."""
    found = submit.gather(LESSON, write_notebook(folder / "mine.ipynb"), trained_run())
    assert (found.missing, found.wrong) == ([], [])
    return bundle.pack(found.files, found.about)


def repacked(data: bytes, files=(), about=(), run=()) -> bytes:
    """A bundle with other files, other words in its manifest or in what that says of the run."""
    read = bundle.read(data)
    kept = {n: d for n, d in {**read.files, **dict(files)}.items() if d is not None}
    kept.pop(bundle.MANIFEST)
    said = {k: v for k, v in read.about.items() if k not in ("files", "tunebook_bundle")}
    said = {**said, **dict(about)}
    if "run" in said:
        said["run"] = {**said["run"], **dict(run)}
    return bundle.pack(kept, said)


def weights(tensors: dict, metadata=None, extra=b"") -> bytes:
    """A safetensors file of zeros: name -> (dtype, shape), or bytes for the dtype's numbers."""
    header, body = {}, b""
    for name, (dtype, shape, *content) in tensors.items():
        count = 1
        for size in shape:
            count *= size
        data = content[0] if content else bytes(count * adapter_file.SIZES.get(dtype, 8))
        offsets = [len(body), len(body) + len(data)]
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": offsets}
        body += data
    if metadata is not None:
        header["__metadata__"] = metadata
    text = json.dumps(header).encode("utf-8")
    return len(text).to_bytes(8, "little") + text + body + extra


def pico_shapes() -> dict:
    """The layers of the course's built-in model that can have an adapter."""
    return adapter_file.base_shapes(Path(loading.resolve_model("pico-chat")))
