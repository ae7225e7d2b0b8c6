#!/bin/sh
# Stands in for a real upgrade: it takes a moment, and what can go wrong goes wrong.
longest=${DEMO_LONGEST:-2500} # milliseconds
chance=$(od -An -N2 -tu2 /dev/urandom)
ms=$((300 + chance % (longest - 299)))
echo "app $1: unpacking"
sleep "$((ms / 1000)).$(printf %03d $((ms % 1000)))"
if [ -e ~/disk-is-full ]; then
	echo "app $1: cannot write /srv/app: no space left on device" >&2
	exit 1
fi
case $1 in
2.5.*)
	echo "app $1: does not answer on port 8080" >&2
	exit 1
	;;
esac
echo "app $1: serving"
