#!/usr/bin/env bash
# Installs what building Milepost needs and this machine lacks, and nothing else.
#
#   a C++20 compiler, libclang   RocksDB is compiled from source, and its bindings are generated
#   Rust                         through rustup, where there is no cargo at all
#
# With --checks also what only scripts/test.sh needs: clippy, rustfmt, cargo-deny and Python 3.
#
# Meant for Debian and Ubuntu, as root or with sudo; elsewhere it says what to install by hand.
# Safe to repeat: where nothing is missing it looks, says so and is done within a second.
# Everything it has to say goes to standard error.
#
# usage: scripts/setup.sh [--checks]

set -euo pipefail

readonly CARGO_DENY_VERSION=0.20.2   # deny.toml is written for 0.20

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { printf 'setup: %s\n' "$@" >&2; exit 1; }

checks=no
case "${1-}" in
    '') ;;
    --checks) checks=yes ;;
    *) printf 'usage: scripts/setup.sh [--checks]\n' >&2; exit 2 ;;
esac

# rust-toolchain.toml and Cargo.toml stand there.
cd "$(dirname "${BASH_SOURCE[0]}")/.."

done_something=no

# --- compilers, from the distribution ------------------------------------------------------------

# Compiles rather than looks for a name: a compiler without its headers, or one too old for C++20,
# would only be found out twenty minutes into the build.
has_cxx() {
    local cxx="${CXX:-c++}"
    # Unquoted on purpose: CXX may hold a launcher or flags, as in "ccache g++".
    # shellcheck disable=SC2086
    printf '#include <version>\n#include <string>\nint main() { return 0; }\n' \
        | $cxx -std=c++20 -x c++ -fsyntax-only - >/dev/null 2>&1
}

# Rust calls it to link.
has_cc() {
    # shellcheck disable=SC2086
    printf 'int main(void) { return 0; }\n' | ${CC:-cc} -x c -fsyntax-only - >/dev/null 2>&1
}

# True where one of the files is a libclang proper (libclang-cpp is another library).
any_libclang() {
    local file
    for file in "$@"; do
        [[ -e "$file" && "${file##*/}" =~ ^libclang(-[0-9.]+)?\.so(\.[0-9.]+)?$ ]] && return 0
    done
    return 1
}

