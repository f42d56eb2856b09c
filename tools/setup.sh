#!/bin/sh
# Installs what the host needs and does not have: the first thing that `make run` and `make test` do.
# Says what it installs and why. Where it may not install, it says which packages to install and how, and stops.
set -u

have() { command -v "$1" >/dev/null 2>&1; }

# One line for each program: the program, its Debian package, what it is for.
needed='qemu-system-x86_64 qemu-system-x86 boots the kernels
cc gcc links the host tools and the kernel
make make runs the targets
dpkg-deb dpkg unpacks the Debian packages that guests run'

missing_packages=''
missing_lines=''
while read -r program package reason; do
    have "$program" && continue
    missing_packages="$missing_packages $package"
    missing_lines="$missing_lines
    $program (Debian package $package): $reason"
done <<LIST
$needed
LIST
# gcc without the C library's files cannot link.
if have dpkg-query && ! dpkg-query -W -f '${Status}' libc6-dev 2>/dev/null | grep -q 'ok installed'; then
    missing_packages="$missing_packages libc6-dev"
    missing_lines="$missing_lines
    the C library's start files (Debian package libc6-dev): programs are linked with them"
fi

if ! have cargo && [ -x "$HOME/.cargo/bin/cargo" ]; then
    PATH="$HOME/.cargo/bin:$PATH"
fi
if ! have cargo; then
    echo "setup: Rust is missing: install rustup as https://rustup.rs says; rust-toolchain.toml here names the version." >&2
    exit 1
fi

# The guests' programs come from Debian's archive through apt, so its package lists must be there.
lists_missing=''
if have apt-get && ! apt-cache show busybox-static >/dev/null 2>&1; then
    lists_missing=yes
fi

[ -z "$missing_packages$lists_missing" ] && have apt-get && exit 0

if ! have apt-get; then
    if [ -n "$missing_lines" ]; then
        echo "setup: these programs are missing, and there is no apt here to install them with:$missing_lines" >&2
        echo "setup: install them with this system's own package manager, then try again." >&2
        exit 1
    fi
    # Without apt the guests' programs must be in the cache already; graft-tools says so where they are not.
    exit 0
fi

if [ "$(id -u)" -eq 0 ]; then
    as_root=''
elif have sudo && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
    as_root='sudo'
else
    echo "setup: something is missing, and only root may install it:$missing_lines" >&2
    echo "setup: run this as root, then try again:" >&2
    echo "    apt-get update${missing_packages:+ && apt-get install --no-install-recommends$missing_packages}" >&2
    exit 1
fi

echo "setup: fetching apt's package lists"
$as_root apt-get -q update || { echo "setup: apt-get update failed: see that the network is there" >&2; exit 1; }
if [ -n "$missing_packages" ]; then
    echo "setup: installing what is missing:$missing_lines"
    # shellcheck disable=SC2086 # the packages are words, and the prefix may be empty
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -q install --yes --no-install-recommends $missing_packages ||
        { echo "setup: the installation failed; install these by hand:$missing_packages" >&2; exit 1; }
fi
