"""The edge: its code, what it lets pass, what the bucket lets it do, and the absence of cycles."""

from copy import deepcopy
from graphlib import CycleError, TopologicalSorter
from typing import Any

import pytest

from actions_cache.http.headers import INERT_HEADERS
from dev.build.edge import FUNCTIONS, TEMPLATE, with_functions
from dev.local.edge.app import Distribution
from dev.local.template import Template
from tests.unit.template.declared import bucket_statement
from tests.unit.template.dependencies import dependencies

LARGEST_FUNCTION_BYTES = 10 * 1024
"""CloudFront's quota for a function's code, comments included. It can't be raised."""


# ------------------------------------------------------------------ code


def test_pasted_edge_code_equals_the_files() -> None:
    text = TEMPLATE.read_text()
    assert with_functions(text) == text
    assert with_functions(text.replace("async function handler", "async function handled")) == text


def test_edge_code_is_complete_and_within_quota(template: Template) -> None:
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


# ------------------------------------------------------------------ bucket policy and behaviors


THIS_DISTRIBUTION = {"Fn::Sub": "arn:${AWS::Partition}:cloudfront::${AWS::AccountId}:distribution/${Edge}"}


def test_only_the_edge_writes_and_only_parts(template: Template) -> None:
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


def test_bucket_refuses_puts_that_copy_or_bring_a_key(template: Template) -> None:
    """A second guard, should the function ever let the headers through: CloudFront signs what it sends."""
    absent = {"s3:x-amz-copy-source": "true", "s3:x-amz-server-side-encryption-customer-algorithm": "true"}
    assert bucket_statement(template, "EdgeWritesParts")["Condition"]["Null"] == absent


def test_edge_cannot_read_manifests(template: Template) -> None:
    reads = bucket_statement(template, "EdgeReadsObjects")
    assert reads["Action"] == "s3:GetObject"
    assert [it["Fn::Sub"].rpartition("archives/")[2] for it in reads["Resource"]] == ["*/parts/*", "*/merged/*"]


def test_edge_requires_https_and_caches_nothing(template: Template) -> None:
    config = template.properties("Edge")["DistributionConfig"]
    for behavior in (config["DefaultCacheBehavior"], *config["CacheBehaviors"]):
        assert behavior["ViewerProtocolPolicy"] == "https-only"
        assert behavior["CachePolicyId"] == {"Fn::FindInMap": ["CloudFront", "ManagedPolicy", "CachingDisabled"]}


@pytest.mark.parametrize(
    ("path", "origin", "events"),
    [
        ("/twirp/github.actions.results.api.v1.CacheService/CreateCacheEntry", "api", {"viewer-request"}),
        ("/blobs/download/0123", "api", {"viewer-request"}),
        ("/runner/status", "api", {"viewer-request"}),
        ("/", "api", {"viewer-request"}),
        ("/blobs/upload/0123", "bucket", {"viewer-request", "viewer-response"}),
        ("/blobs/object/0123/parts/blob/1", "bucket", {"viewer-request", "viewer-response"}),
    ],
)
def test_edge_routes_paths_to_origins(template: Template, path: str, origin: str, events: set[str]) -> None:
    behavior = Distribution.of(template).behavior(path)
    assert (behavior.origin, set(behavior.events)) == (origin, events)


@pytest.mark.parametrize("path", ["/blobs/download/0123", "/runner/status"])
def test_edge_passes_accept_and_adds_nothing(template: Template, path: str) -> None:
    """Accept asks for the part list. The answer's own Vary and Cache-Control are the client's."""
    behavior = Distribution.of(template).behavior(path)
    assert behavior.forwarded_headers is None, "all but Host"
    assert behavior.added_headers == {}


def test_blob_requests_forward_two_headers(template: Template) -> None:
    for path in ("/blobs/upload/0", "/blobs/object/0"):
        forwarded = Distribution.of(template).behavior(path).forwarded_headers
        assert set(forwarded or ()) == {"x-viewer-host", "x-ms-blob-type"}


def test_bucket_errors_carry_a_request_id(template: Template) -> None:
    """No function runs for them, and BuildKit panics without an id."""
    for path in ("/blobs/upload/0", "/blobs/object/0"):
        assert "x-ms-request-id" in Distribution.of(template).behavior(path).added_headers


def test_bucket_errors_are_inert_in_browsers(template: Template) -> None:
    """The management page has the same origin."""
    for path in ("/blobs/upload/0", "/blobs/object/0"):
        added = Distribution.of(template).behavior(path).added_headers
        assert {name: added[name.lower()] for name in INERT_HEADERS} == INERT_HEADERS
    declared = template.properties("BlobErrors")["ResponseHeadersPolicyConfig"]["SecurityHeadersConfig"]
    assert all(it["Override"] for it in declared.values())


def test_edge_adds_the_stage(template: Template) -> None:
    """Clients drop any path of the runner's URL (docs/design/protocol.md#cache-service)."""
    [api] = [it for it in template.properties("Edge")["DistributionConfig"]["Origins"] if it["Id"] == "api"]
    assert api["OriginPath"] == f"/{template.properties('Api')['StageName']}"


def test_origin_timeout_exceeds_the_apis(template: Template) -> None:
    """The edge would otherwise answer with HTML of its own before the API does."""
    [api] = [it for it in template.properties("Edge")["DistributionConfig"]["Origins"] if it["Id"] == "api"]
    assert api["CustomOriginConfig"]["OriginReadTimeout"] > template.number(
        template.body["Mappings"]["Http"]["Buffered"]["TimeoutSeconds"]
    )


# ------------------------------------------------------------------ cycles


def test_template_has_no_cycle(template: Template) -> None:
    order = tuple(TopologicalSorter(dependencies(template)).static_order())
    assert order.index("ApiFunction") < order.index("Api") < order.index("Edge") < order.index("BucketPolicy")


@pytest.mark.parametrize(
    "attribute", [{"Fn::GetAtt": ["Edge", "DomainName"]}, {"Fn::Sub": "https://${Edge.DomainName}"}]
)
def test_knowing_the_edges_domain_is_a_cycle(template: Template, attribute: Any) -> None:
    """cfn-lint doesn't see this cycle."""
    body = deepcopy(template.body)
    body["Globals"]["Function"]["Environment"]["Variables"]["PUBLIC_URL"] = attribute
    with pytest.raises(CycleError):
        tuple(TopologicalSorter(dependencies(Template(body))).static_order())


# ------------------------------------------------------------------ the secret


def test_signing_secret_is_generated(template: Template) -> None:
    secret = template.properties("UrlSigningSecret")
    assert "SecretString" not in secret
    assert secret["GenerateSecretString"]["GenerateStringKey"] == "current"
    code = "".join(path.read_text() for path in FUNCTIONS.glob("*.js"))
    assert "kvs.get(" in code


def test_deploy_waits_until_the_edge_has_the_secret(template: Template) -> None:
    [resource] = template.custom_resources.values()
    assert resource["ServiceToken"] == {"Fn::GetAtt": ["RotateFunction", "Arn"]}
    assert int(resource["ServiceTimeout"]) > template.functions["RotateFunction"]["Timeout"]
