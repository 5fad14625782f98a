"""The gate "imports and syntax": an allow-list over the syntax tree of `tool.py` and, more loosely, of `test_tool.py`.

Reads `{"files": {NAME: TEXT}}` from stdin and prints `{"findings": [...], "facts": {"calls": [...], "modules": [...], "nodes": n}}`.
It refuses to be: the defence. The sandbox holds what runs; these rules keep tools repeatable, readable and within their contract.
"""

from __future__ import annotations

import ast
import json
import sys
import warnings

from .admitted import (
    ATTRIBUTES,
    EFFECTS,
    IN_A_TEST,
    INSTEAD,
    INSTEAD_IN_A_TEST,
    LANGUAGE,
    NEVER,
    READS,
    TEST_BUILTINS,
    TEST_MODULES,
    TOOL_MODULES,
    UNLESS_LOCAL,
)
from .bounds import check_bounds, check_computed
from .findings import Findings
from .hosts import hosts_of
from .names import Names
from .reaching import MODULES, View, check_reach
from .source import MOST_TEXT, check_text, check_tokens, looks_secret
from .state import check_state
from .structure import check_classes, check_entry, check_loops, check_top_level
from .suite import check_suite

MOST_ELEMENTS = 2000


def examine(text: str, file: str, others: frozenset[str] = frozenset()) -> tuple[list[dict[str, object]], dict[str, object]]:
    """Findings and facts about one file; `tool.py` gets the rules of a tool, any other file those of a test.

    `others` are the names under which the tool that a test is for imported modules.
    """
    findings = Findings(file)
    check_text(text, findings)
    tree = _read(text, file, findings)
    if tree is None or not check_bounds(tree, findings):
        return findings.rows(), {"calls": [], "modules": [], "nodes": 0}
    names = Names.of(tree)
    is_tool = file == "tool.py"
    for node in ast.walk(tree):
        _check_node(node, names, is_tool, findings)
    view = View(tree, names, is_tool, findings, others)
    check_reach(view)
    if is_tool:
        check_top_level(tree, names, findings)
        check_entry(tree, findings)
        check_classes(tree, names, findings)
        check_state(tree, names, findings)
        check_loops(tree, names, findings)
    else:
        check_suite(tree, names, findings)
    return findings.rows(), _facts(view)


def _read(text: str, file: str, findings: Findings) -> ast.Module | None:
    try:
        tree = ast.parse(text, file)
        check_tokens(text, findings)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(tree, file, "exec", dont_inherit=True)  # what only the symbol table refuses: a name bound twice, a lost return
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None) or 1
        reason, fix = getattr(error, "msg", None) or str(error), "Send the whole file as valid Python 3.11."
        if isinstance(error, RecursionError | MemoryError):
            reason, fix = "something in it nests too deep or is too long", "Name parts of it as functions, or as variables."
        findings.add("syntax", line, f"Python cannot read the file: {reason}.", fix)
        return None
    return tree


def _check_node(node: ast.AST, names: Names, is_tool: bool, findings: Findings) -> None:
    check_computed(node, findings)
    if isinstance(node, ast.Import | ast.ImportFrom):
        _check_import(node, is_tool, findings)
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
        _check_name(node, names, is_tool, findings)
    elif isinstance(node, ast.Constant | ast.List | ast.Dict | ast.Set | ast.Tuple):
        _check_literal(node, is_tool, findings)
    elif isinstance(node, ast.Assign | ast.AnnAssign):
        _check_named_secret(node, findings)
    elif isinstance(node, ast.ExceptHandler) and is_tool:
        _check_handler(node, names, findings)
    elif isinstance(node, ast.Call) and is_tool:
        _check_suppressed(node, names, findings)
    elif isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith):
        findings.add("synchronous", node, "Tools are synchronous.", "Use plain def; ctx calls block until answered.")
    elif isinstance(node, ast.Assert) and is_tool:
        findings.add("assert", node, "`assert` is no check of input.", "Raise ToolError(code, message), or put it into the failed bucket.")


def _check_import(node: ast.Import | ast.ImportFrom, is_tool: bool, findings: Findings) -> None:
    admitted = TOOL_MODULES if is_tool else TEST_MODULES
    if isinstance(node, ast.ImportFrom):
        module = "." * node.level + (node.module or "")
        members = [alias.name for alias in node.names]
        if "*" in members:
            findings.add("import", node, f"`from {module} import *` hides what is used.", "Name what you import.")
        elif module not in admitted and not all(f"{module}.{member}" in admitted for member in members):
            _refuse_import(module, node, is_tool, findings)
        return
    for alias in node.names:
        if alias.name not in admitted:
            _refuse_import(alias.name, node, is_tool, findings)


def _refuse_import(module: str, node: ast.AST, is_tool: bool, findings: Findings) -> None:
    instead, admitted = (INSTEAD, TOOL_MODULES) if is_tool else (INSTEAD_IN_A_TEST, TEST_MODULES)
    fix = instead.get(module) or instead.get(module.split(".", 1)[0])
    if module.startswith("."):
        fix = "Each file stands by itself: name an admitted module without dots, or define it here."
    fix = fix or f"Admitted are: {', '.join(sorted(admitted - {'__future__'}))}."
    findings.add("import", node, f"The module `{module}` is not admitted.", fix)


