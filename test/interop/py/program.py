"""Programs of others as a person runs them: in a terminal, since what prints to a pipe keeps it back."""

import os
import pty
import signal
import subprocess
import threading

from check import PATIENCE, equal, until


class Program:
    """A process with a terminal of its own."""

    def __init__(self, *command, cwd=None):
        self.terminal, slave = pty.openpty()
        self.title, self.text = os.path.basename(command[0]), ""
        self.process = subprocess.Popen(command, cwd=cwd, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
        os.close(slave)
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        while True:
            try:
                piece = os.read(self.terminal, 65536)
            except OSError:  # how Linux says that the other side is closed
                return
            self.text += piece.decode(errors="replace")

    def type(self, line):
        os.write(self.terminal, f"{line}\n".encode())

    def says(self, *words, times=1, seconds=15):
        """Waits until each of the words was printed so many times."""
        try:
            until(lambda: all(self.text.lower().count(word.lower()) >= times for word in words), "output", seconds)
        except AssertionError:
            raise AssertionError(f"{self.title} does not say {words}, but {self.text!r}") from None
        return self

    def says_not(self, *words):
        for word in words:
            if word in self.text:
                raise AssertionError(f"{self.title} says {word!r}: {self.text!r}")

    def ends(self, seconds=30, by=None):
        """Waits until the program has ended well, by itself or by a signal of that name."""
        if by:
            self.process.send_signal(signal.Signals[by])
        try:
            code = self.process.wait(seconds * PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.title} does not end: {self.text!r}") from None
        equal(code, 0, f"exit code of {self.title}, which said {self.text!r}")
        return self

    def interrupt(self):
        """CTRL+C, and if that is not enough, the end."""
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(3)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.interrupt()
