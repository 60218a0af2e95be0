"""A program on a pseudo-terminal, talked to line by line."""

import os
import pty
import re
import select
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

INTERRUPT, END = "\x03", "\x04"


class Conversation:
    def __init__(self, command: Sequence[str | Path], environment: Mapping[str, str], directory: Path) -> None:
        self.heard = ""
        self._read = 0
        self.process, self._terminal = pty.fork()
        if self.process == 0:
            os.chdir(directory)
            os.execvpe(command[0], [str(item) for item in command], dict(environment))

    def expect(self, text: str, seconds: float = 30) -> None:
        """Wait until the text has been said, after what was expected before."""
        end = time.monotonic() + seconds
        while (found := re.search(re.escape(text), self.heard[self._read :])) is None:
            assert time.monotonic() < end, f"never said {text!r}:\n{self.heard}"
            assert self._hear(), f"ended without {text!r}:\n{self.heard}"
        self._read += found.end()

    def type(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def answer(self, prompt: str, line: str) -> None:
        self.expect(prompt)
        self.type(f"{line}\r")

    def end(self, seconds: float = 300) -> int:
        """Return the exit code."""
        end = time.monotonic() + seconds
        while self._hear():
            assert time.monotonic() < end, self.heard
        _, status = os.waitpid(self.process, 0)
        os.close(self._terminal)
        return os.waitstatus_to_exitcode(status)

    def kill(self) -> None:
        os.kill(self.process, signal.SIGKILL)
        self.end()

    def _hear(self) -> bool:
        """Read what has been said, and return whether there may be more."""
        if select.select([self._terminal], [], [], 0.2)[0]:
            try:
                data = os.read(self._terminal, 65536)
            except OSError:  # Linux says so of a terminal that nobody has open any more
                return False
            self.heard += data.decode(errors="replace").replace("\r\n", "\n")
            return bool(data)
        return True
