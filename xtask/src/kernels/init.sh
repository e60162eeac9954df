#!/bin/busybox sh
# The first process of a machine of the matrix: it tries the scenarios that /scenarios names, or all, and turns the machine off.
# The console is the first serial port; the second one has the verdicts, one a line.
/bin/busybox --install -s /bin
export PATH=/tcpshift:/bin HOME=/tmp TCPSHIFT_PATIENCE=10
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /run
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
ip link set lo up
ulimit -n 65536
exec 3>/dev/ttyS1
stty -F /dev/ttyS1 raw
echo "init $(uname -r)" >&3
for module in /modules/*.ko; do
    [ ! -e "$module" ] || insmod "$module" || echo "$module is not loaded"
done
# The agent's cgroup cannot be the first one of all, which has no name.
mkdir /sys/fs/cgroup/matrix
echo $$ >/sys/fs/cgroup/matrix/cgroup.procs
set --
while IFS= read -r scenario; do
    [ -z "$scenario" ] || set -- "$@" "$scenario"
done </scenarios
scenarios run "$@" >&3
echo "end $?" >&3
poweroff -f
