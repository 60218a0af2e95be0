"""All checks, in the order in which they run: what AWS never showed is first (docs/design/aws-limits.md)."""

from actions_cache_cli.deployment_check.check import Check
from actions_cache_cli.deployment_check.checks import answers, edge, large, reach, restore, streaming

CHECKS = (
    Check("the URL is one that a runner can use", reach.url),
    Check("the host's name has an address", reach.name),
    Check("the host takes connections, with a good certificate", reach.connection),
    Check("table, bucket and queue answer", reach.health),
    Check("signatures of tokens are verified", reach.tokens),
    Check("the stack can be read", reach.stack),
    Check("the account has room for it", reach.room),
    Check("it is said whose jobs may come in", reach.admission),
    Check("refused jobs are known", reach.refused),
    # In the order of docs/design/aws-limits.md#to-prove-on-aws-first.
    Check("a block's place can be had", edge.reserve),
    Check("a block without a content hash reaches S3", edge.put_without_hash),
    Check("its answer is 201, with x-ms-request-id", edge.created_with_id),
    Check("the signature fits the rewritten path", edge.hard_block_id),
    Check("an object comes back through the edge, by x-ms-range", edge.read_object),
    Check("a small entry is saved", streaming.save),
    Check("HEAD tells the length, and a stream keeps it", streaming.lengths),
    Check("a fault in mid-stream breaks the connection", streaming.fault),
    # The journey of an entry.
    Check("a block over 10 MB passes", large.upload),
    Check("altered and expired URLs are refused, in Azure's XML", large.altered_urls),
    Check("hostile headers change nothing", large.hostile_headers),
    Check("a block list is taken", large.block_list),
    Check("a finalize with a wrong size is refused", large.wrong_size),
    Check("the finalize makes the entry visible", large.finalize),
    Check("the entry is found", restore.found),
    Check("it restores right after its save", restore.unmerged),
    Check("its parts are merged", restore.merge),
    Check("it restores from S3", restore.merged),
    Check("x-ms-range is honoured", restore.seek),
    Check("errors are twirp's JSON", answers.errors),
    Check("a miss is 200 with ok false", answers.miss),
    Check("a saved key can't be saved again", answers.second_create),
    Check("the clocks agree", answers.clocks),
    Check("what this check put beside entries is deleted", answers.tidy),
)
