"""Jobs for the nodes of a cluster, which find them by name; each writes a line as it begins."""

import os
import signal
import time

from misbehaving import misbehave


def work(job):
    """Return what the job asks for."""
    with open(job["log"], "a") as file:
        file.write(f"{job['id']} {os.getpid()} {os.environ['NODE']}\n")
    misbehave(job["do"])
    match job["do"]:
        case "orphan":
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(30)
        case "grow":
            held = b"x" * (700 << 20)
            time.sleep(30)
            return {"state": "done", "reason": str(len(held))}
        case "sleep":
            time.sleep(job["seconds"])
        case "hash":
            return {"state": "done", "reason": str(hash("a text"))}
    return {"state": "done", "reason": ""}
