# The first process of a host: sh init.sh NUMBER BOOT NAME ADDRESS MAC GATEWAY GATEWAY_MAC CONTROL_NET PORT
# Standard input holds what "ip -batch" is to do in the control network once our port is there.
#
# It begins in fresh namespaces, but still with the files of the control process, and with the machine's /proc.
set -eu
number=$1 boot=$2 name=$3 address=$4 mac=$5 gateway=$6 gateway_mac=$7 control=$8 port=$9
read -r pid _ </proc/self/stat
echo "testfleet: pid $pid" >&2
echo "$name" >/proc/sys/kernel/hostname
[ ! -w /proc/sys/net/ipv6/conf/all/disable_ipv6 ] || echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6

echo "link set lo up
link add eth0 address $mac type veth peer name $port netns $control
addr add $address/16 dev eth0
link set eth0 up
neigh replace $gateway lladdr $gateway_mac dev eth0 nud permanent
route add default via $gateway" | ip -batch -
nsenter --net="$control" ip -batch -

mount -a -T "/tmp/fstab.$number.$boot"
cd /tmp/root
pivot_root . mnt
cd /
umount -l /mnt
mkdir -p /run/sshd /run/lock

exec </dev/null >/dev/null
while :; do
	if [ -e /run/nosshd ]; then
		echo "testfleet: sshd stopped" >&2
		# The wait for a child also buries the orphans that a first process inherits.
		until [ ! -e /run/nosshd ]; do sleep 0.02; done
	fi
	/usr/sbin/sshd -D -e -f /etc/ssh/sshd_config &
	wait $! || :
	sleep 0.05
done
