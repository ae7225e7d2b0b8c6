# The steps of a deploy or rollback on a host. The supervisor runs d_main in the place of a command: each step is a
# process of its own, with a line in its file steps. The values stand before this, from the renderer; see text.go. Lines that
# begin with '#' and leading tabs are cut before it is sent. It must run in dash, busybox sh and bash.
#
# A line '#@ NAME' stands between every two things that change something: tests put a kill there.
#
# What is where below the root: versions/TREE, live -> versions/TREE, and .sluice (0700) with owner, lock.N, intent,
# and for each tree that we have put there a record trees/TREE: about, manifest, links, seq (it was live, the higher the
# later), good (a deploy of it succeeded), damaged (it is not what its manifest says). A record is there before its tree and goes after it, so that a
# directory without one is never ours. once/VERSION~MANIFEST/HOOK, and after/..., says that a hook which runs once has begun, or is done; it stays.

# A line among the steps that is none: what a step says to who follows, who hears it at once. Where nobody reads, opening
# for reading and writing does not wait.
d_note() { s_w "= $1$s_nl" >>"$s_here/steps" && s_w "$s_nl" 1<>"$s_here/live"; }

# Says why the step fails, to people and to who follows.
d_no() {
	s_w "sluice: $1$s_nl" >&2
	d_note "why $1"
	return 1
}

# Each step begins here: in the root, under the lock, and known to it, for a step may outlive who started it.
d_in() {
	cd -P -- "$d_root" || return
	d_last
	d_k= d_v=
	if [ $d_n -gt 0 ]; then read -r d_k d_v <.sluice/lock.$d_n; fi
	case $d_k:$d_v in
	"$s_epoch:$d_me") ;;
	*) d_no "the lock of $d_root is lost, to: $d_v" || return ;;
	esac
	d_self
	s_w "$d_pid$s_nl" >>.sluice/lock.$d_n
}

# The process itself, and when it began: together they name it in this life of the host.
d_self() {
	read -r d_x </proc/self/stat
	set -- "${d_x%% *}" ${d_x##*') '}
	d_pid="$1 ${21}"
}

# Makes what was done last so far. Where the file system cannot be named, all of them are.
d_sync() { sync -f . 2>/dev/null || sync; }

# Whether somebody holds the lock $1, who is then in d_who. Its first line is the life of the host and who; the others
# are processes. One that ended holds nothing.
d_held() {
	d_who= d_le=
	while read -r d_k d_v; do
		case $d_le in '')
			d_le=$d_k d_who=$d_v
			case $d_le in "$s_epoch") continue ;; esac
			return 1
			;;
		esac
		read -r d_x 2>/dev/null </proc/$d_k/stat || continue
		set -- ${d_x##*') '}
		case $1:${20} in
		[ZX]:*) ;;
		*:"$d_v") return 0 ;;
		esac
	done <"$1"
	return 1
}

