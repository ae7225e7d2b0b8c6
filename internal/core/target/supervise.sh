# What runs on a target. Lines that begin with '#' and leading tabs are cut before it is sent, so a literal
# may contain neither. It must run in dash, busybox sh, bash, ksh93 and mksh, and fork as little as it can.
#
# It stands inside one pair of braces: a shell runs nothing of it before it has read all of it. The line with
# the opening brace comes from the renderer, with every value that it needs; see script.go. Then s_env sets
# the variables of the steps, and s_main runs the command.
#
# Descriptors: 3 out, 4 err, 5 steps (of who follows); 7 ctl, 8 live for reading, 9 live held open.
case $s_id in ?*) ;; *) exit 97 ;; esac
case $KSH_VERSION in
'') s_w() { printf %s "$1"; } && s_ign= ;;
*MIRBSD*)
	s_w() { print -rn -- "$1"; } && s_ign=
	# mksh keeps what it saved as descriptor 10 when exec closes one: let that be nothing that matters.
	exec 6<&0
	exec 6<&-
	;;
*) s_w() { printf %s "$1"; } && s_ign=: ;;
esac
s_nl='
'
s_frame() { s_w "$s_rs$s_n $1$s_nl"; }

# Nothing was started, and nothing is left.
s_fail() {
	if [ -d "$s_cg" ]; then rmdir "$s_cg"; fi
	s_frame "fail ${1%%$s_nl*}"
	exit 0
}

# Who are we, what is the umask, and which life of the host is this.
s_who() {
	s_uid= s_um=
	while read -r s_k s_a s_v s_x; do
		case $s_k in
		Umask:) s_um=$s_a ;;
		Uid:) s_uid=$s_v && break ;;
		esac
	done 2>/dev/null </proc/self/status
	case $s_uid in '') s_uid=$(id -u) ;; esac
	case $s_um in '') s_um=$(umask) ;; esac
	umask 077
	case $s_p in '')
		case $s_uid in
		0) s_p=/var/lib/sluice ;;
		*) s_p=/var/tmp/sluice-$s_uid ;;
		esac
		;;
	esac
	s_epoch=
	read -r s_epoch 2>/dev/null </proc/sys/kernel/random/boot_id
	if read -r s_k 2>/dev/null </proc/1/stat; then
		set -- ${s_k##*') '}
		s_epoch=$s_epoch.${20}
	fi
}

# The control group of the attempt: where we may make one, nothing escapes a kill. Its name is ours alone, so
# that making it never fails because another launcher was faster.
s_group() {
	s_cg=
	case $s_uid in 0) ;; *) return ;; esac
	for s_k in /sys/fs/cgroup /sys/fs/cgroup/unified /sys/fs/cgroup/freezer; do
		if [ -w $s_k/cgroup.procs ] && [ -w $s_k ]; then
			s_cg=$s_k/sluice-$s_id.$$
			return
		fi
	done
}

s_owned() {
	cd -P -- "$s_p" 2>/dev/null || return 1
	[ -O . ] || s_fail "place $s_p belongs to another user"
	case $1 in new) return ;; esac
	s_e=$(ls -ld . 2>&1)
	case $s_e in
	drwx------*) ;;
	*) s_fail "place $s_p must be a directory of mode 0700, it is ${s_e%% *}" ;;
	esac
}

# Makes the attempt's directory and what else is missing, by one call; s_new is set if the directory is made by
# us. Where only something else failed, mkdir's own words say so: they name what it could not make.
s_make() {
	s_e=$(mkdir "$@" 2>&1) && s_new=1 && return
	case $s_e in
	*"/$s_id"*) ;;
	*"$s_p"* | *"/sluice-$s_id."*) if [ -d "$s_p/$s_id" ]; then s_new=1; fi ;;
	esac
}

