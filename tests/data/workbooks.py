"""Workbooks made by hand: what tests need of dirt."""

import re
import zipfile

import openpyxl

OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


def make_workbook(path, rows, sheet="DrugQA", change=None):
    """A workbook of one sheet; `change` is given the sheet before it is saved."""
    book = openpyxl.Workbook()
    book.active.title = sheet
    for number, row in enumerate(rows, 1):
        for column, value in enumerate(row, 1):
            book.active.cell(number, column).value = value
    if change:
        change(book.active)
    book.save(path)
    return path


def set_results(path, results, sheet="xl/worksheets/sheet1.xml"):
    """Store results of formulas, as Excel does when it saves: {"B2": "text"}."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    text = parts[sheet].decode()
    for place, result in results.items():
        pattern = rf'<c r="{place}"[^>]*><f>(.*?)</f><v ?/?>(</v>)?</c>'
        cell = rf'<c r="{place}" t="str"><f>\1</f><v>{result}</v></c>'
        text, count = re.subn(pattern, cell, text)
        assert count == 1, place
    parts[sheet] = text.encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)


def make_broken(folder):
    """A file for each way in which a workbook cannot be opened, by name."""
    good = make_workbook(folder / "good.xlsx", [("Question", "Answer"), ("q", "a")]).read_bytes()
    locked = OLE + bytes(600) + "EncryptedPackage".encode("utf-16-le") + bytes(100)
    contents = {
        "locked.xlsx": locked,
        "old.xls": OLE + bytes(600) + "Workbook".encode("utf-16-le") + bytes(100),
        "nothing.xlsx": b"",
        "text.xlsx": b"Question,Answer\nq,a\n",
        "torn.xlsx": good[: len(good) // 2],
        "~$good.xlsx": b"\x05Marie" + bytes(159),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    with zipfile.ZipFile(folder / "other.xlsx", "w") as archive:
        archive.writestr("word/document.xml", "<w/>")
    with zipfile.ZipFile(folder / "binary.xlsx", "w") as archive:
        archive.writestr("xl/workbook.bin", "x")
    with zipfile.ZipFile(folder / "good.xlsx") as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(folder / "damaged.xlsx", "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data[: len(data) // 2] if "sheet1" in name else data)
    make_workbook(folder / "blank.xlsx", [])
    make_workbook(folder / "header_only.xlsx", [("Question", "Answer")])
