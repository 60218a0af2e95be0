"""Which processes run the template's functions: one for all of HTTP, one for each worker, one for each schedule."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from dev.local.environment import function_environment
from dev.local.processes import FunctionProcess
from dev.local.resources import Resources


@dataclass(frozen=True)
class Functions:
    """Args: chosen: the user's variables; endpoints: of the engines; lifeline: file descriptor to watch."""

    resources: Resources
    chosen: Mapping[str, str]
    endpoints: Mapping[str, str]
    lifeline: int

    def server(
        self, listener: int, terminal: int | None = None, options: Mapping[str, object] | None = None
    ) -> FunctionProcess:
        """Return the process for all of HTTP.

        Args:
            listener: file descriptor of the socket to serve.
            terminal: file descriptor of the user's terminal, or None.
            options: further command-line options.
        """
        [store] = self.resources.template.of_type("AWS::CloudFront::KeyValueStore")
        edge_secrets = self.resources.refs[f"{store}.Arn"]
        own = {"lifeline": self.lifeline, "listener": listener, "edge-secrets": edge_secrets, **(options or {})}
        if terminal is not None:
            own["terminal"] = terminal
        passed = [listener, *([terminal] if terminal is not None else [])]
        return FunctionProcess("server", "dev.local.server", own, self.http_environment(), passed, replaced=False)

    def http_environment(self) -> dict[str, str]:
        return self._environment(sorted({function for function, _ in self._events("Api")}))

    def workers(self, count: int) -> Iterator[FunctionProcess]:
        """So many for each queue that a function works off."""
        for function, event in self._events("SQS"):
            source = self.resources.template.functions[function]["Events"][event]["Properties"]["Queue"]
            queue, _ = source["Fn::GetAtt"]
            options = self._options(function, event) | {"queue-url": self.resources.refs[queue]}
            for number in range(1, count + 1):
                name = f"merge worker {number}"
                yield FunctionProcess(name, "dev.local.queue_poller", options, self._environment([function]))

    def schedules(
        self, cleanup_interval_seconds: float, orphans_interval_seconds: float | None = None
    ) -> Iterator[FunctionProcess]:
        """Args: orphans_interval_seconds: None: as often as the template says."""
        for function, event in self._events("Schedule", "ScheduleV2"):
            properties = self.resources.template.functions[function]["Events"][event]["Properties"]
            expression = self.resources.template.resolve(properties["ScheduleExpression"])
            chosen = orphans_interval_seconds if event == "Orphans" else None
            seconds = chosen or rate_seconds(expression) or cleanup_interval_seconds
            options = self._options(function, event) | {"interval": seconds}
            name = f"{function.removesuffix('Function').lower()} {event.lower()}"
            yield FunctionProcess(name, "dev.local.scheduler", options, self._environment([function]))

    def custom_resources(self) -> Iterator[FunctionProcess]:
        """What CloudFormation would call while it creates the stack; each ends by itself."""
        for resource, properties in self.resources.template.custom_resources.items():
            function, _ = properties["ServiceToken"]["Fn::GetAtt"]
            options = {"lifeline": self.lifeline, "resource": resource, "function": function}
            yield FunctionProcess(resource, "dev.local.custom_resource", options, self._environment([function]))

    def _events(self, *types: str) -> Iterator[tuple[str, str]]:
        """Function and event, by their names in the template."""
        for function, properties in self.resources.template.functions.items():
            for name, event in properties["Events"].items():
                if event["Type"] in types:
                    yield function, name

    def _options(self, function: str, event: str) -> dict[str, object]:
        return {"lifeline": self.lifeline, "function": function, "event": event}

    def _environment(self, functions: Sequence[str]) -> dict[str, str]:
        return function_environment(self.resources, functions, self.chosen, self.endpoints)


def rate_seconds(expression: object) -> float | None:
    """Of `rate(1 hour)`; None where the rate is a parameter's, which the local run has an option for."""
    units = {"minute": 60, "hour": 3600, "day": 86400}
    found = re.fullmatch(r"rate\((\d+) (minute|hour|day)s?\)", str(expression))
    return float(found[1]) * units[found[2]] if found else None
