"""Measures in other units, by exact factors.

A table of our own, not a units library: pint, the well-kept one, brings three packages and half
a second at its first use, knows no Chinese names, and reads whole formulas (`m**1000000`), where
a tool that a model calls should read one word.

Source of the factors: the definitions in NIST Special Publication 811, appendix B; they are exact.
"""

import math
from dataclasses import dataclass
from fractions import Fraction

from course_lib.errors import UnknownNameError


@dataclass(frozen=True)
class Unit:
    """A unit of one kind of measure.

    Args:
        kind: what is measured; only units of one kind turn into each other.
        factor: how many of the kind's basic unit it is.
        zero: where its zero stands, in basic units; only temperatures have one.
    """

    kind: str
    factor: Fraction
    zero: Fraction = Fraction(0)


# kind: the names of each unit, all of which can be written, and its factor
_TABLE: dict[str, dict[str, str]] = {
    "length": {
        "metre metres meter meters m 米": "1",
        "kilometre kilometres kilometer kilometers km 公里 千米": "1000",
        "decimetre decimetres decimeter decimeters dm 分米": "1/10",
        "centimetre centimetres centimeter centimeters cm 厘米": "1/100",
        "millimetre millimetres millimeter millimeters mm 毫米": "1/1000",
        "mile miles mi 英里": "1609.344",
        "yard yards yd 码": "0.9144",
        "foot feet ft 英尺": "0.3048",
        "inch inches in 英寸": "0.0254",
        "nautical_mile nautical_miles nmi 海里": "1852",
        "li 里 市里": "500",
    },
    "mass": {
        "kilogram kilograms kilo kilos kg 千克 公斤": "1",
        "gram grams g 克": "1/1000",
        "milligram milligrams mg 毫克": "1/1000000",
        "tonne tonnes ton tons t 吨": "1000",
        "pound pounds lb lbs 磅": "0.45359237",
        "ounce ounces oz 盎司": "0.028349523125",
        "jin 斤 市斤": "1/2",
        "liang 两": "1/20",
    },
    "volume": {
        "litre litres liter liters l 升": "1",
        "millilitre millilitres milliliter milliliters ml 毫升": "1/1000",
        "cubic_metre cubic_metres m3 立方米": "1000",
        "gallon gallons gal 加仑": "3.785411784",
        "pint pints 品脱": "0.473176473",
    },
    "time": {
        "second seconds s sec 秒": "1",
        "minute minutes min 分钟": "60",
        "hour hours h 小时": "3600",
        "day days d 天 日": "86400",
        "week weeks 周 星期": "604800",
    },
    "area": {
        "square_metre square_metres m2 平方米": "1",
        "square_kilometre square_kilometres km2 平方公里": "1000000",
        "hectare hectares ha 公顷": "10000",
        "acre acres 英亩": "4046.8564224",
        "mu 亩": "2000/3",
    },
    "speed": {
        "m/s 米每秒": "1",
        "km/h kmh 公里每小时": "5/18",
        "mph 英里每小时": "0.44704",
        "knot knots kn 节": "463/900",
    },
    "data": {
        "byte bytes b 字节": "1",
        "bit bits 比特": "1/8",
        "kilobyte kilobytes kb": "1000",
        "megabyte megabytes mb": "1000000",
        "gigabyte gigabytes gb": "1000000000",
        "kibibyte kibibytes kib": "1024",
        "mebibyte mebibytes mib": "1048576",
        "gibibyte gibibytes gib": "1073741824",
    },
}
_TEMPERATURES = {
    "kelvin k 开尔文": Unit("temperature", Fraction(1)),
    "celsius c °c ℃ 摄氏度": Unit("temperature", Fraction(1), Fraction("273.15")),
    "fahrenheit f °f ℉ 华氏度": Unit("temperature", Fraction(5, 9), Fraction("459.67") * 5 / 9),
}
UNITS: dict[str, Unit] = {
    name.replace("_", " "): Unit(kind, Fraction(factor))
    for kind, units in _TABLE.items()
    for names, factor in units.items()
    for name in names.split()
} | {name: unit for names, unit in _TEMPERATURES.items() for name in names.split()}


def convert(value: float, unit: str, to: str) -> Fraction:
    """Express a measure in another unit.

    Args:
        value: how many of the first unit.
        unit: one of `UNITS`; capitals do not matter.
        to: another unit of the same kind.

    Returns:
        How many of the other unit, exactly.

    Raises:
        UnknownNameError: there is no such unit.
        ValueError: they measure different things, or the value is not finite.
    """
    if not math.isfinite(value):
        raise ValueError(f"{value} is no number")
    first, other = find_unit(unit), find_unit(to)
    if first.kind != other.kind:
        raise ValueError(f"{unit} is a unit of {first.kind}, {to} one of {other.kind}")
    # Through the decimal text: 0.1 is to mean a tenth.
    basic = Fraction(str(value)) * first.factor + first.zero * (first.kind == "temperature")
    return (basic - other.zero) / other.factor


def find_unit(name: str) -> Unit:
    """A unit by any of its names.

    Args:
        name: for example km, kilometres or 公里.

    Returns:
        The unit.

    Raises:
        UnknownNameError: there is none.
    """
    key = " ".join(name.lower().replace("_", " ").split())
    key = key.removeprefix("degrees ").removeprefix("degree ")
    if key not in UNITS:
        raise UnknownNameError("unit", name, UNITS)
    return UNITS[key]
