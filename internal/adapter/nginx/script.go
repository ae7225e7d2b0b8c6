package nginx

// What both scripts begin with: the file itself where it is a link, and what stands beside it. Names begin with a dot, so
// that an include of all files does not read them.
const beside = `set -u
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
f=$(readlink -f -- "$1") && [ -f "$f" ] || { echo "there is no file $1" >&2; exit 66; }
pidfile=$2
d=${f%/*} b=${f##*/}
lock=$d/.$b.sluice-lock change=$d/.$b.sluice-change new=$d/.$b.sluice-new old=$d/.$b.sluice-old
m=$(cat "$pidfile" 2>/dev/null) && [ -n "$m" ] && [ -e "/proc/$m" ] || { echo "nginx does not run: $pidfile names no process" >&2; exit 71; }
# workers prints the kind and the number of each: those that take connections, and those that end.
workers() {
	for s in $(grep -l "^PPid:[[:space:]]*$m\$" /proc/[0-9]*/status 2>/dev/null); do
		p=${s%/status}
		case $(tr '\0' ' ' <"$p/cmdline" 2>/dev/null) in
		'nginx: worker process is shutting down'*) echo "old ${p#/proc/}" ;;
		'nginx: worker process'*) echo "current ${p#/proc/}" ;;
		esac
	done
}
`

// reading prints what there is to know of an upstream: a line for each fact, and the file last.
const reading = beside + `
[ ! -e "$change" ] || sed 's/^/changing /' "$change"
workers
if command -v awk >/dev/null 2>&1; then
	echo counted
	cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk '$4 == "01" { n[$3]++ } END { for (a in n) print "connected", a, n[a] }'
fi
echo file
cat -- "$f"
`

// changing puts another text in the place of the file and has nginx take it up, or leaves all as it was. A mark says as
// long as that goes on which server the running nginx may treat otherwise than the file says; it stays where this is cut
// off.
const changing = beside + `
tries=$3 what=$4 have=$5 want=$6 check=$7 reload=$8
sum() { sha256sum | cut -c1-64; }
no() { echo "$2" >&2; exit "$1"; }
if command -v flock >/dev/null 2>&1; then
	exec 9>>"$lock" || no 74 "cannot write beside $f"
	flock -w 30 9 || no 75 "somebody else changes $f"
fi
said=$(sh -c "$check" 2>&1 9>&-) || no 65 "the configuration was broken before anything was changed: $said"
[ "$(sum <"$f")" = "$have" ] || exit 69
cp -p -- "$f" "$new" && cat >"$new" || no 74 "cannot write beside $f"
[ "$(sum <"$new")" = "$want" ] || { rm -f -- "$new"; no 74 "the new text did not arrive whole"; }
cp -p -- "$f" "$old" || no 74 "cannot write beside $f"
sync "$new" "$old" 2>/dev/null
had=$(cat "$change" 2>/dev/null)
undo() {
	mv -f -- "$old" "$f"
	if [ -n "$had" ]; then printf '%s\n' "$had" >"$change"; else rm -f -- "$change"; fi
}
printf '%s\n' "$what" >>"$change" && mv -f -- "$new" "$f" || { rm -f -- "$new"; undo; no 74 "cannot change $f"; }
said=$(sh -c "$check" 2>&1 9>&-) || { undo; no 65 "the configuration would be broken, and stays as it was: $said"; }
# taken reports whether every worker that took connections before ends, and others take them.
before=$(workers | sed -n 's/^current //p')
taken() {
	now=$(workers | sed -n 's/^current //p')
	[ -n "$now" ] || return 1
	for p in $before; do
		for q in $now; do [ "$p" != "$q" ] || return 1; done
	done
}
said=$(sh -c "$reload" 2>&1 9>&-) || { undo; no 70 "nginx was not reloaded, and the file is as it was: $said"; }
until taken; do
	tries=$((tries - 1))
	if [ "$tries" -le 0 ]; then
		undo
		sh -c "$reload" >/dev/null 2>&1 9>&-
		no 70 "nginx did not take the new configuration up, and the file is as it was; its error log says why"
	fi
	sleep 0.1 2>/dev/null || sleep 1
done
rm -f -- "$change" "$old"
`
