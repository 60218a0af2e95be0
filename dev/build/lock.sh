#!/usr/bin/env bash
# Resolves pyproject's dependency groups into the pinned, hashed files that pip and `sam build` install.
# `--check` writes nothing and fails when a file no longer follows from pyproject (CI: drift).
set -euo pipefail
cd "$(dirname "$0")/../.."

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

compile() { # compile GROUP FILE [uv options]
    local report
    mkdir -p "$out/$(dirname "$2")"
    # Today's pins are the starting point, so only a change of pyproject shows, not a new release.
    if [ -f "$2" ]; then cp "$2" "$out/$2"; fi
    report=$(.venv/bin/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-annotate \
        --custom-compile-command "make lock" --group "pyproject.toml:$1" --output-file "$out/$2" "${@:3}" 2>&1) && return
    echo "$report" >&2
    if grep -qiE 'failed to fetch|error sending request|dns error|timed out|network was disabled' <<< "$report"; then
        echo "lock: the package index didn't answer, so nothing can be said about $2" >&2
    else
        echo "lock: the group '$1' in pyproject.toml can't be resolved" >&2
    fi
    exit 2
}

compile dev dev/requirements/dev.txt --python-version 3.11
compile engines dev/requirements/engines.txt --python-version 3.11
compile sam dev/requirements/sam.txt --python-version 3.11
compile checkov dev/requirements/checkov.txt --python-version 3.11
compile deployment dev/requirements/deployment.txt --python-version 3.12
compile runtime dev/requirements/runtime.txt --python-version 3.12

# Deployed packages take their versions from dev.txt: what is tested is what is deployed.
# A function's file is complete, even where the layer holds the same package: `sam build` lets pip
# follow dependencies, and in hash mode pip refuses one that isn't listed.
deployed=(--python-version 3.12 --constraint "$out/dev/requirements/dev.txt")
compile layer layers/core/requirements.txt "${deployed[@]}"
for function in api download manage merge cleanup rotate; do
    compile "$function" "functions/$function/requirements.txt" "${deployed[@]}"
done

while read -r file; do
    if cmp -s "$out/$file" "$file"; then continue; fi # its age tells make what to install again
    if [ "${1:-}" = "--check" ]; then
        diff -u "$file" "$out/$file" >&2 || true
        echo "lock: $file doesn't follow from pyproject.toml: make lock" >&2
        exit 1
    fi
    cp "$out/$file" "$file"
done < <(cd "$out" && find . -name '*.txt' | sed 's|^\./||')
