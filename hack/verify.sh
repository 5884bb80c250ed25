#!/usr/bin/env bash
# Checks that what is generated, tidied and formatted is committed as such. Works
# on a copy, so that a failing check changes nothing in the tree.
set -euo pipefail

root=$(git rev-parse --show-toplevel)
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT

(cd "$root" && git ls-files -z --cached --others --exclude-standard | tar --null --ignore-failed-read -T - -cf - 2>/dev/null) | tar -C "$copy" -xf -
mkdir -p "$copy/bin"
for tool in "$root"/bin/controller-gen; do
  if [ -x "$tool" ]; then cp -p "$tool" "$copy/bin/"; touch "$copy/bin/$(basename "$tool")"; fi
done
cd "$copy"
git init -q . && git add -A && git -c user.name=verify -c user.email=verify@localhost commit -qm before

failed=0
say() { echo "verify: $1"; failed=1; }

make --no-print-directory generate >/dev/null
git diff --quiet || { git --no-pager diff --stat; say "generated files are not up to date; run make generate and commit"; }

unformatted=$(gofmt -l api cmd config controllers hack internal test 2>/dev/null | grep -v '^bin/' || true)
[ -z "$unformatted" ] || { echo "$unformatted"; say "these files are not formatted; run gofmt -w on them"; }

while read -r module; do
  (cd "$(dirname "$module")" && go mod tidy -diff >/dev/null 2>&1) || say "$(dirname "$module")/go.mod is not tidy; run go mod tidy there"
done < <(git ls-files '*go.mod')

[ "$failed" = 0 ] && echo "verify: all is as it should be"
exit "$failed"
