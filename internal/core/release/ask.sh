# Says where live of an app leads, in the words of look.sh, and changes nothing. Whoever runs it need not be who deploys: what
# such a user may not see is said to be unseen, and is not taken for missing. It runs in dash, busybox sh and bash; the roots are its arguments.
LC_ALL=C
export LC_ALL
a_say() { printf '%s %s\n' "$1" "$2"; }
a_live() {
	a_d=$1
	while [ ! -d "$a_d" ]; do
		if [ -e "$a_d" ] || [ -L "$a_d" ]; then a_say way "$a_d is no directory" && return; fi
		a_d=${a_d%/*}
		case $a_d in '') a_d=/ ;; esac
	done
	if [ ! -x "$a_d" ]; then a_say unseen "$a_d" && return; fi
	case $a_d in "$1") ;; *) return ;; esac
	cd -P -- "$1" 2>/dev/null || { a_say unseen "$1" && return; }
	if [ ! -L live ]; then
		if [ -e live ]; then a_say way "$1/live is no symbolic link"; fi
		return
	fi
	a_l=$(readlink live) || { a_say unseen "$1/live" && return; }
	a_say live "$a_l"
	if [ -d .sluice ] && [ ! -x .sluice ]; then a_say unseen "$1/.sluice" && return; fi
	a_t=${a_l#versions/}
	case $a_t in "$a_l" | '' | */*) return ;; esac
	a_x=.sluice/trees/$a_t/about
	if [ ! -d "versions/$a_t" ] || [ ! -f "$a_x" ]; then return; fi
	read -r a_a 2>/dev/null <"$a_x" || { a_say unseen "$1/$a_x" && return; }
	a_w=whole
	if [ -f ".sluice/trees/$a_t/damaged" ]; then a_w=damaged; fi
	a_say tree "$a_t 0 good $a_w $a_a"
}
for a_r; do
	a_say root "$a_r"
	a_live "$a_r"
	echo end
done
