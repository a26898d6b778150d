# Compares each #include of our own with the arrows in the CMakeLists.txt files, and both with the graph of
# STYLE.md. Reads the CMakeLists.txt files first, then the sources. Prints file:line: what is wrong.

BEGIN {
  # Which modules each may use, and whether it is pure: no clock, socket, file, lock or log inside. `base` may
  # be used by all. A new module is a new line here.
  pure("base", "")
  io("log", "base")
  pure("schema", "")
  pure("anomaly", "")
  pure("aggregator", "schema anomaly")
  pure("router", "schema")
  pure("query", "schema")
  pure("decode", "schema")
  pure("simulator", "schema")
  io("http", "log")
  io("store", "schema log")
  io("collector", "schema decode http log")
  io("scrape", "schema decode collector http log")
  io("channels", "schema router http log")
  io("dashboards", "schema store http log")
  io("query_api", "schema store query http log")
  io("app", "schema query query_api anomaly aggregator router decode simulator http store collector scrape channels dashboards log")

  # Whose headers a folder holds. base/log.hpp is the one header with a target of its own.
  split("base schema anomaly query aggregator router simulator http collector dashboards app", plain, " ")
  for (i in plain) module_of_folder[plain[i]] = plain[i]
  module_of_folder["schema/store"] = "store"
  module_of_folder["collector/decode"] = "decode"
  module_of_folder["collector/scrape"] = "scrape"
  module_of_folder["query/api"] = "query_api"
  module_of_folder["router/channels"] = "channels"
}

function pure(name, uses) { known[name] = 1; is_pure[name] = 1; allow(name, uses) }
function io(name, uses) { known[name] = 1; allow(name, uses) }
function allow(name, uses,   list, i, n) {
  allowed[name, "base"] = 1
  n = split(uses, list, " ")
  for (i = 1; i <= n; i++) allowed[name, list[i]] = 1
}

function found(line, what) {
  printf "%s:%d: %s\n", FILENAME, line, what
  failures++
}

# The module that a path belongs to: that of the longest folder of it that is one; "" when none is.
function module_of(path,   folder) {
  if (path ~ /^base\/log\.[ch]pp$/) return "log"
  folder = path
  while (sub(/\/[^\/]*$/, "", folder)) {
    if (folder in module_of_folder) return module_of_folder[folder]
    if (index(folder, "/") == 0) break
  }
  return ""
}

FNR == 1 { name = ""; visibility = ""; commands = 0 }

# CMakeLists.txt: the lists of muster_module, and of target_link_libraries on a module.
FILENAME ~ /CMakeLists\.txt$/ {
  line = $0
  sub(/#.*/, "", line)
  gsub(/\(/, " ( ", line)
  gsub(/\)/, " ) ", line)
  n = split(line, words, " ")
  for (i = 1; i <= n; i++) {
    word = words[i]
    if (word == ")") { name = ""; visibility = ""; awaiting = 0; continue }
    if (word == "(") continue
    if (word == "muster_module" || word == "target_link_libraries") { awaiting = word; continue }
    if (awaiting != 0 && awaiting != "") {
      name = word
      if (awaiting == "target_link_libraries" && !sub(/^muster_/, "", name)) name = ""
      if (awaiting == "muster_module") {
        declared[name] = 1
        if (!(name in known)) found(FNR, "module " name " is not in the graph: add it to " "tests/layering/layering.awk")
      }
      awaiting = ""
      continue
    }
    if (name == "") continue
    if (word == "PUBLIC" || word == "PRIVATE" || word == "SOURCES" || word == "INTERFACE") visibility = word
    if (word ~ /^muster::/) {
      used = word
      sub(/^muster::/, "", used)
      arrow[name, used] = 1
      if (visibility == "PUBLIC" || visibility == "INTERFACE") public_arrow[name, used] = 1
      if (name in known && used != name && !((name, used) in allowed)) {
        found(FNR, name " must not use " used (is_pure[name] && !is_pure[used] ? ": " name " is pure" : ""))
      }
    }
  }
  next
}

# Sources. Reach is what the arrows give: those of the module, and what the headers behind them show.
function reaches(from, to,   m, queue, head, tail, seen) {
  if ((from, to) in reach_known) return reach_known[from, to]
  tail = 0
  for (m in known) if ((from, m) in arrow) { queue[++tail] = m; seen[m] = 1 }
  for (head = 1; head <= tail; head++) {
    for (m in known) if ((queue[head], m) in public_arrow && !(m in seen)) { queue[++tail] = m; seen[m] = 1 }
  }
  reach_known[from, to] = (to in seen) ? 1 : 0
  return reach_known[from, to]
}

/^[ \t]*#[ \t]*include[ \t]*"/ {
  path = $0
  sub(/^[^"]*"/, "", path)
  sub(/".*/, "", path)
  here = module_of(FILENAME)
  if (path ~ /^(tests|bench)\//) { found(FNR, "what ships must not include " path); next }
  there = module_of(path)
  if (there == "") { found(FNR, "write the path from the root of the repository: \"" path "\""); next }
  if (there == here) next
  # base/log.hpp is the other target of base/; its own source is the only one that may say so for free.
  if (is_pure[here] && !is_pure[there]) { found(FNR, here " is pure and must not include " path); next }
  if (!((here, there) in allowed)) { found(FNR, here " must not include " path " (see STYLE.md, arrows)"); next }
  if (!reaches(here, there)) {
    found(FNR, "includes " path ", but muster::" there " is not among the arrows of " here)
  }
}

# What a pure module may not touch.
{
  here = module_of(FILENAME)
  if (!is_pure[here]) next
  code = $0
  sub(/\/\/.*/, "", code)
  if (code ~ /#[ \t]*include[ \t]*<(fstream|iostream|filesystem|mutex|shared_mutex|condition_variable|thread|future|atomic_wait|unistd\.h|fcntl\.h|netdb\.h|sys\/[a-z]+\.h|boost\/asio|boost\/beast|openssl\/(ssl|bio)|libpq|pqxx\/)/) {
    found(FNR, here " is pure: no clock, socket, file, lock or log inside")
  }
  if (code ~ /(system_clock|steady_clock|high_resolution_clock)::now|random_device|[^_a-z]getenv[ \t]*\(|[^_a-z]fopen[ \t]*\(|std::(cout|cerr|clog)|[^_a-z]time[ \t]*\([ \t]*(nullptr|NULL|0)[ \t]*\)/) {
    found(FNR, here " is pure: time, chance and the outside are arguments")
  }
}

END {
  if (failures) printf "%d found\n", failures
  exit failures > 0
}
