"""What code reaches by a dot: members of modules, attributes behind the language, what is private to others, what it did not make.

The rules are the same for a tool and for its tests. It refuses to be: a list of known tricks. A module's member is admitted where the
module itself calls it public; an attribute that begins with an underscore where the file itself defines it.
"""

from __future__ import annotations

import ast
import importlib
import types
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property

from .admitted import (
    ATTRIBUTES,
    BEHIND,
    CALLED,
    EFFECTS,
    FRAMES,
    MEMBERS,
    METHODS,
    MUTATORS,
    NO_MEMBER,
    ONLY_CALLED,
    RECORD_METHODS,
    SPECIAL_NAMES,
    TEST_MODULES,
    TOOL_MODULES,
    UNASKED,
    WITHHELD,
    WITHHELD_IN_A_TEST,
)
from .contexts import contexts_of
from .findings import Findings
from .formats import Written, check_format, written_in
from .matching import Classes, check_order, taken
from .names import Names, root_name, root_of

MODULES = TEST_MODULES | {name.rpartition(".")[0] for name in TEST_MODULES if "." in name}
"""Every module that a name may stand for, the packages of those with a dot included."""

_OF_A_CONTEXT = frozenset(
    {"_exchange", "_seed", "_now", "_step", "_waiting", "_cancelled", "_ids"}
    | {"_settle", "_request", "_pipeline", "_perform", "_next_step"}
)
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
    def fields(self) -> frozenset[str]:
        """Those of them that hold a value."""
        return _fields(self.tree)

    @cached_property
    def written(self) -> Written:
        return written_in(self.tree, self.names)

    @cached_property
    def classes(self) -> Classes:
        return Classes.of(self.tree, self.names)

    @cached_property
    def contexts(self) -> frozenset[int]:
        return contexts_of(self.tree, self.names)

    @cached_property
    def typed(self) -> frozenset[int]:
        """Nodes that say what type something has, or ask for it."""
        return _typed(self.tree)

    @cached_property
    def calls(self) -> dict[int, ast.Call]:
        """Each call by the id of what it calls."""
        return {id(node.func): node for node in ast.walk(self.tree) if isinstance(node, ast.Call)}


@dataclass(frozen=True)
class Reach:
    """A word that is taken of something at a node: by a dot, by a pattern, by a class that says which words its patterns take.

    `base` is what it is taken of, None where nothing in the text says so; `call` is the call of it, if nothing else is done with it.
    """

    word: str
    node: ast.AST
    base: ast.expr | None = None
    call: ast.Call | None = None


def _reaches(node: ast.AST, view: View) -> Iterator[Reach]:
    if isinstance(node, ast.Attribute):
        yield Reach(node.attr, node, node.value, view.calls.get(id(node)))
    else:
        yield from (Reach(word, node) for word in taken(node, view.classes))


def check_reach(view: View) -> None:
    """Every dot, pattern, name and change of a file."""
    nodes = list(ast.walk(view.tree))
    held = {id(node.value) for node in nodes if isinstance(node, ast.Attribute)}
    fine = {id(node.value) for node in nodes if isinstance(node, ast.Attribute) and node.attr in ("__name__", "__qualname__")}
    fine |= {id(call.func) for call in nodes if isinstance(call, ast.Call) and _sets_own_field(call)}
    for node in nodes:
        _check_identifiers(node, view.findings)
        check_order(node, view.classes, view.names, view.findings)
        if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load) and id(node) not in held:
            _check_value(node, view)
        for reach in _reaches(node, view):
            if id(node) not in fine:
                _check_word(reach, view)
            _check_format(reach, view)
            if view.is_tool:
                _check_clock(reach, view)
                _check_effect(reach, view)
        match node:
            case ast.Attribute():
                _check_member(node, view)
                _check_change(node, view)
            case ast.Subscript():
                _check_change(node, view)
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
        _check_withheld(f"{module}.{alias.name}", node, view)
        if not node.level and module in view.admitted and alias.name != "*":
            _refuse_member(module, alias.name, node, view)


def _check_member(node: ast.Attribute, view: View) -> None:
    base = view.names.dotted(node.value)
    _check_withheld(view.names.dotted(node), node, view)
    if base in MODULES:
        _refuse_member(str(base), node.attr, node, view)
    if base == "tool" and node.attr in view.others:
        message = f"`tool.{node.attr}` is a module that the tool imported."
        view.findings.add("member", node, message, "Import it in the test itself, where it is admitted.")


