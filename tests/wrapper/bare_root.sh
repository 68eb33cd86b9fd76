#!/bin/bash
# bare_root.sh ROOT [COMMAND...]: what a first call costs on a machine that has nothing. Makes a Debian 12 root with
# debootstrap, clones the repository at ROOT into it, and runs "./thaw COMMAND" there (default: run
# configs/digits.yaml). Prints seconds, megabytes and the last lines. Needs root, debootstrap and the network
# (or the mirrors this machine is set up for: apt's and pip's settings are carried in).
set -euo pipefail
source_root=$(cd "$1" && pwd)
shift
if [ "$#" -eq 0 ]; then set -- run configs/digits.yaml; fi

skip() {
  echo "skipped: $*"
  exit 77
}
[ "$(id -u)" -eq 0 ] || skip "a chroot needs root"
command -v debootstrap >/dev/null || skip "debootstrap is missing (apt-get install debootstrap)"
git -C "$source_root" rev-parse -q --verify HEAD >/dev/null || skip "$source_root has no commit to clone"

place=$(mktemp -d "${THAW_BARE_ROOT_PARENT:-/var/tmp}/thaw-bare-XXXXXX")
chroot_root=$place/root
clean_up() {
  for mounted in dev proc; do
    if mountpoint -q "$chroot_root/$mounted"; then umount "$chroot_root/$mounted"; fi
  done
  # A mount that would not go must not be deleted through.
  if ! grep -q " $chroot_root" /proc/mounts; then rm -rf "$place"; fi
}
trap clean_up EXIT

# The mirror apt here uses for bookworm, in either format of its lists.
mirror=$({ cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null |
  sed -n 's/^deb \(\[[^]]*\] \)\?\([^ ]*\) bookworm .*/\2/p'
  sed -n 's/^URIs: *\([^ ]*\).*/\1/p' /etc/apt/sources.list.d/*.sources 2>/dev/null; } | head -n 1)
echo "making a bare Debian 12 in $chroot_root"
debootstrap --variant=minbase bookworm "$chroot_root" ${mirror:+"$mirror"} >"$place/debootstrap.log" 2>&1 ||
  { tail -n 5 "$place/debootstrap.log"; skip "debootstrap could not make a root"; }

# How this machine reaches its registries: apt's lists and keys, pip's files, certificates, names.
carry() {
  for path in "$@"; do
    if [ -e "$path" ]; then
      mkdir -p "$chroot_root$(dirname "$path")"
      cp -aL "$path" "$chroot_root$(dirname "$path")/"
    fi
  done
}
rm -f "$chroot_root/etc/apt/sources.list"
carry /etc/apt/sources.list /etc/apt/sources.list.d /etc/apt/apt.conf.d /etc/apt/trusted.gpg.d /etc/apt/keyrings \
  /etc/apt/preferences.d /usr/share/keyrings /etc/pip.conf /etc/ssl/certs \
  /usr/local/share/ca-certificates /usr/share/ca-certificates /etc/ca-certificates.conf /etc/resolv.conf /etc/hosts
mkdir -p "$chroot_root/root"
for file in "${XDG_CONFIG_HOME:-$HOME/.config}/pip/pip.conf" "$HOME/.pip/pip.conf"; do
  if [ -e "$file" ]; then cp -L "$file" "$chroot_root/etc/pip.conf"; fi
done
git clone -q "$source_root" "$chroot_root/thaw"
mount -t proc proc "$chroot_root/proc"
mount --bind /dev "$chroot_root/dev"

megabytes() { du -smx "$chroot_root" | cut -f1; }
# On the interface of the default route: others (ifb, veth) see the same bytes again.
interface=$(awk '$2 == "00000000" { print $1; exit }' /proc/net/route)
received() { awk -v name="$interface:" '$1 == name { bytes = $2 } END { printf "%d", bytes / 1e6 }' /proc/net/dev; }

# Settings of the environment that name registries, proxies and certificates go along; nothing else does.
settings=(HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 CI=true)
while IFS= read -r name; do settings+=("$name=${!name}"); done < <(compgen -e |
  grep -E '^(PIP_.*|(https?|no|all|ftp)_proxy|(HTTPS?|NO|ALL|FTP)_PROXY|SSL_CERT_(FILE|DIR)|REQUESTS_CA_BUNDLE)$' || true)

# timed_run TITLE COMMAND...: one call of ./thaw with its cost.
TIMEFORMAT='%U + %S'
timed_run() {
  local title=$1 before_mb before_net before_s status=0
  shift
  before_mb=$(megabytes) before_net=$(received) before_s=$SECONDS
  { time chroot "$chroot_root" env -i "${settings[@]}" sh -c 'cd /thaw && exec ./thaw "$@"' sh "$@" \
    >"$place/log" 2>&1 || status=$?; } 2>"$place/cpu"
  tail -n 20 "$place/log"
  # Processor time too: seconds alone say little where other work shares the cores.
  echo "$title: exit $status, $((SECONDS - before_s)) s ($(cat "$place/cpu") s of processor time)," \
    "received $(($(received) - before_net)) MB, disk +$(($(megabytes) - before_mb)) MB: ./thaw $*"
  return "$status"
}

echo "bare root: $(megabytes) MB"
timed_run "first call" "$@"
before=$(date +%s%N)
chroot "$chroot_root" env -i "${settings[@]}" sh -c 'cd /thaw && exec ./thaw list samplers' >/dev/null
echo "a later call of \"./thaw list samplers\": $((($(date +%s%N) - before) / 1000000)) ms"