# The highest lock, in d_n; 0 without one.
d_last() {
	d_n=0
	for d_l in .sluice/lock.*; do
		case ${d_l##*.} in *[!0-9]* | '') continue ;; esac
		if [ ${d_l##*.} -gt $d_n ]; then d_n=${d_l##*.}; fi
	done
}

# Takes the lock. It has a number: whoever finds the last one free makes the next, by a link, which only one can; and
# whoever made one that is not the last any more has come too late.
d_lock() {
	d_last
	if [ $d_n -gt 0 ] && d_held .sluice/lock.$d_n; then
		d_no "another attempt is at work in $d_root: $d_who"
		return
	fi
	d_gen=$((d_n + 1))
	d_self
	s_w "$s_epoch $d_me$s_nl$d_run$s_nl$d_pid$s_nl" >.sluice/own-$s_id || return
	if ln .sluice/own-$s_id .sluice/lock.$d_gen 2>/dev/null; then
		rm -f .sluice/own-*
		d_last
		case $d_n in
		$d_gen)
			for d_l in .sluice/lock.*; do
				case ${d_l##*.} in $d_gen) ;; *) rm -f "$d_l" ;; esac
			done
			return 0
			;;
		esac
		rm -f .sluice/lock.$d_gen
	fi
	rm -f .sluice/own-$s_id
	d_no "another attempt has begun to work in $d_root at the same moment"
}

# Makes the root ours, takes the lock, and removes what an attempt left that was interrupted.
d_begin() {
	umask 022
	if [ ! -d "$d_root/versions" ]; then mkdir -p -- "$d_root/versions" || return; fi
	cd -P -- "$d_root" || return
#@ root
	if [ ! -d .sluice/trees ]; then
		mkdir -p -m 700 .sluice || return
#@ place
		mkdir -p .sluice/trees || return
	fi
	[ -O .sluice ] || { d_no "$d_root/.sluice belongs to another user" || return; }
#@ trees
	d_lock || return
#@ lock
	d_x=
	if [ -f .sluice/owner ]; then read -r d_x <.sluice/owner; fi
	case $d_x in
	"$d_owner") ;;
	'')
		s_w "$d_owner$s_nl" >.sluice/owner.new && mv -f .sluice/owner.new .sluice/owner || return
		;;
	*) d_no "$d_root belongs to $d_x" || return ;;
	esac
#@ owner
	d_live
	case $d_now in
	"$d_was") ;;
	*) d_no "live leads to '$d_now', it led to '$d_was' a moment ago; is somebody else at work there?" || return ;;
	esac
	for d_x in versions/.new-* versions/.old-* .sluice/swing .sluice/sums* .sluice/*.new; do
		if [ -e "$d_x" ]; then rm -rf "$d_x" || return; fi
#@ leftover
	done
	for d_x in .sluice/trees/*; do
		if [ -d "$d_x" ] && [ ! -d "versions/${d_x##*/}" ]; then rm -rf "$d_x" || return; fi
	done
}

d_live() {
	d_now=
	if [ -L live ]; then d_now=$(readlink live); fi
}

d_islive() (
	cd -P -- "$d_root" && d_live && [ "$d_now" = versions/$d_tree ]
)

# Whether the tree $1 is what the manifest $2 says: all files by their digest, all links by where they lead. 1 is no, 2 is
# that it cannot be found out. Both paths are absolute. A name may be '-', hence ./ before each.
d_whole() (
	export LC_ALL=C
	cd -- "$1" || exit 2
	d_s=$d_root/.sluice/sums
	d_files "$2" >"$d_s" && sed -n 's/^l //p' "$2" >"$d_s.l" || exit 2
	d_sums "$d_s" && d_ends "$d_s.l" || exit 1
)

# The files of a manifest, as sha256sum reads them. What a pattern has in \(\) costs sed ten times as much.
d_files() { sed -n '/^f /{
s/^f [0-7]* [0-9]* //
s/ /  .\//
p
}' "$1"; }

# Of files, with the list of their digests in $1. The program fails on an empty one.
d_sums() {
	if [ ! -s "$1" ]; then return 0; fi
	d_quick "$1" && return
	d_x=$({ sha256sum -c "$1" 2>/dev/null || echo '*'; } | sed '/: OK$/d')
	case $d_x in '') return 0 ;; esac
	s_w "these are not what they should be, or are not there:$s_nl$d_x$s_nl" | head -n 12 >&2
	return 1
}

# openssl computes five times as fast, where it is there, but takes longer to begin. It is believed where every file is as it should be;
# else sha256sum says which is not.
d_quick() {
	case $d_much in '') return 1 ;; esac
	command -v openssl >/dev/null 2>&1 && sed 's/  / */' "$1" >"$1.x" || return
	{ sed 's/^[^ ]*  //' "$1" | tr '\n' '\0' | xargs -0 openssl dgst -sha256 -r | cmp -s - "$1.x"; } 2>/dev/null
}

d_ends() {
	while IFS=$d_tab read -r d_p d_t; do
		case $(readlink "./$d_p") in
		"$d_t") ;;
		*)
			s_w "this link does not lead where it should: $d_p$s_nl" >&2
			return 1
			;;
		esac
	done <"$1"
}

d_kept() { d_whole "$d_root/versions/$1" "$d_root/.sluice/trees/$1/manifest"; }