# Goes into the attempt's directory.
s_enter() {
	s_i=0
	while :; do
		# A shell that believes to be somewhere does not go there again, though it may have been made anew.
		cd /
		s_new= s_mk=$s_cg
		if [ -d "$s_cg" ]; then s_mk=; fi
		if [ -L "$s_p" ]; then s_fail "place $s_p is a symbolic link"; fi
		if [ -d "$s_p" ]; then
			s_owned old || continue
			s_make "./$s_id" $s_mk
		else
			s_make "$s_p" "$s_p/$s_id" $s_mk
			s_owned new
		fi
		if [ -L "$s_id" ]; then s_fail "place $s_p/$s_id is a symbolic link"; fi
		if [ -d "$s_p/$s_id" ] && cd -P -- "$s_p/$s_id" 2>/dev/null; then
			s_here=$s_p/$s_id
			return
		fi
		s_i=$((s_i + 1))
		if [ $s_i -gt 9 ]; then s_fail "place $s_e"; fi
	done
}

# Takes the gate: exactly one process ever does. What it says is whole or empty; empty is never a start. The
# words: "started", with the host's life; "revoked", it never starts; "reset", who took it removes all of it.
s_take() {
	set -C
	{ echo "$1" >gate; } 2>/dev/null
	s_k=$?
	set +C
	return $s_k
}

# Removes the attempt, and when it was the last one there the place and the control groups in which nothing
# runs any more.
s_remove() {
	cd -P -- "$s_p" || return
	rm -rf -- "$s_id"
	set -- *
	case $1 in
	'*') s_k=${s_cg%/*}/sluice- && set -- "$s_p" ;;
	*) s_k=${s_cg%.*}. && set -- ;;
	esac
	case $s_cg in ?*)
		for s_k in "$s_k"*; do
			if [ -d "$s_k" ]; then set -- "$s_k" "$@"; fi
		done
		;;
	esac
	case $# in 0) ;; *) rmdir "$@" 2>/dev/null ;; esac
	return 0
}

# The last word: the client has the outcome in its log, and the record may go.
s_ack() {
	while read -r s_k s_a; do
		case $s_k in ack) s_remove && exit 0 ;; esac
	done
	exit 0
}

# An attempt that is there already: returns when it was started, or with 1 to begin anew because it was removed.
# Only a gate that is taken is a proof; without one, and without the means to take it, nothing is said.
s_join() {
	s_i=0
	while :; do
		s_g= s_ge=
		if [ -f gate ]; then read -r s_g s_ge <gate; fi
		case $s_g in
		started) return ;;
		revoked) s_frame revoked && s_ack ;;
		esac
		if [ ! . -ef "$s_here" ]; then return 1; fi
		s_i=$((s_i + 1))
		if [ $s_i -gt 25 ]; then
			case $s_mode in run) s_k=reset ;; *) s_k=revoked ;; esac
			if s_take $s_k; then
				case $s_mode in run) s_remove && return 1 ;; esac
				continue
			elif [ $s_i -gt 50 ]; then
				if [ ! -f gate ]; then exit 1; fi
				if [ -p live ]; then
					exec 9<>live 8<live
					exec 9>&-
					# Until nobody is there who could still write into it.
					read -r s_k <&8
					exec 8<&-
				fi
				read -r s_g s_ge <gate
				case $s_g in started) return ;; esac
				s_frame revoked
				s_ack
			fi
		fi
		sleep 0.2 2>/dev/null || sleep 1
	done
}

# Makes everything ready; whoever finds the gate taken must find us alive, so live is open before that. Then
# s_go waits until the client, alive at the other end, says go.
s_prepare() {
	s_pad=................................................................
	mkfifo live ctl o e $s_in 2>/dev/null &&
		s_w "$s_pad$s_pad$s_pad$s_pad$s_nl" >result && s_w '' >out && s_w '' >err && s_w '' >steps &&
		exec 7<>ctl 9<>live 8<live && return
	s_e=$(mkfifo why 2>&1 && cat /proc/self/status 2>&1 >why2)
	s_take revoked
	s_frame "fail prepare ${s_e%%$s_nl*}"
	s_ack
}

s_go() {
	s_frame new
	s_k=
	read -r s_k
	case $s_k in
	go)
		if s_take "started $s_epoch"; then
			sync gate . .. 2>/dev/null || sync
			return
		fi
		;;
	*)
		if s_take reset; then
			s_remove
			s_frame revoked
			exit 0
		fi
		;;
	esac
	# There was no room for the word, or somebody came before. What they made of it is not ours to say.
	if [ -f gate ] && [ ! -s gate ]; then sleep 1; fi
	if [ . -ef "$s_here" ] && [ ! -s gate ]; then
		s_frame 'fail prepare the disk is full'
		s_ack
	fi
	s_frame gone
	exit 0
}

# One step, a program, or a function where s_do is empty: its exit status, when it began and ended, and its name are a line of the file steps.
s_step() {
	s_name=$1
	shift
	if [ -f killed ]; then return 1; fi
	read -r s_b s_x </proc/uptime
	(
		exec 7>&-
		case $s_pty in '') trap - HUP ;; esac
		trap - TERM INT PIPE
		case $s_in in ?*) exec 0<>in ;; esac
		umask $s_um
		s_env "${s_name%%/*}"
		cd -- "${HOME:-/}" >/dev/null 2>&1 || cd /
		$s_do "$@"
	)
	s_c=$?
	read -r s_t s_x </proc/uptime
	s_i=$((s_i + 1))
	echo "$s_i $s_name $s_c $s_b $s_t" >>steps
	return $s_c
}

s_hooks() {
	case $2 in '') return 0 ;; esac
	if [ -d "$2" ] && { [ ! -r "$2" ] || [ ! -x "$2" ]; }; then
		s_w "sluice: the hooks in $2 cannot be read$s_nl" >&2
		s_step "$1" false
		return
	fi
	s_k=${LC_ALL-} s_x=${LC_ALL+x} s_l= s_ph=$1 s_hd=$2
	LC_ALL=C
	for s_h in "$2"/*; do
		case ${s_h##*/} in *[!A-Za-z0-9_.-]*) continue ;; esac
		if [ -f "$s_h" ] && [ -x "$s_h" ]; then s_l="$s_l ${s_h##*/}"; fi
	done
	case $s_x in x) LC_ALL=$s_k ;; *) unset LC_ALL ;; esac
	for s_h in $s_l; do
		s_step "$s_ph/$s_h" $s_via "$s_hd/$s_h" || return
	done
}

