"""Explains to deployers what an unexpected answer or a broken connection means, and what to do about it.

Sources: docs/design/aws-limits.md, and CloudFront's "Troubleshooting error responses from your origin" and "HTTP 403
status code (Permission Denied)".
"""

from http import HTTPStatus

from actions_cache_cli.doctor.address import (
    NO_ADDRESS,
    NO_HANDSHAKE,
    OTHER_AUTHORITY,
    OTHER_DATE,
    OTHER_NAME,
    SILENT,
    NoAnswer,
)
from actions_cache_cli.doctor.probe import API_GATEWAY, CLOUDFRONT, HTML, S3, SERVER, Refused, Reply, identify


def explain(reply: Reply) -> str:
    """Say who gave an answer that wasn't the wanted one, what it means and what to do."""
    answer = identify(reply)
    if answer.source == S3:
        return f"S3 says {answer.words}: {of_s3(answer.code, answer.message)}"
    if answer.source == SERVER and answer.is_xml:
        return f"the server says {answer.words}{of_azure(answer.code)}"
    if answer.source == SERVER and answer.code:
        return f"the server says {answer.words}{of_twirp(answer.code, answer.message)}"
    if answer.source == CLOUDFRONT:
        advice = of_cloudfront(reply.status, reply.headers.get("x-cache", ""), reply.text)
        return f"CloudFront itself says {answer.words}: {advice}"
    if answer.source == API_GATEWAY:
        return f"API Gateway says {answer.words}: {of_api_gateway(reply.status)}"
    return f"{answer.words}: {_HTML if answer.source == HTML else by_status(reply.status)}"


def explain_error(error: NoAnswer | Refused) -> str:
    """Say why there is no answer, or no good one, what it means and what to do."""
    if isinstance(error, NoAnswer):
        return f"{error}{_CONNECTION.get(error.kind, '')}"
    return f"{error}: {explain(error.reply)}" if error.reply is not None else str(error)


_CONNECTION = {
    NO_ADDRESS: "; compare with the stack's outputs",
    OTHER_NAME: (
        "; the ACM certificate must name the custom domain, and the distribution must list it (parameters DomainName "
        "and CertificateArn)"
    ),
    OTHER_DATE: "; ACM has it in us-east-1",
    OTHER_AUTHORITY: "; or the host isn't the distribution",
    NO_HANDSHAKE: "; set the parameters DomainName and CertificateArn, or use the distribution's own domain",
    SILENT: "; the functions' logs say what they were doing",
}
"""Advice for deployers by the kind of the error."""

_CONTENT_HASH = (
    "S3 wants a content hash though origin access control signs: let functions/edge/viewer_request.js set the header "
    "x-amz-content-sha256 to UNSIGNED-PAYLOAD"
)

_S3 = {
    "SignatureDoesNotMatch": (
        "the request reached S3 but its signature doesn't fit: CloudFront signed another path or header than it sent; "
        "the keys that functions/edge/viewer_request.js makes may hold unreserved characters only, and it may change "
        "no header that is signed"
    ),
    "AccessDenied": (
        "S3 knows no permission for this: the bucket policy must allow s3:PutObject and s3:GetObject on archives/* to "
        "cloudfront.amazonaws.com with this distribution's ARN as aws:SourceArn, and the bucket's origin must have the "
        "origin access control with signing behaviour always"
    ),
    "MissingSecurityHeader": _CONTENT_HASH,
    "XAmzContentSHA256Mismatch": _CONTENT_HASH,
    "NoSuchBucket": "the distribution's bucket origin names a bucket that doesn't exist; deploy again",
    "NoSuchKey": (
        "the object isn't where the edge looks: viewer_request.js maps the URL on another key than the server, or "
        "cleanup removed it"
    ),
    "PermanentRedirect": "the bucket origin must be its regional domain name (bucket.s3.REGION.amazonaws.com)",
    "TemporaryRedirect": (
        "a new bucket's name hasn't spread yet, or the origin isn't the regional domain name; wait an hour, then use "
        "bucket.s3.REGION.amazonaws.com"
    ),
    "MethodNotAllowed": "the request reached S3 with another method or path than a plain PUT or GET of an object",
    "NotImplemented": "a header reached S3 that it doesn't take here; viewer_request.js must let none of the client's",
    "EntityTooLarge": "one PUT may have 5 GiB at S3",
    "SlowDown": "S3 is throttling; try again in a minute",
    "ExpiredToken": "the credentials that signed this URL have ended; no URL may be signed for longer than they live",
    "RequestTimeTooSkewed": "the clock of whoever signed is wrong",
}

_HTML = (
    "this server never sends HTML, so something else answers: a proxy or sign-in page on the way, or a wrong host; "
    "clients retry such answers for 30 s and more"
)


def of_s3(code: str, message: str) -> str:
    if "x-amz-content-sha256" in message.lower():
        return _CONTENT_HASH
    if "authorization mechanism" in message:
        return "the origin signs as an origin access identity, the predecessor; give it origin access control instead"
    return _S3.get(code, "not an answer this check knows; S3's list of error codes explains it")


