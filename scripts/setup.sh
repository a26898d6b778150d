# shellcheck shell=bash
# What ./run and ./test share: steps with their progress, packages, configuring and building. Sourced by
# both, from the root of the repository.

logs=build/logs
step_number=0
# Where steps are told: ./run keeps standard output for what muster itself prints.
say_to=${say_to:-1}
on_terminal=false
if [[ -t $say_to && ${TERM:-dumb} != dumb ]]; then on_terminal=true; fi

say() { printf '%s\n' "$*" >&"$say_to"; }
say_in_place() { printf '\r\033[K%s' "$*" >&"$say_to"; }
seconds() { printf '%d.%d s' $(($1 / 1000)) $(($1 % 1000 / 100)); }
now_ms() { local t=${EPOCHREALTIME/[.,]/}; printf '%s' "${t:0:-3}"; }

# fail WORDS... : one sentence of what is wrong, one of what to do, and out.
fail() {
  printf '\n%s: %s\n' "$(basename "$0")" "$1" >&2
  shift
  local line
  for line in "$@"; do printf '  %s\n' "$line" >&2; done
  exit 1
}

# step WORDS COMMAND... : runs the command with its output in a log file and says in one line how it went. Long
# ones show how far they are: each quarter of a minute, or on a terminal all the time, in place.
step() {
  local words=$1
  shift
  step_number=$((step_number + 1))
  mkdir -p "$logs"
  local slug
  slug=$(printf '%s' "$words" | tr -cs 'A-Za-z0-9' '-')
  step_log=$logs/$(basename "$0")-$(printf '%02d' "$step_number")-${slug%-}.log
  local start shown status=0
  start=$(now_ms)
  shown=$start

  # A process group of its own, so that an interrupt ends all of it.
  set -m
  "$@" >"$step_log" 2>&1 </dev/null &
  local job=$!
  set +m
  trap 'kill -TERM -- -'"$job"' 2>/dev/null; say; exit 130' INT TERM
  while kill -0 "$job" 2>/dev/null; do
    sleep 0.2
    local now
    now=$(now_ms)
    if $on_terminal; then
      say_in_place "$words … $(seconds $((now - start))) $(how_far)"
    elif ((now - shown >= 15000)); then
      shown=$now
      say "  $words: $(seconds $((now - start))) $(how_far)"
    fi
  done
  wait "$job" || status=$?
  trap - INT TERM
  if $on_terminal; then say_in_place ""; fi
  local took
  took=$(seconds $(($(now_ms) - start)))
  if ((status != 0)); then
    say "$words: failed after $took"
    return "$status"
  fi
  say "$words: done in $took"
}

# How far a step is, from its log: [12/240] of a build, 12/240 of ctest, or what apt has unpacked and set up of
# what it said it would.
how_far() {
  tail -c 200000 "$step_log" 2>/dev/null | tr '\r' '\n' | awk '
    /^\[[0-9]+\/[0-9]+\]/ { far = $1 " " $2 " " $3 }
    /^ *[0-9]+\/[0-9]+ Test/ { far = $1 " tests, " $4 }
    / newly installed/ { match($0, /[0-9]+ newly/); all = substr($0, RSTART, RLENGTH) + 0 }
    /^(Unpacking|Setting up) / { ++done }
    END { print all && done ? int(50 * done / all) "%" : far }' | cut -c 1-70 || true
}

# must WORDS COMMAND... : a step without which nothing goes on.
must() {
  step "$@" && return
  show_failure
  fail "$1 failed" "the whole output is in $step_log"
}

# The part of the step's log that says why: the first errors of a compiler, and the last lines.
show_failure() {
  say "  --- from $step_log"
  say "$({ grep -nE '^FAILED:|error:|Error:|ERROR|^E: ' "$step_log" || true; } | head -n 12 | cut -c 1-240 | sed 's/^/  /')"
  say "  --- its last lines"
  say "$(tail -n 20 "$step_log" | cut -c 1-240 | sed 's/^/  /')"
}

