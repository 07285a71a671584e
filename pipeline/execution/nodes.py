"""Choose the nodes of a Ray cluster that may get jobs, and call functions on them."""

import importlib
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from pipeline.config.parameters import PARAMETERS
from pipeline.execution.node_check import facts, hidden, probes, problem

CHECK_SECONDS = 180.0  # the first task of a node imports torch, on a busy one for minutes
EXECUTOR = f"{PARAMETERS}: execution.executor"  # the subject of errors of a cluster
NODE_ID = "ray.io/node-id"


class Nodes:
    """The nodes of a cluster that may get jobs: those without a problem."""

    def __init__(self, ray: Any, processors: int, shared: Sequence[Path]) -> None:
        """Prepare for jobs that take `processors` each and use the folders `shared`."""
        self.ray = ray
        self.processors = processors
        self.shared = shared
        self.checked: set[str] = set()
        self.problems: dict[str, str] = {}  # node -> a line on what is wrong with it
        self.by_name = ray.remote(_call_by_name(ray))

    def slots(self) -> dict[str, int]:
        """Return the number of jobs at a time for each node that may get jobs."""
        return {
            node: slots
            for node, slots in self._present().items()
            if node in self.checked and node not in self.problems
        }

    def survey(self) -> list[str]:
        """Check the new nodes; return a line for each node that gets no jobs."""
        new = [node for node in self._present() if node not in self.checked]
        if not new:
            return []
        problems = self._check(new)
        present = self._present()
        lines = []
        for node in new:
            if node in present:  # and has not left meanwhile
                self.checked.add(node)
                lines += self.reject(node, problems[node]) if problems[node] else []
        return lines

    def reject(self, node: str, reason: str) -> list[str]:
        """Exclude a node from further jobs; return a line with the reason, the first time.

        Args:
            node: The id of the node.
            reason: The reason, as the end of a sentence about the node.
        """
        if node in self.problems:
            return []
        addresses = {each["NodeID"]: each["NodeManagerAddress"] for each in self.ray.nodes()}
        self.problems[node] = f"{EXECUTOR}: node {addresses[node]} {reason}"
        return [self.problems[node]]

    def call(
        self, nodes: Collection[str], function: Callable[..., str], *arguments: Any, **options: Any
    ) -> Any:
        """Start a function on one of `nodes`; return the task, of which `answer` is the result.

        Args:
            nodes: The ids of nodes.
            function: A function of a module.
            *arguments: Its arguments.
            **options: Options of the Ray task, such as the number of processors.
        """
        options["label_selector"] = {NODE_ID: f"in({','.join(nodes)})"}
        options["name"] = function.__name__
        task = self.by_name.options(**options)
        return task.remote(function.__module__, function.__name__, *arguments)

    def answer(self, task: Any, timeout: float | None = None) -> tuple[str, str]:
        """Return "" and the result of a task, or the failed node and its problem.

        Args:
            task: A task from `call`.
            timeout: Seconds to wait; None to wait until it ends.

        Raises:
            ray.exceptions.RayError: The worker or the node was lost, or did not end in time.
        """
        node, text = self.ray.get(task, timeout=timeout)
        if node:
            text = f"cannot work ({text}); expected the same installation on every node"
        return node, text

    def _present(self) -> dict[str, int]:
        """Return the number of jobs that fit the processors of each node, for nodes with any."""
        slots = {
            node["NodeID"]: int(node["Resources"].get("CPU", 0)) // self.processors
            for node in self.ray.nodes()
            if node["Alive"]
        }
        return {node: count for node, count in slots.items() if count}

    def _check(self, nodes: Sequence[str]) -> dict[str, str]:
        """Return the problem of each node; "" without one."""
        folders = [str(folder) for folder in self.shared]
        with probes(self.shared) as probe:
            checks = {}
            for node in nodes:
                arguments = facts(), folders, probe, node
                checks[node] = self.call([node], problem, *arguments, num_cpus=0, max_retries=0)
            tasks = list(checks.values())
            self.ray.wait(tasks, num_returns=len(tasks), timeout=CHECK_SECONDS)
            return {
                node: self._reported_problem(task) or hidden(self.shared, probe, node)
                for node, task in checks.items()
            }

    def _reported_problem(self, task: Any) -> str:
        """Return the problem that a check has found, or that prevented it from finishing."""
        errors = self.ray.exceptions
        try:
            _, text = self.answer(task, timeout=0)
            return text
        except errors.GetTimeoutError:
            return f"did not answer within {CHECK_SECONDS:.0f} s; expected one that starts workers"
        except errors.RayError as error:
            return f"cannot work ({type(error).__name__}); expected one that starts workers"


def _call_by_name(ray: Any) -> Callable[..., tuple[str, str]]:
    """Return a function that calls another one, by its module and name, and raises nothing.

    Ray sends an inner function as code, so it also runs where this package cannot be imported. It
    returns the name of such a node, which the exception of a Ray task does not carry: Ray's own
    `retry_exceptions` often repeats a task on the same node, the idle one, since it fails fast.
    """

    def call(module: str, name: str, *arguments: Any) -> tuple[str, str]:
        try:
            return "", getattr(importlib.import_module(module), name)(*arguments)
        except Exception as error:
            return ray.get_runtime_context().get_node_id(), f"{type(error).__name__}: {error}"

    return call