# Looks where the bindings' generator will look.
has_libclang() {
    local dir prefix lib found=no
    if [[ -n "${LIBCLANG_PATH-}" ]]; then
        # Set by hand, so it decides alone; it may name the folder or the file.
        if [[ -d "$LIBCLANG_PATH" ]]; then
            any_libclang "$LIBCLANG_PATH"/libclang*.so* && return 0
        elif [[ -e "$LIBCLANG_PATH" ]]; then
            return 0
        fi
        fail "LIBCLANG_PATH is $LIBCLANG_PATH, and there is no libclang" \
            'unset it, or set it to the folder that holds libclang.so'
    fi

    for dir in /usr/lib/llvm-*/lib; do
        # Without the compiler's own headers (stddef.h and the like) the library cannot read C.
        # Debian packs the two apart.
        any_libclang "$dir"/libclang*.so* && compgen -G "$dir/clang/*/include/stddef.h" >/dev/null \
            && return 0
    done
    if prefix="$(llvm-config --libdir 2>/dev/null)" && [[ "$prefix" != /usr/lib/llvm-*/lib ]]; then
        any_libclang "$prefix"/libclang*.so* && return 0
    fi
    # Other distributions; what Debian keeps under llvm-* was judged above.
    while read -r lib; do
        case "$(readlink -f "$lib")" in
            /usr/lib/llvm-*|'') ;;
            *-linux-gnu/*) ;;
            *) any_libclang "$lib" && found=yes ;;
        esac
    done < <({ PATH="$PATH:/sbin:/usr/sbin" ldconfig -p 2>/dev/null || true; } | sed -n 's/.*=> \(.*libclang.*\)/\1/p')
    [[ $found == yes ]]
}

apt_install() {
    local as_root=()
    if ! command -v apt-get >/dev/null; then
        fail "missing: $missing_words" \
            'this is no Debian or Ubuntu (there is no apt-get): install them by the means of your system and run again'
    fi
    if ((EUID != 0)); then
        if ! command -v sudo >/dev/null; then
            fail "missing: $missing_words" \
                "you are not root and there is no sudo: have an administrator run: apt-get install $*"
        fi
        if ! sudo -n true 2>/dev/null && [[ ! -t 0 ]]; then
            fail "missing: $missing_words" \
                "sudo wants a password and there is no terminal to ask on: run this first: sudo apt-get install $*"
        fi
        as_root=(sudo)
    fi
    say "installing with apt: $*"
    # A fresh image has no package lists, and old lists name packages that are gone.
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq >&2 \
        || say 'the package lists could not all be refreshed; going on with those at hand'
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "$@" >&2 \
        || fail "apt-get could not install $*; its own message stands above"
    done_something=yes
}

# cargo may be installed and this shell not know it yet. First in PATH, as rustup itself would have
# it: a distribution's older cargo then does not get in the way.
use_cargo_bin() {
    local bin="${CARGO_HOME:-$HOME/.cargo}/bin"
    if [[ -x "$bin/cargo" && ":$PATH:" != *":$bin:"* ]]; then export PATH="$bin:$PATH"; fi
}

use_cargo_bin
packages=()
words=()
if ! has_cc || ! has_cxx; then
    packages+=(g++)
    words+=('a C and C++20 compiler')
fi
if ! has_libclang; then
    packages+=(libclang-dev)
    words+=('libclang')
fi
if ! command -v cargo >/dev/null && ! command -v curl >/dev/null; then
    packages+=(curl ca-certificates)
    words+=('curl, to fetch Rust')
fi
if [[ $checks == yes ]] && ! command -v python3 >/dev/null; then
    packages+=(python3)
    words+=('Python 3, for the independent model of the rules')
fi
if ((${#packages[@]})); then
    missing_words="$(printf '%s; ' "${words[@]}")"
    missing_words="${missing_words%; }"
    say "missing: $missing_words"
    apt_install "${packages[@]}"
    if ! has_cc || ! has_cxx; then
        fail 'there is still no compiler that takes C++20 (GCC 11 and Clang 14 do)' \
            'install a newer one and name it in CC and CXX'
    fi
    has_libclang || fail 'there is still no libclang; set LIBCLANG_PATH to the folder that holds libclang.so'
fi

# --- Rust ----------------------------------------------------------------------------------------

if ! command -v cargo >/dev/null; then
    say "there is no cargo: installing Rust through rustup into ${CARGO_HOME:-$HOME/.cargo}"
    script="$(mktemp)"
    trap 'rm -f "$script"' EXIT
    curl --proto '=https' --tlsv1.2 --retry 3 -sSf https://sh.rustup.rs -o "$script" \
        || fail 'rustup could not be fetched; install Rust by hand (https://rustup.rs) and run again'
    sh "$script" -y --profile minimal --default-toolchain stable --no-modify-path >&2 \
        || fail 'rustup could not install Rust; its own message stands above'
    use_cargo_bin
    command -v cargo >/dev/null \
        || fail "rustup has run, yet there is no cargo in ${CARGO_HOME:-$HOME/.cargo}/bin"
    # rustup was told to leave the shell's start-up files alone; the scripts find cargo by themselves.
    say "for your own shell: export PATH=\"${CARGO_HOME:-$HOME/.cargo}/bin:\$PATH\""
    done_something=yes
fi

wanted="$(sed -n 's/^rust-version *= *"\([0-9.]*\)".*/\1/p' Cargo.toml)"
[[ -n "$wanted" ]] || fail 'Cargo.toml states no rust-version'
found="$(rustc --version)" \
    || fail 'there is a cargo, but rustc does not run' 'with rustup: rustup toolchain install stable'
found="$(sed -n 's/^rustc \([0-9.]*\).*/\1/p' <<<"$found")"
if [[ "$(printf '%s\n%s\n' "$wanted" "$found" | sort -V | head -n 1)" != "$wanted" ]]; then
    if command -v rustup >/dev/null; then
        fail "rustc is $found; Milepost needs $wanted or later" 'run: rustup update stable'
    fi
    fail "rustc is $found ($(command -v rustc)); Milepost needs $wanted or later" \
        'remove it, or put a newer one before it in PATH, and run again: without any cargo, rustup installs one'
fi

# --- what only the checks need -------------------------------------------------------------------

if [[ $checks == yes ]]; then
    # Asks the tools themselves: rustup leaves a launcher in PATH for components it does not have.
    components=()
    cargo clippy --version >/dev/null 2>&1 || components+=(clippy)
    cargo fmt --version >/dev/null 2>&1 || components+=(rustfmt)
    if ((${#components[@]})); then
        command -v rustup >/dev/null || fail "missing: ${components[*]}, and there is no rustup to add them" \
            'install them from where your Rust came from'
        say "adding ${components[*]}"
        rustup component add "${components[@]}" >&2 || fail "rustup could not add ${components[*]}"
        done_something=yes
    fi

    if ! cargo deny --version >/dev/null 2>&1; then
        say "installing cargo-deny $CARGO_DENY_VERSION (some minutes)"
        # Unoptimised: its release profile optimises the whole program at once, which takes much
        # longer than the second or so that a check would gain. A folder of its own, so that it
        # neither waits for the project's build nor leaves anything in it; kept on failure, so that the next try goes on from there.
        deny_target="${XDG_CACHE_HOME:-$HOME/.cache}/milepost/cargo-deny"
        cargo install cargo-deny --locked --version "$CARGO_DENY_VERSION" --debug \
            --target-dir "$deny_target" >&2 \
            || fail "cargo-deny could not be installed; cargo's own message stands above"
        rm -rf "$deny_target"
        done_something=yes
    fi
fi

if [[ $done_something == yes ]]; then
    say "ready (Rust $found)"
else
    say "nothing is missing (Rust $found)"
fi
