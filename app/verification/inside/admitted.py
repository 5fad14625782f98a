"""What a tool may name, as tables: modules, their withheld members, builtins, attributes.

The reasons stand in the messages, which are written for the author of a tool, human or model. It refuses to be: a blacklist of what is
dangerous. A module that is not named here is not admitted; the sandbox is what holds, these rules keep tools repeatable and readable.
"""

from __future__ import annotations

import builtins
import types


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


TOOL_MODULES = _words(
    "__future__ abc base64 bisect collections collections.abc contextlib copy csv dataclasses datetime decimal difflib email.utils enum "
    "fractions functools hashlib heapq html io itertools json math numbers operator re statistics string textwrap types typing unicodedata "
    "urllib.parse uuid zoneinfo contract toolkit"
)
TEST_MODULES = TOOL_MODULES | _words("pytest random tool toolkit.testing")

MEMBERS = {
    "__future__": ("annotations",),
    "io": ("StringIO", "BytesIO"),
    "types": ("MappingProxyType",),
    "toolkit": ("Cancelled", "Context", "Outcome", "Status", "ToolError"),
    "toolkit.testing": ("NOW", "Trial", "trial"),
    "pytest": ("ExceptionInfo", "approx", "fail", "fixture", "mark", "param", "raises"),
    "random": ("Random",),
}
"""All that may be taken of modules that cannot be asked for their public names, or that offer more than a tool or a test needs."""

UNASKED = frozenset({"contract", "tool"})
"""Modules of the candidate itself: their public names are its own."""

NO_MEMBER = {
    "io": "Use io.StringIO or io.BytesIO; a tool has no files.",
    "types": "Use types.MappingProxyType; write classes and functions as such.",
    "random": "Use random.Random(seed), so that a test gives the same each time.",
    "pytest": "A test needs pytest.mark.parametrize, pytest.raises, pytest.approx and fixtures of its own, nothing else of pytest.",
    "toolkit.testing": "Use trial(run, args, world=…, script=…, now=…, after=…) and what it returns.",
}
"""What to do instead where a member is not admitted."""

INSTEAD = {
    "asyncio": "A tool is synchronous: use ctx.perform_each(...) for many items; the host pipelines them.",
    "datetime": "Use ctx.now().",
    "glob": "Use a read of the spec: ctx.read(...).",
    "httpx": "Declare an effect with the connector http.request and use ctx.perform(...).",
    "logging": "Use ctx.log(event, **fields).",
    "os": "A tool has no environment and no files: take what it needs from args or ctx.read(...).",
    "pathlib": "A tool has no files: use ctx.read(...).",
    "random": "Use ctx.random, which repeats when a run is resumed.",
    "requests": "Declare an effect with the connector http.request and use ctx.perform(...).",
    "secrets": "Use ctx.new_id() or ctx.random, which repeat when a run is resumed.",
    "smtplib": "Declare an effect with the connector email.send and use ctx.perform(...).",
    "socket": "Declare an effect or a read in the spec and use ctx.perform(...) or ctx.read(...).",
    "sqlite3": "Declare a records or sql read or effect in the spec.",
    "subprocess": "Leave it out: a tool cannot start processes.",
    "sys": "Leave it out; raise ToolError(code, message) to end the run.",
    "threading": "A tool has one thread: use ctx.perform_each(...); the host pipelines.",
    "time": "Use ctx.now(); a tool never waits, the host does.",
    "urllib.request": "Declare an effect with the connector http.request and use ctx.perform(...).",
}

INSTEAD_IN_A_TEST = {
    "hypothesis": "Give the values that matter by pytest.mark.parametrize, or draw them of random.Random(seed).",
    "os": "A test has no environment and no files: write the values down.",
    "pathlib": "A test has no files: write the values down, or give trial(...) a world.",
    "time": "Give trial(...) the time: trial(run, args, now=…).",
    "unittest": "Write plain functions test_… that assert; give trial(...) the world, script or now that bring the case about.",
}
"""What to do instead of importing a module that is not admitted, in a tool and in a test."""

_CLOCK = ("clock", "reads the machine's clock, so that a resumed run would differ", "Use ctx.now().")
_RANDOM = ("randomness", "is different in each process, so that a resumed run would differ", "Use ctx.new_id() or uuid.uuid5(...).")
_STATE = ("module_state", "keeps state between calls of one process", "Compute it inside run(), or keep a dict local to run().")
_METACLASS = ("metaclass", "changes what a class means", "Derive from enum.Enum.")
_ESCAPE = ("dynamic_access", "reaches attributes by name or evaluates text", "Name the attribute or key directly, e.g. item['to'].")

