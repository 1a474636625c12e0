#!/usr/bin/env bash
# Makes a Debian package of a built binary: deb.sh LATH FOLDER. Prints the package's path.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
lath=$1 folder=$2
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n1)
arch=$(dpkg --print-architecture)
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
chmod 755 "$root"  # the archive has it as /, whose mode some tools set

install -D -m 755 "$lath" "$root/usr/bin/lath"
install -D -m 644 packaging/lath.service "$root/lib/systemd/system/lath.service"
install -D -m 644 README.md "$root/usr/share/doc/lath/README.md"
install -D -m 644 LICENSE "$root/usr/share/doc/lath/copyright"
install -d "$root/usr/share/bash-completion/completions" "$root/etc/lath" "$root/DEBIAN"
"$lath" completions bash >"$root/usr/share/bash-completion/completions/lath"
# Every key with what it means, as a comment: the defaults stay those of the binary.
env -i "$lath" serve --print-config --data-dir /var/lib/lath | sed 's/^\([^#]\)/# \1/' >"$root/etc/lath/lath.toml"
echo /etc/lath/lath.toml >"$root/DEBIAN/conffiles"
# The C library that the binary was linked with is the oldest that it runs with.
libc=$(dpkg-query -W -f='${Version}' libc6 | sed 's/-.*//')
cat >"$root/DEBIAN/control" <<CONTROL
Package: lath
Version: $version
Architecture: $arch
Maintainer: The Lath developers <lath@lath.dev>
Installed-Size: $(du -sk --exclude=DEBIAN "$root" | cut -f1)
Depends: libc6 (>= $libc), libgcc-s1
Section: net
Priority: optional
Homepage: https://github.com/lath-dev/lath
Description: service networking between VPCs, self-hosted
 One binary that speaks the AWS wire protocols of VPC Lattice, EC2 networking,
 Transit Gateway, Route 53, IAM, STS, CloudWatch and Logs, and makes what they
 ask for real with Linux namespaces, proxies, health checks and DNS.
CONTROL
mkdir -p "$folder"
dpkg-deb --root-owner-group --build "$root" "$folder/lath_${version}_$arch.deb" >/dev/null
printf '%s\n' "$folder/lath_${version}_$arch.deb"
