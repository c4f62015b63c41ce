"""Activations that a model calls as functions: they are no modules, so no hook can reach them; this finds them."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator

from torch import nn

_FUNCTIONS = frozenset(
    {"gelu", "relu", "relu6", "leaky_relu", "elu", "celu", "selu", "silu", "mish", "softplus", "hardswish"}
    | {"hardsigmoid", "sigmoid", "tanh", "softmax", "log_softmax", "glu"}
)
_NORMS = frozenset({"layer_norm", "batch_norm", "group_norm", "instance_norm", "rms_norm", "normalize"})
_LIBRARIES = frozenset({"F", "torch", "functional"})


def explain_functional(model: nn.Module, pattern: str) -> str:
    """For a pattern that names an activation: which module calls it as a function, and what to capture instead.

    "" where the pattern names none, or no forward is found to call one. Sources that cannot be read are passed over.
    """
    wanted = _wanted(pattern)
    found = [(path, *call) for path, module in model.named_modules() for call in _calls(module) if call[0] in wanted]
    if not found:
        return ""
    path, _, said, before, after = found[0]
    owner = path or type(model).__name__
    around = [_below(path, name) for name in (before, after) if name]
    others = f" (and {len(found) - 1} more such calls in this model)" if len(found) > 1 else ""
    where = f"the modules around it are {' and '.join(around)}" if around else "there is no module beside it"
    module = "make it a module of its own, such as nn.GELU()"
    instead = f"capture {path or before!r}" if path or before else module
    if after:
        instead = f"capture what goes into the next one, as '{_below(path, after)}@input'"
    what = f"{owner} calls {said} inside its forward{others}, which is no module and cannot be hooked"
    return f": {what}; {where}; {instead}"


def _wanted(pattern: str) -> frozenset[str]:
    """The functions that the last name of a pattern may mean."""
    last = re.sub(r"^(?:class|kind):", "", pattern).split(".")[-1]
    name = re.sub(r"[^a-z0-9]", "", last.lower())
    if name.startswith(("act", "nonlin")):
        return _FUNCTIONS
    if re.fullmatch(r"norm\d*", name):
        return _NORMS
    return frozenset(each for each in _FUNCTIONS | _NORMS if each.replace("_", "") == name.removesuffix("activation"))


def _calls(module: nn.Module) -> Iterator[tuple[str, str, str, str]]:
    """(function, as it is written, module called before it, module called after it) of each such call in a forward."""
    if not module._modules:  # nn.GELU calls F.gelu: there the module is the answer
        return
    forward = _forward(type(module))
    events = list(_events(forward, next((node.arg for node in ast.walk(forward) if isinstance(node, ast.arg)), "self")))
    called = [name if name in module._modules else "" for _, name in events]
    for place, (said, _) in enumerate(events):
        if said:
            before = next((name for name in reversed(called[:place]) if name), "")
            after = next((name for name in called[place + 1 :] if name), "")
            yield re.split(r"[. ]", said)[-1], said, before, after


def _forward(kind: type[nn.Module]) -> ast.AST:
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(kind.forward)))
    except (OSError, TypeError, SyntaxError):
        return ast.Module(body=[], type_ignores=[])


def _events(node: ast.AST, own: str) -> Iterator[tuple[str, str]]:
    """Calls in the order in which they run: (function, "") of an activation, ("", name) of `self.NAME(...)`.

    `own` is what the forward calls its module, nearly always self.
    """
    for inside in ast.iter_child_nodes(node):
        yield from _events(inside, own)
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return
    name, owner = node.func.attr, node.func.value
    if isinstance(owner, ast.Name) and owner.id == own:
        yield "", name
    elif name in _FUNCTIONS | _NORMS:
        library = owner.id if isinstance(owner, ast.Name) else getattr(owner, "attr", "")
        written = "F" if library == "functional" else library if library in _LIBRARIES else "a tensor's "
        yield f"{written}{'' if written.endswith(' ') else '.'}{name}", ""


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
