"""The page's modules as one ES module, put together when it is asked for: there is no build step.

Each module becomes a function that returns what it exports; imports become reads of what other
modules returned. Comments and indentation stay behind (no template literal spans lines). Only the
forms that these modules use are understood, and any other is refused.
"""

import re
from functools import cache
from importlib import resources

ENTRY = "explorer"
_IMPORT = re.compile(r'^import \{([^}]*)\} from "\./(\w+)\.js";$', re.M)
_EXPORT = re.compile(r"^export (?:function\*? |class |const )(\w+)", re.M)
_COMMENT = re.compile(r"^ *(?://.*|/\*\*(?:.|\n)*?\*/)\n", re.M)
_BLANK = re.compile(r"^(?: +|\n+)", re.M)
_DEFAULT = re.compile(r"^export default .*;$", re.M)


def text(name: str) -> str:
    """One of the explorer's files."""
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


@cache
def module() -> str:
    """All modules of the explorer as one ES module.

    Returns:
        JavaScript that exports what every module exports, and as default what a notebook calls.

    Raises:
        ValueError: A module imports or exports in a form that is not understood.

    Example:
        >>> "export default { render };" in module()
        True
    """
    parts: dict[str, str] = {}
    names: dict[str, str] = {}
    _add(ENTRY, parts, names)
    exported = ",\n  ".join(sorted(names))
    reads = "".join(
        f"const {{ {', '.join(n for n in names if names[n] == part)} }} = ${part};\n"
        for part in parts
    )
    body = "\n".join(parts.values())
    return f"{body}\n{reads}export {{\n  {exported},\n}};\nexport default {{ render }};\n"


def _add(name: str, parts: dict[str, str], names: dict[str, str]) -> None:
    """Add a module after those it imports."""
    source = text(f"{name}.js")
    for match in _IMPORT.finditer(source):
        if match[2] not in parts:
            _add(match[2], parts, names)
    own = _EXPORT.findall(source)
    for export in own:
        if export in names:
            raise ValueError(f"{name}.js and {names[export]}.js both export {export}")
        names[export] = name
    body = _IMPORT.sub(lambda m: f"const {{{m[1]}}} = ${m[2]};", source)
    body = _DEFAULT.sub("", re.sub(r"^export (?=function|class|const)", "", body, flags=re.M))
    if left := re.search(r"^(?:import|export)\b.*", body, re.M):
        raise ValueError(f"{name}.js: {left[0]!r} is in a form that is not understood")
    body = _BLANK.sub("", _COMMENT.sub("", body)).rstrip()
    parts[name] = f"const ${name} = (() => {{\n{body}\nreturn {{ {', '.join(own)} }};\n}})();"
