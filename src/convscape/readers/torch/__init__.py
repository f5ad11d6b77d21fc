"""Reads torch modules; `read` says how."""

from convscape.readers.torch.read import METHODS, read_model

__all__ = ["METHODS", "read_model"]
