import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from course_lib.data.packing import Pack
from course_lib.errors import RunError
from course_lib.training import plan
from course_lib.training.config import TrainConfig
from course_lib.training.rows import TrainingData

PACK = Pack((5, 6, 7), (-100, 6, 7), (0, 1, 2), (3,))


def to_data(packs, **counts):
    usual = {"rows": packs, "row_tokens": 3 * packs, "loss_tokens": 2 * packs}
    return TrainingData([PACK] * packs, **usual | {"truncated_rows": 0, "dropped_rows": 0} | counts)


def make_plan(packs, **values):
    return plan.plan_run(TrainConfig(**values), to_data(packs))


@pytest.mark.parametrize(
    ("packs", "batch", "accumulation", "epochs", "max_steps", "per_epoch", "total"),
    [
        # worked out by hand: a last batch that is not full is a step as well
        (1, 4, 1, 1, None, 1, 1),
        (1, 4, 8, 3, None, 1, 3),
        (8, 4, 1, 3, None, 2, 6),
        (9, 4, 1, 3, None, 3, 9),
        (9, 4, 2, 3, None, 2, 6),
        (100, 4, 4, 2, None, 7, 14),  # 100 packs are 25 batches, those are 6.25 steps
        (100, 1, 1, 0.5, None, 100, 50),
        (5, 2, 1, 0.1, None, 3, 1),  # 0.3 steps: a run has at least one
        (8, 4, 1, 3, 5, 2, 5),
        (8, 4, 1, 3, 1000, 2, 1000),  # beyond the epochs: the data comes again
    ],
)
def test_steps_are_optimizer_steps_of_the_real_run(
    packs, batch, accumulation, epochs, max_steps, per_epoch, total
):
    made = make_plan(
        packs,
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=accumulation,
        num_train_epochs=epochs,
        max_steps=max_steps,
    )
    assert (made.steps_per_epoch, made.total_steps, made.packs) == (per_epoch, total, packs)


@pytest.mark.parametrize(
    ("total", "ratio", "steps", "warmup"),
    [
        # worked out by hand, rounded down: a short run must not spend itself on warm-up
        (100, 0.03, None, 3),
        (60, 0.03, None, 1),
        (33, 0.03, None, 0),
        (1, 0.99, None, 0),
        (2, 0.99, None, 1),
        (10, 0.5, None, 5),
        (10, 0.5, 2, 2),  # steps replace the ratio
        (10, 0.5, 0, 0),
    ],
)
def test_warm_up_is_counted_in_optimizer_steps(total, ratio, steps, warmup):
    made = make_plan(4, max_steps=total, warmup_ratio=ratio, warmup_steps=steps)
    assert made.warmup_steps == warmup
    assert made.peak_rate == 1e-3


@pytest.mark.parametrize(
    ("kind", "total", "warmup", "rates"),
    [
        # shares of the peak, worked out by hand
        ("linear", 5, 0, [1, 0.8, 0.6, 0.4, 0.2]),
        ("linear", 4, 2, [0, 0.5, 1, 0.5]),
        ("cosine", 4, 0, [1, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2]),
        ("cosine", 4, 2, [0, 0.5, 1, 0.5]),
        ("constant", 3, 0, [1, 1, 1]),
        ("constant", 3, 2, [1, 1, 1]),  # knows no warm-up
        ("constant_with_warmup", 4, 2, [0, 0.5, 1, 1]),
        ("cosine", 1, 0, [1]),
    ],
)
def test_the_rate_of_each_step(kind, total, warmup, rates):
    config = TrainConfig(lr_scheduler_type=kind, learning_rate=0.01)
    found = plan.learning_rates(config, total, warmup)
    assert found == pytest.approx([0.01 * share for share in rates])


@given(
    packs=st.integers(1, 60),
    epochs=st.floats(0.01, 20),
    ratio=st.floats(0, 1, exclude_max=True),
    batch=st.integers(1, 8),
    accumulation=st.integers(1, 8),
    kind=st.sampled_from(["cosine", "linear", "constant", "constant_with_warmup"]),
    rate=st.floats(1e-8, 1),
    max_steps=st.none() | st.integers(1, 300),
)
def test_with_a_ratio_every_run_reaches_its_peak_rate(
    packs, epochs, ratio, batch, accumulation, kind, rate, max_steps
):
    made = make_plan(
        packs,
        num_train_epochs=epochs,
        warmup_ratio=ratio,
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=accumulation,
        lr_scheduler_type=kind,
        learning_rate=rate,
        max_steps=max_steps,
    )
    assert made.peak_rate == pytest.approx(rate)
    assert made.warmup_steps < made.total_steps
    assert made.total_steps >= 1