def _check_withheld(dotted: str | None, node: ast.AST, view: View) -> None:
    if dotted in WITHHELD:
        rule, why, fix = WITHHELD[dotted]
        view.findings.add(rule, node, f"`{dotted}` {why}.", fix if view.is_tool else WITHHELD_IN_A_TEST.get(rule, fix))


def _check_value(node: ast.Name | ast.Attribute, view: View) -> None:
    """Modules, and what needs no more than a word to reach an attribute or to make a class, are used in sight."""
    dotted = view.names.dotted(node)
    if dotted in MODULES:
        message = f"The module `{ast.unparse(node)}` is handed on as a value, so nobody sees what is used of it."
        view.findings.add("module_as_value", node, message, f"Name the member that is meant, as in `{ast.unparse(node)}.name`.")
    elif id(node) not in view.calls and (dotted in ONLY_CALLED or (_is_type(node, view) and id(node) not in view.typed)):
        _, why, fix = CALLED[dotted if dotted in ONLY_CALLED else "type"]
        view.findings.add("dynamic_access", node, f"`{ast.unparse(node)}` is handed on as a value: it {why}.", fix)


def _check_word(reach: Reach, view: View) -> None:
    """The word itself: nothing of the language's own, nothing private that the file does not give to things itself."""
    word, made_by = reach.word, reach.base.func if isinstance(reach.base, ast.Call) else None
    if word in METHODS and isinstance(made_by, ast.Name) and made_by.id == "super":
        return
    if reach.base is not None and view.names.dotted(reach.base) == "tool" and not word.startswith("__"):
        return
    if word in FRAMES or (word.startswith("__") and word.endswith("__") and word not in ATTRIBUTES):
        view.findings.add("escape", reach.node, f"`.{word}` reaches behind the language.", BEHIND.get(word, _PLAIN))
    elif word in _OF_A_CONTEXT:
        view.findings.add("escape", reach.node, f"`.{word}` is a name of the context's own.", "Name what is yours otherwise.")
    elif word.startswith("_") and word not in ATTRIBUTES | RECORD_METHODS | view.own:
        view.findings.add("escape", reach.node, f"`.{word}` is private to what it belongs to.", "Use its public methods and fields.")


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
    """The name that a node binds, if it does; functions have a rule of their own."""
    match node:
        case ast.Name():
            return "" if isinstance(node.ctx, ast.Load) else node.id
        case ast.alias():
            return node.asname or ""
        case ast.arg():
            return node.arg
        case ast.MatchAs() | ast.MatchStar() | ast.ExceptHandler() | ast.ClassDef():
            return node.name or ""
        case ast.MatchMapping():
            return node.rest or ""
    return ""


def _check_change(node: ast.Attribute | ast.Subscript, view: View) -> None:
    if isinstance(node.ctx, ast.Load):
        return
    root = root_of(node)
    if view.names.dotted(root):
        _changed(root_name(node) or "", node, view)
    elif isinstance(node, ast.Attribute) and id(node.value) in view.contexts and view.is_tool:
        message = f"`{ast.unparse(node)}` is the host's and is changed here."
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
    if isinstance(node.func, ast.Attribute) and node.func.attr in MUTATORS:
        root = root_of(node.func.value)
        if view.names.dotted(root) and view.names.dotted(node.func.value) not in MODULES:  # else it is a function of that name
            _changed(root_name(root) or "", node, view)
    word = "type" if _is_type(node.func, view) else view.names.dotted(node.func) or ""
    most, why, fix = CALLED.get(word, (len(node.args), "", ""))
    if word in CALLED and not _is_plain(node, most):
        view.findings.add("dynamic_access", node, f"`{ast.unparse(node)[:60]}` {why}.", fix)
    elif (
        isinstance(node.func, ast.Call)
        and _is_type(node.func.func, view)
        and ast.unparse(node.func) != "type(self)"
        and not _is_plain(node, 2)
    ):
        view.findings.add("dynamic_access", node, f"`{ast.unparse(node)[:60]}` may make a class out of values.", CALLED["type"][2])


def _is_type(node: ast.expr, view: View) -> bool:
    return isinstance(node, ast.Name) and node.id == "type" and id(node) not in view.names.hidden


