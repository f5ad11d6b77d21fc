"""Who takes part. Each peer is one function from the work to a contestant, or `Unable`."""

from convscape.bench.peers.common import Settings, Unable
from convscape.bench.peers.table import OURS, builders

__all__ = ["OURS", "Settings", "Unable", "builders"]
