"""What code reaches by a dot: members of modules, attributes behind the language, what is private to others, what it did not make.

The rules are the same for a tool and for its tests. It refuses to be: a list of known tricks. A module's member is admitted where the
module itself calls it public; an attribute that begins with an underscore where the file itself defines it.
"""

from __future__ import annotations

import ast
import importlib
import types
from collections import Counter
from dataclasses import dataclass
from functools import cache, cached_property

from .admitted import (
    ATTRIBUTES,
    BEHIND,
    FRAMES,
    MEMBERS,
    METHODS,
    MUTATORS,
    NO_MEMBER,
    RECORD_METHODS,
    SPECIAL_NAMES,
    TEST_MODULES,
    TOOL_MODULES,
    UNASKED,
    WITHHELD,
)
from .findings import Findings
from .names import Names, contexts_of, root_name, root_of

MODULES = TEST_MODULES | {name.rpartition(".")[0] for name in TEST_MODULES if "." in name}
"""Every module that a name may stand for, the packages of those with a dot included."""

_OF_A_CONTEXT = frozenset({"_exchange", "_seed", "_now", "_step", "_waiting", "_cancelled", "_ids", "_settle", "_request", "_pipeline"})
_CLOCKS = frozenset({"now", "today", "utcnow"})
_PLAIN = "Use the value's plain methods and fields."


@dataclass(frozen=True)
class View:
    """One file as these rules look at it. `others` are the names under which `tool.py` imported modules."""

    tree: ast.Module
    names: Names
    is_tool: bool
    findings: Findings
    others: frozenset[str] = frozenset()

    @property
    def admitted(self) -> frozenset[str]:
        return TOOL_MODULES if self.is_tool else TEST_MODULES

    @cached_property
    def own(self) -> frozenset[str]:
        """Names of methods, fields and attributes that the file itself gives to things."""
        return _defined(self.tree)

    @cached_property
    def texts(self) -> frozenset[str]:
        return _literals(self.tree)

    @cached_property
    def contexts(self) -> frozenset[str]:
        return contexts_of(self.tree)


def check_reach(view: View) -> None:
    """Every dot, pattern, name and change of a file."""
    nodes = list(ast.walk(view.tree))
    held = {id(node.value) for node in nodes if isinstance(node, ast.Attribute)}
    fine = {id(node.value) for node in nodes if isinstance(node, ast.Attribute) and node.attr in ("__name__", "__qualname__")}
    fine |= {id(call.func) for call in nodes if isinstance(call, ast.Call) and _sets_own_field(call)}
    for node in nodes:
        _check_identifiers(node, view.findings)
        if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load) and id(node) not in held:
            _check_value(node, view)
        match node:
            case ast.Attribute():
                if id(node) not in fine:
                    _check_attribute(node, view)
                _check_member(node, view)
                _check_change(node, view)
                _check_format(node, view)
                if view.is_tool:
                    _check_clock(node, view)
            case ast.Subscript():
                _check_change(node, view)
            case ast.MatchClass():
                for attribute in node.kwd_attrs:
                    _check_word(attribute, node, view)
            case ast.ImportFrom():
                _check_imported(node, view)
            case ast.Call():
                _check_call(node, view)


@cache
def _public(module: str) -> frozenset[str]:
    """What a module of the library calls its own: `__all__`, else its names without underscore; never another module."""
    loaded = importlib.import_module(module)
    offered = getattr(loaded, "__all__", None) or [name for name in vars(loaded) if not name.startswith("_")]
    return frozenset(name for name in offered if not isinstance(getattr(loaded, name, None), types.ModuleType))


def _offers(module: str, member: str, view: View) -> bool:
    dotted = f"{module}.{member}"
    if dotted in view.admitted or dotted in WITHHELD:  # the latter is told by a rule of its own
        return True
    if module in UNASKED:
        return not member.startswith("__")
    if module in MEMBERS:
        return member in MEMBERS[module]
    return module in view.admitted and member in _public(module)


def _refuse_member(module: str, member: str, node: ast.AST, view: View) -> None:
    if not _offers(module, member, view):
        fix = NO_MEMBER.get(module) or f"Use what the documentation of {module} names; another module is imported by its own name."
        view.findings.add("member", node, f"`{module}.{member}` is not admitted: it is no public member of `{module}`.", fix)