# The packages of the groups that are not here, one a line.
missing_packages() {
  local package group command rest
  while read -r package group command rest; do
    [[ -z $package || $package == \#* ]] && continue
    [[ " $* " == *" $group "* ]] || continue
    if [[ -n $command && $command != \#* ]] && command -v "$command" >/dev/null; then continue; fi
    printf '%s\n' "$package"
  done <scripts/packages.txt >"$logs/wanted"
  if command -v dpkg-query >/dev/null; then
    # shellcheck disable=SC2016  # the dollars are dpkg-query's
    { xargs -r dpkg-query -W -f '${Package} ${db:Status-Status}\n' <"$logs/wanted" 2>/dev/null || true; } |
      awk '$2 == "installed" { print $1 }' | sort -u | grep -vxFf - "$logs/wanted" || true
  else
    cat "$logs/wanted"
  fi
}

# As root, whoever we are.
as_root() {
  if [[ $(id -u) == 0 ]]; then "$@"; else sudo -n "$@"; fi
}

apt_install() {
  local install=(env DEBIAN_FRONTEND=noninteractive apt-get -y -q --no-install-recommends
                 -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 install "$@")
  # Most often the list of packages is there and fresh enough; asking for it again takes longer than trying.
  as_root "${install[@]}" && return
  say "trying again with a new list of packages"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 update
  as_root "${install[@]}"
}

# Debian starts a service for each server that it installs. muster needs the programs, not the services: it
# runs its own. So nothing is started here that was not there before.
install_quietly() {
  local policy=/usr/sbin/policy-rc.d ours=false status=0
  if [[ ! -e $policy ]]; then
    ours=true
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
  fi
  local conf=/etc/postgresql-common/createcluster.conf no_cluster=false
  if [[ " $* " == *" postgresql-15 "* && ! -e $conf ]]; then
    apt_install postgresql-common || status=$?
    if ((status == 0)); then
      no_cluster=true
      as_root pg_conftool "$conf" set create_main_cluster false || no_cluster=false
    fi
  fi
  if ((status == 0)); then apt_install "$@" || status=$?; fi
  if $no_cluster; then as_root pg_conftool "$conf" remove create_main_cluster || true; fi
  if $ours; then as_root rm -f "$policy"; fi
  if [[ " $* " == *" prometheus "* && -d /run/systemd/system ]]; then
    as_root systemctl disable --now prometheus || true
  fi
  return "$status"
}

# Installs what the groups need and is not here.
ensure_packages() {
  mkdir -p "$logs"
  local missing
  mapfile -t missing < <(missing_packages "$@")
  if ((${#missing[@]} > 0)); then
    command -v apt-get >/dev/null ||
      fail "this machine has no apt-get, so nothing can be installed here" \
           "muster is built on Debian 12. The packages are listed in scripts/packages.txt."
    if [[ $(id -u) != 0 ]]; then
      # Asked here, in front, as a step has no terminal to ask for a password.
      if ! command -v sudo >/dev/null || ! sudo -v; then
        fail "packages are missing and only root may install them" \
             "as root: apt-get install --no-install-recommends ${missing[*]}" "then start this again"
      fi
    fi
    must "Installing ${#missing[@]} Debian packages" install_quietly "${missing[@]}"
  fi
  local version
  version=$(node --version 2>/dev/null || true)
  if ! printf 'v18.19\n%s\n' "$version" | sort -CV; then
    fail "node ${version:-(none)} is older than 18.19, which the pages are built with" \
         "update it, or remove it so that Debian's package is taken"
  fi
  command -v npm >/dev/null ||
    fail "node is here but npm is not" "install the npm that belongs to this node"
}

# A compiler takes up to 1.5 GB on the largest files; more at a time than fit would swap, or be killed.
jobs_at_once() {
  local cores memory
  cores=$(nproc)
  memory=$(awk '/^MemAvailable:/ { print int($2 / 1500000) }' /proc/meminfo)
  if ((memory < 1)); then memory=1; fi
  if ((memory < cores)); then printf '%s' "$memory"; else printf '%s' "$cores"; fi
}

# configure PRESET [-D...] : only when it was not yet, or with other options; afterwards ninja sees by itself
# when a list of files changed.
configure() {
  local preset=$1 dir=build/$1
  shift
  if [[ -f $dir/build.ninja && $(cat "$dir/configured-with" 2>/dev/null) == "$*" ]]; then return; fi
  must "Configuring ($preset)" cmake --preset "$preset" "$@"
  printf '%s\n' "$*" >"$dir/configured-with"
}

build() {  # build WORDS PRESET TARGET
  must "$1" cmake --build "build/$2" --target "$3" -j "$(jobs_at_once)"
}
