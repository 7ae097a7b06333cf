# Debian's packages without installing them, for the scripts beside this one, which source it.

cross=${CARGO_TARGET_DIR:-$PWD/target}/cross
root=$cross/root
mkdir -p "$root" "$cross/bin"

# skip <reason>: ends the script, as a success that says what is missing.
skip() {
    echo "$(basename "$0"): SKIPPED: $1"
    exit 0
}

# unpack <packages…>: with all that they need and this system lacks, into $root.
unpack() {
    local stamp
    stamp=$cross/$(cksum <<<"$*" | cut -d' ' -f1)
    [ ! -e "$stamp" ] || return 0
    command -v apt-get >/dev/null || skip "there is no apt-get"
    [ "$(dpkg --print-architecture)" = amd64 ] || skip "the paths are those of amd64"
    apt-get update -qq || skip "the package lists cannot be had"
    mkdir -p "$cross/debs"
    (
        cd "$cross/debs"
        # By name, too: what is installed already is not among those that would be.
        names=$(apt-get install -qq -s --no-install-recommends "$@" | awk '/^Inst/ { print $2 }') &&
            apt-get download -qq $(printf '%s\n' "$@" $names | sort -u)
    ) || skip "these packages cannot be had: $*"
    local package
    for package in "$cross"/debs/*.deb; do dpkg -x "$package" "$root"; done
    rm -r "$cross/debs"
    touch "$stamp"
}

# The compiler with the sources of its standard library, for targets that rustup's has no library for. `cargo` is the
# usual one.
foreign_compiler() {
    unpack rustc-web libstd-rust-web-dev rust-web-src
    local tool
    for tool in rustc rustdoc; do
        printf '#!/bin/sh\nLD_LIBRARY_PATH=%s/usr/lib/x86_64-linux-gnu exec %s/usr/bin/%s "$@"\n' \
            "$root" "$root" "$tool" >"$cross/bin/$tool"
        chmod +x "$cross/bin/$tool"
    done
    export RUSTC=$cross/bin/rustc RUSTDOC=$cross/bin/rustdoc RUSTC_BOOTSTRAP=1
    export CARGO_TARGET_DIR=$cross/target CARGO_INCREMENTAL=0 CARGO_PROFILE_DEV_DEBUG=0 PATH=$cross/bin:$PATH
    unset RUSTFLAGS
    "$RUSTC" --version
}
