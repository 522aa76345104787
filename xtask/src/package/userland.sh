# Runs in a mount namespace of its own, and as root. All writes go to a memory file system above the userland.
# Arguments: USERLAND SCRATCH PACKAGE RECORDING TEXT; the report of RECORDING has TEXT in it.
set -eu
userland=$1 scratch=$2 package=$3 recording=$4 text=$5
exec >&2
mount -t tmpfs tmpfs "$scratch"
mkdir "$scratch/upper" "$scratch/work" "$scratch/root"
root=$scratch/root
mount -t overlay -o "lowerdir=$userland,upperdir=$scratch/upper,workdir=$scratch/work" overlay "$root"
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
cp "$package" "$root/tmp/tracer.deb"
cp "$recording" "$root/tmp/a.session"
chroot "$root" /bin/sh -euc '
    text=$1
    export PATH=/usr/sbin:/usr/bin:/sbin:/bin
    # The status files and logs of dpkg change with each package.
    files() {
        find / -xdev \( -path /var/lib/dpkg -o -path /var/log -o -path /tmp \) -prune -o -print | sort
    }
    files >/tmp/before
    dpkg --install /tmp/tracer.deb
    tracer --version --verbose
    tracer report /tmp/a.session >/tmp/report
    grep -q "$text" /tmp/report
    # tracer ends with 0 only if all output arrived.
    tracer -o /tmp/report -- echo hi >/tmp/output
    grep -qx hi /tmp/output
    grep -q "3 B" /tmp/report
    dpkg --remove tracer
    dpkg --purge tracer
    ! command -v tracer
    files >/tmp/after
    diff /tmp/before /tmp/after
' sh "$text"
