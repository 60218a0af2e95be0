"""The template's settings fit AWS's caps."""

from annotated_types import Le

from actions_cache.settings import Settings
from dev.emulation.api_gateway import Caps
from dev.emulation.lambda_web_adapter import FUNCTION, template_variables
from dev.local.template import Template
from functions.download import handler

AWS = Caps()
HEADERS_BYTES = 64 * 1024
"""More than the size of a response's headers, which Lambda counts too."""


def test_template_settings_fit_the_caps():
    variables = template_variables()
    assert int(variables["STREAM_MAX_BYTES"]) + HEADERS_BYTES < AWS.max_stream
    assert int(variables["STREAM_BURST_BYTES"]) == AWS.lambda_burst
    assert int(variables["STREAM_BYTES_PER_SECOND"]) == AWS.per_second


def test_longest_stream_ends_before_the_function_does():
    template = Template.load()
    longest = int(template_variables()["STREAM_MAX_BYTES"])
    seconds = (longest - AWS.lambda_burst) / AWS.per_second
    assert seconds < template.number(template.functions[FUNCTION]["Timeout"]) <= AWS.total_seconds


def test_longest_wait_ends_before_api_gateways_timeout():
    bounds = Settings.model_fields["merge_wait_seconds"].metadata
    [longest_wait] = (bound.le for bound in bounds if isinstance(bound, Le))
    assert longest_wait == handler.ANSWER_SECONDS
    assert longest_wait + handler.FIRST_BYTES_SECONDS <= AWS.headers_seconds
