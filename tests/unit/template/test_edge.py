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
from tests.unit.template.dependencies import named_resources

LARGEST_FUNCTION_BYTES = 10 * 1024
"""CloudFront's quota for a function's code, comments included. It can't be raised."""


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


THIS_DISTRIBUTION = {"Fn::Sub": "arn:${AWS::Partition}:cloudfront::${AWS::AccountId}:distribution/${Edge}"}


def test_only_the_edge_writes_parts_and_reads_bytes(template: Template) -> None:
    statements = template.properties("BucketPolicy")["PolicyDocument"]["Statement"]
    allowed = [statement for statement in statements if statement["Effect"] == "Allow"]
    for statement in allowed:
        assert statement["Principal"] == {"Service": "cloudfront.amazonaws.com"}
        assert statement["Condition"]["StringEquals"] == {"aws:SourceArn": THIS_DISTRIBUTION}
    [puts] = [statement for statement in allowed if "s3:PutObject" in statement["Action"]]
    assert puts == bucket_statement(template, "EdgeWritesParts")
    assert (puts["Action"], puts["Resource"]) == ("s3:PutObject", {"Fn::Sub": "${Bucket.Arn}/archives/*/parts/*"})
    # A second guard, should the function ever let the headers through: CloudFront signs what it sends.
    absent = {"s3:x-amz-copy-source": "true", "s3:x-amz-server-side-encryption-customer-algorithm": "true"}
    assert puts["Condition"]["Null"] == absent
    reads = bucket_statement(template, "EdgeReadsObjects")
    assert reads["Action"] == "s3:GetObject"
    places = [place["Fn::Sub"].rpartition("archives/")[2] for place in reads["Resource"]]
    assert places == ["*/parts/*", "*/merged/*"], "no manifest"


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


@pytest.mark.parametrize("path", ["/blobs/upload/0", "/blobs/object/0"])
def test_blob_behavior_forwards_two_headers_and_marks_errors(template: Template, path: str) -> None:
    """No function runs for the bucket's errors: BuildKit panics without an id, and the page has the same origin."""
    behavior = Distribution.of(template).behavior(path)
    assert set(behavior.forwarded_headers or ()) == {"x-viewer-host", "x-ms-blob-type"}
    added = behavior.added_headers
    assert "x-ms-request-id" in added
    assert {name: added[name.lower()] for name in INERT_HEADERS} == INERT_HEADERS
    declared = template.properties("BlobErrors")["ResponseHeadersPolicyConfig"]["SecurityHeadersConfig"]
    assert all(header["Override"] for header in declared.values())


def test_edge_requires_https_and_asks_the_apis_stage(template: Template) -> None:
    config = template.properties("Edge")["DistributionConfig"]
    for behavior in (config["DefaultCacheBehavior"], *config["CacheBehaviors"]):
        assert behavior["ViewerProtocolPolicy"] == "https-only"
        assert behavior["CachePolicyId"] == {"Fn::FindInMap": ["CloudFront", "ManagedPolicy", "CachingDisabled"]}
    [api] = [origin for origin in config["Origins"] if origin["Id"] == "api"]
    # Clients drop any path of the runner's URL (docs/design/protocol.md#cache-service).
    assert api["OriginPath"] == f"/{template.properties('Api')['StageName']}"
    # The edge would otherwise answer with HTML of its own before the API does.
    longest = template.number(template.body["Mappings"]["Http"]["Buffered"]["TimeoutSeconds"])
    assert api["CustomOriginConfig"]["OriginReadTimeout"] > longest


def dependencies(template: Template) -> dict[str, set[str]]:
    resources = template.body["Resources"]
    return {it: {other for other in named_resources(one) if other in resources} - {it} for it, one in resources.items()}


@pytest.mark.parametrize(
    "attribute", [{"Fn::GetAtt": ["Edge", "DomainName"]}, {"Fn::Sub": "https://${Edge.DomainName}"}]
)
def test_template_has_no_cycle(transformed: Template, attribute: Any) -> None:
    """cfn-lint doesn't see the cycle that a function's knowing the edge's domain would be."""
    order = tuple(TopologicalSorter(dependencies(transformed)).static_order())
    assert order.index("ApiFunction") < order.index("Api") < order.index("Edge") < order.index("BucketPolicy")
    body = deepcopy(transformed.body)
    body["Resources"]["ApiFunction"]["Properties"]["Environment"]["Variables"]["PUBLIC_URL"] = attribute
    with pytest.raises(CycleError):
        tuple(TopologicalSorter(dependencies(Template(body))).static_order())


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
