#!/bin/sh
# The compiler launcher that run.sh puts on PATH: `sccache COMPILER ARGUMENTS...`. A compile that fails with the cache is
# done again without it, so that a server that dies, a full disk or a lost backend never fails a unit.
program="${COMPILE_CACHE_PROGRAM:-}" state="$COMPILE_CACHE_STATE"
case "${1:-}" in
"" | -*) # an option of the tool itself, as in `sccache --show-stats`
    [ ! -e "$state/off" ] || exit 0
    exec "$program" "$@"
    ;;
esac
[ ! -e "$state/off" ] || exec "$@"
for word in "$@"; do # a source on standard input can be read once
    [ "$word" != - ] || exec "$@"
done
begun=$(date +%s)
"$program" "$@" >"$state/out.$$" 2>"$state/err.$$"
status=$?
# A backend that is lost in the middle fails nothing, and each of its objects waits for it (measured: 273 s for a unit of 2 s).
if [ "${COMPILE_CACHE_FAR:-}" = 1 ] && [ $(($(date +%s) - begun)) -ge 30 ] && "$program" --show-stats --stats-format json |
    grep -qE '"cache_(timeouts|read_errors|write_errors)": *[1-9]|"cache_errors": *\{ *"counts": *\{ *"'; then
    echo "compile-cache: the backend no longer answers, the next units are compiled without it" >&2
    echo lost >"$state/fallback.$$"
    touch "$state/off"
fi
if [ "$status" -ne 0 ]; then
    reason=$(grep -v '^ *$' "$state/err.$$" | tail -n 1 | cut -c 1-300)
    rm -f "$state/out.$$" "$state/err.$$"
    "$@"
    direct=$?
    if [ "$direct" -eq 0 ]; then # not the source's fault
        echo "compile-cache: status $status, compiled without a cache: $reason" >&2
        echo failed >"$state/fallback.$$"
        [ "$(cat "$state"/fallback.* | grep -c .)" -lt 3 ] || touch "$state/off"
    fi
    exit "$direct"
fi
cat "$state/out.$$"
cat "$state/err.$$" >&2
rm -f "$state/out.$$" "$state/err.$$"
