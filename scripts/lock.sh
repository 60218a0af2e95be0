#!/usr/bin/env bash
# Resolves pyproject's dependency groups into the pinned, hashed files that pip and `sam build` install.
# `--check` writes nothing and fails when a file no longer follows from pyproject (CI: drift).
set -euo pipefail
cd "$(dirname "$0")/.."

out=.
if [ "${1:-}" = "--check" ]; then
    out=$(mktemp -d)
    trap 'rm -rf "$out"' EXIT
    # Today's pins are the starting point, so only a change of pyproject shows, not a new release.
    for file in requirements/*.txt layers/*/requirements.txt functions/*/requirements.txt; do
        mkdir -p "$out/$(dirname "$file")" && cp "$file" "$out/$file"
    done
fi

compile() { # compile GROUP FILE [uv options]
    mkdir -p "$out/$(dirname "$2")"
    .venv/bin/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-annotate \
        --custom-compile-command "make lock" --group "pyproject.toml:$1" --output-file "$out/$2" "${@:3}"
}

compile dev requirements/dev.txt --python-version 3.11
compile engines requirements/engines.txt --python-version 3.11
compile sam requirements/sam.txt --python-version 3.11

# Deployed packages take their versions from dev.txt: what is tested is what is deployed.
deployed=(--python-version 3.12 --constraint requirements/dev.txt)
compile layer layers/core/requirements.txt "${deployed[@]}"
in_layer=()
while read -r name; do in_layer+=(--no-emit-package "$name"); done \
    < <(grep -oE '^[a-z0-9-]+' "$out/layers/core/requirements.txt")
for function in api download merge cleanup; do
    compile "$function" "functions/$function/requirements.txt" "${deployed[@]}" "${in_layer[@]}"
done

if [ "$out" != . ]; then
    diff -r -q "$out/requirements" requirements
    for file in layers/*/requirements.txt functions/*/requirements.txt; do diff -q "$out/$file" "$file"; done
fi
