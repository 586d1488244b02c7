"""Java programs as processes, which end with the one that started them."""

import ctypes
import os
import pathlib
import signal
import subprocess
import tempfile

FOLDER = pathlib.Path(tempfile.mkdtemp(prefix="java-"))
_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


class Java(subprocess.Popen):
    """`java ARGUMENTS…`, small and quick to start; what it says is in the file `log`."""

    count = 0

    def __init__(self, *arguments, java="java", cwd=None, env=None):
        Java.count += 1
        self.log = FOLDER / f"{Java.count}.log"
        with open(self.log, "wb") as log:
            super().__init__(
                [java, "-Xmx320m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", *map(str, arguments)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=cwd, env=env and os.environ | env,
                preexec_fn=lambda: _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL))  # fmt: skip

    def said(self):
        """All it has said; when it has ended that is an error."""
        text = self.log.read_text(errors="replace")
        if self.poll() is not None:
            raise AssertionError(f"the Java program has ended: {text[-800:]}")
        return text

    def crash(self):
        """kill -9"""
        self.kill()
        self.wait()

    def end(self):
        self.terminate()
        self.wait(60)
