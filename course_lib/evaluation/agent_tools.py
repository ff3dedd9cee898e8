"""The tools of lesson 05, and three that no training row has: what does a model do with them?"""

import datetime
import zlib
from collections.abc import Sequence

from course_lib.chat import basic_tools, local_search, tools

# A clock that stands still: rows and scores are the same at any time of any day.
NOW = datetime.datetime(2026, 3, 14, 9, 26, tzinfo=datetime.timezone.utc)
WEATHERS = ("sunny", "rainy", "cloudy", "windy", "foggy")


def lesson_tools(articles: Sequence[tuple[str, str]]) -> list[tools.Tool]:
    """Calculator, clock, unit converter and search, in the order in which they are offered.

    Args:
        articles: title and text of what can be searched.

    Returns:
        The tools; the clock always shows `NOW`.
    """
    return [
        basic_tools.calculator_tool(),
        basic_tools.clock_tool(lambda: NOW),
        basic_tools.convert_tool(),
        local_search.search_tool(articles),
    ]


@tools.tool(zh="城市的天气。")
def weather(place: str) -> str:
    """The weather in a city."""
    return WEATHERS[_number(place, len(WEATHERS))]


@tools.tool(zh="商品的价格。")
def price(item: str) -> str:
    """The price of a thing in the shop."""
    return f"{2 + _number(item, 90)} coins"


@tools.tool(zh="人的电话号码。")
def phone(name: str) -> str:
    """The phone number of a person."""
    return f"{100 + _number(name, 900)}-{1000 + _number(name[::-1], 9000)}"


NEW_TOOLS = (weather, price, phone)


def _number(text: str, count: int) -> int:
    """A number below `count` that is always the same for a text."""
    return zlib.crc32(text.strip().lower().encode()) % count