def _check_imported(node: ast.ImportFrom, view: View) -> None:
    module = node.module or ""
    for alias in node.names:
        _check_withheld(f"{module}.{alias.name}", node, view.findings)
        if not node.level and module in view.admitted and alias.name != "*":
            _refuse_member(module, alias.name, node, view)


def _check_member(node: ast.Attribute, view: View) -> None:
    base = view.names.dotted(node.value)
    _check_withheld(view.names.dotted(node), node, view.findings)
    if base in MODULES:
        _refuse_member(str(base), node.attr, node, view)
    if base == "tool" and node.attr in view.others:
        message = f"`tool.{node.attr}` is a module that the tool imported."
        view.findings.add("member", node, message, "Import it in the test itself, where it is admitted.")


def _check_withheld(dotted: str | None, node: ast.AST, findings: Findings) -> None:
    if dotted in WITHHELD:
        rule, why, fix = WITHHELD[dotted]
        findings.add(rule, node, f"`{dotted}` {why}.", fix)


def _check_value(node: ast.Name | ast.Attribute, view: View) -> None:
    if view.names.dotted(node) in MODULES:
        text = ast.unparse(node)
        message = f"The module `{text}` is handed on as a value, so nobody sees what is used of it."
        view.findings.add("module_as_value", node, message, f"Name the member that is meant, as in `{text}.name`.")


def _check_attribute(node: ast.Attribute, view: View) -> None:
    made_by = node.value.func if isinstance(node.value, ast.Call) else None
    if node.attr in METHODS and isinstance(made_by, ast.Name) and made_by.id == "super":
        return
    mine = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
    if not node.attr.startswith("__") and (mine or view.names.dotted(node.value) == "tool"):
        return
    _check_word(node.attr, node, view)


def _check_word(word: str, node: ast.AST, view: View) -> None:
    if word in FRAMES or (word.startswith("__") and word not in ATTRIBUTES):
        fix = BEHIND.get(word) or (_PLAIN if word.endswith("__") else "Name it with one underscore.")
        view.findings.add("escape", node, f"`.{word}` reaches behind the language.", fix)
    elif word.startswith("_") and word not in ATTRIBUTES | RECORD_METHODS and (word not in view.own or word in _OF_A_CONTEXT):
        view.findings.add("escape", node, f"`.{word}` is private to what it belongs to.", "Use its public methods and fields.")


def _check_identifiers(node: ast.AST, findings: Findings) -> None:
    """Names as the compiler has them: those in f-strings too, which are no tokens of the text."""
    for field in ("id", "arg", "attr", "name", "asname", "rest"):
        word = getattr(node, field, None)
        if isinstance(word, str) and not word.isascii():
            findings.add("look_alike", node, f"The name {word!a} is not ASCII.", "Use ASCII letters, digits and underscores.")
    made = _made(node)
    if made.startswith("__") and made not in SPECIAL_NAMES:
        findings.add("escape", node, f"`{made}` is a name of the language's own.", "Give it a plain name.")


def _made(node: ast.AST) -> str:
    """The name that a node binds, if it does."""
    if isinstance(node, ast.Name):
        return "" if isinstance(node.ctx, ast.Load) else node.id
    if isinstance(node, ast.alias):
        return node.asname or ""
    return node.arg if isinstance(node, ast.arg) else ""


def _check_change(node: ast.Attribute | ast.Subscript, view: View) -> None:
    if isinstance(node.ctx, ast.Load):
        return
    root = root_of(node)
    if view.names.dotted(root):
        _changed(root_name(node) or "", node, view)
    elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in view.contexts and view.is_tool:
        message = f"`{node.value.id}.{node.attr}` is the host's and is changed here."
        view.findings.add("tampering", node, message, "Keep the value in a variable of your own.")
    elif isinstance(node, ast.Attribute) and isinstance(root, ast.Call) and root_name(root.func) == "type":
        message = "This changes a class for everyone who uses it."
        view.findings.add("tampering", node, message, "Set the attribute on the value itself, or leave it.")


def _changed(name: str, node: ast.AST, view: View) -> None:
    if view.is_tool:
        message = f"`{name}` was imported and is changed here: all code of the process would see it."
        view.findings.add("module_state", node, message, "Make a value of your own inside run() and change that.")
    else:
        message = f"The test changes `{name}`, which it imported: what it then sees is not the tool that is verified."
        fix = "Give trial(...) the args, world, script or now that bring the case about; copy a value before you change it."
        view.findings.add("tampering", node, message, fix)


