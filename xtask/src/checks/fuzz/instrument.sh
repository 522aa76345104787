#!/bin/sh
# cargo calls this in place of rustc for tracer's own crates when it builds fuzzers. It adds coverage counters and
# traces of comparisons for libFuzzer, and the assertions of a debug build. All flags are stable. Dependencies are
# not instrumented, so they are shared with `cargo build --release`.
case " $* " in
*" --crate-name build_script_build "* | *" --print "* | *" -vV "*) exec "$@" ;;
esac
exec "$@" -Cdebug-assertions=on -Coverflow-checks=on -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares
