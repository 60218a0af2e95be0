"""The edge: what may pass it, whom the bucket lets in, and that no resource waits for itself."""

from copy import deepcopy
from graphlib import CycleError, TopologicalSorter
from typing import Any

import pytest

from actions_cache.http import azure
from dev.build.edge import FUNCTIONS, TEMPLATE, with_functions
from dev.local.edge.distribution import Distribution
from dev.local.template import Template
from tests.unit.template.dependencies import dependencies

LARGEST_FUNCTION_BYTES = 10 * 1024
"""Of code, comments included: CloudFront's quota, which can't be raised."""


# ------------------------------------------------------------------ code


def test_the_template_has_the_functions_code_as_the_files_have_it() -> None:
    text = TEMPLATE.read_text()
    assert with_functions(text) == text
    assert with_functions(text.replace("async function handler", "async function handled")) == text


def test_every_function_stands_in_the_template_and_is_within_the_quota(template: Template) -> None:
    deployed = {
        it["Properties"]["FunctionCode"].strip(): it["Properties"]
        for it in template.of_type("AWS::CloudFront::Function").values()
    }
    files = {path.read_text().strip() for path in FUNCTIONS.glob("*.js")}
    assert set(deployed) == files
    for code, properties in deployed.items():
        assert len(code.encode()) <= LARGEST_FUNCTION_BYTES
        assert properties["AutoPublish"], "else an update changes nothing that runs"
        assert properties["FunctionConfig"]["Runtime"] == "cloudfront-js-2.0"


# ------------------------------------------------------------------ the way in


def statement(template: Template, sid: str) -> dict[str, Any]:
    statements = template.properties("BucketPolicy")["PolicyDocument"]["Statement"]
    return next(it for it in statements if it["Sid"] == sid)


THIS_DISTRIBUTION = {"Fn::Sub": "arn:${AWS::Partition}:cloudfront::${AWS::AccountId}:distribution/${Edge}"}


def test_only_this_distribution_puts_and_only_parts(template: Template) -> None:
    allowed = [
        it for it in template.properties("BucketPolicy")["PolicyDocument"]["Statement"] if it["Effect"] == "Allow"
    ]
    for it in allowed:
        assert it["Principal"] == {"Service": "cloudfront.amazonaws.com"}
        assert it["Condition"]["StringEquals"] == {"aws:SourceArn": THIS_DISTRIBUTION}
    puts = [it for it in allowed if "s3:PutObject" in it["Action"]]
    assert [(it["Action"], it["Resource"]) for it in puts] == [
        ("s3:PutObject", {"Fn::Sub": "${Bucket.Arn}/archives/*/parts/*"})
    ]


def test_the_bucket_itself_refuses_a_put_that_copies_or_brings_a_key(template: Template) -> None:
    """Should the function's allow-list ever let the headers through: CloudFront signs what it sends."""
    absent = {"s3:x-amz-copy-source": "true", "s3:x-amz-server-side-encryption-customer-algorithm": "true"}
    assert statement(template, "EdgeWritesParts")["Condition"]["Null"] == absent


def test_no_manifest_can_be_read_through_the_edge(template: Template) -> None:
    reads = statement(template, "EdgeReadsObjects")
    assert reads["Action"] == "s3:GetObject"
    assert [it["Fn::Sub"].rpartition("archives/")[2] for it in reads["Resource"]] == ["*/parts/*", "*/merged/*"]


def test_everything_comes_by_https_and_nothing_is_cached(template: Template) -> None:
    config = template.properties("Edge")["DistributionConfig"]
    for behavior in (config["DefaultCacheBehavior"], *config["CacheBehaviors"]):
        assert behavior["ViewerProtocolPolicy"] == "https-only"
        assert behavior["CachePolicyId"] == {"Fn::FindInMap": ["CloudFront", "ManagedPolicy", "CachingDisabled"]}


@pytest.mark.parametrize(
    ("path", "origin", "events"),
    [
        ("/twirp/github.actions.results.api.v1.CacheService/CreateCacheEntry", "api", {"viewer-request"}),
        ("/blobs/download/0123", "api", {"viewer-request"}),
        ("/", "api", {"viewer-request"}),
        ("/blobs/upload/0123", "bucket", {"viewer-request", "viewer-response"}),
        ("/blobs/object/0123/parts/blob/1", "bucket", {"viewer-request", "viewer-response"}),
    ],
)
def test_each_path_has_its_origin_and_its_functions(
    template: Template, path: str, origin: str, events: set[str]
) -> None:
    behavior = Distribution.of(template).behavior(path)
    assert (behavior.origin, set(behavior.events)) == (origin, events)


def test_the_api_hears_of_blob_requests_only_what_it_needs_and_the_bucket_no_more(template: Template) -> None:
    for path in ("/blobs/upload/0", "/blobs/object/0"):
        forwarded = Distribution.of(template).behavior(path).forwarded_headers
        assert set(forwarded or ()) == {"x-viewer-host", "x-ms-blob-type"}


def test_errors_of_the_buckets_carry_an_id_too(template: Template) -> None:
    """No function runs for them, and BuildKit panics without one."""
    for path in ("/blobs/upload/0", "/blobs/object/0"):
        assert "x-ms-request-id" in Distribution.of(template).behavior(path).added_headers


def test_errors_of_the_buckets_are_no_pages_either(template: Template) -> None:
    """The management page has the same origin."""
    for path in ("/blobs/upload/0", "/blobs/object/0"):
        added = Distribution.of(template).behavior(path).added_headers
        assert {name: added[name.lower()] for name in azure.INERT} == azure.INERT
    declared = template.properties("BlobErrors")["ResponseHeadersPolicyConfig"]["SecurityHeadersConfig"]
    assert all(it["Override"] for it in declared.values())


def test_the_stage_is_the_edges_business(template: Template) -> None:
    """Clients drop any path of the runner's URL (docs/design/protocol.md#cache-service)."""
    [api] = [it for it in template.properties("Edge")["DistributionConfig"]["Origins"] if it["Id"] == "api"]
    assert api["OriginPath"] == f"/{template.properties('Api')['StageName']}"


def test_an_origin_may_take_longer_than_the_api_waits(template: Template) -> None:
    """Else the edge's own HTML comes before the API's answer."""
    [api] = [it for it in template.properties("Edge")["DistributionConfig"]["Origins"] if it["Id"] == "api"]
    assert api["CustomOriginConfig"]["OriginReadTimeout"] > template.number(
        template.body["Mappings"]["Http"]["Buffered"]["TimeoutSeconds"]
    )


# ------------------------------------------------------------------ cycles


def test_no_resource_waits_for_itself(template: Template) -> None:
    order = tuple(TopologicalSorter(dependencies(template)).static_order())
    assert order.index("ApiFunction") < order.index("Api") < order.index("Edge") < order.index("BucketPolicy")


@pytest.mark.parametrize(
    "attribute", [{"Fn::GetAtt": ["Edge", "DomainName"]}, {"Fn::Sub": "https://${Edge.DomainName}"}]
)
def test_a_function_that_knew_the_distributions_domain_would_be_a_cycle(template: Template, attribute: Any) -> None:
    """Lint doesn't see it, so this test must."""
    body = deepcopy(template.body)
    body["Globals"]["Function"]["Environment"]["Variables"]["PUBLIC_URL"] = attribute
    with pytest.raises(CycleError):
        tuple(TopologicalSorter(dependencies(Template(body))).static_order())


# ------------------------------------------------------------------ the secret


def test_the_signing_secret_is_made_by_aws_and_stands_nowhere(template: Template) -> None:
    secret = template.properties("UrlSigningSecret")
    assert "SecretString" not in secret
    assert secret["GenerateSecretString"]["GenerateStringKey"] == "current"
    code = "".join(path.read_text() for path in FUNCTIONS.glob("*.js"))
    assert "kvs.get(" in code


def test_a_deploy_ends_only_when_the_edge_knows_the_secret(template: Template) -> None:
    [resource] = template.custom_resources.values()
    assert resource["ServiceToken"] == {"Fn::GetAtt": ["RotateFunction", "Arn"]}
    assert int(resource["ServiceTimeout"]) > template.functions["RotateFunction"]["Timeout"]