# Looks at a tree, and marks it if it is not whole: it is linked from no more, and a deploy of the same version makes it
# anew.
d_judge() {
	d_kept "$1"
	d_c=$?
	case $d_c in 1) d_damaged "$1" ;; esac
	return $d_c
}

d_damaged() { s_w '' >".sluice/trees/$1/damaged"; }

# The version that is there already, or was kept to go back to.
d_verify() {
	d_begin || return
	d_judge $d_tree && return
	d_no "versions/$d_tree was changed since it was put there: deploy it again, and it is made anew"
}

d_unpack() {
	d_begin || return
	case $d_reuse in
	1)
		d_judge $d_tree || {
			d_no "versions/$d_tree was changed since it was put there: try again, and it is made anew"
			return
		}
		;;
	*)
		d_fresh || {
			rm -rf versions/.new-$s_id
			return 1
		}
		;;
	esac
	d_wayback
}

# Whether there is a way back to what is live. Who may need it by itself does not begin without it.
d_wayback() {
	case $d_from in '' | "$d_tree") return 0 ;; esac
	d_before && return
	case $? in
	1) d_x="versions/$d_from, which is live, was changed since it was put there: there is no way back to it" d_y='; deploy that version again first, which makes it anew' ;;
	*) d_x="whether versions/$d_from, which is live, is whole cannot be found out (is the disk full?), nor whether there is a way back to it" d_y= ;;
	esac
	case $d_back in
	1) d_no "$d_x, and on_failure: rollback needs one$d_y" ;;
	*) s_w "sluice: $d_x$s_nl" >&2 ;;
	esac
}

# Whether the version before is whole; 2 is that it cannot be found out. What the new one shares with it was looked at with the new one.
d_before() {
	if [ -f ".sluice/trees/$d_from/damaged" ]; then return 1; fi
	case " $d_sources " in
	*" $d_from "*) ;;
	*)
		d_judge "$d_from"
		return
		;;
	esac
	d_s=.sluice/sums
	d_x=.sluice/trees/$d_tree/manifest
	LC_ALL=C sort $d_x $d_x .sluice/trees/$d_from/manifest >$d_s.a && LC_ALL=C uniq -u $d_s.a >$d_s.b && d_files $d_s.b >$d_s || return 2
	(export LC_ALL=C && cd versions/$d_from && d_sums ../../$d_s) && return
	d_damaged "$d_from"
	return 1
}

# Unpacks beside the versions, and looks at every byte before anything gets its name.
d_fresh() {
	d_new=versions/.new-$s_id
#@ unpack
	if ! tar -xmp$d_o${d_z}f "$s_here/blob" -C versions; then
		rm -rf $d_new "$s_here/blob" # a full disk takes no last words
		d_no 'what was sent cannot be unpacked; is the disk full?'
		return
	fi
#@ unpacked
	rm -f "$s_here/blob"
	d_x=$(sha256sum <$d_new/record/manifest) || return
	case $d_x in "$d_sum "*) ;; *) d_no 'the list of files arrived damaged' || return ;; esac
	if ! d_whole "$d_root/$d_new/tree" "$d_root/$d_new/record/manifest"; then
		for d_t in $d_sources; do d_judge $d_t 2>/dev/null; done
		d_no 'the version is not what its list of files says; what it was linked from is checked, and the next try does without what is damaged'
		return
	fi
#@ whole
	d_sync || return
#@ synced
	if [ -e versions/$d_tree ]; then
		mv -f versions/$d_tree versions/.old-$s_id || return
#@ aside
	fi
	if [ -e .sluice/trees/$d_tree ]; then rm -rf .sluice/trees/$d_tree || return; fi
#@ forgotten
	mv -f $d_new/record .sluice/trees/$d_tree && d_sync || return
#@ record
	mv -f $d_new/tree versions/$d_tree && d_sync || return
#@ named
	rmdir $d_new
	if [ -e versions/.old-$s_id ]; then rm -rf versions/.old-$s_id; fi
}

