#!/usr/bin/env bash
# Makes the lab's boot media: a live system of a stock Debian kernel, busybox and rancheros-register, on bootable images for BIOS and UEFI.
#
#   bin/live/base.iso        with a reserved file for the registration data
#   bin/live/plain.iso       without one
#   bin/live/cache           the kernel's package, downloaded and unpacked, never installed
#
# Needs, all from Debian: busybox-static, grub-common, grub-pc-bin, grub-efi-amd64-bin, xorriso, mtools, dpkg and apt.
set -euo pipefail
cd "$(dirname "$0")/.."

live=bin/live
cache=$live/cache
lab=tests/lab/live

# The kernel for virtual machines: small, with the drivers of TPMs built in.
kernel_package() {
    local name
    name=$(kernel_dependency)
    if [ -z "$name" ]; then
        apt-get update -qq >&2
        name=$(kernel_dependency)
    fi
    echo "${name:?this system offers no linux-image-cloud-amd64}"
}

# kernel_dependency is the package of the newest version; nothing where the index of packages is missing.
kernel_dependency() {
    apt-cache depends linux-image-cloud-amd64 2>/dev/null | awk '$1 == "Depends:" && !found++ { print $2 }' || true
}

fetch_kernel() {
    if compgen -G "$cache/kernel/boot/vmlinuz-*" >/dev/null; then
        return
    fi
    local name
    name=$(kernel_package)
    echo "build-live: fetches $name"
    mkdir -p "$cache/packages"
    # The index may name a version that is gone: then it is fetched anew.
    ( cd "$cache/packages" && { apt-get download -qq "$name" || { apt-get update -qq && apt-get download -qq "$name"; } } )
    rm -rf "$cache/kernel.part"
    dpkg-deb -x "$cache/packages/$name"_*.deb "$cache/kernel.part"
    mv "$cache/kernel.part" "$cache/kernel"
}

# modules copies drivers and whatever they need into the system, and writes down in which order they load.
modules() {
    local folder=$1 version
    shift
    version=$(ls "$cache/kernel/lib/modules")
    [ -e "$cache/kernel/lib/modules/$version/modules.dep" ] || busybox depmod -b "$cache/kernel" "$version"
    mkdir -p "$folder/lib/modules"
    awk -v wanted="$*" '
        function load(path,   n, needs, i) {
            if (path in loaded) return
            loaded[path] = 1
            n = split(needed[path], needs, " ")
            for (i = n; i > 0; i--) load(needs[i])
            print path
        }
        { path = $1; sub(/:$/, "", path); $1 = ""; needed[path] = $0
          name = path; sub(/.*\//, "", name); sub(/\.ko$/, "", name); where[name] = path }
        END { n = split(wanted, names, " ")
              for (i = 1; i <= n; i++) {
                  if (!(names[i] in where)) { print "no module " names[i] > "/dev/stderr"; exit 1 }
                  load(where[names[i]])
              } }' "$cache/kernel/lib/modules/$version/modules.dep" |
        while read -r path; do
            cp "$cache/kernel/lib/modules/$version/$path" "$folder/lib/modules/"
            basename "$path" .ko >>"$folder/lib/modules/order"
        done
}

# boot_loaders makes GRUB for the installed disk: it looks for the partition that holds the system.
boot_loaders() {
    local to=$1
    mkdir -p "$to"
    printf 'search --no-floppy --file --set=root /oem/99_rancheros.yaml\nconfigfile ($root)/grub.cfg\n' >"$live/early.cfg"
    local common=(part_msdos fat normal linux search search_fs_file configfile minicmd serial terminal)
    grub-mkimage -O i386-pc -o "$to/core.img" -c "$live/early.cfg" -p /grub "${common[@]}" biosdisk
    grub-mkimage -O x86_64-efi -o "$to/grub.efi" -c "$live/early.cfg" -p /grub "${common[@]}"
    cp /usr/lib/grub/i386-pc/boot.img "$to/boot.img"
}

system() {
    local root=$1
    mkdir -p "$root/bin" "$root/sbin" "$root/etc" "$root/usr/share/lab"
    cp "$(command -v busybox)" "$root/bin/busybox"
    cp bin/rancheros-register "$root/bin/"
    install -m 755 "$lab/init" "$root/init"
    install -m 755 "$lab/configure-network" "$lab/install-to-disk" "$root/sbin/"
    # The first process is a shell, which does not hear of a request to restart.
    printf '#!/bin/sh\nsync\nexec busybox reboot -f\n' >"$root/sbin/reboot"
    chmod 755 "$root/sbin/reboot"
    printf 'NAME="RancherOS lab"\nPRETTY_NAME="RancherOS lab"\nVERSION_ID="1"\n' >"$root/etc/os-release"
    # The CD is on an IDE controller, the disk and the network card are virtual ones.
    modules "$root" virtio_pci virtio_blk virtio_net ata_piix sr_mod vfat nls_cp437 nls_ascii
    cp "$cache"/kernel/boot/vmlinuz-* "$root/usr/share/lab/kernel"
    boot_loaders "$root/usr/share/lab"
}

# What an image's GRUB can do; by itself it tries all partition tables that there are.
grub_modules="linux normal iso9660 fat search minicmd echo serial terminal part_acorn part_amiga part_apple part_bsd part_dfly part_dvh part_gpt part_msdos part_plan part_sun part_sunpc"

# image makes a hybrid one: BIOS and UEFI, disc and stick.
image() {
    local to=$1 tree=$2 initrds=$3
    mkdir -p "$tree/boot/grub"
    cat >"$tree/boot/grub/grub.cfg" <<END
serial --unit=0 --speed=115200
terminal_output serial
echo "LAB 0 GRUB on \$grub_platform"
linux /boot/kernel console=ttyS0,115200 quiet
initrd $initrds
boot
END
    rm -f "$to"
    grub-mkrescue --install-modules="$grub_modules" --locales= --fonts= --themes= \
        -o "$to.part" "$tree" >"$live/grub-mkrescue.log" 2>&1 || { cat "$live/grub-mkrescue.log" >&2; exit 1; }
    mv "$to.part" "$to"
}

started=$SECONDS
mkdir -p "$live"
[ -x bin/rancheros-register ] || scripts/build.sh
fetch_kernel
work=$(mktemp -d "$live/work.XXXXXX")
trap 'rm -rf "$work"' EXIT
system "$work/root"
mkdir -p "$work/tree/boot"
cp "$cache"/kernel/boot/vmlinuz-* "$work/tree/boot/kernel"
( cd "$work/root" && find . -mindepth 1 | LC_ALL=C sort | busybox cpio -o -H newc -R 0:0 2>/dev/null | gzip -n -6 ) >"$work/tree/boot/initrd"
image "$live/plain.iso" "$work/tree" /boot/initrd
# Zeros, for the registration data.
head -c 65536 /dev/zero >"$work/tree/boot/seed.img"
image "$live/base.iso" "$work/tree" "/boot/initrd /boot/seed.img"
echo "build-live: $live/base.iso, $(($(stat -c %s "$live/base.iso") >> 20)) MB, in $((SECONDS - started)) s"
