"""Ctrl-C as a request: the running step is finished, and what has been found is kept."""

import signal
import threading
from types import FrameType, TracebackType


class Interrupt:
    """Within its block the first Ctrl-C only sets `pressed`; a second one raises KeyboardInterrupt.

    It is set of the blocks around too: who made several solves learns that one of them was cut short.
    Outside the main thread signals cannot be caught, and nothing changes.
    """

    def __init__(self) -> None:
        """Nothing pressed yet."""
        self.pressed = False

    def __enter__(self) -> "Interrupt":
        """Catch SIGINT."""
        self._catching = threading.current_thread() is threading.main_thread()
        if self._catching:
            self._previous = signal.signal(signal.SIGINT, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give SIGINT back."""
        if self._catching:
            signal.signal(signal.SIGINT, self._previous)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.pressed:
            raise KeyboardInterrupt
        self._note()

    def _note(self) -> None:
        self.pressed = True
        outer = getattr(self._previous, "__self__", None)
        if isinstance(outer, Interrupt):
            outer._note()
