# Looks at a host, and changes nothing: what of an app is there, and why the host cannot take a release. Each answer is a
# line that the reader knows by its mark; then it sends the lists of files that are asked for. It runs in dash, busybox sh
# and bash; the values stand before it, see text.go.
LC_ALL=C
export LC_ALL
p_nl='
'
p_f() { printf '%s%s %s\n' "$p_rs" "$p_n" "$1"; }

p_self() {
	p_uid=$(id -u) p_gid=$(id -g)
	p_epoch=
	read -r p_epoch 2>/dev/null </proc/sys/kernel/random/boot_id
	if read -r p_x 2>/dev/null </proc/1/stat; then
		set -- ${p_x##*') '}
		p_epoch=$p_epoch.${20}
	fi
	for p_x in tar sha256sum readlink sed sort uniq ln mv rm mkdir rmdir sync head df; do
		command -v $p_x >/dev/null 2>&1 || p_f "lacks $p_x"
	done
	command -v gzip >/dev/null 2>&1 && p_f 'has gzip'
	case $p_user in ?*)
		p_uid=$(id -u -- "$p_user" 2>/dev/null) && p_gid=$(id -g -- "$p_user") || p_f "nobody user $p_user"
		;;
	esac
	case $p_group in ?*)
		p_gid=$(p_gidof "$p_group")
		case $p_gid in '') p_f "nobody group $p_group" ;; esac
		;;
	esac
	p_owners
	case $p_p:$(id -u) in
	:0) p_p=/var/lib/sluice ;;
	:*) p_p=/var/tmp ;;
	esac
	p_f "self $(id -u) ${p_uid:--} ${p_gid:--}"
}

# The number of a group; nothing if there is none of that name.
p_gidof() {
	p_x=$( (getent group "$1" || grep "^$1:" /etc/group) 2>/dev/null | head -n 1)
	case $p_x in *:*:*:*) p_x=${p_x#*:*:} && printf %s "${p_x%%:*}" ;; esac
}

# Who owns single files: $1 is user or group, $2 the name.
p_owner() {
	case $1 in
	user) p_x=$(id -u -- "$2" 2>/dev/null) ;;
	*) p_x=$(p_gidof "$2") ;;
	esac
	case $p_x in '') p_f "nobody $1 $2" ;; *) p_f "$1 $2 $p_x" ;; esac
}

# Free kilobytes where $2 is or will be, and of which file system.
p_free() {
	p_d=$2
	while [ ! -d "$p_d" ]; do
		p_d=${p_d%/*}
		case $p_d in '') p_d=/ ;; esac
	done
	df -Pk -- "$p_d" 2>/dev/null | {
		read -r p_x
		read -r p_a p_b p_c p_e p_g p_m && p_f "free $1 $p_e $p_m"
	}
}

p_held() {
	p_who= p_le=
	while read -r p_k p_v; do
		case $p_le in '')
			p_le=$p_k p_who=$p_v
			case $p_le in "$p_epoch") continue ;; esac
			return 1
			;;
		esac
		read -r p_x 2>/dev/null </proc/$p_k/stat || continue
		set -- ${p_x##*') '}
		case $1:${20} in
		[ZX]:*) ;;
		*:"$p_v") return 0 ;;
		esac
	done <"$1"
	return 1
}

p_lock() {
	p_i=0
	for p_l in .sluice/lock.*; do
		case ${p_l##*.} in *[!0-9]* | '') continue ;; esac
		if [ ${p_l##*.} -gt $p_i ]; then p_i=${p_l##*.}; fi
	done
	if [ $p_i -gt 0 ] && p_held .sluice/lock.$p_i; then p_f "lock $p_who"; fi
}

p_trees() {
	for p_t in .sluice/trees/*; do
		p_t=${p_t##*/}
		if [ ! -f ".sluice/trees/$p_t/about" ] || [ ! -d "versions/$p_t" ]; then continue; fi
		read -r p_a <".sluice/trees/$p_t/about"
		p_s=
		if [ -f ".sluice/trees/$p_t/seq" ]; then read -r p_s <".sluice/trees/$p_t/seq"; fi
		p_x=whole
		if [ -f ".sluice/trees/$p_t/damaged" ]; then p_x=damaged; fi
		p_g=failed
		if [ -f ".sluice/trees/$p_t/good" ]; then p_g=good; fi
		p_f "tree $p_t ${p_s:-0} $p_g $p_x $p_a"
	done
	for p_t in versions/*; do
		if [ -e "$p_t" ] && [ ! -f ".sluice/trees/${p_t##*/}/about" ]; then p_f "foreign ${p_t##*/}"; fi
	done
}

p_root() {
	if [ ! -d "$p_r" ]; then
		if [ -e "$p_r" ] || [ -L "$p_r" ]; then p_f "way $p_r is no directory"; fi
		return
	fi
	cd -P -- "$p_r" 2>/dev/null || { p_f "way $p_r cannot be entered" && return; }
	if [ ! -O . ]; then p_f "way $p_r belongs to another user"; fi
	for p_x in versions .sluice; do
		if [ -L $p_x ] || [ -e $p_x ] && [ ! -d $p_x ]; then p_f "way $p_r/$p_x is no directory"; fi
	done
	if [ -d .sluice ] && [ ! -O .sluice ]; then p_f "way $p_r/.sluice belongs to another user" && return; fi
	if [ -L live ]; then p_f "live $(readlink live)"; elif [ -e live ]; then p_f "way $p_r/live is no symbolic link"; fi
	if [ -f .sluice/owner ]; then read -r p_x <.sluice/owner && p_f "owner $p_x"; fi
	if [ -f .sluice/intent ]; then read -r p_x <.sluice/intent && p_f "intent $p_x"; fi
	p_lock
	p_trees
}

# A link of ours outside of the root: $1.
p_way() {
	if [ -L "$1" ]; then
		case $(readlink "$1") in "$p_r/live/"*) return ;; esac
		p_f "way $1 is a symbolic link, and not ours"
	elif [ -e "$1" ]; then
		p_f "way $1 is there already"
	elif [ ! -d "${1%/*}" ]; then
		p_f "way ${1%/*} is no directory"
	fi
}

p_self
p_free root "$p_r"
p_free place "$p_p"
p_root
p_ways
p_f end
while read -r p_k p_t; do
	case $p_k in
	m)
		p_f "list $p_t"
		cat ".sluice/trees/$p_t/manifest" 2>/dev/null
		p_f .
		;;
	*) exit 0 ;;
	esac
done
exit 0
