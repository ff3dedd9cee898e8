"""The tools that need nothing but this machine: calculator, clock, calendar, units.

Each is made by a function, so that a test or a lesson can give the clock its time.
"""

import csv
import datetime
import zoneinfo
from collections.abc import Callable
from functools import cache

from course_lib import files
from course_lib.chat import calculator, tools, units

Now = Callable[[], datetime.datetime]
DATE = "%Y-%m-%d"
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def utc_now() -> datetime.datetime:
    """The time now."""
    return datetime.datetime.now(datetime.timezone.utc)


def calculator_tool() -> tools.Tool:
    """A tool that works out expressions."""

    @tools.tool(name="calculator", zh="计算算式。")
    def work(expression: str) -> str:
        """Works out an expression.

        Args:
            expression: numbers and signs, such as (3 + 4) * 2
        """
        return calculator.calculate(expression)

    return work


def clock_tool(now: Now = utc_now) -> tools.Tool:
    """A tool that knows what time it is elsewhere.

    Args:
        now: gives the time, with its zone.
    """

    @tools.tool(name="clock", zh="城市的时间。")
    def work(place: str) -> str:
        """The time in a city.

        Args:
            place: a city, or a time zone such as Asia/Tokyo
        """
        return now().astimezone(find_zone(place)).strftime("%H:%M")

    return work


def calendar_tool(now: Now = utc_now) -> tools.Tool:
    """A tool that counts days and knows weekdays.

    Args:
        now: gives today, with its zone.
    """

    @tools.tool(name="calendar", zh="日期和星期。")
    def work(date: str, add_days: int = 0) -> str:
        """A date and its weekday.

        Args:
            date: YYYY-MM-DD, or today
            add_days: how many days later; less than 0 for earlier
        """
        is_today = date.strip().lower() in ("today", "今天")
        try:
            # Newer Pythons read more forms of a date: the same everywhere is better.
            day = now().date() if is_today else datetime.datetime.strptime(date, DATE).date()
            day += datetime.timedelta(days=add_days)
        except OverflowError:
            raise ValueError("the calendar knows the years 1 to 9999") from None
        except ValueError:
            raise ValueError(f"{date!r} is no date such as 2026-05-31") from None
        return f"{day.isoformat()} {WEEKDAYS[day.weekday()]}"

    return work


def convert_tool() -> tools.Tool:
    """A tool that expresses a measure in another unit."""

    @tools.tool(name="convert", zh="换算单位。")
    def work(value: float, unit: str, to: str) -> str:
        """Changes units.

        Args:
            value: how many
            unit: of what, such as km
            to: the unit of the result, such as miles
        """
        return f"{calculator.number_text(units.convert(value, unit, to), decimals=3)} {to.strip()}"

    return work


def find_zone(place: str) -> zoneinfo.ZoneInfo:
    """The time zone of a city.

    Args:
        place: a city in English or Chinese, or a zone's own name.

    Returns:
        The zone.

    Raises:
        ValueError: there is no such city.
    """
    name = " ".join(place.split()).casefold()
    zones = _zones()
    if name not in zones:
        raise ValueError(f"there is no city called {place.strip()[:60]!r}")
    return zoneinfo.ZoneInfo(zones[name])


@cache
def _zones() -> dict[str, str]:
    """Names to zones: those that the time zone database has, and those of the course's table."""
    known = {zone.casefold(): zone for zone in zoneinfo.available_timezones()}
    with (files.DATA_DIR / "agent" / "places.csv").open(encoding="utf-8", newline="") as table:
        for row in csv.DictReader(table):
            known[row["place_en"].casefold()] = known[row["place_zh"]] = row["time_zone"]
    return known