def _check_name(node: ast.Name, names: Names, is_tool: bool, findings: Findings) -> None:
    name = node.id
    if not is_tool and name in TEST_BUILTINS:
        return
    if name in NEVER:
        rule = "dynamic_access" if not name.startswith("__") else "escape"
        findings.add(rule, node, f"`{name}` is not admitted.", NEVER[name])
    elif name in UNLESS_LOCAL and id(node) not in names.hidden and name not in names.module:
        fix = UNLESS_LOCAL[name] if is_tool else IN_A_TEST.get(name, UNLESS_LOCAL[name])
        findings.add("builtin", node, f"`{name}` is not admitted.", fix)
    elif name.startswith("__") and name not in ATTRIBUTES:
        findings.add("escape", node, f"`{name}` reaches behind the language.", "Leave it out.")


def _check_literal(node: ast.AST, is_tool: bool, findings: Findings) -> None:
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str | bytes) and len(node.value) > MOST_TEXT:
            findings.add("literal_bounds", node, f"A text literal is longer than {MOST_TEXT} characters.", "Keep data in records or args.")
        if isinstance(node.value, str):
            if looks_secret(node.value):
                _secret(node, findings)
            if is_tool and node.value in LANGUAGE:
                findings.add("escape", node, f"The text {node.value!r} names what is behind the language.", "Leave it out.")
            if "{" in node.value and ".__" in node.value:
                findings.add("escape", node, "A format text reaches a double-underscore attribute.", "Format plain values.")
        return
    elements = node.keys if isinstance(node, ast.Dict) else getattr(node, "elts", [])
    if len(elements) > MOST_ELEMENTS:
        findings.add("literal_bounds", node, f"A literal has more than {MOST_ELEMENTS} elements.", "Keep data in records or args.")


def _check_named_secret(node: ast.Assign | ast.AnnAssign, findings: Findings) -> None:
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    text = node.value.value if isinstance(node.value, ast.Constant) else None
    if isinstance(text, str) and any(isinstance(target, ast.Name) and looks_secret(text, target.id) for target in targets):
        _secret(node, findings)


def _secret(node: ast.AST, findings: Findings) -> None:
    message = "The literal has the shape of a credential; files of a tool are shown to everyone who may read it."
    findings.add("secret_literal", node, message, "Remove it, and revoke it if it is real: credentials live with the host.")


def _check_handler(node: ast.ExceptHandler, names: Names, findings: Findings) -> None:
    if (node.type is None or _is_cancelling(node.type, names)) and not any(isinstance(part, ast.Raise) for part in ast.walk(node)):
        message = "This catches the cancellation of the run and does not raise it again."
        findings.add("swallows_cancellation", node, message, "Catch ToolError, ValueError or what you expect; let the rest pass.")


_CANCELLING = frozenset({"BaseException", "GeneratorExit"})


def _is_cancelling(kinds: ast.expr, names: Names) -> bool:
    """Whether the cancellation of a run is among these kinds of errors, by whatever name it was imported."""
    parts = list(ast.walk(kinds))
    return any((isinstance(part, ast.Name) and part.id in _CANCELLING) or names.dotted(part) == "toolkit.Cancelled" for part in parts)


def _check_suppressed(node: ast.Call, names: Names, findings: Findings) -> None:
    if names.dotted(node.func) == "contextlib.suppress" and any(_is_cancelling(part, names) for part in node.args):
        message = "This suppresses the cancellation of the run."
        findings.add("swallows_cancellation", node, message, "Suppress ToolError, ValueError or what you expect; let the rest pass.")


def _facts(view: View) -> dict[str, object]:
    tree, names = view.tree, view.names
    constants = {
        target.id: statement.value.value
        for statement in tree.body
        if isinstance(statement, ast.Assign | ast.AnnAssign) and isinstance(statement.value, ast.Constant)
        for target in (statement.targets if isinstance(statement, ast.Assign) else [statement.target])
        if isinstance(target, ast.Name)
    }
    calls = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and id(node.func.value) in view.contexts:
            method = node.func.attr
            if method in EFFECTS | READS:
                first = node.args[0] if node.args else next((word.value for word in node.keywords if word.arg == "effect_id"), None)
                value = first.value if isinstance(first, ast.Constant) else None
                if isinstance(first, ast.Name) and id(first) not in names.hidden:
                    value = constants.get(first.id)
                calls.append({"method": method, "id": value if isinstance(value, str) else None, "line": node.lineno})
    modules = sorted({origin.split(".")[0] for origin in names.origin.values()})
    return {"calls": calls, "hosts": hosts_of(tree), "modules": modules, "nodes": sum(1 for _ in ast.walk(tree))}


def main() -> None:
    """Read the request, print the answer."""
    files: dict[str, str] = json.load(sys.stdin)["files"]
    answers: dict[str, tuple[list[dict[str, object]], dict[str, object]]] = {}
    for name in sorted(files, reverse=True):  # the tool first
        answers[name] = examine(files[name], name, _modules_of(files.get("tool.py", "")) if name != "tool.py" else frozenset())
    findings = [row for rows, _ in answers.values() for row in rows]
    print(json.dumps({"findings": findings, "facts": answers["tool.py"][1] if "tool.py" in answers else {}}))  # noqa: T201  # the pipe is the interface


def _modules_of(text: str) -> frozenset[str]:
    """The names under which a file imports modules; none where it cannot be read, which is told of the file itself."""
    try:
        origin = Names.of(ast.parse(text)).origin
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return frozenset()
    return frozenset(name for name, dotted in origin.items() if dotted in MODULES)


if __name__ == "__main__":
    main()
