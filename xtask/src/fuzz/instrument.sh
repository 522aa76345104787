#!/bin/sh
# Stands between cargo and rustc for tracer's own crates when fuzzers are built: makes the compiler count which
# ways were gone and what was compared, for libFuzzer, and panic as in a debug build. All of these flags are
# stable. Dependencies are not counted, so their builds are those of `cargo build --release`.
case " $* " in
*" --crate-name build_script_build "* | *" --print "* | *" -vV "*) exec "$@" ;;
esac
exec "$@" -Cdebug-assertions=on -Coverflow-checks=on -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares
