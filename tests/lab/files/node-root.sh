# Makes a directory the root of a new mount namespace: a machine whose programs are the host's and
# whose files are its own. Runs inside the new namespaces, with `sh -eu`.
# Arguments: the directory, the directory of the Kubernetes binaries, the host name.
root=$1 kubernetes=$2 name=$3

hostname "$name"
mount --bind "$root" "$root"
cd "$root"

mkdir -p dev etc/alternatives etc/ssl home mnt old opt/kubernetes/bin proc root run srv sys tmp usr
mkdir -p var/cache var/lib var/log var/tmp
chmod 1777 tmp var/tmp
ln -sfn ../run var/run

# Programs and libraries, read-only, laid out as on the host.
read_only() {
    mount --bind "$1" "$2"
    mount -o remount,bind,ro "$2"
}
read_only /usr usr
for directory in bin sbin lib lib32 lib64 libx32; do
    if [ -L "/$directory" ]; then
        ln -sfn "$(readlink "/$directory")" "$directory"
    elif [ -d "/$directory" ]; then
        mkdir -p "$directory"
        read_only "/$directory" "$directory"
    fi
done
for directory in etc/alternatives etc/ssl; do
    if [ -d "/$directory" ]; then read_only "/$directory" "$directory"; fi
done
read_only "$kubernetes" opt/kubernetes/bin

mount -t proc proc proc
# A file system of its own: /sys/class/net shows the network namespace of whoever mounted it.
mount -t sysfs sysfs sys
mount --rbind /sys/fs/cgroup sys/fs/cgroup
mount --rbind /dev dev
# Empty after each start, like a machine's.
mount -t tmpfs -o mode=755,size=256m tmpfs run

pivot_root . old
umount --lazy /old
rmdir /old
# Without this, kubelet refuses mount propagation into and out of pods.
mount --make-rshared /
