"""Relations between the template's resources that lint can't see."""

import json

import pytest

from actions_cache.domain.claim import retry_after
from dev.local.template import Template

HOLDS_WHAT_JOBS_SAVED = ("AWS::DynamoDB::Table", "AWS::S3::Bucket", "AWS::S3::BucketPolicy")
GOES_WITH_THE_STACK = (
    "AWS::SQS::Queue",
    "AWS::SecretsManager::Secret",
    "AWS::CloudFront::KeyValueStore",
    "AWS::Logs::LogGroup",
)


def test_only_saved_data_outlives_the_stack(template: Template) -> None:
    kept = template.of_type(*HOLDS_WHAT_JOBS_SAVED)
    assert len(kept) == 6
    for name, resource in kept.items():
        assert resource["DeletionPolicy"] == "RetainExceptOnCreate", name
        assert resource["UpdateReplacePolicy"] == "Retain", name
    for name, resource in template.of_type(*GOES_WITH_THE_STACK).items():
        assert (resource["DeletionPolicy"], resource["UpdateReplacePolicy"]) == ("Delete", "Delete"), name


def test_nothing_but_cleanup_ends_what_is_kept(template: Template) -> None:
    """Counts may expire, but any other table's item may be the last pointer to an object."""
    tables = {name: table["Properties"] for name, table in template.of_type("AWS::DynamoDB::Table").items()}
    with_ttl = [name for name, properties in tables.items() if "TimeToLiveSpecification" in properties]
    assert with_ttl == ["RepositoriesTable"]
    for properties in tables.values():
        assert properties["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    rules = template.properties("Bucket")["LifecycleConfiguration"]["Rules"]
    assert [set(rule) - {"Id", "Status"} for rule in rules] == [{"AbortIncompleteMultipartUpload"}]


def test_queue_outlasts_worker_and_deliveries(template: Template) -> None:
    queue = template.properties("MergeQueue")
    visibility = template.number(queue["VisibilityTimeout"])
    assert visibility >= 6 * template.number(template.functions["MergeFunction"]["Timeout"])
    receives = template.number(queue["RedrivePolicy"]["maxReceiveCount"])
    assert template.number(queue["MessageRetentionPeriod"]) > receives * visibility
    for function in template.functions:
        assert template.environment(function)["QUEUE_RETENTION_SECONDS"] == queue["MessageRetentionPeriod"]


def test_throttling_makes_no_dead_letter_for_hours(template: Template) -> None:
    """A throttled delivery costs the visibility timeout, and counts as received."""
    queue = template.properties("MergeQueue")
    receives = template.number(queue["RedrivePolicy"]["maxReceiveCount"])
    attempts = template.number(template.environment("MergeFunction")["MERGE_ATTEMPTS"])
    assert (receives - attempts) * template.number(queue["VisibilityTimeout"]) >= 6 * 3600
    own = sum(retry_after(delivery) for delivery in range(1, receives))
    assert own > 3600, "nor an outage of the table"


def test_merge_concurrency_is_bounded(template: Template) -> None:
    source = template.functions["MergeFunction"]["Events"]["MergeMessages"]["Properties"]
    assert source["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert source["ScalingConfig"] == {"MaximumConcurrency": {"Ref": "MergeWorkers"}}
    parameter = template.body["Parameters"]["MergeWorkers"]
    # These are Lambda's limits: https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html
    assert (parameter["MinValue"], parameter["Default"], parameter["MaxValue"]) == (2, 20, 1000)


@pytest.mark.parametrize("name", ["Api", "Download"])
def test_concurrency_is_reserved_on_request(template: Template, name: str) -> None:
    declared = template.functions[f"{name}Function"]["ReservedConcurrentExecutions"]
    assert template.resolve({"it": declared}) == {}
    chosen = template.with_parameters(**{f"{name}Concurrency": "50"})
    assert chosen.resolve({"it": declared}) == {"it": "50"}


@pytest.mark.parametrize("level", ["DEBUG", "INFO", "WARN", "ERROR"])
def test_system_log_level_follows_log_level(template: Template, level: str) -> None:
    """Lambda's own lines take over a kilobyte an invocation; WARN keeps those of failed ones."""
    logging = template.with_parameters(LogLevel=level).resolve(template.body["Globals"]["Function"]["LoggingConfig"])
    assert logging["SystemLogLevel"] == ("INFO" if level == "DEBUG" else "WARN")
    assert logging["ApplicationLogLevel"] == level


def test_cleanup_ends_before_the_next_run(template: Template) -> None:
    shortest = template.body["Parameters"]["CleanupIntervalMinutes"]["MinValue"] * 60
    assert template.functions["CleanupFunction"]["Timeout"] < shortest


def test_buffered_stream_fits_lambdas_response(template: Template) -> None:
    """6 MB in all, base64 in JSON, and room for headers: docs/design/aws-limits.md#requests-and-responses."""
    largest = template.number(template.body["Mappings"]["Http"]["Buffered"]["StreamMaxBytes"])
    assert largest * 4 / 3 < 6 * 1024 * 1024 - 64 * 1024
    # API Gateway has a whole buffered response before it sends any of it, so there is no speed.
    speed = template.environment("DownloadFunction")["STREAM_BYTES_PER_SECOND"]["Fn::If"]
    assert (speed[0], speed[2]) == ("Streams", {"Ref": "AWS::NoValue"})


def test_streams_stay_within_lambdas_caps(template: Template) -> None:
    """Streams end at 200 MB, with the adapter's head, and after 15 minutes.

    Source: docs/design/aws-limits.md#response-streaming.
    """
    streamed = {name: int(value) for name, value in template.body["Mappings"]["Http"]["Streamed"].items()}
    assert streamed["StreamMaxBytes"] <= 200 * 1000**2 - 64 * 1024
    slowest = (streamed["StreamMaxBytes"] - streamed["StreamBurstBytes"]) / streamed["StreamBytesPerSecond"]
    assert slowest < template.body["Parameters"]["MaxStreamSeconds"]["Default"] <= streamed["TimeoutSeconds"]


def test_parameters_are_described_bounded_and_grouped(template: Template) -> None:
    parameters = template.body["Parameters"]
    groups = template.body["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    assert sorted(name for group in groups for name in group["Parameters"]) == sorted(parameters)
    for name, parameter in parameters.items():
        assert parameter["Description"].endswith("."), name
        assert parameter.keys() & {"AllowedValues", "AllowedPattern", "MinValue"} or name == "TokenAudience", name


def test_gateway_responses_speak_every_dialect(template: Template) -> None:
    """Twirp clients show `msg`, v1 clients `message`, and BuildKit needs an id."""
    answers = template.properties("Api")["GatewayResponses"]
    assert {"DEFAULT_4XX", "DEFAULT_5XX", "REQUEST_TOO_LARGE"} <= answers.keys()
    for name, answer in answers.items():
        assert answer["ResponseParameters"]["Headers"]["x-ms-request-id"] == "context.requestId", name
        # The one variable that comes with its quotes.
        text = answer["ResponseTemplates"]["application/json"].replace("$context.error.messageString", '"said"')
        said = json.loads(text)
        assert said.keys() == {"code", "msg", "message"}, name
        assert all(said.values()), name
