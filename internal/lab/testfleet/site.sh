# Keeps the network of a site: sh site.sh PARENT
#
# It has a network namespace of its own, and nothing but a life line on its standard input. At its end it ends all that
# was started in there.
trap '' INT TERM HUP
parent=$1
read -r _ || :
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
	done 2>/dev/null
	[ -z "$again" ] || sleep 0.01
done