def _check_call(node: ast.Call, view: View) -> None:
    if isinstance(node.func, ast.Name) and node.func.id == "type" and len(node.args) + len(node.keywords) > 1:
        message = "`type` with more than one argument makes a class out of values."
        view.findings.add("dynamic_access", node, message, "Write the class.")
    elif {word.arg for word in node.keywords} & {"assigned", "updated"} and (view.names.dotted(node.func) or "").startswith("functools."):
        message = "`assigned` and `updated` copy attributes by name."
        view.findings.add("dynamic_access", node, message, "Leave them out: wraps(function) copies what it should.")
    elif isinstance(node.func, ast.Attribute) and node.func.attr in MUTATORS:
        root = root_of(node.func.value)
        if view.names.dotted(root) and view.names.dotted(node.func.value) not in MODULES:  # else it is a function of that name
            _changed(root_name(root) or "", node, view)


def _check_format(node: ast.Attribute, view: View) -> None:
    """`{0.__class__}` in a text that comes from outside would be obeyed: what is formatted is a literal of the file."""
    if node.attr != "format" or "format" in view.own:
        return
    if _is_literal(node.value, view.texts):
        written = "".join(part.value for part in ast.walk(node.value) if isinstance(part, ast.Constant) and isinstance(part.value, str))
        if "._" in written and "{" in written:
            view.findings.add("escape", node, "A format text reaches a private attribute.", "Format plain values.")
        return
    message = "The text that is formatted is no literal of the file: braces in data would reach into values."
    fix = "Format a literal text, or fill in with string.Template(text).safe_substitute(values) or re.sub."
    view.findings.add("format_of_data", node, message, fix)


def _check_clock(node: ast.Attribute, view: View) -> None:
    base = node.value
    word = base.id if isinstance(base, ast.Name) else base.attr.strip("_") if isinstance(base, ast.Attribute) else ""
    if node.attr in _CLOCKS - view.own and word not in view.contexts and view.names.dotted(node) not in WITHHELD:
        view.findings.add("clock", node, f"`.{node.attr}` reads the machine's clock.", "Use ctx.now(), and name the context `ctx`.")


def _sets_own_field(call: ast.Call) -> bool:
    """`object.__setattr__(self, "field", value)`, as frozen dataclasses need it."""
    match call.func, call.args:
        case ast.Attribute(value=ast.Name("object"), attr="__setattr__"), [ast.Name("self"), ast.Constant(str(word)), _]:
            return not word.startswith("__")
    return False


def _defined(tree: ast.Module) -> frozenset[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and root_name(node) == "self":
            found.add(node.attr)
        elif isinstance(node, ast.ClassDef):
            targets = [part for statement in node.body for part in _targets(statement)]
            found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return frozenset(found)


def _targets(statement: ast.AST) -> list[ast.expr]:
    if isinstance(statement, ast.Assign):
        return statement.targets
    return [statement.target] if isinstance(statement, ast.AnnAssign) else []


def _literals(tree: ast.Module) -> frozenset[str]:
    """Names that are nowhere in the file given anything but literals."""
    bound = Counter(_made(node) for node in ast.walk(tree))
    given = Counter(
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None and _is_literal(node.value, frozenset())
        for target in _targets(node)
        if isinstance(target, ast.Name)
    )
    return frozenset(name for name, times in given.items() if bound[name] == times)


def _is_literal(node: ast.expr | None, known: frozenset[str]) -> bool:
    """Whether all that an expression can be is written in the file."""
    match node:
        case ast.Constant() | None:
            return True
        case ast.JoinedStr():  # what it fills in comes from outside; literal braces were written here
            return not any(isinstance(part, ast.FormattedValue) for part in node.values)
        case ast.Name():
            return node.id in known
        case ast.BinOp(op=ast.Add()):
            return _is_literal(node.left, frozenset()) and _is_literal(node.right, frozenset())
        case ast.IfExp():
            return _is_literal(node.body, known) and _is_literal(node.orelse, known)
        case ast.Tuple() | ast.List():
            return all(_is_literal(part, known) for part in node.elts)
        case ast.Dict():
            return all(_is_literal(part, known) for part in node.values)
        case ast.Subscript():
            return _is_literal(node.value, known)
        case ast.Call(func=ast.Attribute(value=base, attr="get" | "strip" | "join")):
            return _is_literal(base, known) and all(_is_literal(part, known) for part in node.args[1:])
        case ast.Call(func=ast.Name(id="MappingProxyType" | "dedent")):
            return all(_is_literal(part, known) for part in node.args)
    return False