# The runner: all steps, in the control group. It leaves rc, the record of last resort.
s_run() {
	case $s_cg in ?*) echo 0 >$s_cg/cgroup.procs ;; esac 2>/dev/null
	s_i=0
	read -r s_b0 s_x </proc/uptime
	s_hooks pre "$s_pre" && s_main && s_hooks post "$s_post"
	s_c=$?
	read -r s_t s_x </proc/uptime
	echo "c=$s_c b=$s_b0 t=$s_t ." >rc
	echo "r c=$s_c b=$s_b0 t=$s_t" >&7
}

# A pump: bounded into the file, the rest is read and dropped, so that the command never waits for us.
s_pump() {
	trap '' XFSZ
	ulimit -c 0
	ulimit -f $s_limit
	cat >$2 7>&- || { echo "x $1" >&7 && cat >/dev/null 7>&-; }
	echo "d $1" >&7
}

# Says $2 to the supervisor after each of the times in $1, in a subshell. It survives a command that signals its
# whole group; USR1 ends it with its sleep.
s_alarm() {
	exec 9>&-
	s_x=$!
	trap '' TERM INT
	trap 'case $! in "$s_x") ;; *) kill -9 $! ;; esac; exit 0' USR1
	for s_k in $1; do
		sleep $s_k 7>&- &
		wait $!
		echo "$2" >&7
	done
}

