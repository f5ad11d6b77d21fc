"""Finds the model that a command line names: a file, or an import path.

An import path runs code: the module is imported and its factory called, with your rights. A file
does not.
"""

import ast
import importlib
import importlib.util
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from convscape.arithmetic.errors import InputError

FILES = (".onnx", ".keras")


def find(target: str, settings: Mapping[str, Any] | None = None) -> Any:
    """The model that a target names.

    Args:
        target: The path of an .onnx or .keras file, or `package.module:factory`; the factory may
            be a function or class, which is called with `settings`, or a model.
        settings: Keyword arguments for the factory.

    Returns:
        A path, or a model.

    Raises:
        InputError: No such file, module or name, or the factory fails.
    """
    path = Path(target)
    if path.suffix in FILES or path.is_file():
        if settings:
            raise InputError(
                "settings are for factories", f"{target} with {', '.join(settings)}",
                "leave --with out for a file",
            )  # fmt: skip
        return path
    module, colon, name = target.partition(":")
    if not colon or not name or not all(part.isidentifier() for part in module.split(".")):
        raise InputError(
            "a model is a file (.onnx, .keras) or an import path package.module:factory",
            repr(target),
            "check the path, or write e.g. keras.applications:ResNet50",
        )
    return _called(target, _imported(target, module, name), dict(settings or {}))


def parse_settings(pairs: Sequence[str]) -> dict[str, Any]:
    """Keyword arguments from `key=value`; values are Python literals, anything else is text.

    Example:
        >>> parse_settings(["weights=None", "classes=10", "pooling=avg"])
        {'weights': None, 'classes': 10, 'pooling': 'avg'}
    """
    settings = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key.isidentifier():
            raise InputError("a setting is written key=value", repr(pair), "e.g. weights=None")
        try:
            settings[key] = ast.literal_eval(value)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            settings[key] = value
    return settings


def parse_shape(text: str) -> tuple[int, ...]:
    """A shape from 3x224x224 (or with commas).

    Example:
        >>> parse_shape("224x224x3")
        (224, 224, 3)
    """
    parts = text.lower().replace(",", "x").split("x")
    if not all(p.strip().isdecimal() and len(p) < 16 for p in parts) or min(map(int, parts)) < 1:
        raise InputError(
            "an input shape is whole numbers of at least 1 joined by x", repr(text),
            "e.g. 3x224x224, without the batch axis",
        )  # fmt: skip
    return tuple(map(int, parts))


def _imported(target: str, module: str, name: str) -> Any:
    if module.split(".")[0] == "keras":
        _choose_keras_backend()
    here = str(Path.cwd())
    if here not in sys.path:  # as `python -m` has it, so that a module beside you is found
        sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except AttributeError as error:
        raise InputError(
            "the module must have this name", _said(target, error), "check it"
        ) from None
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        raise InputError(
            "the import path must import", _said(target, error),
            "check that it is installed, or run from its folder",
        ) from None  # fmt: skip
    return found


def _called(target: str, found: Any, settings: dict[str, Any]) -> Any:
    model = any(
        str(cls.__module__).split(".")[0] in ("keras", "torch")
        and cls.__name__ in ("Module", "Layer")
        for cls in type(found).__mro__
    )
    if model and not settings:
        return found
    if not callable(found) or model:
        raise InputError(
            "the import path must lead to a factory or a model",
            f"{target}: a {type(found).__name__}" + (" with settings" if model else ""),
            "name a function or class that makes the model",
        )
    try:
        return found(**settings)
    except Exception as error:
        raise InputError(
            "the factory must make the model", _said(target, error),
            "give its arguments by --with key=value",
        ) from None  # fmt: skip


def _choose_keras_backend() -> None:
    """Keras wants TensorFlow unless told; any backend does, since no number is computed."""
    if "KERAS_BACKEND" in os.environ or importlib.util.find_spec("tensorflow") is not None:
        return
    for backend in ("torch", "jax"):
        if importlib.util.find_spec(backend) is not None:
            os.environ["KERAS_BACKEND"] = backend
            return


def _said(target: str, error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{target}: {type(error).__name__}: {(text[0] if text else 'no message')[:160]}"
