#!/usr/bin/env bash
# Prints the image in which `sam local` runs functions of an architecture: AWS's own where it can be pulled, else one
# that looks like it, made of this machine's Python 3.12 and the libraries it loads.
set -euo pipefail
cd "$(dirname "$0")/../.."
architecture=$1
build=$2 # whose native modules load some more libraries

aws=public.ecr.aws/lambda/python:3.12-$architecture
if docker image inspect "$aws" > /dev/null 2>&1 || timeout 300 docker pull --quiet "$aws" > /dev/null 2>&1; then
    echo "$aws"
    exit
fi

echo "$aws can't be pulled: making an image that looks like it ..." >&2
python=$(dev/build/python312.sh)
lib=$("$python" -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

mkdir -p "$root"/{etc,opt,tmp,bin,var/task,var/rapid,var/lang/bin,var/lang/lib/python3.12,var/runtime}
cp "$python" "$root/var/lang/bin/python3.12"
tar -C "$lib" -c --exclude=test --exclude=site-packages --exclude='config-*' --exclude=__pycache__ . \
    | tar -C "$root/var/lang/lib/python3.12" -x
cp -R .tools/runtime/lib/python3.12/site-packages/. "$root/var/runtime"
rm -rf "$root"/var/runtime/pip*

# What `sam local` calls when it puts the emulator into the image.
tools=("$(command -v sh)" "$(command -v mv)" "$(command -v chmod)")
for tool in "${tools[@]}"; do cp -L "$tool" "$root/bin/"; done

# Every library that any of it loads, where its loader looks for it.
{ printf '%s\n' "$python" "${tools[@]}"; find "$lib/lib-dynload" "$build" .tools/runtime -name '*.so*' -type f; } \
    | xargs ldd 2> /dev/null | grep -oE '/[^ ]+\.so[^ ]*' | grep -vF "$PWD/" | sort -u \
    | while read -r library; do if [ -e "$library" ]; then cp -L --parents "$library" "$root"; fi; done

cat > "$root/var/runtime/bootstrap" << 'BOOTSTRAP'
#!/bin/sh
export PYTHONPATH=/var/task:/opt/python:/var/runtime
exec /var/lang/bin/python3.12 -m awslambdaric "$_HANDLER"
BOOTSTRAP
chmod +x "$root/var/runtime/bootstrap"

name=actions-cache/lambda-look-alike:python3.12-$architecture
tar -C "$root" -c . | docker import --change "WORKDIR /var/task" --change "ENV PATH=/var/lang/bin:/bin" - "$name" > /dev/null
echo "$name"
