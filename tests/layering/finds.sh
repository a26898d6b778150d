#!/usr/bin/env bash
# Whether layering.sh and lint.sh find what they are there to find, in a small tree made for it.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
failed=0

put() { mkdir -p "$tree/$(dirname "$1")" && printf '%s\n' "${@:2}" >"$tree/$1"; }

# expect SCRIPT LINE... : the script prints exactly these lines before its last one.
expect() {
  local script=$1 got want
  shift
  got=$("$here/$script" "$tree" | head -n -1 || true)
  want=$(printf '%s\n' "$@")
  if [[ $# == 0 ]]; then want=; fi
  if [[ $got != "$want" ]]; then
    echo "--- $script should print"
    echo "$want"
    echo "--- and printed"
    echo "$got"
    failed=1
  fi
}

put base/CMakeLists.txt 'muster_module(base SOURCES hash.cpp)' 'muster_module(log SOURCES log.cpp PUBLIC fmt::fmt)'
put base/log.cpp '#include "base/log.hpp"'
put schema/CMakeLists.txt 'muster_module(schema SOURCES a.cpp' '  PUBLIC muster::base)  # a comment (with brackets)'
put schema/a.cpp '#include "schema/a.hpp"' '#include "base/hash.hpp"' '// std::chrono::system_clock::now() is only spoken of'
put router/CMakeLists.txt 'muster_module(router SOURCES b.cpp PUBLIC muster::schema)'
put router/b.cpp '#include "base/hash.hpp"' '#include <vector>'
put http/CMakeLists.txt 'muster_module(http SOURCES c.cpp PUBLIC muster::base PRIVATE muster::log)'
put http/c.cpp '#include "base/log.hpp"' '#include <thread>'
put app/CMakeLists.txt 'muster_module(app SOURCES d.cpp PRIVATE muster::router)' 'target_link_libraries(muster PRIVATE muster::app)'
put app/d.cpp '#include "schema/a.hpp"' '#include "router/b.hpp"'
expect layering.sh
expect lint.sh

put router/CMakeLists.txt 'muster_module(router' '  SOURCES b.cpp' '  PUBLIC muster::schema' '  PRIVATE muster::http muster::anomaly)'
put router/b.cpp '#include "http/server.hpp"' '#include "base/log.hpp"' '#include "anomaly/z.hpp"' \
  '#include "b.hpp"' '#include <mutex>' 'auto t = std::chrono::system_clock::now();' '#include "app/x.hpp"'
put app/d.cpp '#include "http/server.hpp"' '#include "tests/http/fixture.hpp"'
put http/CMakeLists.txt 'muster_module(http SOURCES c.cpp PUBLIC muster::base)' 'target_link_libraries(muster_http PRIVATE muster::schema)'
put schema/CMakeLists.txt 'muster_module(shema SOURCES a.cpp)'
expect layering.sh \
  'http/CMakeLists.txt:2: http must not use schema' \
  'router/CMakeLists.txt:4: router must not use http: router is pure' \
  'router/CMakeLists.txt:4: router must not use anomaly' \
  'schema/CMakeLists.txt:1: module shema is not in the graph: add it to tests/layering/layering.awk' \
  'app/d.cpp:1: includes http/server.hpp, but muster::http is not among the arrows of app' \
  'app/d.cpp:2: what ships must not include tests/http/fixture.hpp' \
  'http/c.cpp:1: includes base/log.hpp, but muster::log is not among the arrows of http' \
  'router/b.cpp:1: router is pure and must not include http/server.hpp' \
  'router/b.cpp:2: router is pure and must not include base/log.hpp' \
  'router/b.cpp:3: router must not include anomaly/z.hpp (see STYLE.md, arrows)' \
  'router/b.cpp:4: write the path from the root of the repository: "b.hpp"' \
  'router/b.cpp:5: router is pure: no clock, socket, file, lock or log inside' \
  'router/b.cpp:6: router is pure: time, chance and the outside are arguments' \
  'router/b.cpp:7: router is pure and must not include app/x.hpp' \
  'schema/a.cpp:2: includes base/hash.hpp, but muster::base is not among the arrows of schema'

rm -rf "${tree:?}"/*
put a.cpp 'int a;  ' "$(printf '\tint b;')" '// TODO later' 'open("/home/somebody/x")' "$(printf 'int c;\r')"
put b.md 'Files lie in /homework/ and ./root/x, and TODOS are none.' '>>>>>>> theirs'
printf 'no end' >"$tree/c.txt"
put tests/golden/d.csv 'a,b  '
expect lint.sh \
  'a.cpp:4: a path of one machine' \
  'a.cpp:3: finish it, or say what it does not do' \
  'b.md:2: a merge was not finished' \
  'a.cpp:1: space at the end of the line' \
  'a.cpp:5: a carriage return: lines end with a line feed' \
  'a.cpp:2: a tab: indent with spaces' \
  'c.txt:0: no line feed at the end'
exit "$failed"
