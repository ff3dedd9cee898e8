import csv
import datetime
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib import files
from course_lib.chat import basic_tools, calculator, local_search, units
from course_lib.errors import DataError

NOON = datetime.datetime(2026, 11, 21, 12, 5, tzinfo=datetime.timezone.utc)
CLOCK = basic_tools.clock_tool(lambda: NOON)
CALENDAR = basic_tools.calendar_tool(lambda: NOON)
CONVERT = basic_tools.convert_tool()


# worked out by hand
@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("12 * 7", "84"),
        ("12 x 7", "84"),
        ("12×7", "84"),
        ("84 ÷ 7 =", "12"),
        ("１２＋３", "15"),
        ("（1+2）*3", "9"),
        ("7 / 2", "3.5"),
        ("7 // 2", "3"),
        ("7 % 4", "3"),
        ("-3 + +5", "2"),
        ("0.1 + 0.2", "0.3"),
        ("1/3", "0.333333333333"),
        ("2^10", "1024"),
        ("2**-1", "0.5"),
        ("9**(1/2)", "3"),
        ("sqrt(16) + max(1, 2)", "6"),
        ("10**20", "100000000000000000000"),
        ("10**20 / 10**18", "100"),
        ("1e300", "1e+300"),
        ("round(2.567, 1)", "2.6"),
    ],
)
def test_the_calculator_calculates(expression, result):
    assert calculator.calculate(expression) == result


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("", "empty"),
        ("1 / 0", "division by zero"),
        ("1 % 0", "division by zero"),
        ("9**9**9", "too large"),
        ("10**10**10", "too large"),
        ("-9**9**9", "too large"),
        ("(10**500)**500", "too large"),
        ("10**500*10**500", "too large"),
        ("2.0**10000", "too large"),
        ("1e308*10", "no number"),
        ("(-1)**0.5", "only numbers"),
        ("'a' * 10", "only numbers"),
        ("True", "only numbers"),
        ("max()", "no calculation"),
        ("1 +", "no calculation"),
        ("two plus two", "no calculation"),
        ("x", "no calculation"),
        ("1; 2", "no calculation"),
        ("1 if 1 else 2", "no calculation"),
        ("[1] * 10", "no calculation"),
        ("().__class__", "no calculation"),
        ("__import__('os').system('ls')", "no calculation"),
        ("open('x')", "no calculation"),
        ("lambda: 1", "no calculation"),
        ("f'{1}'", "no calculation"),
        ("(a := 3)", "no calculation"),
        ("log(0)", "math domain error|positive"),
        ("1" * 201, "more than 200 characters"),
        ("(" * 150, "no calculation"),
        ("1+" * 99 + "\x00", "no calculation"),
    ],
)
def test_what_the_calculator_will_not_do_is_said_at_once(expression, problem):
    start = time.monotonic()
    with pytest.raises(ValueError, match=problem) as found:
        calculator.calculate(expression)
    assert time.monotonic() - start < 2
    assert len(str(found.value)) < 300


@settings(max_examples=200)
@given(st.text("0123456789.+-*/()^ e%x", max_size=40))
def test_any_expression_gives_a_number_or_a_reason(expression):
    try:
        result = calculator.calculate(expression)
    except ValueError:
        return
    float(result)


@pytest.mark.parametrize(
    ("place", "shown"),
    [
        ("Paris", "13:05"),
        ("tokyo ", "21:05"),
        ("巴黎", "13:05"),
        ("New  York", "07:05"),
        ("Asia/Tokyo", "21:05"),
        ("UTC", "12:05"),
        ("New Delhi", "17:35"),
    ],
)
def test_the_clock_knows_cities_in_two_languages(place, shown):
    assert CLOCK.run({"place": place}).text == shown


@pytest.mark.parametrize("place", ["Atlantis", "", "../etc/passwd", "x" * 5_000, "\x00", "/etc"])
def test_a_place_without_a_time_is_said(place):
    result = CLOCK.run({"place": place})
    assert result.is_error
    assert result.text.startswith("error: there is no city called")
    assert len(result.text) < 250


def test_every_capital_of_the_world_table_has_a_time():
    with (files.DATA_DIR / "world" / "countries.csv").open(encoding="utf-8") as table:
        for row in csv.DictReader(table):
            zones = {basic_tools.find_zone(row[f"capital_{side}"]).key for side in ("en", "zh")}
            assert len(zones) == 1


# worked out by hand
@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"date": "today"}, "2026-11-21 Saturday"),
        ({"date": "今天", "add_days": 1}, "2026-11-22 Sunday"),
        ({"date": "2028-02-28", "add_days": 1}, "2028-02-29 Tuesday"),
        ({"date": "2026-01-01", "add_days": -1}, "2025-12-31 Wednesday"),
    ],
)
def test_the_calendar_counts_days(arguments, text):
    assert CALENDAR.run(arguments).text == text


