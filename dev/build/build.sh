#!/usr/bin/env bash
# Builds the template for the architectures named, each into a place of its own: .aws-sam/build is the one that
# `sam deploy` and `sam local` take, so it gets the template's default; others go to .aws-sam/<architecture>/build.
set -euo pipefail
cd "$(dirname "$0")/../.."
default=$(sed -n '/^  Architecture:/,/Default:/s/ *Default: //p' template.yaml)

python312=$(dev/build/python312.sh)
export PATH="$(dirname "$python312"):$PATH" SAM_CLI_TELEMETRY=0 AWS_DEFAULT_REGION="${AWS_DEFAULT_REGION:-us-east-1}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT

for architecture in "$@"; do
    if [ "$architecture" = "$default" ]; then base=.aws-sam; else base=.aws-sam/$architecture; fi
    echo "building for $architecture into $base/build ..."
    .tools/sam/bin/sam build --cached --parallel --parameter-overrides "Architecture=$architecture" \
        --build-dir "$base/build" --cache-dir "$base/cache" > "$log" 2>&1 || { cat "$log" >&2; exit 1; }
    # A warning of sam's is a package that isn't what it seems (no requirements.txt, a wrong architecture).
    if grep -iE 'warning|could not' "$log" >&2; then exit 1; fi
    "$python312" -m dev.build.package "$base/build" "$architecture"
done