WITHHELD = {
    "datetime.datetime.now": _CLOCK,
    "datetime.datetime.utcnow": _CLOCK,
    "datetime.datetime.today": _CLOCK,
    "datetime.date.today": _CLOCK,
    "email.utils.formatdate": _CLOCK,
    "email.utils.localtime": _CLOCK,
    "email.utils.make_msgid": _RANDOM,
    "uuid.uuid1": _RANDOM,
    "uuid.uuid4": _RANDOM,
    "uuid.getnode": _RANDOM,
    "functools.lru_cache": _STATE,
    "functools.cache": _STATE,
    "functools.cached_property": _STATE,
    "functools.singledispatch": _ESCAPE,
    "functools.singledispatchmethod": _ESCAPE,
    "dataclasses.make_dataclass": ("dynamic_access", "makes a class out of values", "Write the class."),
    "abc.ABCMeta": ("metaclass", "changes what a class means", "Derive from abc.ABC."),
    "enum.EnumType": _METACLASS,
    "enum.EnumMeta": _METACLASS,
    "enum.global_enum": ("module_state", "puts names into the module that nobody sees there", "Name the members by their class."),
    "zoneinfo.reset_tzpath": _STATE,
    "zoneinfo.available_timezones": ("builtin", "reads the file system", "Name the zones that the spec allows."),
    "csv.register_dialect": _STATE,
    "csv.field_size_limit": _STATE,
    "decimal.setcontext": _STATE,
    "decimal.getcontext": ("module_state", "is shared by all code of the process", "Use `with decimal.localcontext() as c:`."),
    "operator.attrgetter": _ESCAPE,
    "operator.methodcaller": _ESCAPE,
    "string.Formatter": _ESCAPE,
    "typing.get_type_hints": _ESCAPE,
    "typing.ForwardRef": _ESCAPE,
    "typing.runtime_checkable": ("dynamic_access", "lets anything pass for the class that has such attributes", "Test for a plain class."),
    "typing.TYPE_CHECKING": ("checked_is_run", "makes the checked code differ from the code that runs", "Import it directly."),
    "typing.no_type_check": ("checked_is_run", "hides code from the type check", "Leave it out and give the function its types."),
    "typing.no_type_check_decorator": ("checked_is_run", "hides code from the type check", "Leave it out."),
    "pytest.importorskip": ("import", "imports modules that are not admitted", "Import what is admitted at the top."),
    "contextlib.redirect_stdout": _STATE,
    "contextlib.redirect_stderr": _STATE,
    "contextlib.chdir": _STATE,
}
"""Members of admitted modules that a tool may not use: rule, what is wrong, how to mend it."""

WITHHELD_IN_A_TEST = {
    "clock": "Write the instant down; toolkit.testing has NOW.",
    "randomness": "Write the value down, or draw it of random.Random(seed).",
    "module_state": "Make it inside the test, or in a fixture.",
}
"""How a test mends it, by rule, where that differs from a tool."""

_CLASSES = "makes a class out of values"
_COPIES = "copies attributes by name"
_WRAPS = "Write `@wraps(function)` and nothing else: it copies what it should."
_WRITE = "Write the class."

CALLED = {
    "functools.wraps": (1, _COPIES, _WRAPS),
    "functools.update_wrapper": (2, _COPIES, _WRAPS),
    "enum.Enum": (1, _CLASSES, _WRITE),
    "enum.IntEnum": (1, _CLASSES, _WRITE),
    "enum.StrEnum": (1, _CLASSES, _WRITE),
    "enum.Flag": (1, _CLASSES, _WRITE),
    "enum.IntFlag": (1, _CLASSES, _WRITE),
    "type": (1, _CLASSES, _WRITE),
}
"""What may be called with so many plain arguments and no others: what it does with more, and how to mend it."""

ONLY_CALLED = frozenset({"functools.wraps", "functools.update_wrapper"})
"""Those of them that are no values, like `type` where it is no type of something."""

NEVER = {
    "eval": "Write the expression itself.",
    "exec": "Write the statements themselves.",
    "compile": "Write the code itself; for patterns use re.compile(...).",
    "__import__": "Use an import statement at the top.",
    "globals": "Pass values as arguments.",
    "locals": "Pass values as arguments, or build a dict.",
    "getattr": "Name the attribute: value.field, or value['field'] for a dict.",
    "setattr": "Assign the attribute by name.",
    "delattr": "Delete the attribute by name.",
    "breakpoint": "Leave it out; use ctx.log(...).",
    "__builtins__": "Leave it out.",
    "__loader__": "Leave it out.",
    "__spec__": "Leave it out.",
    "__file__": "Leave it out: a tool has no files.",
}
"""Builtins that stay refused even where a local name hides them."""

