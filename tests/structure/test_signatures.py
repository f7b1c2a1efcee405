"""Public functions are annotated, and take at most three positional arguments: what follows is named by the caller."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.helpers import REPOSITORY

POSITIONAL = 3
# Signatures that another library calls, or that keep to its class: they are as that library has them.
GIVEN = {
    "embedding.OnnxEncoder.__call__",
    "models.CellEncoder.forward",
    "models.Tx1Attention.forward",
    "models.Tx1Block.forward",
    "models.Tx1Config.__init__",
    "models.Tx1Encoder.forward",
    "models.Tx1Model.forward",
    "models.Tx1Processor.__init__",
    "models.eager_attention",
}


@dataclass(frozen=True)
class Function:
    """A public function, or a method with its class in its name; and its definition."""

    package: str
    name: str
    node: ast.FunctionDef | ast.AsyncFunctionDef

    @property
    def place(self) -> str:
        """Package and name, whatever the file."""
        return f"{self.package}.{self.name}"

    def positional(self) -> list[ast.arg]:
        """Arguments that may be given by position, without ``self``."""
        arguments = [*self.node.args.posonlyargs, *self.node.args.args]
        static = any(isinstance(mark, ast.Name) and mark.id == "staticmethod" for mark in self.node.decorator_list)
        return arguments[1:] if "." in self.name and not static else arguments

    def annotated(self) -> bool:
        """Whether every argument and the returned value have a type."""
        extra = [self.node.args.vararg, self.node.args.kwarg]
        arguments = [*self.positional(), *self.node.args.kwonlyargs, *(one for one in extra if one)]
        returns = self.node.returns is not None or self.node.name == "__init__"
        return returns and all(argument.annotation for argument in arguments)


def functions() -> Iterator[Function]:
    """Every public function and method of the package, the scripts and the benchmarks."""
    for folder in ("tahoe_distill", "scripts", "benchmarks"):
        for path in sorted((REPOSITORY / folder).rglob("*.py")):
            parts = path.relative_to(REPOSITORY).with_suffix("").parts
            # A package of this project, or a module beside the packages; a script belongs to its folder.
            package = parts[1] if folder == "tahoe_distill" else folder
            yield from _public(ast.parse(path.read_text(encoding="utf-8")), package)


def _public(body: ast.Module | ast.ClassDef, package: str, prefix: str = "") -> Iterator[Function]:
    for node in body.body:
        name = getattr(node, "name", "_")
        if isinstance(node, ast.ClassDef) and not name.startswith("_"):
            yield from _public(node, package, f"{prefix}{name}.")
        public = not name.startswith("_") or name in ("__init__", "__call__")
        if public and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield Function(package, f"{prefix}{name}", node)


FUNCTIONS = list(functions())


def test_every_public_function_is_annotated():
    bare = [function.place for function in FUNCTIONS if not function.annotated()]
    assert not bare, f"give every argument and the returned value of {bare} a type"


def test_at_most_three_positional_arguments():
    long = {function.place for function in FUNCTIONS if len(function.positional()) > POSITIONAL}
    new = long - GIVEN
    assert not new, f"put a * before the fourth argument of {sorted(new)}"
    assert not GIVEN - long, f"gone; take them off the list: {sorted(GIVEN - long)}"


@pytest.mark.parametrize(
    ("code", "positional", "annotated"),
    [
        ("def f(a, b, c, d): ...", 4, False),
        ("def f(a: int, b: int, c: int, *, d: int) -> None: ...", 3, True),
        ("def f(a: int, *more) -> None: ...", 1, False),
        ("def f(a: int, *more: int, **named: int): ...", 1, False),
    ],
)
def test_the_measure_itself(code, positional, annotated):
    (function,) = _public(ast.parse(code), "package")
    assert len(function.positional()) == positional and function.annotated() is annotated
    method = ast.parse("class C:\n    " + code.replace("(a", "(self, a"))
    (function,) = _public(method, "package")
    assert len(function.positional()) == positional and function.annotated() is annotated
