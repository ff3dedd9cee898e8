import pytest

from course_lib.errors import DataError
from course_lib.teaching import figures

RECORDS = [
    {"step": 0, "validation": 0.0, "retained": 1.0, "near": 0.0},
    {"step": 13, "validation": 0.9, "retained": 0.95, "near": 0.4},
]


def test_a_curve_draws_each_measure_in_percent_over_steps():
    axes = figures.checkpoint_curve(RECORDS).axes[0]
    drawn = {
        line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines
    }
    assert drawn == {
        "validation": ([0, 13], [0.0, 90.0]),
        "retained": ([0, 13], [100.0, 95.0]),
    }


def test_a_notebook_shows_the_picture_itself():
    assert figures.checkpoint_curve(RECORDS)._repr_png_().startswith(b"\x89PNG")


def test_a_loss_curve_draws_the_logged_losses_and_the_held_out_ones():
    log = [{"event": "begin", "step": 0}, {"step": 5, "loss": 3.0}, {"step": 10, "loss": 1.5}]
    axes = figures.loss_curve(log, [{"step": 0, "loss": 4.0}, {"step": 10, "loss": 2.0}]).axes[0]
    drawn = {
        line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines
    }
    assert drawn == {"training": ([5, 10], [3.0, 1.5]), "held out": ([0, 10], [4.0, 2.0])}
    assert axes.get_ylim() == pytest.approx((0, 4.2))
    assert [line.get_label() for line in figures.loss_curve(log).axes[0].lines] == ["training"]


def test_bars_stand_in_groups_with_the_recipes_names_below():
    rows = [{"recipe": name, **RECORDS[1]} for name in ("copied", "repaired")]
    axes = figures.recipe_bars(rows, ("validation", "near")).axes[0]
    assert [round(bar.get_height()) for bar in axes.patches] == [90, 90, 40, 40]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["copied", "repaired"]


@pytest.mark.parametrize(
    "draw", [figures.checkpoint_curve, figures.recipe_bars, figures.loss_curve]
)
def test_nothing_to_draw_is_said(draw):
    with pytest.raises(DataError, match="no scores"):
        draw([])


def test_a_missing_measure_is_named_with_its_row():
    with pytest.raises(DataError, match="Row 2 has no parrot"):
        figures.checkpoint_curve(
            [{"step": 0, "parrot": 0.0}, {"step": 1, "parrot": None}], ("parrot",)
        )
