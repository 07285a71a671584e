"""Jobs that go wrong on purpose: what the tests of every executor ask for."""

import os
import signal


def misbehave(how: str) -> None:
    """Raises, ends its process with a code, or is ended by a signal; does nothing for any other word."""
    match how:
        case "raise":
            raise ValueError("no good")
        case "exit":
            os._exit(7)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