# The supervisor. It holds live open, and none of its children does: end of file there means it is gone. Where
# descriptors are closed for a child, that is done by exec: shells keep copies of those that they redirect for
# a function or a block.
s_super() {
	case $s_tty in '')
		(exec 9>&- <o && s_pump o out) &
		(exec 9>&- <e && s_pump e err) &
		;;
	esac
	s_tp=
	case $s_timeout in ?*)
		(s_alarm "$s_timeout" 'k timeout') &
		s_tp=$!
		;;
	esac
	s_rp= s_ends=oe
	case $s_tty in '')
		s_ends=
		(exec 9>&- >o 2>e && s_run) &
		s_rp=$!
		;;
	esac
	s_wait || exit 0
	s_w "$s_r${s_kill:+ k=$s_kill}${s_cut:+ x=$s_cut}${s_held:+ h=1}${s_left:+ l=$s_left} .$s_nl" 1<>result
	case $s_tp in ?*) kill -USR1 $s_tp ;; esac
	exec 9>&-
	if [ -f orphan ]; then sync result . || sync; fi
}

# Whether the runner is there. One that was killed leaves no record, and says nothing.
s_alive() {
	case $s_rp in '') return ;; esac
	read -r s_x </proc/$s_rp/stat || return
	case ${s_x##*') '} in [ZX]*) return 1 ;; esac
}

s_wait() {
	s_r= s_kill= s_cut= s_held= s_left= s_at=
	while :; do
		s_k= s_a=
		read -r s_k s_a <&7
		case $s_k in
		r) s_r=$s_a && read -r s_at s_x </proc/uptime ;;
		R) s_rp=$s_a ;;
		d) s_ends=$s_ends$s_a ;;
		x) s_cut=$s_cut$s_a ;;
		k)
			case $s_r$s_kill in '')
				s_kill=$s_a
				case $s_a in timeout) s_tp= ;; esac
				s_w '' >killed
				s_slay
				read -r s_at s_x </proc/uptime
				(s_alarm '1 2 8' g) &
				s_tp="$s_tp $!"
				;;
			esac
			;;
		g)
			case $s_at in ?*)
				read -r s_t s_x </proc/uptime
				s_d=$((${s_t%.*} - ${s_at%.*}))
				if [ $s_d -ge 2 ]; then
					s_set=
					s_holders
					# Either somebody holds it, or our pumps are slow; nobody is seen where he is not ours to see.
					if [ -n "$s_set" ] || [ $s_d -ge 10 ]; then
						s_held=1
						return
					fi
				fi
				;;
			*)
				# Its last words may still come, but not behind z.
				s_alive || echo z >&7
				;;
			esac
			;;
		z) case $s_r$s_kill in '') return 1 ;; esac ;;
		esac
		case $s_ends in ??) case $s_r$s_kill in ?*) return ;; esac ;; esac
	done
}

# Adds to s_set who can still write into the output.
s_holders() {
	s_k=
	s_ls=$(ls -ln /proc/[0-9]*/fd 2>/dev/null | grep -F -e '/fd:' -e "> $s_here/o" -e "> $s_here/e")
	s_ifs=$IFS
	IFS=$s_nl
	for s_l in $s_ls; do
		case $s_l in
		/proc/*/fd:) s_k=${s_l#/proc/} && s_k=${s_k%%/*} ;;
		l?w*'-> '*)
			s_x=${s_l%%' -> '*}
			s_x=/proc/$s_k/fd/${s_x##* }
			if [ "$s_x" -ef o ] || [ "$s_x" -ef e ]; then s_set="$s_set$s_k "; fi
			;;
		esac
	done
	IFS=$s_ifs
}

# Finds what belongs to the attempt, into s_pids: its control group, what the runner and they started, what
# bears the mark, what holds the output, what is in our session; but for ourselves. Only the kernel's own
# words are believed: names of processes and files are somebody else's.
s_scan() {
	s_all=$(grep -E '^(State|PPid|NSsid):' /proc/[0-9]*/status 2>/dev/null)
	s_set=" $s_rp$s_pids "
	case $s_cg in ?*)
		for s_x in "${s_cg%.*}".*/cgroup.procs; do
			while read -r s_k; do s_set="$s_set$s_k "; done <"$s_x"
		done
		;;
	esac 2>/dev/null
	for s_k in $(grep -lF "SLUICE_MARK=$s_id." /proc/[0-9]*/environ 2>/dev/null); do
		s_k=${s_k#/proc/}
		s_set="$s_set${s_k%%/*} "
	done
	s_holders
	read -r s_me s_x </proc/self/stat
	s_own=" $$ $PPID $s_me " s_live=' '
	s_close s_ours
	s_close s_theirs
	s_pids=
	for s_k in $s_live; do
		case $s_own in *" $s_k "*) ;; *) s_pids="$s_pids $s_k" ;; esac
	done
}