@pytest.mark.parametrize(
    "arguments",
    [
        {"date": "2026-02-29"},
        {"date": "soon"},
        {"date": "20260531"},
        {"date": "2026-W22"},
        {"date": ""},
        {"date": "9999-12-31", "add_days": 1},
        {"date": "2026-01-01", "add_days": 10**40},
    ],
)
def test_a_day_that_is_none_is_said(arguments):
    assert CALENDAR.run(arguments).text.startswith("error: ")


# worked out by hand from the definitions
@pytest.mark.parametrize(
    ("value", "unit", "to", "text"),
    [
        (5, "km", "metres", "5000 metres"),
        (1, "mile", "km", "1.609 km"),
        (12, "Inches", "foot", "1 foot"),
        (2.5, "kg", "grams", "2500 grams"),
        (3, "斤", "公斤", "1.5 公斤"),
        (20, "°C", "°F", "68 °F"),
        (-40, "celsius", "fahrenheit", "-40 fahrenheit"),
        (0, "kelvin", "c", "-273.15 c"),
        (100, "degrees Fahrenheit", "Celsius", "37.778 Celsius"),
        (36, "km/h", "m/s", "10 m/s"),
        (1, "square_kilometre", "hectares", "100 hectares"),
        (90, "minutes", "hours", "1.5 hours"),
        (0.1, "mm", "km", "1e-07 km"),
        (0.1, "m", "cm", "10 cm"),
        (1, "gib", "mib", "1024 mib"),
    ],
)
def test_units_are_converted_exactly(value, unit, to, text):
    assert CONVERT.run({"value": value, "unit": unit, "to": to}).text == text


@pytest.mark.parametrize(
    ("value", "unit", "to", "problem"),
    [
        (1, "kg", "km", "kg is a unit of mass, km one of length"),
        (1, "metrs", "km", "There is no unit called 'metrs'. Did you mean"),
        (1, "qqq", "km", "There is no unit called 'qqq'."),
        (1, "", "km", "There is no unit"),
        (1, "m**9", "km", "There is no unit"),
    ],
)
def test_units_that_do_not_fit_are_said(value, unit, to, problem):
    assert CONVERT.run({"value": value, "unit": unit, "to": to}).text.startswith(
        f"error: {problem}"
    )


@given(
    st.floats(-1e9, 1e9, allow_nan=False),
    st.sampled_from(sorted(units.UNITS)),
    st.sampled_from(sorted(units.UNITS)),
)
def test_a_measure_comes_back_the_same(value, unit, to):
    if units.UNITS[unit].kind == units.UNITS[to].kind:
        there = units.convert(value, unit, to)
        assert abs(float(units.convert(there, to, unit)) - value) <= 1e-9 * max(1, abs(value))


# --- search --------------------------------------------------------------------------------------

ARTICLES = [
    ("Mount Zeta", "Mount Zeta is 4,210 metres high."),
    ("Mount Alpha", "Mount Alpha is 3,100 metres high."),
    ("蓝湖", "蓝湖的深度是32米。"),
    ("新山", "新山的高度是900米。"),
    *[(f"{name} Bridge", f"{name} Bridge is long.") for name in ("Zolo", "Mira", "Tal", "Oko")],
]
SEARCH = local_search.search_tool(ARTICLES)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("height of Mount Zeta", "Mount Zeta is 4,210 metres high."),
        ("MOUNT ALPHA", "Mount Alpha is 3,100 metres high."),
        ("Tal Bridge", "Tal Bridge is long."),
        ("蓝湖有多深", "蓝湖的深度是32米。"),
        ("新山的高度", "新山的高度是900米。"),
        ("Fedel Bridge", "No result."),
        ("length of Fedel Bridge", "No result."),
        ("the of is", "No result."),
        ("", "No result."),
        ("?!", "No result."),
        ("zeta " * 100_000, "Mount Zeta is 4,210 metres high."),
    ],
)
def test_the_best_article_is_found(query, found):
    assert SEARCH.run({"query": query}).text == found


def test_several_articles_stand_on_lines_of_their_own_and_ties_stay_in_order():
    several = local_search.search_tool(ARTICLES, count=2, name="library")
    assert several.spec.name == "library"
    assert several.run({"query": "bridge"}).text == "Zolo Bridge is long.\nMira Bridge is long."


@pytest.mark.parametrize("articles", [[], [("", "")], [("a", "b"), ("!", "?")]])
def test_nothing_to_search_is_said(articles):
    with pytest.raises(DataError, match="Nothing to search"):
        local_search.Index(articles)
