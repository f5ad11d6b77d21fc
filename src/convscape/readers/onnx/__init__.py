"""Reads ONNX files; `read` says how."""

from convscape.readers.onnx.read import read_file

__all__ = ["read_file"]