@pytest.mark.parametrize(
    ("total", "warmup", "is_refused"),
    [
        (10, 9, False),  # the tenth step has the peak rate
        (10, 10, False),  # 9 / 10 of it
        (10, 11, True),
        (10, 1000, True),
        (1, 1, True),  # one step, at rate 0
        (3, 3, True),  # 2 / 3 of it
    ],
)
def test_a_warm_up_that_never_comes_near_the_rate_is_refused(total, warmup, is_refused):
    if not is_refused:
        make_plan(4, max_steps=total, warmup_steps=warmup)
        return
    match = rf"The run has {total} optimizer steps and {warmup} of warm-up: .* of 0\.001\."
    with pytest.raises(RunError, match=match) as caught:
        make_plan(4, max_steps=total, warmup_steps=warmup)
    assert caught.value.next_step.startswith("Lower warmup_steps")


def test_a_stock_warm_up_on_a_small_data_set_is_refused():
    """The run would use 2 / 100,000 of its rate at most: nothing is learned, nothing is said."""
    with pytest.raises(RunError, match=r"never passes 4e-09 of 0\.0002"):
        make_plan(100, max_steps=3, warmup_steps=100_000, learning_rate=2e-4)


@pytest.mark.parametrize(
    ("total", "counts", "expected"),
    [
        (10, {}, []),
        (9, {}, ["9 optimizer steps in all: too few to change an answer."]),
        (
            10,
            {"rows": 8, "truncated_rows": 2},
            ["2 of 8 rows (25%) are cut at 64 tokens: raise max_length to keep them whole."],
        ),
        (
            10,
            {"split_rows": 3},
            [
                "packing: cut splits 3 rows and lets rows see each other: "
                "it is there for comparison, use best_fit."
            ],
        ),
        (10, {"dropped_rows": 3}, ["3 rows are left out: cut before their first answer token."]),
    ],
)
def test_what_a_learner_should_know_before_the_start_is_said(total, counts, expected):
    packing = "cut" if "split_rows" in counts else "best_fit"
    config = TrainConfig(max_steps=total, max_length=64, packing=packing)
    assert list(plan.plan_run(config, to_data(4, **counts)).warnings) == expected


def test_a_plan_repeats_the_counts_of_its_data_as_plain_values():
    config = TrainConfig(save_every_epochs=2, warmup_ratio=0)
    data = to_data(9, rows=20, row_tokens=50, loss_tokens=30, truncated_rows=1, dropped_rows=2)
    values = plan.plan_run(config, data).as_dict()
    values.pop("warnings")
    assert values == {
        "rows": 20,
        "packs": 9,
        "tokens": 50,
        "loss_tokens": 30,
        "truncated_rows": 1,
        "dropped_rows": 2,
        "nproc": 1,
        "packs_per_step": 4,
        "steps_per_epoch": 3,
        "total_steps": 9,
        "warmup_steps": 0,
        "save_steps": 6,
        "peak_rate": 1e-3,
    }


@pytest.mark.parametrize(
    ("packs", "nproc", "steps", "repeated"),
    [
        # 2 packs in a process's batch: 4 or 6 in a micro step
        (8, 1, 4, 0),
        (9, 1, 5, 0),  # one process takes a smaller last batch
        (8, 2, 2, 0),
        (9, 2, 3, 3),
        (9, 3, 2, 3),
        (3, 2, 1, 1),
    ],
)
def test_processes_share_an_epoch_and_take_packs_twice_to_have_as_many(
    packs, nproc, steps, repeated
):
    config = TrainConfig(per_device_train_batch_size=2, warmup_steps=0, num_train_epochs=1)
    made = plan.plan_run(config, to_data(packs), nproc)
    assert (made.packs_per_step, made.total_steps) == (2 * nproc, steps)
    said = [warning for warning in made.warnings if "twice" in warning]
    expected = f"Packs used twice in an epoch, so that each process has as many to do: {repeated}."
    assert said == ([expected] if repeated else [])
