"""The order of imports, the size of files and functions, and what no module may do."""

import ast
import io
import tokenize
from functools import cache
from pathlib import Path

import pytest

from course_lib.files import REPO_DIR

# The reading order: a module imports only from its own folder and from those before it.
ORDER = [
    "errors",
    "files",
    "data",
    "model",
    "chat",
    "evaluation",
    "pico",
    "training",
    "publishing",
    "concepts",
    "teaching",
    "homework",
    "widgets",
    "commands",
    "cli",
]
HEAVY = {"torch", "transformers", "peft", "bitsandbytes", "accelerate", "datasets", "deepspeed"}
LIGHT = ("errors", "files", "data", "training.config")
MAY_PRINT = ("cli", "commands", "teaching.display")
PACKAGE = REPO_DIR / "course_lib"
MODULES = sorted(p for p in PACKAGE.rglob("*.py") if p.name != "__init__.py")
each_module = pytest.mark.parametrize("path", MODULES, ids=lambda p: name_of(p))


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


def package_of(name: str) -> str:
    return name.split(".")[0]


def is_in(name: str, places: tuple[str, ...]) -> bool:
    return any(name == place or name.startswith(f"{place}.") for place in places)


@cache
def source_of(path: Path) -> str:
    return path.read_text("utf-8")


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(source_of(path))


@cache
def nodes_of(path: Path) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(tree_of(path)))


def imported_names(nodes) -> list[str]:
    """Full names of what is imported: for `from a.b import c`, a.b.c."""
    names = []
    for node in nodes:
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the reading order"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def nodes_run_on_import(tree: ast.Module) -> list[ast.AST]:
    """What runs when the module is imported: all outside functions and TYPE_CHECKING blocks."""
    todo, found = [tree], []
    while todo:
        node = todo.pop()
        found.append(node)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            todo += node.orelse
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            todo += ast.iter_child_nodes(node)
    return found


@cache
def course_modules(path: Path) -> frozenset[str]:
    """The modules of the course that a module imports, inside functions too."""
    names = imported_names(nodes_of(path))
    inside = [n.removeprefix("course_lib.") for n in names if n.startswith("course_lib.")]
    return frozenset(
        name for name in map(name_of, MODULES) if any(is_in(n, (name,)) for n in inside)
    )


def functions_of(path: Path) -> list[ast.FunctionDef]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [node for node in nodes_of(path) if isinstance(node, kinds)]


def lines_with_code(path: Path) -> set[int]:
    """Lines of a file that are more than a comment or a blank."""
    skipped = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    lines = set()
    for token in tokenize.generate_tokens(io.StringIO(source_of(path)).readline):
        if token.type not in skipped:
            lines |= set(range(token.start[0], token.end[0] + 1))
    return lines


def code_lines(lines: set[int], node: ast.FunctionDef) -> int:
    """Lines of a function that hold code: no docstring, comment or blank line."""
    inside = lines & set(range(node.lineno, node.end_lineno + 1))
    if ast.get_docstring(node, clean=False):
        docstring = node.body[0]
        inside -= set(range(docstring.lineno, docstring.end_lineno + 1))
    return len(inside)


@each_module
def test_a_module_imports_only_from_folders_before_its_own(path):
    mine = ORDER.index(package_of(name_of(path)))
    assert {name for name in course_modules(path) if ORDER.index(package_of(name)) > mine} == set()


def test_no_modules_import_each_other_in_a_circle():
    left = {name_of(path): course_modules(path) - {name_of(path)} for path in MODULES}
    while left:
        free = {name for name, needs in left.items() if not needs & left.keys()}
        assert free, f"a circle among {sorted(left)}"
        left = {name: needs for name, needs in left.items() if name not in free}


@each_module
def test_modules_on_data_load_no_model_library(path):
    if is_in(name_of(path), LIGHT):
        names = imported_names(nodes_run_on_import(tree_of(path)))
        assert {package_of(name) for name in names} & HEAVY == set()


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("__init__.py")), ids=lambda p: name_of(p))
def test_a_package_file_holds_a_docstring_and_nothing_to_import(path):
    body = tree_of(path).body
    assert ast.get_docstring(tree_of(path))
    if path.parent == PACKAGE:
        return  # it holds one library's note back, before any module can import that library
    assert [ast.unparse(node) for node in body[1:] if not isinstance(node, ast.Assign)] == []


@each_module
def test_a_file_has_at_most_400_lines(path):
    assert len(source_of(path).splitlines()) <= 400


@each_module
def test_a_function_has_at_most_40_lines_of_code(path):
    lines = lines_with_code(path)
    sizes = {node.name: code_lines(lines, node) for node in functions_of(path)}
    assert {name: size for name, size in sizes.items() if size > 40} == {}


@each_module
def test_public_functions_and_classes_have_docstrings(path):
    public = [
        node
        for top in tree_of(path).body
        for node in [top, *(top.body if isinstance(top, ast.ClassDef) else [])]
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
        and not node.name.startswith("_")
    ]
    assert ast.get_docstring(tree_of(path))
    assert [node.name for node in public if not ast.get_docstring(node)] == []


@each_module
def test_every_signature_is_typed(path):
    for node in functions_of(path):
        everything = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
        bare = [a.arg for a in everything if not a.annotation and a.arg not in ("self", "cls")]
        assert (node.name, bare) == (node.name, [])
        assert node.returns, f"{node.name} says not what it returns"


@each_module
def test_library_modules_do_not_print(path):
    if not is_in(name_of(path), MAY_PRINT):
        assert "print" not in called_names(path)


@cache
def called_names(path: Path) -> set[str]:
    return {ast.unparse(node.func) for node in nodes_of(path) if isinstance(node, ast.Call)}


@each_module
def test_nothing_runs_text_as_code_or_unpickles(path):
    assert called_names(path) & {"eval", "exec", "compile", "yaml.unsafe_load"} == set()
    packages = {package_of(name) for name in imported_names(nodes_of(path))}
    assert packages & {"pickle", "dill", "cloudpickle", "shelve", "joblib"} == set()
    keywords = [node for node in nodes_of(path) if isinstance(node, ast.keyword)]
    trusted = [ast.unparse(k.value) for k in keywords if k.arg == "trust_remote_code"]
    assert set(trusted) <= {"False"}  # left out, transformers asks the learner
    # old checkpoints are pickles: PyTorch reads tensors from them and refuses code
    calls = [node for node in nodes_of(path) if isinstance(node, ast.Call)]
    loads = [node for node in calls if ast.unparse(node.func) == "torch.load"]
    assert all("weights_only=True" in ast.unparse(node) for node in loads)
