# The control process of a test fleet: sh control.sh PARENT DIR SIZE...
#
# It runs in a network and a mount namespace of its own, with nothing but a life line on its standard input. The
# text of the network comes first on it, up to an empty line. /tmp becomes the place of all hosts, for us and those
# who enter our mount namespace: /tmp/image (what all hosts have instead of the machine's files), and /tmp/1, /tmp/2 ...
# (a disk of the size SIZE each).
set -eu
trap '' INT TERM HUP
parent=$1 dir=$2
shift 2

while read -r line && [ -n "$line" ]; do
	echo "$line"
done | ip -batch -

mount -t tmpfs -o mode=755,size=16m fleet /tmp
mkdir /tmp/image /tmp/root
n=0
for size; do
	n=$((n + 1))
	echo "disk$n /tmp/$n tmpfs mode=755,size=$size,X-mount.mkdir 0 0"
done >/tmp/disks
mount -a -T /tmp/disks

# The first process of the process namespace that holds those of all hosts. It still sees the machine's /proc,
# which tells it who it is outside.
# shellcheck disable=SC2016 # the inner shell expands them
unshare --pid --fork --kill-child /bin/sh -c 'read -r pid _ </proc/self/stat; echo "$pid"; exec sleep infinity' &
keeper=$!
exec >/dev/null # that it did not start is the end of the answer

read -r _ || :

# No set -e from here: whatever happens, go on.
set +e
exec 2>&1
while kill -0 "$keeper"; do # it may be so new that it has no child yet; it ends when all processes of all hosts are gone
	for p in /proc/[0-9]*; do
		read -r pid _ _ ppid _ <"$p/stat" && [ "$ppid" = "$keeper" ] && kill -9 "$pid"
	done
	sleep 0.01
done

# Programs that were started in this network.
again=1
while [ -n "$again" ]; do
	again=
	for p in /proc/[0-9]*; do
		pid=${p#/proc/}
		[ "$pid" = "$$" ] || [ "$pid" = "$parent" ] && continue
		# shellcheck disable=SC3013 # dash, busybox and bash have it, and it needs no process
		if [ "$p/ns/net" -ef /proc/self/ns/net ] && kill -9 "$pid"; then
			again=1
		fi
	done
	[ -z "$again" ] || sleep 0.01
done
cd /
umount -l /tmp
rm -rf "$dir"