UNLESS_LOCAL = {
    "open": "A tool has no files: use ctx.read(...).",
    "input": "Take it from args.",
    "print": "Use ctx.log(event, **fields).",
    "vars": "Name the attributes.",
    "dir": "Name the attributes.",
    "id": "Addresses differ between processes: compare with == or use a key of the data.",
    "memoryview": "Use bytes.",
    "help": "Leave it out.",
    "exit": "Raise ToolError(code, message), or return.",
    "quit": "Raise ToolError(code, message), or return.",
}
"""Builtins that are refused where the name means the builtin."""

TEST_BUILTINS = frozenset({"print", "dir", "id"})
"""What a test may use of the two tables above."""

IN_A_TEST = {
    "open": "A test has no files: write the values down, or give trial(...) a world.",
    "vars": "Name the fields, or compare whole values.",
    "input": "Write the value down.",
    "exit": "Let the test return.",
    "quit": "Let the test return.",
}
"""What a test does instead, where that differs from a tool."""

ATTRIBUTES = frozenset({"__name__", "__qualname__", "__doc__", "__members__"})
"""The only double-underscore attributes that may be read."""

BEHIND = {
    "__class__": "Use type(value), isinstance(value, …) or value.__class__.__name__.",
    "__dict__": "Name the fields, or use dataclasses.asdict(value).",
    "__annotations__": "Name the fields, or use dataclasses.fields(value).",
    "__dataclass_fields__": "Use dataclasses.fields(value).",
    "__setattr__": "Assign the attribute; in a frozen dataclass write object.__setattr__(self, 'field', value) in __post_init__.",
    "with_traceback": "Write `raise … from error`.",
    "format_map": "Use text.format(**values) on a literal text, or string.Template(text).safe_substitute(values).",
    "mro": "Use isinstance(value, …).",
    "register": "Derive from the class; name a method of your own otherwise.",
}
"""What to write instead of an attribute that reaches behind the language; for all others, the value's plain methods and fields."""

RECORD_METHODS = frozenset({"_replace", "_asdict", "_fields", "_make", "_field_defaults", "_value_", "_name_"})
"""What named tuples and enumerations call by a leading underscore."""

METHODS = _words(
    "__init__ __post_init__ __new__ __eq__ __ne__ __hash__ __repr__ __str__ __lt__ __le__ __gt__ __ge__ __len__ __iter__ __next__ "
    "__contains__ __bool__ __enter__ __exit__ __getitem__ __setitem__ __delitem__ __call__ __int__ __float__ __index__ __round__ "
    "__reversed__ __format__ __missing__ __neg__ __pos__ __abs__ __invert__ __add__ __sub__ __mul__ __truediv__ __floordiv__ __mod__ "
    "__divmod__ __pow__ __and__ __or__ __xor__ __radd__ __rsub__ __rmul__ __rtruediv__ __rfloordiv__ __rmod__ __iadd__ __isub__ __imul__"
)
"""Special methods that a class may define."""

SPECIAL_NAMES = frozenset({"__slots__", "__match_args__", "__all__"})
"""The only double-underscore names that may be assigned."""

FRAMES = _words(
    "gi_frame gi_code cr_frame cr_code ag_frame ag_code f_globals f_locals f_builtins f_back f_code tb_frame tb_next func_globals "
    "format_map _getframe co_consts mro with_traceback register"
)
"""Attributes through which code leaves its own frame, or makes a class what it is not."""

_KINDS = (object, type, types.FunctionType, types.MethodType, types.CodeType, types.ModuleType, builtins)
LANGUAGE = frozenset(name for kind in _KINDS for name in dir(kind) if name.startswith("__")) - ATTRIBUTES - METHODS
"""What a text of a tool does not say alone: the only use of such a word is to reach by it."""

MUTATORS = _words(
    "append extend insert remove pop clear sort reverse add discard update setdefault popitem appendleft popleft extendleft rotate "
    "subtract move_to_end intersection_update difference_update symmetric_difference_update send close"
)
"""Methods that change what they are called on."""

SHRINKERS = _words("remove pop clear discard popitem popleft intersection_update difference_update symmetric_difference_update")
"""Those of them after which there may be nothing left."""

ENDLESS = frozenset({"itertools.count", "itertools.cycle", "itertools.repeat"})
EFFECTS = frozenset({"perform", "perform_each", "perform_many"})
READS = frozenset({"read", "read_pages"})
