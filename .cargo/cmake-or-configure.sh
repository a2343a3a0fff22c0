#!/bin/sh
# Stands in for cmake while libopus is built: passes everything on where cmake is installed, and otherwise
# translates the two calls that the `cmake` crate makes (configure, then build and install) to the
# `configure` and `make` that libopus ships. Nothing but a C compiler and make is needed then.
set -eu

real=$(command -v cmake || true)
if [ -n "$real" ]; then
    exec "$real" "$@"
fi

for argument in "$@"; do
    case "$argument" in
    -DCMAKE_INSTALL_PREFIX=*) prefix=${argument#*=} ;;
    -DCMAKE_C_FLAGS=*) flags=${argument#*=} ;;
    -DCMAKE_C_COMPILER=*) compiler=${argument#*=} ;;
    --build) building=yes ;;
    --version) echo "cmake version 3.20.0 (configure + make)"; exit 0 ;;
    esac
done

if [ -n "${building:-}" ]; then
    exec make -j"${NUM_JOBS:-2}" install
fi

for argument in "$@"; do
    if [ -x "$argument/configure" ]; then
        source=$argument
    fi
done
if [ -z "${source:-}" ] || [ -z "${prefix:-}" ]; then
    echo "neither cmake nor a source folder with a configure script was found (arguments: $*)" >&2
    exit 1
fi
# Not the crate's debug flags: an unoptimised codec is too slow for tests that carry real media.
CFLAGS="${flags:-} -O2 -fPIC" CC="${compiler:-cc}" exec "$source/configure" --prefix="$prefix" --libdir="$prefix/lib" \
    --disable-shared --enable-static --with-pic --disable-doc --disable-extra-programs --disable-dependency-tracking
