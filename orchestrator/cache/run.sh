#!/bin/sh
# run COMMAND...: runs a compile command with a compile cache, and without one where the cache does not work.
#
# Mounted into a RUN step beside the cache's own program (docs/compile-cache.md). The exit status is the command's: a cache
# that is missing, full, read-only, unreachable or too old for the toolkit costs time, never a build. At the end one line
# of JSON says what the cache did; orchestrate reads it from the step's output.
set -u
here=$(cd "$(dirname "$0")" && pwd)
settings="${COMPILE_CACHE_SETTINGS:-/run/secrets/compile-cache}"
mount="${COMPILE_CACHE_MOUNT:-/var/cache/compile-cache}"
COMPILE_CACHE_STATE=$(mktemp -d) && export COMPILE_CACHE_STATE || exec "$@"
why="" tool="sccache" backend="" held="null"

say() { echo "compile-cache: $*" >&2; }
plain() { tr -cd 'A-Za-z0-9 ._:,;/@%()=+-' | cut -c 1-300; } # what may stand in a JSON string as it is
last_words() { grep -v '^ *$' "$1" 2>/dev/null | tail -n 1 | plain; }
limited() { # limited SECONDS COMMAND...
    if command -v timeout >/dev/null; then timeout "$@"; else shift && "$@"; fi
}
cpu() { # microseconds of processor time of this step, children and the cache's server included
    if [ -r /sys/fs/cgroup/cpu.stat ] && grep -q '^usage_usec' /sys/fs/cgroup/cpu.stat; then
        sed -n 's/^usage_usec //p' /sys/fs/cgroup/cpu.stat
    elif [ -r /sys/fs/cgroup/cpuacct/cpuacct.usage ]; then
        echo $(($(cat /sys/fs/cgroup/cpuacct/cpuacct.usage) / 1000))
    fi
}

load() { # the settings: NAME=VALUE lines, never run as shell
    [ -r "$settings" ] || { why="the secret compile-cache was not given"; return 1; }
    while IFS= read -r line || [ -n "$line" ]; do
        case "$line" in
        COMPILE_CACHE_TOOL=sccache | COMPILE_CACHE_TOOL=ccache) tool="${line#*=}" ;;
        COMPILE_CACHE_BACKEND=*) backend="${line#*=}" ;;
        SCCACHE_*=* | CCACHE_*=* | AWS_*=* | ACTIONS_*=*) export "${line?}" ;;
        esac
    done <"$settings"
    [ -n "$backend" ] || { why="the secret compile-cache is empty"; return 1; }
    COMPILE_CACHE_FAR=$([ "$backend" = mount ] || echo 1)
    export COMPILE_CACHE_FAR
}

place() { # the directory of the mount, and whether it can be written
    directory="$mount/$tool"
    mkdir -p "$directory" 2>/dev/null
    [ -d "$directory" ] || { why="the cache mount $mount cannot be written and holds nothing"; return 1; }
    export SCCACHE_DIR="$directory" CCACHE_DIR="$directory" CCACHE_NOHASHDIR=true
    if ! (umask 077 && head -c 65536 /dev/zero >"$directory/.probe.$$") 2>/dev/null; then
        say "the cache mount is full or read-only: it is read and not written"
        export SCCACHE_LOCAL_RW_MODE=READ_ONLY SCCACHE_DIRECT=false CCACHE_READONLY=true
    fi
    rm -f "$directory/.probe.$$" 2>/dev/null
}

find_tool() {
    case "$tool" in
    sccache) COMPILE_CACHE_PROGRAM="$here/sccache" ;;
    *) COMPILE_CACHE_PROGRAM=$(command -v ccache || true) ;;
    esac
    export COMPILE_CACHE_PROGRAM
    [ -x "$COMPILE_CACHE_PROGRAM" ] || { why="$tool is missing"; return 1; }
    "$COMPILE_CACHE_PROGRAM" --version >"$COMPILE_CACHE_STATE/log" 2>&1 ||
        { why="$tool does not run here: $(last_words "$COMPILE_CACHE_STATE/log")"; return 1; }
}

start() { # a server of this step alone: a port would be shared by steps on the host's network
    [ "$tool" = sccache ] || { ccache --zero-stats >/dev/null 2>&1; return 0; }
    export SCCACHE_SERVER_UDS="$COMPILE_CACHE_STATE/socket" SCCACHE_IDLE_TIMEOUT=0
    limited 60 "$COMPILE_CACHE_PROGRAM" --start-server >"$COMPILE_CACHE_STATE/log" 2>&1 ||
        { why="the server of sccache does not start ($backend): $(last_words "$COMPILE_CACHE_STATE/log")"; return 1; }
}

probe() { # tool and toolkit together: sccache 0.16 fails with nvcc 13.3 and later, with status 254 of fatbinary
    nvcc=$(command -v "${CUDACXX:-nvcc}" || true)
    [ -n "$nvcc" ] || return 0
    printf '%s\n' '__global__ void probe(float *x) { *x = 1; }' 'void f(float *x) { probe<<<1, 1>>>(x); }' \
        >"$COMPILE_CACHE_STATE/probe.cu"
    codes=$("$nvcc" --list-gpu-arch 2>/dev/null | sed -n '1p;$p' | sed 's/^compute_\(.*\)/-gencode arch=compute_\1,code=sm_\1/')
    # shellcheck disable=SC2086 # words on purpose
    (cd "$COMPILE_CACHE_STATE" && limited 300 "$COMPILE_CACHE_PROGRAM" "$nvcc" $codes -c probe.cu -o probe.o) \
        >"$COMPILE_CACHE_STATE/log" 2>&1
    status=$?
    [ "$status" -eq 0 ] || {
        release=$("$nvcc" --version | sed -n 's/.*release \([0-9.]*\).*/\1/p')
        why="a probe with nvcc $release failed through $tool (status $status): $(last_words "$COMPILE_CACHE_STATE/log")"
        return 1
    }
    "$COMPILE_CACHE_PROGRAM" --zero-stats >/dev/null 2>&1 || true
}

statistics() { # JSON; null where there are none
    case "$tool" in
    sccache) limited 60 "$COMPILE_CACHE_PROGRAM" --show-stats --stats-format json 2>/dev/null | tr -d '\n' ;;
    *) ccache --print-stats 2>/dev/null | sed -nE 's/^([a-z_]+)\t([0-9]+)$/"\1":\2/p' | paste -s -d , | sed 's/.*/{&}/' ;;
    esac
}

size() { echo "$1" | sed -nE 's/.*"cache_size": *([0-9]+).*/\1/p'; }

includes() { # sources of which CCCL makes other code for every arch list (thrust, CUB, and torch, which includes thrust)
    grep -rlE '^[[:space:]]*#[[:space:]]*include[[:space:]]*[<"](thrust|cub|torch|ATen|c10)/' \
        --include='*.cu' --include='*.cuh' --exclude-dir=cccl --exclude-dir=cub --exclude-dir=thrust . 2>/dev/null |
        sed 's|^\./||' # CCCL's own headers are not the project's, in a toolkit that was copied beside it
}

archs() { # a header that gives __CUDA_ARCH_LIST__ every architecture of the toolkit, at a path that is part of the cache's keys
    nvcc=$(command -v "${CUDACXX:-nvcc}" || true)
    [ -n "$nvcc" ] || return 0
    all=$("$nvcc" --list-gpu-arch 2>/dev/null | sed -n 's/^compute_\([0-9]*\)$/\10/p' | sort -nu | paste -s -d ,)
    [ -n "$all" ] || return 0
    printf '#undef __CUDA_ARCH_LIST__\n#define __CUDA_ARCH_LIST__ %s\n' "$all" >"$COMPILE_CACHE_STATE/archs.h"
    name="archs-$(cksum <"$COMPILE_CACHE_STATE/archs.h" | cut -d ' ' -f 1).h"
    for directory in "$mount" /tmp/compile-cache; do # named by content: another build may hold it open
        [ "$directory" = "$mount" ] || mkdir -p "$directory" 2>/dev/null
        cmp -s "$COMPILE_CACHE_STATE/archs.h" "$directory/$name" || {
            cp "$COMPILE_CACHE_STATE/archs.h" "$directory/.$name.$$" && mv "$directory/.$name.$$" "$directory/$name"
        } 2>/dev/null || rm -f "$directory/.$name.$$" 2>/dev/null
        if cmp -s "$COMPILE_CACHE_STATE/archs.h" "$directory/$name"; then echo "$directory/$name"; return 0; fi
    done
}

if load && { [ "$backend" != mount ] || place; } && find_tool && start && held=$(size "$(statistics)") && probe; then
    on=true
else
    on=false
    [ -z "${SCCACHE_SERVER_UDS:-}" ] || limited 60 "$COMPILE_CACHE_PROGRAM" --stop-server >/dev/null 2>&1
    touch "$COMPILE_CACHE_STATE/off"
    say "$why; compiling without a cache"
fi
export COMPILE_CACHE_PROGRAM="${COMPILE_CACHE_PROGRAM:-}"
mkdir "$COMPILE_CACHE_STATE/bin"
cp "$here/launcher.sh" "$COMPILE_CACHE_STATE/bin/$tool"
chmod 755 "$COMPILE_CACHE_STATE/bin/$tool"
PATH="$COMPILE_CACHE_STATE/bin:$PATH"
for language in C CXX CUDA; do export "CMAKE_${language}_COMPILER_LAUNCHER=$COMPILE_CACHE_STATE/bin/$tool"; done
# The caller's choice, and the same code with and without a cache: docs/compile-cache.md says what it risks.
if [ "${COMPILE_CACHE_FIXED_CCCL:-}" = 1 ]; then
    defines="-DCUB_DISABLE_NAMESPACE_MAGIC -DCUB_IGNORE_NAMESPACE_MAGIC_ERROR"
    defines="$defines -DTHRUST_DISABLE_ABI_NAMESPACE -DTHRUST_IGNORE_ABI_NAMESPACE_ERROR"
    # CUB's dispatch names the list once more, and no define of CCCL's removes that.
    header=$(archs)
    export NVCC_APPEND_FLAGS="${NVCC_APPEND_FLAGS:-} $defines${header:+ -include $header}"
fi

begun=$(date +%s) used=$(cpu)
"$@"
status=$?
seconds=$(($(date +%s) - begun))
now=$(cpu)
[ -n "$used" ] && [ -n "$now" ] && cpu=$((now - used)) || cpu=null

counted=null
if [ "$on" = true ]; then
    counted=$(statistics)
    case "$counted" in "{"*"}") ;; *) counted=null ;; esac
    [ "$tool" != sccache ] || limited 60 "$COMPILE_CACHE_PROGRAM" --stop-server >/dev/null 2>&1
fi
fallbacks=$(cat "$COMPILE_CACHE_STATE"/fallback.* 2>/dev/null | grep -c .)
cccl=$(includes | head -n 1000)
printf 'orchestrate-compile-cache {"version":1,"tool":"%s","on":%s,"why":"%s","fallbacks":%s,' \
    "$tool" "$on" "$why" "$fallbacks"
printf '"held":%s,"seconds":%s,"cpu":%s,"cccl":%s,"cccl_named":"%s","fixed":%s,"statistics":%s}\n' \
    "${held:-null}" "$seconds" "$cpu" "$(echo "$cccl" | grep -c .)" \
    "$(echo "$cccl" | head -n 3 | paste -s -d ' ' | plain)" \
    "$([ "${COMPILE_CACHE_FIXED_CCCL:-}" = 1 ] && echo true || echo false)" "$counted"
case "${header:-}" in /tmp/compile-cache/*) rm -f "$header"; rmdir /tmp/compile-cache 2>/dev/null ;; esac
rm -rf "$COMPILE_CACHE_STATE"
exit "$status"