def _is_plain(node: ast.Call, most: int) -> bool:
    """Whether a call has no more than so many arguments, all of them to be seen."""
    return len(node.args) <= most and not node.keywords and not any(isinstance(part, ast.Starred) for part in node.args)


def _says_all(call: ast.Call | None) -> bool:
    """Whether all that a call hands over stands in it."""
    return call is not None and all(isinstance(part, ast.Constant) for part in [*call.args, *(word.value for word in call.keywords)])


def _check_format(reach: Reach, view: View) -> None:
    """One's own method of that name takes texts of the file alone, or is called on `self`."""
    if reach.word != "format":
        return
    is_self = isinstance(reach.base, ast.Name) and reach.base.id == "self"
    if "format" in view.own and (is_self or _says_all(reach.call)):
        return
    check_format(reach.base, reach.node, view.written, view.names, view.findings)


def _check_clock(reach: Reach, view: View) -> None:
    """`now` of the context, or what the file itself keeps under such a name and does not call."""
    if reach.word not in _CLOCKS or (reach.word in view.fields and reach.base is not None and reach.call is None):
        return
    is_context = reach.word == "now" and reach.base is not None and id(reach.base) in view.contexts
    if not is_context and not (reach.base is not None and view.names.dotted(reach.node) in WITHHELD):  # which is told by a rule of its own
        message = f"`.{reach.word}` may read the machine's clock."
        view.findings.add("clock", reach.node, message, "Use ctx.now() of a parameter `ctx: Context`; name methods of your own otherwise.")


def _check_effect(reach: Reach, view: View) -> None:
    """Effects are performed by name on what is seen to be the context, so that a reader and the policy gate see which."""
    if reach.word not in EFFECTS:
        return
    if reach.call is None:
        message = f"`.{reach.word}` is handed on instead of called, so nobody sees which effect it performs."
        view.findings.add("indirect_effect", reach.node, message, f"Call ctx.{reach.word}('id', …) where it is meant.")
    elif id(reach.base) not in view.contexts:
        message = f"`.{reach.word}` is called on what cannot be seen to be the context."
        fix = f"Call ctx.{reach.word}('id', …) of a parameter `ctx: Context`, or name a method of your own otherwise."
        view.findings.add("indirect_effect", reach.node, message, fix)


def _sets_own_field(call: ast.Call) -> bool:
    """`object.__setattr__(self, "field", value)`, as frozen dataclasses need it."""
    match call.func, call.args:
        case ast.Attribute(value=ast.Name("object"), attr="__setattr__"), [ast.Name("self"), ast.Constant(str(word)), _]:
            return not word.startswith("__")
    return False


def _defined(tree: ast.Module) -> frozenset[str]:
    methods = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    return _fields(tree) | methods


def _fields(tree: ast.Module) -> frozenset[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            found |= {node.name} if any(isinstance(part, ast.Name) and part.id == "property" for part in node.decorator_list) else set()
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and root_name(node) == "self":
            found.add(node.attr)
        elif isinstance(node, ast.Call) and _sets_own_field(node):
            found |= {part.value for part in node.args[1:2] if isinstance(part, ast.Constant) and isinstance(part.value, str)}
        elif isinstance(node, ast.ClassDef):
            targets = [part for statement in node.body for part in _targets(statement)]
            found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return frozenset(found)


def _typed(tree: ast.Module) -> frozenset[int]:
    said: list[ast.AST | None] = []
    for node in ast.walk(tree):
        match node:
            case ast.arg() | ast.AnnAssign():
                said.append(node.annotation)
            case ast.FunctionDef():
                said.append(node.returns)
            case ast.Subscript():
                said += [node.slice, node.value]
            case ast.MatchClass():
                said.append(node.cls)
            case ast.Compare():
                said += [node.left, *node.comparators]
            case ast.Call(func=ast.Name(id="isinstance" | "issubclass" | "cast")):
                said += node.args
            case ast.Call(func=ast.Name(id="map"), args=[kind, ast.Name() | ast.Attribute() | ast.Subscript() | ast.Call()]):
                said.append(kind)
            case ast.keyword(arg="key"):
                said.append(node.value)
    return frozenset(id(part) for each in said if each is not None for part in ast.walk(each))


def _targets(statement: ast.AST) -> list[ast.expr]:
    if isinstance(statement, ast.Assign):
        return statement.targets
    return [statement.target] if isinstance(statement, ast.AnnAssign) else []
