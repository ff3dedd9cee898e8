import base64
import re
import xml.etree.ElementTree as ElementTree

import pytest

from course_lib.widgets import curves
from tests.widgets import hostile


def places(page):
    return [re.findall(r"([\d.]+),([\d.]+)", p) for p in re.findall(r'points="([^"]*)"', page)]


def test_the_first_point_is_left_the_highest_one_on_top():
    ((first, middle, last),) = places(curves.curve({"loss": [(0, 4.0), (5, 2.0), (10, 3.0)]}, "x"))
    # by hand: 64 to 368 from left to right, 22 to 128 from top to bottom
    assert (first, middle, last) == (("64.0", "22.0"), ("216.0", "128.0"), ("368.0", "75.0"))


def test_a_single_point_and_a_level_line_have_a_place():
    assert places(curves.curve({"loss": [(3, 1.0)]}, "x")) == [[("216.0", "75.0")]]
    assert places(curves.curve({"loss": [(0, 1.0), (1, 1.0)]}, "x"))[0][1] == ("368.0", "75.0")


def test_a_screen_reader_hears_the_ends_of_each_line():
    page = curves.curve({"target": [(0, 0), (20, 75)], "retention": [(0, 100)]}, "percent")
    assert (
        'aria-label="percent. target: 0 at step 0, 75 at step 20. '
        'retention: 100 at step 0, 100 at step 0"'
    ) in page
    assert hostile.look(page)[1] == []


def test_two_lines_differ_in_more_than_colour():
    page = curves.curve({"a": [(0, 1), (1, 2)], "b": [(0, 2), (1, 1)]}, "x")
    dashes = re.findall(r'<polyline[^>]*stroke-dasharray="([^"]*)"', page)
    assert len(set(dashes)) == 2


@pytest.mark.parametrize("lines", [{}, {"loss": []}, {"loss": [(1, float("nan"))]}])
def test_nothing_to_draw_is_said(lines):
    assert "nothing yet" in curves.curve(lines, "loss")


def test_values_that_are_no_numbers_are_left_out_and_counted():
    page = curves.curve({"loss": [(0, 1.0), (1, float("nan")), (2, float("inf"))]}, "loss")
    assert "loss (2 values are no numbers)" in page
    assert len(places(page)[0]) == 1


def test_a_long_line_is_thinned_and_keeps_its_ends():
    points = [(step, float(step)) for step in range(10_001)]
    (drawn,) = places(curves.curve({"loss": points}, "loss"))
    assert len(drawn) <= curves.MOST_POINTS + 1
    assert (drawn[0][0], drawn[-1][0]) == ("64.0", "368.0")


def test_a_label_is_escaped():
    assert hostile.look(curves.curve({"<b>": [(0, 1)]}, "<script>"))[1] == []


def test_a_picture_stands_for_itself_and_says_the_same():
    drawn = curves.curve({"loss": [(0, 4.0), (5, 2.0)]}, "Loss & rate")
    page = curves.as_pictures(f"<p>before</p>{drawn}<p>after</p>")
    assert page.startswith(
        '<p>before</p><img alt="Loss &amp; rate. loss: 4 at step 0, 2 at step 5"'
    )
    assert page.endswith("<p>after</p>")
    code = re.search(r'src="data:image/svg\+xml;base64,([^"]+)"', page)[1]
    picture = ElementTree.fromstring(base64.b64decode(code))  # well formed, as a browser wants it
    assert picture.tag == "{http://www.w3.org/2000/svg}svg"
    assert picture.get("width") == "380"
    assert b"currentColor" not in base64.b64decode(code)  # there is no text around it
    assert hostile.look(page)[1] == []
