"""Something that others provide goes away and comes back: said once each way, not once a minute."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from syncd.logs import Log


class Outage:
    """Tells the log when `what` becomes unreachable and when it is back, and nothing in between."""

    def __init__(self, what: str, log: Log) -> None:
        self.what = what
        self._log = log
        self._since: float | None = None

    def gone(self, error: BaseException) -> None:
        """It failed just now. Only the error's type is logged: messages of drivers quote addresses and values."""
        if self._since is None:
            self._since = time.monotonic()
            self._log.warning("unreachable", what=self.what, error=type(error).__name__)

    def over(self) -> None:
        """It answered just now."""
        if self._since is not None:
            after_s = round(time.monotonic() - self._since, 1)
            self._since = None
            self._log.warning("back", what=self.what, after_s=after_s)

    @property
    def lasts(self) -> bool:
        return self._since is not None