# Hooks of the version, in it, with nothing to read.
d_hooks() {
	d_ran=
	case $d_nohooks in 1) return 0 ;; esac
	s_via=${2:-d_hook}
	s_hooks $1 "$d_root/versions/$d_tree/deploy/hooks/$1.d"
	d_c=$?
	s_via=
	case $s_l in ?*) d_ran=1 ;; esac
	return $d_c
}

d_hook() {
	d_in || return
	cd -- "versions/$d_tree" && exec "$@" </dev/null
}

# A hook that runs once: its beginning and its end are on record. One that began and did not end is for a person to judge.
d_onced() {
	d_in || return
	d_f=.sluice/$SLUICE_PHASE/$d_rel/${1##*/} d_x=
	if [ -e "$d_f" ]; then
		read -r d_x <"$d_f"
		case $d_x in
		done*)
			s_w "sluice: ${1##*/} has run for this release already: $d_x$s_nl"
			return 0
			;;
		esac
		d_no "${1##*/} runs once, and how it ended is not known: $d_x. Look what it did; then, on this host, rm '$d_root/$d_f' has it run again, and echo done >'$d_root/$d_f' does not"
		return
	fi
	mkdir -p "${d_f%/*}" || return
#@ onceplace
	d_mark begun || return
#@ oncebegun
	(cd -- "versions/$d_tree" && exec "$@" </dev/null)
	d_c=$?
#@ onceran
	case $d_c in
	0) d_mark 'done' ;;
	*) rm -f "$d_f" && d_sync && return $d_c ;;
	esac
}

d_mark() { s_w "$1 by attempt $s_id$s_nl" >.sluice/once.new && mv -f .sluice/once.new "$d_f" && d_sync; }

# Hooks ran: one that writes into a file where it stands has changed it in the versions that share it, too. The new
# version shows that for all it shares; of the one before, the rest is looked at.
d_check() {
	d_in || return
#@ check
	if ! d_judge $d_tree; then
		for d_t in $d_sources; do d_judge $d_t 2>/dev/null; done
		d_no 'a hook has changed files of the version: hooks may make new ones, and must replace instead of changing'
		return
	fi
	if [ -z "$d_from" ] || [ -f ".sluice/trees/$d_from/damaged" ]; then return 0; fi
	d_before && return
	case $? in
	1) d_no "the version before, versions/$d_from, was changed: there is no way back to it" ;;
	*) d_no "whether the version before, versions/$d_from, is whole cannot be found out; is the disk full?" ;;
	esac
}

# Waits for the word of who follows: 'STEP ok', or 'STEP no WHY'. To 'STEP hello TOKEN' it says that it still waits.
d_await() {
	d_note "wait $1" || return
	while IFS= read -r d_l; do
		case $d_l in
		"$1 hello "*) d_note "here $d_l" || return ;;
		"$1 ok" | "$1 ok "*)
			case $d_l in "$1 ok "*) s_w "sluice: ${d_l#"$1 ok "}$s_nl" ;; esac
			return 0
			;;
		"$1 no "*)
			d_no "${d_l#"$1 no "}"
			return
			;;
		esac
	done
	return 1
}

d_word() {
	case $d_wait in '') return 0 ;; esac
	s_step $1 d_await $1
}

# Makes the version live, by one rename. What is written before says what was meant.
d_swing() {
	d_in || return
	if [ -e .sluice/trees/$d_tree/damaged ] || [ ! -d versions/$d_tree ]; then d_no "versions/$d_tree is not whole" || return; fi
	d_ways || return
	s_w "$s_id $d_before $d_tree$s_nl" >.sluice/intent.new && mv -f .sluice/intent.new .sluice/intent || return
#@ intent
	s_w "$d_seq$s_nl" >.sluice/trees/$d_tree/seq || return
#@ seq
	rm -rf .sluice/swing
	mkdir .sluice/swing && ln -s versions/$d_tree .sluice/swing/live && d_sync || return
#@ swing
	mv -f .sluice/swing/live . && d_sync || return
#@ swung
	rmdir .sluice/swing
	d_links
}

