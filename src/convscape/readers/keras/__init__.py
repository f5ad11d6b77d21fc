"""Reads Keras models; `read` says how."""

from convscape.readers.keras.read import read_config, read_file, read_model

__all__ = ["read_config", "read_file", "read_model"]
