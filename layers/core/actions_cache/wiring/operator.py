"""What only people run, by the command line (actions_cache_cli/)."""

from dataclasses import dataclass
from functools import cached_property

from actions_cache.adapters.sqs_queue import SqsDeadLetters
from actions_cache.usecases.replay_letters import ReplayLetters
from actions_cache.usecases.scrub import Scrub
from actions_cache.wiring.control import ControlPlane
from actions_cache.wiring.management import ManagementPlane


@dataclass
class OperatorPlane:
    control: ControlPlane

    @cached_property
    def management(self) -> ManagementPlane:
        return ManagementPlane(self.control, reading_time=None)

    @cached_property
    def scrub(self) -> Scrub:
        control = self.control
        return Scrub(control.table, control.bucket, control.manifests, control.clock, control.remove_entry)

    @cached_property
    def replay_letters(self) -> ReplayLetters:
        control = self.control
        sqs = control.session.client("sqs", config=control.calls)
        letters = SqsDeadLetters.behind(sqs, control.settings.merge_queue_url)
        return ReplayLetters(control.table, letters, control.clock, control.claim_merge)