# Goes over the table, with s_q a process, s_pp its parent, s_sid its session, until $1 finds no more.
s_close() {
	s_more=1
	while [ -n "$s_more" ]; do
		s_more= s_q= s_y=
		for s_k in $s_all; do
			case $s_k in
			/proc/*/status:State:) s_q=${s_k#/proc/} && s_q=${s_q%%/*} && s_y=state ;;
			/proc/*/status:PPid:) s_y=ppid ;;
			/proc/*/status:NSsid:) s_y=sid ;;
			*)
				case $s_y in
				state) s_st=$s_k ;;
				ppid) s_pp=$s_k ;;
				sid)
					s_sid=$s_k
					case $s_st$s_live$s_own in [ZX]* | *" $s_q "*) ;; *) $1 ;; esac
					;;
				esac
				s_y=
				;;
			esac
		done
	done
}

# Ours is what the launcher and the supervisor started, but for the runner.
s_ours() {
	case $s_q in "$s_rp") return ;; esac
	case $s_pp in $PPID) return ;; esac
	case $s_own in *" $s_pp "*) s_own="$s_own$s_q " s_more=1 ;; esac
}

s_theirs() {
	case $s_set in *" $s_q "*) s_live="$s_live$s_q " s_more=1 && return ;; esac
	case $s_live in *" $s_pp "*) s_live="$s_live$s_q " s_more=1 && return ;; esac
	case $s_rp:$s_sid in ?*:$$ | ?*:"$s_par") s_live="$s_live$s_q " s_more=1 ;; esac
}

s_slay() {
	s_pids=
	s_scan
	case $s_pids in ?*) kill -TERM $s_pids ;; esac
	s_i=0
	while [ $s_i -lt 20 ]; do
		case $s_pids in '') break ;; esac
		sleep 0.1 7>&- 9>&- || sleep 1 7>&- 9>&-
		s_scan
		s_i=$((s_i + 1))
	done
	s_i=0 s_z=0
	while [ $s_i -lt 40 ]; do
		case $s_pids in
		'') s_z=$((s_z + 1)) ;;
		*)
			s_z=0
			if [ -f "$s_cg/cgroup.kill" ]; then
				echo 1 >$s_cg/cgroup.kill
			elif [ -f "$s_cg/freezer.state" ]; then
				echo FROZEN >$s_cg/freezer.state
				s_scan
			fi
			kill -KILL $s_pids
			if [ -f "$s_cg/freezer.state" ]; then echo THAWED >$s_cg/freezer.state; fi
			sleep 0.1 7>&- 9>&- || sleep 1 7>&- 9>&-
			;;
		esac
		s_scan
		case $s_z in 2) break ;; esac
		s_i=$((s_i + 1))
	done
	s_left=
	for s_k in $s_pids; do s_left=$s_left${s_left:+,}$s_k; done
}

# Sends what is new. A piece stands between two frames with its offsets, so that foreign bytes show.
s_stream() {
	while read -r s_k <&5; do s_frame "s $s_k"; done
	s_a= s_b=
	if [ -s out ] && { [ $1 = all ] || [ ! m$$ -nt out ]; }; then s_a=1; fi
	if [ -s err ] && { [ $1 = all ] || [ ! m$$ -nt err ]; }; then s_b=1; fi
	case $1 in new) s_w '' >m$$ ;; esac
	case $s_a in 1) s_piece 3 o ;; esac
	case $s_b in 1) s_piece 4 e ;; esac
}

s_piece() {
	read -r s_x s_k </proc/self/fdinfo/$1
	while :; do
		s_frame "$2 $s_k"
		dd bs=65536 count=4 <&$1 2>/dev/null
		s_l=$s_k
		read -r s_x s_k </proc/self/fdinfo/$1
		s_frame ". $s_k"
		if [ $((s_k - s_l)) -lt 262144 ]; then return; fi
	done
}

s_seek() {
	case $2 in 0) return ;; esac
	dd bs=1 skip=$(($2 % 65536)) count=0 <&$1 2>/dev/null
	case $(($2 / 65536)) in 0) ;; *) dd bs=65536 skip=$(($2 / 65536)) count=0 <&$1 2>/dev/null ;; esac
}

# Follows an attempt to its end.
s_follow() {
	exec 3<out 4<err 5<steps
	s_seek 3 $s_oo
	s_seek 4 $s_oe
	s_stream new
	while read -r s_k <&8; do s_stream new; done
	s_stream all
	for s_k in result rc; do
		s_l=
		if [ -f $s_k ]; then read -r s_l <$s_k; fi
		case $s_l in *' .') s_frame "end $s_l" && return ;; esac
	done
	case $s_ge in
	"$s_epoch")
		s_rp= s_pids=
		s_scan
		s_frame "lost$s_pids"
		;;
	*) s_frame boot ;;
	esac
}

# Runs the steps in the foreground, on the terminal.
s_terminal() {
	exec 2>&1
	s_frame tty
	stty sane
	(
		exec 8<&-
		read -r s_k s_x </proc/self/stat
		echo "R $s_k" >&7
		s_run
	)
	stty raw -echo
}

# What the client says, line by line, until it is gone.
s_listen() {
	while IFS= read -r s_l || { [ $? -gt 128 ] && [ -n "$s_ign" ]; }; do
		case $s_l in
		t)
			echo >live
			echo g >&7
			;;
		'k '*) echo "$s_l" >&7 ;;
		'p '*) s_w "${s_l#p }$s_nl" 1<>in ;;
		ack)
			s_remove
			exit 0
			;;
		esac
		s_l=
	done
	case $s_fp in ?*) kill -9 $s_fp ;; esac
	s_w '' >orphan
	s_l=
	read -r s_l <result
	case $s_l in *' .') sync result . || sync ;; esac
	exit 0
}

s_put() {
	case $s_uid in '') exit 1 ;; esac
	cd -P -- "$s_p" && [ -O . ] && [ ! -L "$s_id" ] && cd -P -- "$s_id" && [ ! -e gate ] || s_fail 'put no attempt waits for it'
	s_frame ready
	exec 6>blob
	s_e=$(cat 2>&1 >&6) || s_fail "put ${s_e%%$s_nl*}"
	s_k=0 s_l=
	read -r s_x s_k </proc/self/fdinfo/6
	exec 6>&-
	# For much, openssl has instructions that coreutils do not use: a quarter of the time. It is slow to start.
	if [ $s_k -ge 8388608 ]; then
		s_l=$(openssl dgst -sha256 -r <blob 2>/dev/null)
		s_l=${s_l%%[!0-9a-f]*}
	fi
	case ${#s_l} in 64) ;; *) s_l=$(sha256sum <blob 2>/dev/null || cksum <blob 2>&1) ;; esac
	s_frame "sum ${s_l%%$s_nl*}"
	exit 0
}

s_fp= s_cg=
s_who
case $s_mode in put) s_put ;; esac
s_group
trap "$s_ign" HUP TERM INT PIPE
while :; do
	s_enter
	s_g=started s_ge=$s_epoch
	case $s_new$s_mode in
	1run)
		s_prepare
		s_go
		(exec </dev/null >/dev/null 2>&1 8<&- && s_super) &
		exec 9>&-
		break
		;;
	1*)
		s_take revoked || continue
		s_frame revoked
		s_ack
		;;
	*)
		if [ -d "$s_cg" ]; then rmdir "$s_cg"; fi
		s_join || continue
		s_frame old
		exec 7<>ctl 9<>live 8<live 9>&-
		break
		;;
	esac
done
case $s_tty$s_new in
11) s_terminal && s_follow ;;
*)
	s_follow &
	s_fp=$!
	;;
esac
s_listen
exit 0
}
