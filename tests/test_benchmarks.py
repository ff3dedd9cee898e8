"""Benchmarks run in their smallest setting, so that they cannot rot; nothing here is timed."""

import json

import pytest
import torch

from benchmarks import (
    data_engine,
    first_token,
    imports,
    lesson_04,
    memory,
    report,
    step_time,
    stepclock,
)


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_the_parts_of_a_step_add_up_to_the_step(one_thread, capsys):
    step_time.main(["--repeats", "1", "--steps", "2", "--no-trl", "--json"])
    result = json.loads(capsys.readouterr().out)
    assert (result["steps"], result["repeats"]) == (2, 1)
    ours = result["arms"][step_time.OURS]
    for measure in step_time.MEASURES:
        parts = ours[measure]
        # one timed step: each median is its own number, rounded to 0.01 ms
        assert sum(parts[p] for p in stepclock.PARTS) == pytest.approx(parts["step"], abs=0.1)
        assert min(parts["forward"], parts["backward"], parts["optimizer"]) > 0
    assert min(ours["first_loss"], ours["last_loss"]) > 0  # two batches, so either may be lower


def test_memory_is_estimated_beside_each_measured_run(monkeypatch, capsys):
    monkeypatch.setattr(memory, "PICO", {"LoRA": memory.Setting("lora", 16, bits=32, r=8)})
    memory.main([])
    shown = capsys.readouterr().out
    measured = shown.count("| llama_7b, ") + shown.count("| internlm2_1_8b, ")
    assert measured == 16 + len(memory.own_rows())
    assert shown.count("| LoRA") == 1
    assert shown.count("Largest error: ") == 3


def test_ratios_are_taken_within_each_repeat():
    # by hand: 2/4 and 30/20 in the two repeats, so 0.5 and 1.5; the first step never counts
    mine = [clock_of(99, 2), clock_of(99, 30)]
    other = [clock_of(1, 4), clock_of(1, 20)]
    expected = {"median": 1.0, "min": 0.5, "max": 1.5}
    assert step_time._ratio(mine, other, 0) == expected


def clock_of(*steps_s):
    return stepclock.StepClock(steps=[{"step": (s, s)} for s in steps_s])


def test_a_share_that_was_not_scored_shows_as_a_dash():
    shares = {"seen": 1.0, "unseen": 0.96, "near": 0.0, "retained": 0.9, "parrot": None}
    scores = {**dict.fromkeys(lesson_04.LANGUAGES, shares), "n": {"seen": 2}}
    seconds = dict.fromkeys(lesson_04.SECONDS, 1.0)
    run = {"seed": 0, "steps": 39, "best_step": 26, **seconds, "best": scores, "last": scores}
    result = lesson_04.summary(scores, [run])
    assert (result["lowest_unseen"], result["lowest_retained_over_base"]) == (0.96, 1.0)
    rows = [line.split("|")[1:-1] for line in lesson_04.text(result).splitlines()]
    shown = {row[0].strip(): [cell.strip() for cell in row[1:]] for row in rows if row}
    expected = ["1.00 (1.00, 1.00)", "0.96 (0.96, 0.96)", "0.00 (0.00, 0.00)", "0.90 (0.90, 0.90)"]
    for name in ("base", "seed 0, best: step 26", "seed 0, last: step 39"):
        assert shown[name] == [*expected, "- (-, -)"]


def test_the_data_engine_is_measured_in_fresh_processes_beside_the_tokenizer_alone(capsys):
    data_engine.main(["--rows", "60", "--repeats", "1", "--no-trl", "--json"])
    (size,) = json.loads(capsys.readouterr().out)["sizes"]
    ours, floor = size["arms"][data_engine.OURS], size["arms"][data_engine.FLOOR]
    assert set(size["arms"]) == {data_engine.OURS, data_engine.FLOOR, data_engine.WHOLE}
    assert ours["tokens"] > floor["tokens"] > 0  # the marks of the template
    assert min(ours["cpu_s"], floor["cpu_s"], ours["peak_mib"]) > 0
    assert size["ours_over"][data_engine.FLOOR] == pytest.approx(
        ours["cpu_s"] / floor["cpu_s"], rel=0.2
    )


def test_generated_rows_are_the_same_each_time(tmp_path):
    for name in ("a", "b"):
        data_engine.write_rows(tmp_path / name, 50)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    turns = [len(json.loads(line)["messages"]) for line in (tmp_path / "a").open("rb")]
    assert (min(turns), max(turns) > 4) == (2, True)


def test_importing_the_data_modules_is_measured_in_fresh_processes():
    assert "course_lib.data.masking" in imports.data_modules()
    assert imports.import_s(["course_lib.data.packing"]) > 0


def test_the_first_words_of_each_arm_are_waited_for(one_thread, capsys):
    first_token.main(["--repeats", "1", "--json"])
    seconds = json.loads(capsys.readouterr().out)["median_s"]
    assert list(seconds) == [
        f"{arm}, {bits} bits" for bits in (16, 4) for arm in ("base", "tuned")
    ] + [first_token.COLD]
    assert min(seconds.values()) > 0


def test_a_table_is_markdown_with_numbers_on_the_right():
    rows = [("part", "ms"), ("data", "1.0")]
    assert report.markdown(rows).splitlines() == [
        "| part | ms  |",
        "| ---- | --: |",
        "| data | 1.0 |",
    ]
