#!/usr/bin/env bash
# Builds the root Dockerfile without a container engine or an image registry: buildah (chroot isolation) on stand-ins for its two base
# images, made from Debian's packages and the .NET of this machine under the same names. Leaves an image folder with compressed layers in
# artifacts/image/oci for run.mjs. Needs root and Debian; apt-get install buildah debootstrap runc. Minutes; not part of CI.
set -euo pipefail
cd "$(dirname "$0")/../../.."
work=$PWD/artifacts/image
mkdir -p "$work"
export STORAGE_DRIVER=overlay BUILDAH_ISOLATION=chroot
bah() { buildah --root "$work/store/root" --runroot "$work/store/run" "$@"; }
dotnet_root=$(dirname "$(readlink -f "$(command -v dotnet)")")
path=PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

base() { # NAME ROOT [CONFIG...]: commits a root file system as an image
  local container
  container=$(bah from scratch)
  bah add -q "$container" "$2" / > /dev/null
  bah config --env "$path" "${@:3}" "$container"
  bah commit -q "$container" "$1" > /dev/null
  bah rm "$container" > /dev/null
}

if ! bah inspect --type image mcr.microsoft.com/dotnet/sdk:10.0 > /dev/null 2>&1; then
  debootstrap --variant=minbase --include=ca-certificates,libicu72,libssl3,zlib1g,libstdc++6 bookworm "$work/sdk" > "$work/debootstrap.log"
  cp -a "$dotnet_root" "$work/sdk/usr/share/dotnet"
  ln -sf /usr/share/dotnet/dotnet "$work/sdk/usr/bin/dotnet"
  base mcr.microsoft.com/dotnet/sdk:10.0 "$work/sdk"
fi

# Like the chiselled image: libraries, the runtime, user 1654, certificates; no shell, no package manager.
if ! bah inspect --type image mcr.microsoft.com/dotnet/aspnet:10.0-noble-chiseled > /dev/null 2>&1; then
  run=$work/runtime
  mkdir -p "$work/debs" "$run"
  (cd "$work/debs" && apt-get download -qq libc6 libgcc-s1 libstdc++6 libssl3 zlib1g base-files)
  for package in "$work"/debs/*.deb; do dpkg -x "$package" "$run"; done
  rm -rf "$run"/usr/share/{doc,lintian,man,base-files}
  mkdir -p "$run"/usr/share/dotnet/shared "$run"/usr/bin "$run"/etc/ssl/certs "$run"/home/app
  cp -a "$dotnet_root"/{dotnet,host} "$run/usr/share/dotnet/"
  cp -a "$dotnet_root"/shared/Microsoft.{NETCore,AspNetCore}.App "$run/usr/share/dotnet/shared/"
  ln -sf /usr/share/dotnet/dotnet "$run/usr/bin/dotnet"
  cp "$work/sdk/etc/ssl/certs/ca-certificates.crt" "$run/etc/ssl/certs/"
  printf 'root:x:0:0:root:/root:/usr/sbin/nologin\napp:x:1654:1654::/home/app:/usr/sbin/nologin\n' > "$run/etc/passwd"
  printf 'root:x:0:\napp:x:1654:\n' > "$run/etc/group"
  chown 1654:1654 "$run/home/app"
  base mcr.microsoft.com/dotnet/aspnet:10.0-noble-chiseled "$run" --env ASPNETCORE_HTTP_PORTS=8080 --env DOTNET_RUNNING_IN_CONTAINER=true --user 1654
fi

# Packages come from this machine's cache; the lock files' hashes are checked all the same. --format docker keeps the health check.
bah bud --layers --format docker --pull-never --build-arg COMMIT="$(git rev-parse --short HEAD)" \
  --volume "${NUGET_PACKAGES:-$HOME/.nuget/packages}:/root/.nuget/packages" --volume /etc/ssl/certs:/etc/ssl/certs:ro -t inference-service:0.1.0 .
rm -rf "$work/oci"
bah push -q --format oci --compression-format gzip inference-service:0.1.0 "oci:$work/oci:0.1.0"
bah push -q --format docker inference-service:0.1.0 "dir:$work/docker"
