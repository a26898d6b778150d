#!/usr/bin/env bash
# layering.sh ROOT: whether the modules under ROOT use one another as STYLE.md allows. See layering.awk.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$1"
folders=()
for folder in base schema anomaly aggregator router simulator http collector dashboards app; do
  if [[ -d $folder ]]; then folders+=("$folder"); fi
done
mapfile -t lists < <(find "${folders[@]}" -name node_modules -prune -o -name CMakeLists.txt -print | LC_ALL=C sort)
mapfile -t sources < <(find "${folders[@]}" -name node_modules -prune -o \( -name '*.cpp' -o -name '*.hpp' \) -print |
  LC_ALL=C sort)
if ((${#lists[@]} == 0 || ${#sources[@]} == 0)); then
  echo "no modules under $1"
  exit 1
fi
LC_ALL=C awk -f "$here/layering.awk" "${lists[@]}" "${sources[@]}"
echo "${#lists[@]} lists of arrows and ${#sources[@]} sources agree"