def of_azure(code: str) -> str:
    """Return what to add to the server's own message."""
    return {
        "AuthenticationFailed": (
            "; if the URL is fresh, the edge doesn't know the secret that signed it: the RotateFunction's log says "
            "whether it could write the KeyValueStore, and a new value takes a minute to spread"
        ),
        "ServerBusy": "; if it stays so, see the functions' logs, and whether the KeyValueStore holds the secrets",
        "InternalError": "; the functions' logs have the reason",
        "UnsupportedHttpVerb": (
            "; so the API answered what the edge should: the behaviours for /blobs/upload/* and /blobs/object/* must "
            "lead to the bucket"
        ),
    }.get(code, "")


def of_twirp(code: str, message: str) -> str:
    """Return what to add to the server's own message."""
    if "no body over 10 MB" in message:
        return (
            "; so the request went to API Gateway: the behaviour for /blobs/upload/* must lead to the bucket, with "
            "viewer_request.js at viewer-request"
        )
    return {
        "unauthenticated": "; it must be the job's own ACTIONS_RUNTIME_TOKEN, from an issuer in TokenIssuers",
        "internal": "; the log group /aws/lambda/STACK-api has the reason",
        "unavailable": "; if it stays so, /health names the part that doesn't answer",
        "deadline_exceeded": "; the function took longer than API Gateway waits: see its log",
        "bad_route": "; the path on its way through CloudFront was changed, or this isn't the cache's API",
    }.get(code, "")


def of_api_gateway(status: int) -> str:
    match status:
        case HTTPStatus.FORBIDDEN:
            return (
                "the API doesn't know host or path: the API's origin needs the stage as OriginPath, and its origin "
                "request policy must forward all viewer headers except Host"
            )
        case HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            return (
                "a block went through API Gateway, which takes 10 MB: the behaviour for /blobs/upload/* must lead to "
                "the bucket"
            )
        case HTTPStatus.TOO_MANY_REQUESTS:
            return (
                "the API's request rate is used up (RequestsPerSecond, or the account's throttling); raise it, or wait"
            )
        case HTTPStatus.GATEWAY_TIMEOUT:
            return "the function didn't answer within 29 s; see its log"
    return "the function failed before it could answer; see the log groups of the stack's functions"


def of_cloudfront(status: int, x_cache: str, text: str) -> str:
    if "FunctionExecutionError" in x_cache or "FunctionThrottledError" in x_cache:
        return "a CloudFront Function threw or ran too long; test it in the console, its log is in us-east-1"
    if "FunctionValidationError" in x_cache:
        return "a CloudFront Function returned what CloudFront refuses; test it in the console with this request"
    match status:
        case HTTPStatus.FORBIDDEN if "HTTP request method" in text:
            return "the behaviour for this path doesn't allow the method; AllowedMethods must list all seven"
        case HTTPStatus.FORBIDDEN if "Request blocked" in text:
            return "the web ACL (parameter WebAclArn) doesn't let this machine's address in"
        case HTTPStatus.FORBIDDEN:
            return (
                "no distribution lists this name, or a firewall (WAF) or country rule refuses; see the parameters "
                "DomainName and CertificateArn"
            )
        case HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            return "the body is over what CloudFront takes"
        case HTTPStatus.BAD_GATEWAY:
            return (
                "it couldn't connect to the origin (name, TLS), or a function's result was invalid; the origins must "
                "be the bucket's regional domain and the API's execute-api domain, by https only"
            )
        case HTTPStatus.SERVICE_UNAVAILABLE:
            return "a CloudFront Function failed, or the edge has no capacity; try again, then test the function"
        case HTTPStatus.GATEWAY_TIMEOUT:
            return "the origin was silent for longer than its response timeout; see the function's log"
    return "see the distribution's behaviours and origins"


def by_status(status: int) -> str:
    if status < HTTPStatus.BAD_REQUEST:
        return "not the answer that was asked for; something between here and the server changes it"
    return "no answer of this server's; is the URL the one the stack's output names?"


_AGAIN = "delete the stack (sam delete) and deploy again"
_CREATION = {
    "must be verified": (
        "A new AWS account must be verified before it may have a CloudFront distribution: open a support case with "
        f"AWS, which costs nothing, and once they have answered {_AGAIN}"
    ),
    "less than or equal to 3008": (
        "This account's functions may have 3,008 MB, as a new one's may: set HttpMemory and MergeMemory to no more, or "
        f"ask AWS for more memory by a support case; {_AGAIN}"
    ),
    "UnreservedConcurrentExecution": (
        "So much concurrency can't be reserved: some must stay unreserved, and in an account with a quota of 10 that "
        f"is all of it. Set ApiConcurrency and DownloadConcurrency to 0, or ask AWS for more concurrency; {_AGAIN}"
    ),
    "edge couldn't be told the signing secret": (
        f"The edge's store or the function's role wasn't ready in time, or the function couldn't start: {_AGAIN}; if "
        "it stays so, see the log of the RotateFunction"
    ),
    "isn't authorized": f"The credentials that deploy lack a permission; give it, then {_AGAIN}",
    "not authorized": f"The credentials that deploy lack a permission; give it, then {_AGAIN}",
    "Rate exceeded": f"AWS was asked too much at once: {_AGAIN}",
    "TooManyRequests": f"AWS was asked too much at once: {_AGAIN}",
    "Throttling": f"AWS was asked too much at once: {_AGAIN}",
}
"""Advice by words in CloudFormation's reason."""


def of_creation(reason: str) -> str:
    """Return what to do about a resource that couldn't be created."""
    return next(
        (meaning for words, meaning in _CREATION.items() if words.lower() in reason.lower()),
        f"That is AWS's own reason; mend it, then {_AGAIN}",
    )
