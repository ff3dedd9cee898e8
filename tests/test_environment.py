"""The three lists of packages say the same."""

import re
import sys

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from course_lib.files import REPO_DIR

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROJECT = tomllib.loads((REPO_DIR / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
ALL = [*PROJECT["dependencies"], *(line for extra in EXTRAS.values() for line in extra)]
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
PLATFORMS = ("linux", "darwin", "win32")


def read_pins() -> list[Requirement]:
    lines = (REPO_DIR / "constraints.txt").read_text("utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def applies(requirement: Requirement, python: str, platform: str) -> bool:
    machine = {
        "python_version": python,
        "python_full_version": f"{python}.9",
        "sys_platform": platform,
        "os_name": "nt" if platform == "win32" else "posix",
        "platform_machine": "arm64" if platform == "darwin" else "x86_64",
    }
    return requirement.marker is None or requirement.marker.evaluate(machine)


def conda_list() -> dict:
    return yaml.safe_load((REPO_DIR / "environment.yml").read_text("utf-8"))


def test_conda_users_get_the_same_packages_and_ranges():
    pip_list = conda_list()["dependencies"][-1]["pip"]
    assert pip_list[0] == "-c constraints.txt"
    assert pip_list[-1] == "-e ."
    assert pip_list[1:-1] == [*PROJECT["dependencies"], *EXTRAS["test"]]


def test_conda_users_get_the_same_python():
    assert f"python{PROJECT['requires-python']}" in conda_list()["dependencies"]


def test_every_pin_is_one_exact_version():
    loose = [str(r) for r in read_pins() if not re.fullmatch(r"==[^*,]+", str(r.specifier))]
    assert loose == []


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("python", PYTHONS)
def test_every_package_has_one_pin_inside_its_range(python, platform):
    pins = [r for r in read_pins() if applies(r, python, platform)]
    versions = {canonicalize_name(r.name): str(r.specifier)[2:] for r in pins}
    assert len(versions) == len(pins)
    wanted = [r for r in map(Requirement, ALL) if applies(r, python, platform)]
    outside = {
        r.name: versions.get(canonicalize_name(r.name))
        for r in wanted
        if not r.specifier.contains(versions.get(canonicalize_name(r.name), "0"))
    }
    assert outside == {}


def test_torch_is_pinned_to_the_tested_version():
    assert [str(r) for r in read_pins() if r.name == "torch"] == ["torch==2.13.0"]
