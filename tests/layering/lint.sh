#!/usr/bin/env bash
# lint.sh ROOT: what no compiler and no formatter sees, in every text file of the repository.
set -euo pipefail
cd "$1"
export LC_ALL=C
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# git knows what belongs to the repository; an unpacked archive has no git.
if ! git ls-files --cached --others --exclude-standard >"$scratch/files" 2>/dev/null || [[ ! -s $scratch/files ]]; then
  find . \( -name .git -o -name build -o -name data -o -name node_modules -o -name dist \) -prune -o -type f -print |
    sed 's|^\./||' >"$scratch/files"
fi
# Data and the words of others are as they are.
grep -vE '(^|/)(LICENSE|package-lock\.json)$|^tests/golden/|\.(png|jpg|webp|ico|woff2?|gz|zst|snappy|csv|ndjson|bin)$' \
  "$scratch/files" | while read -r file; do [[ -f $file ]] && printf '%s\n' "$file"; done >"$scratch/texts"
# These hold the patterns themselves.
grep -v '^tests/layering/' "$scratch/texts" >"$scratch/others"
grep -E '\.(cpp|hpp|cmake|sh|awk|ts|tsx|mjs|css|yaml|yml)$|(^|/)CMakeLists\.txt$|^(run|test)$' "$scratch/texts" >"$scratch/code"

: >"$scratch/found"
look() {  # look LIST PATTERN WORDS
  { xargs -r -d '\n' grep -nIHE "$2" <"$scratch/$1" || true; } |
    sed -E "s|^([^:]*:[0-9]+):.*|\1: $3|" >>"$scratch/found"
}
tab=$(printf '\t')
return=$(printf '\r')
look others '(^|[^A-Za-z0-9_.-])/(work|home|root)/' 'a path of one machine'
look others '(^|[^A-Za-z])(TODO|FIXME|XXX)([^A-Za-z]|$)' 'finish it, or say what it does not do'
look others '(^|[^A-Za-z])[Nn]ot implemented([^A-Za-z]|$)' 'finish it, or leave it out'
look texts '^(<<<<<<<|>>>>>>>) ' 'a merge was not finished'
look texts "[ $tab]\$" 'space at the end of the line'
look texts "$return" 'a carriage return: lines end with a line feed'
look code "$tab" 'a tab: indent with spaces'
while read -r file; do
  if [[ -s $file && -n $(tail -c 1 "$file") ]]; then
    printf '%s:%d: no line feed at the end\n' "$file" "$(wc -l <"$file")" >>"$scratch/found"
  fi
done < <(xargs -r -d '\n' grep -lI '' <"$scratch/texts" || true)

if [[ -s $scratch/found ]]; then
  cat "$scratch/found"
  echo "$(wc -l <"$scratch/found") found"
  exit 1
fi
echo "$(wc -l <"$scratch/texts") files are clean"
