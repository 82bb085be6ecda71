"""Note digests of a training while it goes on, so that a replay can say where it parted."""

from __future__ import annotations

from runback.ledger.loop import epochs

__all__ = ["epochs"]
