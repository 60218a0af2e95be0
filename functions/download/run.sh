#!/bin/sh
# What Lambda Web Adapter starts in place of a handler: the very app of handler.py, as a web server, so that it streams.
set -eu

# Before what Lambda presets, its runtime's libraries: their botocore isn't the one that pynamodb was pinned with.
export PYTHONPATH="$LAMBDA_TASK_ROOT:/opt/python${PYTHONPATH:+:$PYTHONPATH}"

# exec: Lambda watches this process, and ends the environment with it.
#
# --loop, --http, --ws: what requirements.txt has, said outright, so that a place with more runs the same.
# --no-access-log: URLs carry signatures.
# --proxy-headers: redirects to ourselves are https; the adapter alone, on 127.0.0.1, is believed, and API Gateway sets
#   X-Forwarded-Proto itself.
# --timeout-keep-alive: well over the 4 s after which the adapter drops an idle connection (its src/lib.rs), so that the
#   end which might be about to send is always the end that closes. uvicorn's own 5 s leave a busy loop 1 s. A freeze
#   between two invocations is no matter: it stops both ends, which go by one clock.
exec python -m uvicorn functions.download.handler:asgi_app --factory \
  --host 127.0.0.1 --port "$AWS_LWA_PORT" \
  --loop asyncio --http h11 --ws none --lifespan off \
  --no-access-log --log-level warning --no-server-header \
  --proxy-headers --forwarded-allow-ips 127.0.0.1 \
  --timeout-keep-alive 75
