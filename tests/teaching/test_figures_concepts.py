"""What lesson 01's figures show, and what they refuse."""

import pytest
import torch

from course_lib.errors import DataError, ModelError, UnknownNameError
from course_lib.teaching import figures_concepts

ALL = torch.ones(3, 3, dtype=torch.bool).tril()
APART = torch.tensor([[1, 0, 0], [1, 1, 0], [0, 0, 1]], dtype=torch.bool)


def test_what_another_row_shows_has_a_color_of_its_own():
    made = figures_concepts.visibility({"one line": ALL, "packed": APART}, [2, 1])
    assert [axes.get_title() for axes in made.axes] == ["one line", "packed"]
    pictures = [axes.images[0].get_array() for axes in made.axes]
    own, other = figures_concepts._rgba("#2a9d8f"), figures_concepts._rgba("#d1495b")
    assert pictures[0][1][0].tolist() == pytest.approx(own)
    assert pictures[0][2][0].tolist() == pytest.approx(other)
    assert pictures[0][0][1][3] == 0  # what is not seen is transparent
    assert pictures[1][2][0][3] == 0
    assert made._repr_png_()[:4] == b"\x89PNG"


@pytest.mark.parametrize("lengths", [[2, 2], [], [3, 0], [4, -1]])
def test_lengths_must_be_those_of_the_tokens(lengths):
    with pytest.raises(DataError, match="do not fit"):
        figures_concepts.visibility({"one": ALL}, lengths)


def test_no_panel_is_refused():
    with pytest.raises(DataError, match="none"):
        figures_concepts.visibility({}, [3])


def test_each_code_book_gets_a_line_of_marks():
    weights = torch.randn(256, generator=torch.Generator().manual_seed(0))
    made = figures_concepts.code_books(weights, ["nf4", "int4"])
    (axes,) = made.axes
    assert [len(line.get_xdata()) for line in axes.lines] == [16, 15]
    assert [text.get_text() for text in axes.texts] == ["nf4", "int4"]
    assert max(bar.get_height() for bar in axes.patches) == 1
    assert made._repr_png_()[:4] == b"\x89PNG"


def test_unknown_code_books_and_weights_that_are_none_are_refused():
    with pytest.raises(UnknownNameError, match="int5"):
        figures_concepts.code_books(torch.randn(64), ["int5"])
    with pytest.raises(DataError, match="No code book"):
        figures_concepts.code_books(torch.randn(64), [])
    with pytest.raises(ModelError, match="holds nothing"):
        figures_concepts.code_books(torch.randn(0))