# What is to be a link of ours, and is something else.
d_ways() {
	while IFS=$d_tab read -r d_p d_t; do
		if d_mine "$d_p"; then continue; fi
		if [ -e "$d_p" ] || [ -L "$d_p" ]; then d_no "$d_p is in the way: it is no link of ours" || return; fi
	done <.sluice/trees/$d_tree/links
}

d_mine() {
	[ -L "$1" ] || return
	case $(readlink "$1") in "$d_root/live/"*) return 0 ;; esac
	return 1
}

# Links outside lead through live: they are made once, and show every version.
d_links() {
	while IFS=$d_tab read -r d_p d_t; do
		if [ -L "$d_p" ] && [ "$(readlink "$d_p")" = "$d_root/live/$d_t" ]; then continue; fi
		d_x=${d_p%/*}/.sluice-$s_id
		rm -rf "$d_x"
		mkdir "$d_x" && ln -s "$d_root/live/$d_t" "$d_x/${d_p##*/}" && mv -f "$d_x/${d_p##*/}" "${d_p%/*}/" && rmdir "$d_x" || return
#@ link
	done <.sluice/trees/$d_tree/links
	# Of all that is kept, not only of the version before: a swing may have been interrupted here.
	for d_l in .sluice/trees/*/links; do
		if [ "$d_l" = .sluice/trees/$d_tree/links ]; then continue; fi
		d_unlink "$d_l" || return
	done
	d_sync
}

# Removes the links in the list $1 that the version does not have.
d_unlink() {
	while IFS=$d_tab read -r d_p d_t; do
		while IFS=$d_tab read -r d_x d_k; do
			if [ "$d_x" = "$d_p" ]; then continue 2; fi
		done <.sluice/trees/$d_tree/links
		if d_mine "$d_p"; then rm -f "$d_p" || return; fi
#@ unlink
	done <"$1"
}

# $1 who runs it, $2 what it is told, $3 its name.
d_service() {
	d_in || return
	case $1 in
	systemd) systemctl $2 -- "$3" ;;
	supervisor)
		# It ends with 0 whatever happened, before version 4.
		case $2 in
		reload) supervisorctl signal HUP "$3" ;;
		*) supervisorctl $2 "$3" ;;
		esac || return
		case $(supervisorctl status "$3") in *RUNNING*) ;; *) d_no "$3 does not run under supervisor" ;; esac
		;;
	*) service "$3" $2 ;;
	esac </dev/null
}

# The deploy has succeeded. Removes what is kept no more. Live and what was before are never among it, whatever was asked for.
d_collect() {
	d_in || return
	s_w '' >.sluice/trees/$d_tree/good || return
#@ good
	d_live
	for d_x in $d_remove; do
		case $d_x in "$d_tree" | "$d_from" | "${d_now#versions/}") continue ;; esac
		if [ -d "versions/$d_x" ]; then mv -f "versions/$d_x" "versions/.old-$d_x" || return; fi
#@ collect
		rm -rf ".sluice/trees/$d_x" || return
#@ collected
		rm -rf "versions/.old-$d_x" || return
#@ gone
	done
	rm -f .sluice/sums*
}

d_ready() {
	case $d_kind in rollback)
		s_step verify d_verify
		return
		;;
	esac
	s_step unpack d_unpack && d_hooks prepare && d_checked || return
	case $d_once in 1) d_hooks once d_onced && d_checked ;; esac
}

# What runs once after all others: the host serves already.
d_afterwards() {
	case $d_after in 1) d_hooks after d_onced ;; esac
}

d_checked() {
	case $d_ran in 1) s_step check d_check ;; esac
}

# The host goes back to where it served, with what was live.
d_undo() {
	d_hooks undrain
	d_word return
}

# Before the swing a failure leaves what was live. After it, the host stays out until somebody tries again or goes back.
d_main() {
	d_self
	d_run=$d_pid
	d_ready || return
	d_word drain && d_hooks drain || {
		d_e=$?
		d_undo
		return $d_e
	}
	s_step swing d_swing || {
		d_e=$?
		d_islive || d_undo
		return $d_e
	}
	d_services && d_hooks deployed && d_word healthy && d_hooks undrain && d_word return && d_afterwards && s_step collect d_collect
}
